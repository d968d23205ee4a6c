/*
purpose: What an interrupted migration leaves behind, and what a running one is building
runs_on: primary
columns:
  relation: the table
  object: the index, constraint or partition
  problem: half-built index, constraint not validated, partition half detached
  building: >-
    somebody builds, drops or detaches it now, or works on its table under such a lock, so that it is
    not left behind as long as that runs
  repair: SQL that finishes it
  undo: SQL that removes it
  objects: how many objects of the table are listed
  sampled_at: the server's clock
rules:
  - title: Half-way migrations
    name: half_way
    agg: rows
    where: {building: false, problem: [half-built index, partition half detached]}
    each: object
    unit: objects
    warn: 0
    cause: "{value} {was|were} left behind by a migration that did not finish: {which}"
    next_step: finish or remove it before the next migration runs; the columns repair and undo say how
    opens: RUN-004
    source: pg_index.indisvalid, pg_inherits.inhdetachpending; locks on the tables
  - title: Constraints that are not validated
    name: not_validated
    agg: rows
    where: {building: false, problem: constraint not validated}
    each: object
    unit: constraints
    warn: 0
    cause: "{value} {holds|hold} for new rows only: older rows may break {it|them}: {which}"
    next_step: ALTER TABLE … VALIDATE CONSTRAINT, in a transaction of its own; or the second half of a migration is missing
    opens: RUN-004
    source: pg_constraint.convalidated
figure: {kind: bars, x: objects, y: relation, title: Left behind}
*/
WITH busy AS MATERIALIZED (
    -- tables on which somebody builds, drops or detaches; VACUUM and ANALYZE take the same lock
    SELECT l.relation
    FROM pg_locks l
    JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'relation'
      AND l.granted
      AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock',
                     'ExclusiveLock', 'AccessExclusiveLock')
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.pid NOT IN (SELECT pid FROM pg_stat_progress_vacuum
                        UNION ALL SELECT pid FROM pg_stat_progress_analyze)
      AND a.backend_type IS DISTINCT FROM 'autovacuum worker'
),
detaching AS MATERIALIZED (
    -- DETACH PARTITION CONCURRENTLY has no lock on a table while it waits for old transactions
    SELECT count(*) > 0 AS possible
    FROM pg_locks l
    JOIN pg_stat_activity a ON a.pid = l.pid AND a.datname = current_database()
    WHERE l.locktype = 'virtualxid' AND NOT l.granted
)
SELECT relation, object, problem, building, repair, undo,
       count(*) OVER (PARTITION BY relation) AS objects,
       clock_timestamp() AS sampled_at
FROM (
    SELECT quote_ident(n.nspname) || '.' || quote_ident(t.relname) AS relation,
           quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS object,
           'half-built index' AS problem,
           i.indrelid IN (SELECT relation FROM busy) AS building,
           -- what REINDEX CONCURRENTLY left behind has its original beside it
           CASE WHEN c.relname ~ '_cc(new|old)[0-9]*$' THEN 'DROP' ELSE 'REINDEX' END
               || ' INDEX CONCURRENTLY ' || quote_ident(n.nspname) || '.' || quote_ident(c.relname)
               AS repair,
           'DROP INDEX CONCURRENTLY ' || quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS undo
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid AND c.relkind = 'i'
    JOIN pg_class t ON t.oid = i.indrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT (i.indisvalid AND i.indisready AND i.indislive)
    UNION ALL
    SELECT quote_ident(n.nspname) || '.' || quote_ident(t.relname),
           quote_ident(o.conname),
           'constraint not validated',
           false,
           'ALTER TABLE ' || quote_ident(n.nspname) || '.' || quote_ident(t.relname)
               || ' VALIDATE CONSTRAINT ' || quote_ident(o.conname),
           'ALTER TABLE ' || quote_ident(n.nspname) || '.' || quote_ident(t.relname)
               || ' DROP CONSTRAINT ' || quote_ident(o.conname)
    FROM pg_constraint o
    JOIN pg_class t ON t.oid = o.conrelid
    JOIN pg_namespace n ON n.oid = t.relnamespace
    WHERE NOT o.convalidated AND o.contype IN ('c', 'f', 'n')
    UNION ALL
    SELECT quote_ident(pn.nspname) || '.' || quote_ident(p.relname),
           quote_ident(n.nspname) || '.' || quote_ident(c.relname),
           'partition half detached',
           d.possible OR h.inhparent IN (SELECT relation FROM busy)
               OR h.inhrelid IN (SELECT relation FROM busy),
           'ALTER TABLE ' || quote_ident(pn.nspname) || '.' || quote_ident(p.relname)
               || ' DETACH PARTITION ' || quote_ident(n.nspname) || '.' || quote_ident(c.relname)
               || ' FINALIZE',
           NULL
    FROM pg_inherits h
    CROSS JOIN detaching d
    JOIN pg_class c ON c.oid = h.inhrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_class p ON p.oid = h.inhparent
    JOIN pg_namespace pn ON pn.oid = p.relnamespace
    WHERE h.inhdetachpending
) f
ORDER BY relation, object
