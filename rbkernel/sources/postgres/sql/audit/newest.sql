/*
purpose: Whether the audit log of a service still gets entries
requires_table:
  name: authorization_audit
  columns:
    occurred_at:
      names: [occurred_at, created_at, logged_at, event_time, timestamp, at]
      time: true
columns:
  newest_at: time of the newest entry; NULL for an empty log
  newest_s: s since then; NULL for an empty log
  sampled_at: the server's clock
rules:
  - title: Newest entry of the audit log
    column: newest_s
    unit: s
    warn: 3600
    unseen: the log is empty, so nothing is known of what was refused
    cause: "The newest entry is {value} old: the log may have stopped"
    next_step: see whether the service still writes its log; what happened since is not known
    opens: RUN-027
    source: rbkernel's choice; as long as the window that is judged
*/
SELECT max({occurred_at})::timestamptz AS newest_at,
       extract(epoch FROM clock_timestamp() - max({occurred_at}))::float8 AS newest_s,
       clock_timestamp() AS sampled_at
FROM {table}
