/*
purpose: The statements that take the most time now, from two samples of pg_stat_statements
needs: [pg_monitor, pg_stat_statements]
columns:
  query_id: identifier of the statement
  username: who ran it
  database: the database in which it ran
  sessions: sessions that it kept busy between the two samples, on average; a call counts when it ends
  share_pct: "%, of the execution time of all statements between the two samples"
  heavy: it kept half a session busy, or more
  calls: calls between the two samples
  calls_per_s: calls per second
  mean_ms: mean execution time of a call, in ms
  rows_per_s: rows returned or changed per second
  pages_per_s: pages read per second that were not in shared_buffers
  temp_mb_per_s: MiB written to temporary files per second
  wal_mb_per_s: MiB of WAL that it wrote per second
  window_s: s between the two samples
  query: its text with $n for the constants; first 300 characters
  sampled_at: the server's clock of the second sample
twice:
  every_s: 5
  key: [query_id, user_id, database_id, toplevel]
  counters: [calls, total_ms, rows, pages, temp_mb, wal_mb]
  since: [counted_since]
  made:
    sessions: total_ms_per_s / 1000
    share_pct: 100 * total_ms / total_ms.sum()
    heavy: sessions >= 0.5
    mean_ms: total_ms / calls
  keep: calls > 0
  worst_first: sessions
rules:
  - title: Largest share of execution time, now
    column: share_pct
    empty: 0
    where: {heavy: true}
    by: query_id
    unit: "%"
    warn: 33
    cause: "One statement now takes {value} of all execution time: {top}"
    next_step: >-
      see whether it is called more often than usual (calls_per_s) or takes longer than before
      (queries/regression); read its plan
    opens: RUN-009
    unseen: the counters were reset between the two samples; run it again
    source: the field's usual threshold, a third; heavy keeps idle servers quiet, rbkernel's choice
figure: {kind: bars, x: sessions, y: query_id, by: username, title: Sessions that each statement keeps busy}
source: pg_stat_statements; a call that has not ended is not counted (activity/long_queries)
*/
SELECT s.queryid::text AS query_id,
       s.userid::bigint AS user_id,
       s.dbid::bigint AS database_id,
       s.toplevel,
       u.rolname::text AS username,
       d.datname::text AS database,
       s.calls,
       s.total_exec_time AS total_ms,
       s.rows,
       s.shared_blks_read + s.local_blks_read AS pages,
       (s.temp_blks_written * current_setting('block_size')::bigint / 1048576.0)::float8 AS temp_mb,
       (s.wal_bytes / 1048576)::float8 AS wal_mb,
       i.stats_reset AS counted_since,
       left(s.query, 300) AS query,
       clock_timestamp() AS sampled_at
FROM {schema}.pg_stat_statements({texts}) s
CROSS JOIN {schema}.pg_stat_statements_info i
LEFT JOIN pg_roles u ON u.oid = s.userid
LEFT JOIN pg_database d ON d.oid = s.dbid
