/* From PostgreSQL 17 on: a separate view, which counts restartpoints separately. */
SELECT (pg_wal_lsn_diff(
            CASE
                WHEN pg_is_in_recovery()
                    THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
                ELSE pg_current_wal_lsn()
            END,
            '0/0') / 1048576)::float8 AS wal_mb,
       CASE WHEN pg_is_in_recovery() THEN restartpoints_timed ELSE num_timed END AS timed,
       CASE WHEN pg_is_in_recovery() THEN restartpoints_req ELSE num_requested END AS requested,
       c.buffers_written AS buffers,
       a.archived_count AS archived,
       a.failed_count AS failed,
       (SELECT count(*) FROM pg_ls_archive_statusdir() f WHERE f.name LIKE '%.ready') AS waiting,
       (SELECT (sum(size) / 1048576)::float8 FROM pg_ls_waldir()) AS folder_mb,
       c.stats_reset AS checkpoints_since,
       a.stats_reset AS archive_since,
       (SELECT setting::float8 FROM pg_settings WHERE name = 'checkpoint_timeout') AS timeout_s,
       (SELECT setting::float8 FROM pg_settings WHERE name = 'max_wal_size') AS max_wal_mb,
       clock_timestamp() AS sampled_at
FROM pg_stat_archiver a
CROSS JOIN pg_stat_checkpointer c
