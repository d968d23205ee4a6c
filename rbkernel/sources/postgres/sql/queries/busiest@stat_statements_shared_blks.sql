/* From 17 on: each statement knows start of counting. */
SELECT s.queryid::text AS query_id,
       s.userid::bigint AS user_id,
       s.dbid::bigint AS database_id,
       s.toplevel,
       u.rolname::text AS username,
       d.datname::text AS database,
       s.calls,
       s.total_exec_time AS total_ms,
       s.rows,
       s.shared_blks_read + s.local_blks_read AS pages,
       (s.temp_blks_written * current_setting('block_size')::bigint / 1048576.0)::float8 AS temp_mb,
       (s.wal_bytes / 1048576)::float8 AS wal_mb,
       s.stats_since AS counted_since,
       left(s.query, 300) AS query,
       clock_timestamp() AS sampled_at
FROM {schema}.pg_stat_statements({texts}) s
LEFT JOIN pg_roles u ON u.oid = s.userid
LEFT JOIN pg_database d ON d.oid = s.dbid
