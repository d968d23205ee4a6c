/* From PostgreSQL 17 on: a separate view, which counts restartpoints separately. */
SELECT timed,
       requested,
       (100.0 * requested / nullif(timed + requested, 0))::float8 AS requested_pct,
       timed + requested >= 10 AS enough,
       (extract(epoch FROM clock_timestamp() - stats_reset)
           / nullif(timed + requested, 0))::float8 AS every_s,
       write_ms,
       sync_ms,
       (sync_ms / nullif(timed + requested, 0))::float8 AS sync_each_ms,
       buffers,
       stats_reset,
       clock_timestamp() AS sampled_at
FROM (
    SELECT CASE WHEN pg_is_in_recovery() THEN restartpoints_timed ELSE num_timed END AS timed,
           CASE WHEN pg_is_in_recovery() THEN restartpoints_req ELSE num_requested END AS requested,
           write_time AS write_ms,
           sync_time AS sync_ms,
           buffers_written AS buffers,
           stats_reset
    FROM pg_stat_checkpointer
) c
