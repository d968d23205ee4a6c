/* From 16 on: logical decoding on a standby can be in the way, too. */
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
           ('deadlock', c.confl_deadlock),
           ('logical slot', c.confl_active_logicalslot)
) k (kind, cancelled)
ORDER BY database, kind
