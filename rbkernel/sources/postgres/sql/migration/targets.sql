/*
purpose: The tables that a migration changes, how large they are, and which transactions it must wait for
needs: [pg_monitor]
columns:
  relation: SQL name of the table, or of its index, as given
  meant: with its schema; a row for each schema that has such a table; NULL if there is none
  known: there is such a table
  partitioned: it is a partitioned table, or an index of one
  rows: rows, estimated
  size_mb: MiB of the table with its partitions, indexes and TOAST, as of the last vacuum or analyze; NULL if not analyzed
  users: sessions and prepared transactions that hold a lock on the table, its partitions or its parent now
  oldest_s: >-
    s since the oldest transaction began that holds a lock on it for which the statement would have to
    wait, with others behind it; 0 for none
  oldest: application_name and process id of that transaction, or the name of a prepared one; empty for none
  patient_s: >-
    s since the oldest transaction began that holds a lock on it, or a snapshot in this database, if the
    statement is CONCURRENTLY and may have to wait for it, with nobody behind it; 0 for none
  autovacuum: autovacuum works on it; it gives way, except against wraparound
  sampled_at: the server's clock
parameters:
  tables: {help: "SQL names of the tables, separated by commas", default: ""}
  blocks:
    help: >-
      for each of the tables, whom the statement keeps waiting: nobody; nobody, patiently
      (CONCURRENTLY); writes; writes of rows (UPDATE, DELETE); or reads and writes, which is assumed
      where nothing is given; separated by semicolons
    default: ""
rules:
  - title: Tables that do not exist
    name: missing
    agg: rows
    where: {known: false}
    each: relation
    unit: tables
    warn: 0
    cause: "{value} {is|are} not in this database: {which}"
    next_step: >-
      see whether the connection leads to the right database, and whether the name needs its schema
    opens: RUN-004
    source: pg_class
  - title: Open transactions on the tables
    name: oldest_s
    column: oldest_s
    empty: 0
    by: oldest
    unit: s
    warn: 5
    cause: >-
      A transaction that has used a table for {value} is open: {top}. The statement would wait for
      it, and all later queries would wait behind the statement
    next_step: wait until it ends, or ask its owner to commit; run the statement with a lock_timeout
    opens: RUN-004
    source: rbkernel's choice; a wait of some seconds is what users of the table notice
  - title: Open transactions that CONCURRENTLY may wait for
    name: patient_s
    column: patient_s
    empty: 0
    unit: s
    warn: 5
    cause: >-
      A transaction has been open for {value}: CONCURRENTLY may have to wait until it ends, without limit;
      nobody waits behind it
    next_step: >-
      run it all the same, or first ask the owner of that transaction (activity/long_queries) to end it; when
      it is cancelled, something invalid is left behind
    opens: RUN-004
    source: as above
figure: {kind: bars, x: size_mb, y: relation, title: Tables of the migration}
*/
SELECT t.relation,
       quote_ident(s.nspname) || '.' || quote_ident(c.relname) AS meant,
       c.oid IS NOT NULL AS known,
       coalesce(c.relkind = 'p', false) AS partitioned,
       greatest(c.reltuples, pg_stat_get_live_tuples(c.oid))::bigint AS rows,
       CASE WHEN NOT coalesce(p.unknown, false)
           THEN (p.pages * current_setting('block_size')::bigint / 1048576.0)::float8
       END AS size_mb,
       coalesce(l.users, 0) AS users,
       coalesce(l.oldest_s, 0) AS oldest_s,
       coalesce(l.oldest, '') AS oldest,
       CASE WHEN t.blocks = 'nobody, patiently' THEN greatest(l.any_s, (
           SELECT max(extract(epoch FROM clock_timestamp() - xact_start))
           FROM pg_stat_activity
           WHERE datname = current_database()
             AND backend_xmin IS NOT NULL
             AND backend_type = 'client backend'
             AND pid <> pg_backend_pid()
       ), 0) ELSE 0 END::float8 AS patient_s,
       coalesce(l.autovacuum, false) AS autovacuum,
       clock_timestamp() AS sampled_at
FROM (
    SELECT relation, blocks
    FROM unnest(regexp_split_to_array(:tables, ' *, *'), regexp_split_to_array(:blocks, ' *; *'))
         AS r (relation, blocks)
    WHERE relation <> ''
) t
-- a name without a schema is looked for in all schemas: which one the migration means is not known
LEFT JOIN LATERAL (
    SELECT to_regclass(t.relation)::oid AS oid
    WHERE array_length(parse_ident(t.relation), 1) > 1
    UNION
    SELECT x.oid
    FROM pg_class x
    JOIN pg_namespace n ON n.oid = x.relnamespace
    WHERE x.relname = (parse_ident(t.relation))[1]
      AND array_length(parse_ident(t.relation), 1) = 1
      AND x.relkind IN ('r', 'p', 'm', 'f', 'v', 'i', 'I')
      AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND n.nspname NOT LIKE 'pg\_temp%'
) m ON true
LEFT JOIN pg_index d ON d.indexrelid = m.oid
LEFT JOIN pg_class c ON c.oid = coalesce(d.indrelid, m.oid)
LEFT JOIN pg_namespace s ON s.oid = c.relnamespace
LEFT JOIN LATERAL (
    WITH RECURSIVE parts (oid) AS (
        SELECT c.oid
        UNION
        SELECT h.inhrelid FROM pg_inherits h JOIN parts ON parts.oid = h.inhparent
    )
    SELECT array_agg(oid) AS oids FROM parts
) f ON true
LEFT JOIN LATERAL (
    SELECT sum(greatest(i.relpages, 0)) AS pages,
           -- a TOAST table in which nothing was ever written is never vacuumed
           bool_or(i.reltuples < 0 AND (i.relkind IN ('r', 'm', 'f') OR i.relkind = 't'
                   AND pg_stat_get_live_tuples(i.oid) > 0)) AS unknown
    FROM pg_class i
    WHERE i.oid IN (
        SELECT u.oid FROM unnest(f.oids) AS u (oid)
        UNION
        SELECT x.reltoastrelid FROM pg_class x WHERE x.oid = ANY (f.oids)
        UNION
        SELECT x.indexrelid
        FROM pg_index x
        JOIN pg_class o ON x.indrelid IN (o.oid, o.reltoastrelid)
        WHERE o.oid = ANY (f.oids)
    )
) p ON true
LEFT JOIN LATERAL (
    SELECT count(DISTINCT coalesce(a.pid::text, x.gid)) AS users,
           max(extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, x.prepared)))
               FILTER (WHERE w.waits)::float8 AS oldest_s,
           max(extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, x.prepared)))
               FILTER (WHERE a.backend_type IS DISTINCT FROM 'autovacuum worker') AS any_s,
           (array_agg(coalesce(a.application_name || ', pid ' || a.pid,
                               'prepared transaction ' || x.gid)
                      ORDER BY coalesce(a.xact_start, x.prepared))
               FILTER (WHERE w.waits))[1] AS oldest,
           coalesce(bool_or(a.backend_type = 'autovacuum worker'), false) AS autovacuum
    FROM pg_locks k
    LEFT JOIN pg_stat_activity a ON a.pid = k.pid
    -- a prepared transaction has no process; the lock on its own number tells which one it is
    LEFT JOIN pg_locks o
        ON k.pid IS NULL AND o.pid IS NULL AND o.locktype = 'transactionid' AND o.granted
       AND o.virtualtransaction = k.virtualtransaction
    LEFT JOIN pg_prepared_xacts x ON x.transaction = o.transactionid
    -- a lock that lets readers go on waits for no reader; one that lets all go on has nobody behind it;
    -- autovacuum gives way, except against wraparound
    CROSS JOIN LATERAL (
        SELECT (a.backend_type IS DISTINCT FROM 'autovacuum worker'
                OR a.query LIKE '%(to prevent wraparound)')
           AND CASE t.blocks
                   WHEN 'nobody' THEN false
                   WHEN 'nobody, patiently' THEN false
                   WHEN 'writes' THEN k.mode NOT IN ('AccessShareLock', 'RowShareLock')
                   -- SELECT ... FOR UPDATE may have locked the rows
                   WHEN 'writes of rows' THEN k.mode <> 'AccessShareLock'
                   ELSE true
               END AS waits
    ) w
    WHERE k.relation IN (
        SELECT u.oid FROM unnest(f.oids) AS u (oid)
        UNION
        -- a DROP of a partition locks its parent too
        SELECT h.inhparent FROM pg_inherits h WHERE h.inhrelid = c.oid
    )
      AND k.locktype = 'relation'
      AND k.mode <> 'SIReadLock'
      AND k.granted
      AND k.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND k.pid IS DISTINCT FROM pg_backend_pid()
) l ON true
ORDER BY t.relation, meant
