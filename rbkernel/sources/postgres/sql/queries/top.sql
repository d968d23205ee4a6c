/*
purpose: The statements that took the most time since pg_stat_statements was reset
needs: [pg_monitor, pg_stat_statements]
columns:
  query_id: identifier of the statement
  username: who ran it
  database: the database in which it ran
  calls: how often
  total_ms: ms of execution, all calls
  mean_ms: mean execution time of a call, in ms
  rows: rows returned or changed, all calls
  share_pct: "%, of the execution time of all statements"
  sessions: sessions that it kept busy, on average since the reset
  heavy: it kept half a session busy, or more
  hit_pct: "%, of its pages that were in shared_buffers; NULL when it read none"
  temp_mb: MiB written to temporary files
  io_ms: ms of reading and writing; 0 while track_io_timing is off
  wal_mb: MiB of WAL that it wrote
  counted_since: when the counters of the statement, or of all, were reset
  query: its text with $n for the constants; first 300 characters
  sampled_at: the server's clock
rules:
  - title: Largest share of execution time
    column: share_pct
    empty: 0
    where: {heavy: true}
    ranked: true
    by: query_id
    unit: "%"
    warn: 33
    cause: "One statement takes {value} of all execution time: {top}"
    next_step: >-
      read its plan; run this twice and compare calls and total_ms, to see whether it does so now
    opens: RUN-009
    source: the field's usual threshold, a third; heavy keeps idle servers quiet, rbkernel's choice
figure: {kind: bars, x: total_ms, y: query_id, by: username, unit: ms, title: Where the time goes}
*/
WITH statements AS MATERIALIZED (
    SELECT s.*,
           s.blk_read_time + s.blk_write_time AS io_ms,
           (SELECT stats_reset FROM {schema}.pg_stat_statements_info) AS counted_since,
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
