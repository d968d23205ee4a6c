/* From 18 on: writes and syncs are counted in pg_stat_io. */
SELECT pg_wal_lsn_diff(
           CASE
               WHEN pg_is_in_recovery()
                   THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
               ELSE pg_current_wal_lsn()
           END,
           '0/0')::bigint AS position_bytes,
       (wal_bytes / 1048576)::float8 AS wal_mb,
       (wal_bytes / 1048576 / counted_s)::float8 AS mb_per_s,
       (100 * wal_bytes / 1048576 / counted_s * timeout_s / max_wal_mb)::float8 AS max_wal_pct,
       wal_records AS records,
       wal_fpi AS full_page_images,
       wal_buffers_full AS buffers_full,
       writes,
       syncs,
       CASE WHEN timed THEN write_ms END AS write_ms,
       CASE WHEN timed THEN sync_ms END AS sync_ms,
       stats_reset,
       clock_timestamp() AS sampled_at
FROM (
    SELECT w.*,
           -- right after a reset an average is meaningless
           greatest(extract(epoch FROM clock_timestamp() - w.stats_reset), l.timeout_s) AS counted_s,
           l.timeout_s,
           l.max_wal_mb,
           current_setting('track_wal_io_timing')::boolean AS timed,
           i.writes,
           i.syncs,
           i.write_ms,
           i.sync_ms
    FROM pg_stat_wal w
    CROSS JOIN (
        SELECT max(setting::bigint) FILTER (WHERE name = 'checkpoint_timeout') AS timeout_s,
               max(setting::bigint) FILTER (WHERE name = 'max_wal_size') AS max_wal_mb
        FROM pg_settings
        WHERE name IN ('checkpoint_timeout', 'max_wal_size')
    ) l
    CROSS JOIN (
        SELECT sum(writes)::bigint AS writes,
               sum(fsyncs)::bigint AS syncs,
               sum(write_time) AS write_ms,
               sum(fsync_time) AS sync_ms
        FROM pg_stat_io
        WHERE object = 'wal'
    ) i
) c
