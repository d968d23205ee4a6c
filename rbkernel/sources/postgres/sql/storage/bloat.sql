/*
purpose: "Estimated bloat of the largest tables: dead rows and empty pages"
runs_on: primary
columns:
  relation: the table
  size_mb: MiB of the table's own pages, as of its last vacuum or analyze
  large: more than 100 MiB
  dead_mb: MiB of it in dead rows
  bloat_mb: MiB that a rewritten table would save; NULL when its statistics cannot be read
  bloat_pct: "%, bloat_mb of size_mb"
rules:
  - title: Estimated bloat
    column: bloat_pct
    empty: 0
    where: {large: true}
    by: relation
    unit: "%"
    warn: 50
    cause: "About {value} of a table is bloat: {top}"
    next_step: >-
      this is an estimate from row widths: run pgstattuple_approx before you rewrite the table;
      first find out why vacuum came too late (vacuum/tables)
    opens: RUN-019
    source: rbkernel's choice; the field's tools warn between 30 and 50 %, and the estimate may be 20 % off
figure: {kind: bars, x: bloat_mb, y: relation, title: "Wasted room in each table, estimated"}
source: >-
  expected pages = rows × (24 bytes header + 4 bytes pointer + average widths, aligned) / page; room
  in TOAST and in indexes is not looked at
*/
WITH largest AS MATERIALIZED (
    SELECT c.oid,
           n.nspname,
           c.relname,
           c.relpages,
           greatest(c.reltuples, 0) AS rows,
           current_setting('block_size')::float8 AS page,
           coalesce(substring(array_to_string(c.reloptions, ',') FROM 'fillfactor=([0-9]+)')::float8,
                    100) / 100 AS filled,
           pg_stat_get_live_tuples(c.oid) AS live,
           pg_stat_get_dead_tuples(c.oid) AS dead,
           -- only large tables are judged
           count(*) FILTER (
               WHERE c.relpages * current_setting('block_size')::bigint > 104857600) OVER () AS of_all
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm')
      AND c.relpersistence <> 't'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    ORDER BY c.relpages DESC, c.oid
    LIMIT 200
),
expected AS (
    SELECT l.*,
           coalesce(dead::float8 / nullif(live + dead, 0), 0) AS dead_share,
           (SELECT CASE
                       WHEN count(*) FILTER (WHERE s.avg_width IS NULL) = 0
                           THEN ceil(coalesce(sum((1 - s.null_frac) * s.avg_width), 0) / 8) * 8
                   END
            FROM pg_attribute a
            LEFT JOIN pg_stats s
                ON s.schemaname = l.nspname
                AND s.tablename = l.relname
                AND s.attname = a.attname
                AND NOT s.inherited
            WHERE a.attrelid = l.oid AND a.attnum > 0 AND NOT a.attisdropped) AS width
    FROM largest l
),
estimated AS (
    SELECT *,
           relpages * page / 1048576 AS size_mb,
           CASE
               WHEN relpages = 0 THEN 0
               ELSE least(1, greatest(0, dead_share,
                    1 - ceil(rows * (28 + width) / ((page - 24) * filled)) / relpages))
           END AS share
    FROM expected
)
SELECT nspname || '.' || relname AS relation,
       size_mb::float8 AS size_mb,
       size_mb > 100 AS large,
       (size_mb * dead_share)::float8 AS dead_mb,
       CASE WHEN width IS NOT NULL THEN size_mb * share END::float8 AS bloat_mb,
       CASE WHEN width IS NOT NULL THEN 100 * share END::float8 AS bloat_pct,
       of_all
FROM estimated
ORDER BY bloat_mb DESC NULLS LAST, size_mb DESC, relation
