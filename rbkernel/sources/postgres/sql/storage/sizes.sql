/*
purpose: The largest tables with their TOAST and indexes, as of their last vacuum or analyze
columns:
  relation: the table
  total_mb: MiB of table, TOAST and indexes
  table_mb: MiB of the table's own pages
  toast_mb: MiB of long values that are stored separately (TOAST)
  index_mb: MiB of the indexes
  indexes: how many there are
  rows: rows, estimated; NULL when the table was never analyzed
  limit_pct: "%, of the pages that a table can have (32 TiB with pages of 8 KiB)"
rules:
  - title: Table size, against the limit
    column: limit_pct
    empty: 0
    ranked: true
    by: relation
    unit: "% of the largest possible table"
    warn: 50
    critical: 80
    cause: "A table has reached {value}: {top}"
    next_step: partition it in time
    opens: RUN-018
    source: PostgreSQL's limit of 2^32 - 1 pages; the shares are rbkernel's choice
figure: {kind: bars, x: total_mb, y: relation, title: The largest tables}
source: relpages, which needs no lock; pg_total_relation_size would wait behind any DDL
*/
WITH largest AS MATERIALIZED (
    SELECT c.oid, c.relname, c.relnamespace, c.relpages, c.reltuples, c.reltoastrelid,
           coalesce(t.relpages, 0) AS toast_pages,
           count(*) OVER () AS of_all
    FROM pg_class c
    LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
    WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
    ORDER BY greatest(c.relpages, t.relpages) DESC, c.oid
    LIMIT 100
),
sized AS (
    SELECT l.*,
           i.pages AS index_pages,
           i.indexes,
           current_setting('block_size')::float8 / 1048576 AS page_mb
    FROM largest l
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(c.relpages), 0)::bigint AS pages,
               count(*) FILTER (WHERE x.indrelid = l.oid)::int AS indexes
        FROM pg_index x
        JOIN pg_class c ON c.oid = x.indexrelid
        WHERE x.indrelid IN (l.oid, l.reltoastrelid)
    ) i
)
SELECT n.nspname || '.' || s.relname AS relation,
       (page_mb * (relpages + toast_pages + index_pages))::float8 AS total_mb,
       (page_mb * relpages)::float8 AS table_mb,
       (page_mb * toast_pages)::float8 AS toast_mb,
       (page_mb * index_pages)::float8 AS index_mb,
       indexes,
       CASE WHEN reltuples >= 0 THEN reltuples END::float8 AS rows,
       (100.0 * greatest(relpages, toast_pages) / 4294967295)::float8 AS limit_pct,
       of_all
FROM sized s
JOIN pg_namespace n ON n.oid = s.relnamespace
ORDER BY total_mb DESC, relation
