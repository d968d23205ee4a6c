/*
purpose: How far each standby is behind, as the primary sees it
runs_on: primary
needs: [pg_monitor]
columns:
  standby: application_name of the standby
  asked: whether it is the expected standby; true for all when none is expected
  connected: false for the expected standby when it is not connected
  state: streaming, catchup, startup, backup
  sync_state: async, sync, quorum, potential
  replay_lag_s: s, age of the newest commit that the standby has replayed
  replay_behind_bytes: bytes of WAL not yet replayed there
  flush_behind_bytes: bytes of WAL not yet on the standby's disk
  reply_age_s: s since the standby last reported
  sampled_at: the server's clock
parameters:
  standby: {help: application_name of the expected standby; empty for none, default: ""}
rules:
  - title: Standby connection
    column: connected
    where: {asked: true}
    agg: min
    critical: 1
    below: true
    expected: connected
    cause: The standby is not connected to the primary
    next_step: >-
      check the name (application_name in its primary_conninfo); then see on the standby whether its
      WAL receiver runs (replication/standby)
    unseen: no standby is connected; name the expected one with standby=…
    opens: RUN-005
    source: pg_stat_replication; one standby of that name is expected
  - title: Replay lag, seen from the primary
    column: replay_lag_s
    where: {asked: true}
    by: standby
    unit: s
    warn: 2
    critical: 15
    cause: "The standby is {value} behind"
    next_step: see what holds up the replay (replication/standby)
    unseen: no standby is connected that replays
    opens: RUN-005
    source: seeds 001 and 003 alert above 2 s; 15 s measured as surely not a burst
figure: {kind: timeline, y: replay_lag_s, by: standby, unit: s, title: "Replay lag, seen from the primary"}
source: >-
  replay_lag is NULL when idle and only as fresh as reply_time, so it is 0 when all is replayed, else
  replay_lag and the time since the reply; measured against true pauses of 3 to 12 s.
  With hot_standby_feedback on a standby that replays nothing while no WAL comes reads up to
  wal_receiver_status_interval too little, because feedback refreshes reply_time and not replay_lag
*/
SELECT coalesce(r.application_name, expected.standby) AS standby,
       expected.standby IN ('', coalesce(r.application_name, expected.standby)) AS asked,
       r.pid IS NOT NULL AS connected,
       r.state,
       r.sync_state,
       (CASE
            WHEN r.replay_lsn >= w.lsn THEN 0
            ELSE extract(epoch FROM coalesce(r.replay_lag, '0') + (w.at - r.reply_time))
        END)::float8 AS replay_lag_s,
       pg_wal_lsn_diff(w.lsn, r.replay_lsn)::bigint AS replay_behind_bytes,
       pg_wal_lsn_diff(w.lsn, r.flush_lsn)::bigint AS flush_behind_bytes,
       extract(epoch FROM w.at - r.reply_time)::float8 AS reply_age_s,
       w.at AS sampled_at
FROM (SELECT pg_current_wal_lsn() AS lsn, clock_timestamp() AS at) w
CROSS JOIN (
    SELECT application_name, pid, state, sync_state, replay_lsn, flush_lsn, replay_lag, reply_time
    FROM pg_stat_replication r
    -- not a base backup, not a receiver that only stores WAL (it reports, and no replay), and not
    -- a logical subscriber (replication/publisher)
    WHERE state <> 'backup'
      AND (replay_lsn IS NOT NULL OR reply_time IS NULL)
      AND NOT EXISTS (
          SELECT FROM pg_replication_slots s
          WHERE s.active_pid = r.pid AND s.slot_type = 'logical')
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    WHERE :standby <> ''
      AND NOT EXISTS (SELECT FROM pg_stat_replication WHERE application_name = :standby)
) r
CROSS JOIN (SELECT CAST(:standby AS text) AS standby) expected
ORDER BY standby
