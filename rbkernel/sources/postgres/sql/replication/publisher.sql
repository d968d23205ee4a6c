/*
purpose: Logical slots, how far their subscribers are behind, and the WAL kept for them
runs_on: primary
needs: [pg_monitor]
columns:
  slot: name of the slot
  database: the database that it decodes
  plugin: output plug-in
  active: it has a reader
  subscriber: application_name of the reader; NULL without one
  lag_s: s, age of the newest change here that the subscriber has applied; NULL when nobody reads,
    or when it was idle at its last report and has reported nothing of what came after
  unconfirmed_mb: MiB of WAL since what the subscriber has confirmed
  retained_mb: MiB of WAL kept for it
  safe_wal_mb: MiB that may yet be written before it is lost; NULL without a limit
  wal_status: reserved, extended, unreserved, lost, or none where the slot keeps no WAL yet
  reply_age_s: s since the subscriber last reported
  catalog_xmin_age: transactions since its catalog snapshot; vacuum keeps older catalog rows
  sampled_at: the server's clock
rules:
  - title: Logical slots without a reader
    name: unread
    agg: rows
    where: {active: false}
    each: slot
    unit: slots
    critical: 0
    cause: "{value} {has|have} no reader, so {its|their} WAL and old catalog rows are kept"
    next_step: >-
      see on the subscriber whether its worker runs (replication/subscriber); drop a slot that is no
      longer needed
    opens: RUN-005
    source: pg_replication_slots.active; a slot without a reader keeps WAL without end
  - title: Lag of the subscribers
    column: lag_s
    empty: 0
    where: {active: true}
    by: slot
    unit: s
    warn: 2
    critical: 15
    cause: "A subscriber is {value} behind: {top}"
    next_step: see on the subscriber what its worker waits for (replication/subscriber)
    opens: RUN-005
    source: as for replication/lag
  - title: Logical slots losing their WAL
    name: losing_wal
    agg: rows
    where: {wal_status: [unreserved, lost]}
    each: slot
    unit: slots
    critical: 0
    cause: "{value} {is|are} about to lose {its|their} WAL, or {has|have} lost it: {which}"
    next_step: >-
      let the subscriber catch up at once; a subscriber whose slot is lost must be copied again
    opens: RUN-018
    source: pg_replication_slots.wal_status
figure: {kind: timeline, y: unconfirmed_mb, by: slot, unit: MB, title: WAL since what each subscriber has confirmed}
source: >-
  as for replication/lag: a worker that is held up reports nothing, so the age of its last report
  counts; where it was idle then, it is not known here when the first change after it was sent
*/
SELECT s.slot_name::text AS slot,
       s.database::text AS database,
       s.plugin::text AS plugin,
       s.active,
       r.application_name AS subscriber,
       (CASE
            WHEN r.replay_lsn >= w.lsn THEN 0
            WHEN r.replay_lag IS NULL AND w.at - r.reply_time > interval '0.5 s' THEN NULL
            ELSE extract(epoch FROM coalesce(r.replay_lag, '0') + (w.at - r.reply_time))
        END)::float8 AS lag_s,
       (pg_wal_lsn_diff(w.lsn, s.confirmed_flush_lsn) / 1048576.0)::float8 AS unconfirmed_mb,
       (pg_wal_lsn_diff(w.lsn, s.restart_lsn) / 1048576.0)::float8 AS retained_mb,
       (s.safe_wal_size / 1048576.0)::float8 AS safe_wal_mb,
       coalesce(s.wal_status, 'none') AS wal_status,
       extract(epoch FROM w.at - r.reply_time)::float8 AS reply_age_s,
       age(s.catalog_xmin) AS catalog_xmin_age,
       w.at AS sampled_at
FROM (SELECT pg_current_wal_lsn() AS lsn, clock_timestamp() AS at) w
CROSS JOIN pg_replication_slots s
LEFT JOIN pg_stat_replication r ON r.pid = s.active_pid
WHERE s.slot_type = 'logical'
ORDER BY unconfirmed_mb DESC NULLS FIRST, slot
