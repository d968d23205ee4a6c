/*
purpose: How much WAL is written, how fast, and its cost
columns:
  position_bytes: position of the newest WAL here, in bytes from the start of the WAL; two samples give a rate
  wal_mb: MiB of WAL written by this server since stats_reset; 0 on a standby
  mb_per_s: MiB per second, on average since stats_reset
  max_wal_pct: "%, of max_wal_size that is written between two timed checkpoints, on average"
  records: WAL records since stats_reset
  full_page_images: whole pages in them, after checkpoints
  buffers_full: how often a session had to write WAL because wal_buffers was full
  writes: times that WAL was written to its files
  syncs: fsync calls
  write_ms: ms of writing; NULL while track_wal_io_timing is off
  sync_ms: ms of fsync; NULL while track_wal_io_timing is off
  stats_reset: start of counting
  sampled_at: the server's clock
rules:
  - title: WAL between two checkpoints
    column: max_wal_pct
    unit: "% of max_wal_size"
    warn: 100
    cause: "{value} is written between two timed checkpoints, so checkpoints start early"
    next_step: find the query that writes the most (queries/top, wal_mb); raise max_wal_size
    opens: RUN-018
    source: max_wal_size and checkpoint_timeout in the manual
figure: {kind: timeline, y: position_bytes, unit: bytes, title: Position in the WAL}
*/
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
           w.wal_write AS writes,
           w.wal_sync AS syncs,
           w.wal_write_time AS write_ms,
           w.wal_sync_time AS sync_ms
    FROM pg_stat_wal w
    CROSS JOIN (
        SELECT max(setting::bigint) FILTER (WHERE name = 'checkpoint_timeout') AS timeout_s,
               max(setting::bigint) FILTER (WHERE name = 'max_wal_size') AS max_wal_mb
        FROM pg_settings
        WHERE name IN ('checkpoint_timeout', 'max_wal_size')
    ) l
) c
