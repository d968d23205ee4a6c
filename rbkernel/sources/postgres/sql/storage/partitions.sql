/*
purpose: Tables partitioned by time, and how long their newest partition lasts
runs_on: primary
columns:
  relation: the partitioned table
  partitions: how many it has
  newest: the newest partition by its bounds
  ends: where that partition ends
  width_s: s that it covers
  left_s: s until it ends; negative when it has ended
  ahead: left_s as a multiple of width_s; below 1 there is no partition for the next period
  over: it has ended, so that no partition takes current rows
  has_default: rows without a partition go to a default partition; else their INSERT fails
  in_use: it ended less than three widths ago, or rows went to the default partition since
rules:
  - title: Future partitions
    column: ahead
    agg: min
    empty: 1
    where: {in_use: true}
    by: relation
    unit: periods ahead
    below: true
    warn: 1
    cause: "A table has no partition for its next period: {value}"
    next_step: >-
      see why the job that creates partitions does not run, and create the next ones by hand
    opens: RUN-017
    source: rbkernel's choice; pg_partman keeps four ahead
  - title: Tables without a current partition
    name: without_current
    agg: rows
    where: {over: true, has_default: false, in_use: true}
    each: relation
    unit: tables
    critical: 0
    cause: "{value} {has|have} no partition for current rows: every INSERT of such a row fails"
    next_step: >-
      create the current partition; then see why the job that creates partitions did not run
    opens: RUN-017
    source: PostgreSQL refuses a row without a partition (SQLSTATE 23514)
figure: {kind: bars, below: true, x: left_s, y: relation, unit: s, title: How long the newest partition lasts}
*/
WITH bound AS (
    SELECT i.inhparent,
           c.oid,
           n.nspname || '.' || c.relname AS name,
           -- without the table: the text of its bounds needs no lock
           pg_get_expr(c.relpartbound, 0) AS bounds,
           pg_stat_get_tuples_inserted(c.oid) AS inserted
    FROM pg_partitioned_table p
    JOIN pg_inherits i ON i.inhparent = p.partrelid
    JOIN pg_class c ON c.oid = i.inhrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
    WHERE p.partstrat = 'r'
      AND p.partnatts = 1
      AND a.atttypid IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype)
),
spanned AS (
    SELECT b.*,
           CAST(substring(bounds FROM 'FROM \(''([^'']+)''\)') AS timestamptz) AS starts,
           CASE
               WHEN bounds LIKE '%TO (MAXVALUE)%' THEN 'infinity'
               ELSE CAST(substring(bounds FROM 'TO \(''([^'']+)''\)') AS timestamptz)
           END AS ends,
           bounds = 'DEFAULT' AS is_default
    FROM bound b
),
newest AS (
    SELECT DISTINCT ON (inhparent) *
    FROM spanned
    WHERE NOT is_default
    ORDER BY inhparent, ends DESC
),
known AS (
    SELECT w.*,
           s.partitions,
           s.default_rows IS NOT NULL AS has_default,
           coalesce(s.default_rows > 0, false) AS default_used,
           extract(epoch FROM w.ends - w.starts)::float8 AS width_s,
           extract(epoch FROM w.ends - clock_timestamp())::float8 AS left_s
    FROM newest w
    JOIN (
        SELECT inhparent, count(*) AS partitions, sum(inserted) FILTER (WHERE is_default) AS default_rows
        FROM spanned
        GROUP BY 1
    ) s USING (inhparent)
    WHERE isfinite(w.ends) AND isfinite(w.starts)
)
SELECT n.nspname || '.' || c.relname AS relation,
       k.partitions,
       k.name AS newest,
       k.ends,
       k.width_s,
       k.left_s,
       k.left_s / k.width_s AS ahead,
       k.left_s <= 0 AS over,
       k.has_default,
       k.left_s / k.width_s > -3 OR k.default_used AS in_use
FROM known k
JOIN pg_class c ON c.oid = k.inhparent
JOIN pg_namespace n ON n.oid = c.relnamespace
ORDER BY ahead, relation
