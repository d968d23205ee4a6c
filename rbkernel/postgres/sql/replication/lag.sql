-- purpose: How far each standby is behind, as the primary sees it
-- runs on: primary
-- needs: pg_monitor
-- column: standby text: application_name of the standby
-- column: connected boolean: false for the expected standby when it is not connected
-- column: state text: streaming, catchup, startup, backup
-- column: sync_state text: async, sync, quorum, potential
-- column: replay_lag_s float: s, age of the newest commit that the standby has replayed
-- column: replay_behind_bytes int: bytes of WAL not yet replayed there
-- column: flush_behind_bytes int: bytes of WAL not yet on the standby's disk
-- column: reply_age_s float: s since the standby last reported
-- column: sampled_at timestamptz: the server's clock
-- parameter: standby text: application_name of the standby that must be there; '' for none
-- source: replay_lag is NULL when idle and only as fresh as reply_time, so it is 0 when all is replayed, else replay_lag and the time since the reply; measured against true pauses of 3 to 12 s
SELECT coalesce(r.application_name, expected.standby) AS standby,
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
    FROM pg_stat_replication
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    WHERE :standby <> ''
      AND NOT EXISTS (SELECT FROM pg_stat_replication WHERE application_name = :standby)
) r
CROSS JOIN (SELECT CAST(:standby AS text) AS standby) expected
ORDER BY standby
