/* From 18 on: bytes are counted, and WAL too. */
SELECT backend_type,
       object,
       context,
       read_mb,
       written_mb,
       extended_mb,
       hits,
       evictions,
       fsyncs,
       read_ms,
       write_ms,
       CASE
           WHEN object = 'relation' THEN 100 * written_mb / nullif(relations_mb, 0)
       END AS write_pct,
       relations_mb > 1024 AS enough,
       stats_reset,
       statement_timestamp() AS sampled_at
FROM (
    SELECT *, coalesce(sum(written_mb) FILTER (WHERE object = 'relation') OVER (), 0) AS relations_mb
    FROM (
        SELECT backend_type,
               object,
               context,
               (coalesce(read_bytes, 0) / 1048576)::float8 AS read_mb,
               (coalesce(write_bytes, 0) / 1048576)::float8 AS written_mb,
               (coalesce(extend_bytes, 0) / 1048576)::float8 AS extended_mb,
               coalesce(hits, 0) AS hits,
               coalesce(evictions, 0) AS evictions,
               coalesce(fsyncs, 0) AS fsyncs,
               coalesce(read_time, 0) AS read_ms,
               coalesce(write_time, 0) AS write_ms,
               stats_reset
        FROM pg_stat_io
        WHERE coalesce(reads, 0) + coalesce(writes, 0) + coalesce(extends, 0) + coalesce(hits, 0) > 0
    ) i
) s
ORDER BY written_mb DESC, read_mb DESC, backend_type, object, context
