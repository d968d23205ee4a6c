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
       s.shared_blks_hit + s.shared_blks_read + s.local_blks_hit + s.local_blks_read AS pages,
       s.stddev_exec_time AS spread_ms,
       s.max_exec_time AS longest_ms,
       coalesce(r.running_s, 0) AS running_s,
       coalesce(r.applications, '') AS applications,
       extract(epoch FROM clock_timestamp() - i.stats_reset)::float8 AS past_s,
       s.stats_since AS counted_since,
       left(s.query, 300) AS query,
       CAST(:busy_sessions AS float8) AS busy_sessions,
       CAST(:least_share AS float8) AS least_share,
       CAST(:least_calls AS float8) AS least_calls,
       CAST(:single_spreads AS float8) AS single_spreads,
       clock_timestamp() AS sampled_at
FROM {schema}.pg_stat_statements({texts}) s
CROSS JOIN {schema}.pg_stat_statements_info i
LEFT JOIN pg_roles u ON u.oid = s.userid
LEFT JOIN pg_database d ON d.oid = s.dbid
LEFT JOIN (
    SELECT query_id,
           usesysid,
           datid,
           string_agg(DISTINCT nullif(application_name, ''), ', ') AS applications,
           extract(epoch FROM clock_timestamp() - min(query_start) FILTER (
               WHERE state = 'active' AND wait_event_type IS DISTINCT FROM 'Lock'))::float8 AS running_s
    FROM pg_stat_activity
    WHERE backend_type = 'client backend'
      AND query_id IS NOT NULL
      AND pid <> pg_backend_pid()
    GROUP BY query_id, usesysid, datid
) r ON s.toplevel AND r.query_id = s.queryid AND r.usesysid = s.userid AND r.datid = s.dbid
