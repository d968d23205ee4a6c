/* From 17 on: times by kind of page, and each statement knows start of counting. */
WITH statements AS MATERIALIZED (
    SELECT s.*,
           s.shared_blk_read_time + s.shared_blk_write_time
               + s.local_blk_read_time + s.local_blk_write_time AS io_ms,
           s.stats_since AS counted_since,
           sum(s.total_exec_time) OVER () AS all_ms,
           count(*) OVER () AS of_all
    FROM {schema}.pg_stat_statements({texts}) s
    ORDER BY s.total_exec_time DESC
    LIMIT 50
),
measured AS (
    SELECT *,
           -- right after a reset an average is meaningless
           total_exec_time / 1000
               / greatest(extract(epoch FROM clock_timestamp() - counted_since), 60) AS sessions
    FROM statements
)
SELECT m.queryid::text AS query_id,
       u.rolname::text AS username,
       d.datname::text AS database,
       m.calls,
       m.total_exec_time::float8 AS total_ms,
       m.mean_exec_time::float8 AS mean_ms,
       m.rows,
       (100 * m.total_exec_time / nullif(m.all_ms, 0))::float8 AS share_pct,
       m.sessions::float8 AS sessions,
       m.sessions >= 0.5 AS heavy,
       (100.0 * m.shared_blks_hit / nullif(m.shared_blks_hit + m.shared_blks_read, 0))::float8 AS hit_pct,
       (m.temp_blks_written * current_setting('block_size')::bigint / 1048576.0)::float8 AS temp_mb,
       m.io_ms::float8 AS io_ms,
       (m.wal_bytes / 1048576)::float8 AS wal_mb,
       m.counted_since,
       left(m.query, 300) AS query,
       statement_timestamp() AS sampled_at,
       m.of_all
FROM measured m
LEFT JOIN pg_roles u ON u.oid = m.userid
LEFT JOIN pg_database d ON d.oid = m.dbid
ORDER BY total_ms DESC, query_id
