/*
purpose: Collations whose library version differs from the one that their indexes were built with
columns:
  kind: database (its default collation) or collation
  name: the database or the collation
  recorded: the version that the indexes were built with; NULL if none was recorded
  actual: the version of the library now; NULL if it has none, such as C
  differs: both are known and not the same
  indexes: indexes of this database that use the collation; NULL for another database
rules:
  - title: Collation versions that changed
    name: changed
    agg: rows
    where: {differs: true}
    each: name
    unit: collations
    warn: 0
    cause: >-
      {value} {has|have} changed since the indexes were built (operating system upgrade): text may
      sort differently, so indexes can miss rows and UNIQUE constraints can fail
    next_step: >-
      REINDEX the indexes of these collations (REINDEX DATABASE CONCURRENTLY), then ALTER DATABASE or
      ALTER COLLATION ... REFRESH VERSION; look for duplicates with amcheck first
    opens: RUN-017
    source: pg_database.datcollversion and pg_collation.collversion, of which PostgreSQL warns itself
figure: {kind: bars, x: indexes, y: name, by: kind, title: Indexes of each collation}
*/
WITH used AS (
    SELECT o.collation_oid, count(*) AS indexes
    FROM (
        SELECT DISTINCT x.indexrelid, x.indcollation[i] AS collation_oid
        FROM pg_index x CROSS JOIN LATERAL generate_series(0, x.indnkeyatts - 1) i
    ) o
    WHERE o.collation_oid <> 0
    GROUP BY 1
)
SELECT kind, name, recorded, actual, coalesce(recorded <> actual, false) AS differs, indexes
FROM (
    SELECT 'database' AS kind,
           d.datname::text AS name,
           d.datcollversion AS recorded,
           pg_database_collation_actual_version(d.oid) AS actual,
           CASE
               WHEN d.datname = current_database()
                   THEN (SELECT coalesce(sum(u.indexes), 0)::bigint
                         FROM used u JOIN pg_collation c ON c.oid = u.collation_oid
                         WHERE c.collprovider = 'd')
           END AS indexes
    FROM pg_database d
    WHERE d.datallowconn
    UNION ALL
    SELECT 'collation',
           n.nspname || '.' || c.collname,
           c.collversion,
           pg_collation_actual_version(c.oid),
           u.indexes
    FROM used u
    JOIN pg_collation c ON c.oid = u.collation_oid AND c.collprovider <> 'd'
    JOIN pg_namespace n ON n.oid = c.collnamespace
) v
ORDER BY differs DESC, indexes DESC NULLS LAST, name
