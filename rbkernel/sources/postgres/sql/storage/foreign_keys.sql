/*
purpose: >-
  Foreign keys without an index on their columns: a change of the referenced table reads all rows
runs_on: primary
columns:
  constraint_name: the foreign key
  relation: the table that it belongs to
  referenced: the table that it refers to
  fields: its columns, in their order
  size_mb: MiB of the table, as of its last vacuum or analyze
  large: more than 10 MiB, so that reading all of it takes time
  changes: rows deleted from the other table, or updated in it, since counted_since
  counted_since: when the counters were reset; NULL since the database was made
rules:
  - title: Foreign keys without an index
    name: without_index
    agg: rows
    where: {large: true}
    ranked: true
    by: relation
    each: constraint_name
    unit: foreign keys
    warn: 0
    cause: >-
      {value} {has|have} no index: each DELETE in the referenced table, and each UPDATE of its key,
      reads a whole table and holds its locks meanwhile: {top}
    next_step: >-
      CREATE INDEX CONCURRENTLY on the columns, if rows of the referenced table are ever deleted
    opens: RUN-017
    source: the manual's chapter on constraints; PostgreSQL makes no such index. 10 MiB is rbkernel's choice
figure: {kind: bars, x: size_mb, y: constraint_name, by: relation, title: Tables that a foreign key without an index reads}
*/
SELECT k.conname::text AS constraint_name,
       n.nspname || '.' || c.relname AS relation,
       m.nspname || '.' || r.relname AS referenced,
       k.fields,
       k.size_mb,
       k.size_mb > 10 AS large,
       pg_stat_get_tuples_deleted(r.oid) + pg_stat_get_tuples_updated(r.oid) AS changes,
       d.stats_reset AS counted_since,
       count(*) OVER () AS of_all
FROM (
    -- a partition has the key of its parent, and one more for each partition that it refers to
    SELECT DISTINCT ON (f.conrelid, f.conkey)
           f.*,
           (c.relpages * current_setting('block_size')::bigint / 1048576.0)::float8 AS size_mb,
           (SELECT string_agg(a.attname, ', ' ORDER BY array_position(f.conkey, a.attnum))
            FROM pg_attribute a
            WHERE a.attrelid = f.conrelid AND a.attnum = ANY (f.conkey)) AS fields
    FROM pg_constraint f
    JOIN pg_class c ON c.oid = f.conrelid AND c.relkind = 'r'
    WHERE f.contype = 'f'
      AND NOT EXISTS (
          SELECT FROM pg_index x
          WHERE x.indrelid = f.conrelid
            AND x.indisvalid
            AND x.indpred IS NULL
            AND cardinality(f.conkey) = (
                SELECT count(*) FROM generate_series(0, least(x.indnkeyatts, cardinality(f.conkey)) - 1) i
                WHERE x.indkey[i] = ANY (f.conkey)))
    ORDER BY f.conrelid, f.conkey, f.oid
) k
JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class r ON r.oid = k.confrelid
JOIN pg_namespace m ON m.oid = r.relnamespace
LEFT JOIN pg_stat_database d ON d.datname = current_database()
ORDER BY k.size_mb DESC, relation, constraint_name
LIMIT 500
