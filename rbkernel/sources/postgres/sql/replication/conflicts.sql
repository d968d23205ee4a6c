/*
purpose: Queries on this standby that recovery has cancelled, by kind, in total and now
runs_on: standby
columns:
  database: the database
  kind: "what replay wanted: snapshot (rows that vacuum removed), lock, buffer pin, tablespace, deadlock, logical slot"
  cancelled: queries cancelled between the two samples
  cancelled_per_s: queries cancelled per second
  cancelled_before: queries cancelled from stats_reset to the first sample
  seen: the same; NULL if none was, some had been before, and replay may wait longer than that for one
  avoidable: hot_standby_feedback, which is off, would have avoided it
  replay_waits_s: >-
    s that replay waits at most for a query here before it cancels it; 0 if it never does
  stats_reset: start of counting; NULL means since the database was created
  window_s: s between the two samples
  sampled_at: the server's clock of the second sample
twice:
  every_s: 5
  key: [database, kind]
  counters: [cancelled]
  since: [stats_reset]
  made:
    quiet: (cancelled == 0) & (cancelled_before > 0) & (window_s < replay_waits_s)
    seen: cancelled.mask(quiet)
  keep: cancelled + cancelled_before > 0
  worst_first: cancelled
rules:
  - title: Queries cancelled by recovery, now
    name: cancelled
    column: seen
    agg: sum
    where: {avoidable: false}
    by: kind
    unit: queries
    warn: 0
    cause: "Replay cancelled {value} between two samples, because of: {top}"
    next_step: >-
      let the application retry. lock: find out who changes tables on the primary (DDL, TRUNCATE; or
      VACUUM that shortens a table: vacuum_truncate = off for it), and do that when nobody reads here.
      snapshot, with hot_standby_feedback on: was the standby disconnected, is
      wal_receiver_status_interval 0, or is feedback off on a standby between? logical slot: its consumer
      was stopped; slots here need feedback and a physical slot on the primary
    opens: RUN-005
    unseen: >-
      the counters were reset between the two samples, or replay waits longer for a query than they are
      apart, and has cancelled some before (cancelled_before, stats_reset); run it again with a longer
      every_s, or look for "conflict with recovery" in the standby's log
    source: each is an error for an application
  - title: Queries cancelled since vacuum removed rows, now
    name: rows_removed
    column: seen
    agg: sum
    where: {avoidable: true}
    by: database
    unit: queries
    warn: 0
    cause: >-
      Replay cancelled {value} between two samples: the primary removes rows that queries on the standby
      may still need, and hot_standby_feedback is off ({top})
    next_step: >-
      let somebody choose who knows the price. hot_standby_feedback = on: dead rows stay on the primary
      while a query runs here; with recovery_min_apply_delay always, and by all of it; with a physical
      slot also while this standby is down, without limit. A longer max_standby_streaming_delay: lag,
      so not where a failover goes or commits wait for replay (remote_apply)
    opens: RUN-005
    unseen: >-
      the counters were reset between the two samples, or replay waits longer for a query than they are
      apart, and has cancelled some before (cancelled_before, stats_reset); run it again with a longer
      every_s, or look for "conflict with recovery" in the standby's log
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
       (SELECT greatest(setting::float8, 0) / 1000 FROM pg_settings
        WHERE name = 'max_standby_streaming_delay') AS replay_waits_s,
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
