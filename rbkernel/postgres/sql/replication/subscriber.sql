/*
purpose: Subscriptions of this server, whether their workers live, and what holds them up
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
  apply_errors: errors while applying, since stats_reset
  sync_errors: errors while copying tables, since stats_reset
  stats_reset: since when errors are counted; NULL since the subscription was made
  sampled_at: the server's clock
rules:
  - title: Subscriptions have a worker
    agg: rows
    where: {enabled: true, working: false}
    each: subscription
    unit: subscriptions
    critical: 0
    cause: "{value} are enabled and have no apply worker"
    next_step: read the server's log; an error while applying ends the worker, again and again
    opens: RUN-005
  - title: Subscriptions are not blocked
    column: blocked_s
    empty: 0
    by: subscription
    unit: s
    warn: 2
    critical: 15
    cause: "The worker of a subscription has been waiting for a lock, for up to {value}: {top}"
    next_step: see who blocks it (locks/blocking)
    opens: RUN-007
    source: as for replication/lag
  - title: Errors while applying
    column: apply_errors
    agg: sum
    by: subscription
    unit: errors since the counters were reset
    warn: 0
    cause: "Subscriptions met {value}: {top}"
    next_step: >-
      ask twice: if the counter grows, a row conflicts; read the log for it, mend the row, or skip
      the transaction
    opens: RUN-005
  - title: Publishers are heard
    column: message_age_s
    empty: 0
    where: {working: true}
    by: subscription
    unit: s
    warn: 60
    critical: 300
    cause: "A publisher has been silent for {value}: {top}"
    next_step: see whether the publisher lives and the network between the two
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
       coalesce(e.apply_error_count, 0) AS apply_errors,
       coalesce(e.sync_error_count, 0) AS sync_errors,
       e.stats_reset,
       statement_timestamp() AS sampled_at
FROM pg_subscription s
JOIN pg_database d ON d.oid = s.subdbid
-- the apply worker: those that copy a table have a relid, and helpers (from 16 on) never report
LEFT JOIN LATERAL (
    SELECT pid, received_lsn, latest_end_lsn, last_msg_receipt_time
    FROM pg_stat_subscription
    WHERE subid = s.oid AND relid IS NULL AND pid IS NOT NULL
    ORDER BY last_msg_receipt_time DESC NULLS LAST
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
