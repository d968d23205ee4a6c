/*
purpose: Current errors of subscriptions, from two samples of their counters
runs_on: primary
needs: [pg_monitor]
columns:
  subscription: name of the subscription
  database: the database that it writes to
  enabled: it is meant to run
  apply_errors: errors while applying between the two samples; an error ends the worker
  sync_errors: errors while copying tables between the two samples
  apply_errors_before: errors while applying from stats_reset to the first sample
  sync_errors_before: errors while copying tables from stats_reset to the first sample
  retry_s: s after which a worker that has ended starts again
  window_s: s between the two samples
  stats_reset: start of counting errors; NULL means since the subscription was created
  sampled_at: the server's clock of the second sample
twice:
  every_s: 12
  key: [database, subscription]
  counters: [apply_errors, sync_errors]
  since: [stats_reset]
  worst_first: apply_errors
rules:
  - title: Errors while applying, now
    column: apply_errors
    agg: sum
    by: subscription
    unit: errors
    critical: 0
    cause: "{value} between two samples; nothing is applied until the row is fixed: {top}"
    next_step: >-
      read the server's log for the row or the conflict; fix it, or skip the transaction (ALTER
      SUBSCRIPTION ... SKIP)
    opens: RUN-005
    unseen: the counters were reset between the two samples; run it again
    source: an error while applying recurs at each start of the worker until it is fixed
  - title: Errors while copying tables, now
    column: sync_errors
    agg: sum
    by: subscription
    unit: errors
    warn: 0
    cause: "{value} between two samples: {top}"
    next_step: >-
      read the server's log for the table and the reason; the copy restarts until it succeeds
    opens: RUN-005
    unseen: the counters were reset between the two samples; run it again
    source: an error while copying recurs at each start of the worker until it is fixed
figure: {kind: bars, x: apply_errors, y: subscription, title: Errors while applying between two samples}
source: >-
  pg_stat_subscription_stats; a worker starts again after wal_retrieve_retry_interval, 5 s by
  default, so that the samples must lie further apart
*/
SELECT s.subname::text AS subscription,
       d.datname::text AS database,
       s.subenabled AS enabled,
       coalesce(e.apply_error_count, 0) AS apply_errors,
       coalesce(e.sync_error_count, 0) AS sync_errors,
       extract(epoch FROM current_setting('wal_retrieve_retry_interval')::interval)::float8 AS retry_s,
       e.stats_reset,
       clock_timestamp() AS sampled_at
FROM pg_subscription s
JOIN pg_database d ON d.oid = s.subdbid
LEFT JOIN pg_stat_subscription_stats e ON e.subid = s.oid
ORDER BY subscription
