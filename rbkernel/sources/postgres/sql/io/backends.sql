/*
purpose: Which kind of process reads and writes, where, and why
needs: [pg_stat_io]
columns:
  backend_type: client backend, checkpointer, background writer, autovacuum worker, …
  object: relation, temp relation, or wal (from 18 on)
  context: normal, vacuum, bulkread, bulkwrite, init
  read_mb: MiB read since stats_reset
  written_mb: MiB written since stats_reset
  extended_mb: MiB by which files grew since stats_reset
  hits: pages found in memory
  evictions: pages evicted to make room
  fsyncs: fsync calls that it made itself
  read_ms: ms of reading; 0 while track_io_timing is off
  write_ms: ms of writing; 0 while track_io_timing is off
  write_pct: "%, of all that was written to relations; NULL for other objects"
  enough: more than 1 GiB was written to relations, so that the share is meaningful
  stats_reset: start of counting
  sampled_at: the server's clock
rules:
  - title: Pages written by sessions
    column: write_pct
    empty: 0
    where: {backend_type: client backend, object: relation, context: normal, enough: true}
    unit: "% of all writes"
    warn: 50
    cause: Sessions had to free buffers and wrote {value} themselves
    next_step: >-
      increase shared_buffers, or let the background writer write more (bgwriter_lru_maxpages)
    opens: RUN-009
    source: rbkernel's choice; pages should be written by the checkpointer and the background writer
figure: {kind: bars, x: written_mb, y: backend_type, by: context, title: Who writes}
*/
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
               (coalesce(reads, 0) * op_bytes / 1048576.0)::float8 AS read_mb,
               (coalesce(writes, 0) * op_bytes / 1048576.0)::float8 AS written_mb,
               (coalesce(extends, 0) * op_bytes / 1048576.0)::float8 AS extended_mb,
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
