/*
purpose: Queries on this standby that recovery has cancelled, by kind, in total and now
runs_on: standby
columns:
  database: the database
  kind: "what replay wanted: snapshot (rows that vacuum removed), lock, buffer pin, tablespace, deadlock, logical slot"
  cancelled: queries cancelled between the two samples
  cancelled_per_s: queries cancelled per second
  cancelled_before: queries cancelled from stats_reset to the first sample
  avoidable: hot_standby_feedback, which is off, would have avoided it
  replay_waits: how long replay waits for a query here before it cancels it; -1 for ever
  stats_reset: start of counting; NULL means since the database was created
  window_s: s between the two samples
  sampled_at: the server's clock of the second sample
twice:
  every_s: 5
  key: [database, kind]
  counters: [cancelled]
  since: [stats_reset]
  keep: cancelled + cancelled_before > 0
  worst_first: cancelled
rules:
  - title: Queries cancelled by recovery, now
    name: cancelled
    column: cancelled
    agg: sum
    where: {avoidable: false}
    by: kind
    unit: queries
    warn: 0
    cause: "Replay cancelled {value} between two samples, because of: {top}"
    next_step: >-
      lock: find out who changes tables on the primary (DDL, TRUNCATE, VACUUM that shortens a table), and
      do that when nobody reads here; snapshot with hot_standby_feedback on: see whether the standby was
      disconnected for a while; let the application retry
    opens: RUN-005
    unseen: the counters were reset between the two samples; run it again
    source: each is an error for an application
  - title: Queries cancelled since vacuum removed rows, now
    name: rows_removed
    column: cancelled
    agg: sum
    where: {avoidable: true}
    by: database
    unit: queries
    warn: 0
    cause: >-
      Replay cancelled {value} between two samples: the primary removes rows that queries on the standby
      may still need, and hot_standby_feedback is off ({top})
    next_step: >-
      set hot_standby_feedback = on, at the cost of dead rows on the primary while a query runs here, or
      raise max_standby_streaming_delay, at the cost of lag
    opens: RUN-005
    unseen: the counters were reset between the two samples; run it again
    source: each is an error for an application
figure: {kind: bars, x: cancelled_before, y: kind, by: database, title: Queries cancelled by recovery since the reset}
source: >-
  pg_stat_database_conflicts, which counts a query when it is cancelled: while replay still waits for
  a reader there is nothing here, but replay stands still (replication/standby)
*/
SELECT c.datname::text AS database,
       k.kind,
       k.cancelled,
       k.kind = 'snapshot' AND current_setting('hot_standby_feedback') = 'off' AS avoidable,
       current_setting('max_standby_streaming_delay') AS replay_waits,
       d.stats_reset,
       clock_timestamp() AS sampled_at
FROM pg_stat_database_conflicts c
JOIN pg_stat_database d ON d.datid = c.datid
CROSS JOIN LATERAL (
    VALUES ('snapshot', c.confl_snapshot),
           ('lock', c.confl_lock),
           ('buffer pin', c.confl_bufferpin),
           ('tablespace', c.confl_tablespace),
           ('deadlock', c.confl_deadlock)
) k (kind, cancelled)
ORDER BY database, kind
