/*
purpose: Subscriptions of this server, whether their workers run, and what holds them up
runs_on: primary
needs: [pg_monitor]
columns:
  subscription: name of the subscription
  database: the database that it writes to
  enabled: it is meant to run
  working: its apply worker runs
  blocked: its apply worker, or a helper of it, waits for a lock
  blocked_s: s since the worker's transaction began, while it is blocked; 0 when it is not
  pid: process id of the apply worker; NULL when there is none
  message_age_s: s since the publisher was last heard; NULL without a worker
  received_not_reported_bytes: bytes of WAL received since the position last reported as done
  worker_s: s since the apply worker started; NULL when there is none
  apply_errors: errors while applying, since stats_reset
  failing: >-
    its errors go on: no worker runs; NULL if the one that runs may yet meet the error again. An
    error ends the worker, so it is over once a worker has run for longer than
    wal_retrieve_retry_interval (5 s at least) and has left its first transaction
  sync_errors: errors while copying tables, since stats_reset
  stats_reset: start of counting errors; NULL means since the subscription was created
  sampled_at: the server's clock
rules:
  - title: Subscriptions without a worker
    name: without_worker
    agg: rows
    where: {enabled: true, working: false}
    each: subscription
    unit: subscriptions
    critical: 0
    cause: "{value} {is|are} enabled but {has|have} no apply worker"
    next_step: read the server's log; an error while applying ends the worker each time it starts
    opens: RUN-005
    source: pg_stat_subscription.pid
  - title: Subscriptions waiting for a lock
    column: blocked_s
    empty: 0
    by: subscription
    unit: s
    warn: 2
    critical: 15
    cause: "The worker of a subscription has been waiting for a lock for up to {value}: {top}"
    next_step: see which session blocks it (locks/blocking)
    opens: RUN-007
    source: as for replication/lag
  - title: Errors while applying
    name: failing
    agg: rows
    where: {failing: true}
    each: subscription
    unit: subscriptions that fail
    critical: 0
    unseen: the worker has only just started; run it again in some seconds
    cause: "{value}: an error while applying has ended the worker, and nothing is applied"
    next_step: >-
      read the server's log for the row or the conflict; fix it, or skip the transaction (ALTER
      SUBSCRIPTION ... SKIP); then ALTER SUBSCRIPTION ... ENABLE if it was disabled
    opens: RUN-005
    source: >-
      an error while applying ends the worker, and the next one starts after
      wal_retrieve_retry_interval; errors of the past (apply_errors) are no finding
  - title: Last message from a publisher
    column: message_age_s
    empty: 0
    where: {working: true}
    by: subscription
    unit: s
    warn: 60
    critical: 300
    cause: "A publisher has been silent for {value}: {top}"
    next_step: see whether the publisher runs, and check the network between the servers
    opens: RUN-005
    source: an idle publisher is heard every wal_sender_timeout / 2, 30 s by default
figure: {kind: timeline, y: message_age_s, by: subscription, unit: s, title: Age of the publisher's last message}
*/
SELECT s.subname::text AS subscription,
       d.datname::text AS database,
       s.subenabled AS enabled,
       w.pid IS NOT NULL AS working,
       h.blocked_s > 0 AS blocked,
       h.blocked_s,
       w.pid,
       extract(epoch FROM clock_timestamp() - w.last_msg_receipt_time)::float8 AS message_age_s,
       pg_wal_lsn_diff(w.received_lsn, w.latest_end_lsn)::bigint AS received_not_reported_bytes,
       extract(epoch FROM w.age)::float8 AS worker_s,
       coalesce(e.apply_error_count, 0) AS apply_errors,
       CASE
           WHEN coalesce(e.apply_error_count, 0) = 0 THEN false
           -- disabled by hand, or by an error
           WHEN NOT s.subenabled THEN s.subdisableonerr
           WHEN w.pid IS NULL THEN true
           WHEN w.age > greatest(current_setting('wal_retrieve_retry_interval')::interval, '5 s')
                AND (w.in_transaction IS NULL
                     OR (w.age > '60 s' AND w.in_transaction < w.age / 2)) THEN false
       END AS failing,
       coalesce(e.sync_error_count, 0) AS sync_errors,
       e.stats_reset,
       statement_timestamp() AS sampled_at
FROM pg_subscription s
JOIN pg_database d ON d.oid = s.subdbid
-- the apply worker: those that copy a table have a relid, and helpers (from 16 on) never report
LEFT JOIN LATERAL (
    SELECT p.pid, p.received_lsn, p.latest_end_lsn, p.last_msg_receipt_time,
           clock_timestamp() - a.backend_start AS age,
           clock_timestamp() - a.xact_start AS in_transaction
    FROM pg_stat_subscription p
    LEFT JOIN pg_stat_activity a ON a.pid = p.pid
    WHERE p.subid = s.oid AND p.relid IS NULL AND p.pid IS NOT NULL
    ORDER BY p.last_msg_receipt_time DESC NULLS LAST
    LIMIT 1
) w ON true
LEFT JOIN pg_stat_subscription_stats e ON e.subid = s.oid
CROSS JOIN LATERAL (
    SELECT coalesce(max(extract(epoch FROM clock_timestamp() - a.xact_start)), 0)::float8 AS blocked_s
    FROM pg_stat_subscription p
    JOIN pg_stat_activity a ON a.pid = p.pid
    WHERE p.subid = s.oid AND a.wait_event_type = 'Lock'
) h
ORDER BY subscription
