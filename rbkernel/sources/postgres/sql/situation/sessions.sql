/*
purpose: Every process of the server, what it does, which lock it wants, and who blocks it
needs: [pg_monitor]
columns:
  pid: process id
  leader_pid: pid of the leader, for a parallel worker
  backend_type: client backend, autovacuum worker, walsender, startup, …
  backend_start: with pid, the identity of the session
  application: application_name; empty for none
  username: the role; NULL for background processes
  database: the database; NULL for none
  client: address of the client; NULL for a local socket
  state: as in pg_stat_activity; NULL for background processes, or without the privilege
  state_s: s in this state
  transaction_s: s since the transaction began; NULL outside one
  query_s: s since the query began
  query_start: with pid and backend_start, the identity of the query
  wait_type: wait_event_type
  wait_event: what it waits for
  has_xid: whether it has a transaction id, and so may hold row locks
  writes: whether it may have changed rows or tables that are not committed
  xmin_age: transactions since the oldest snapshot or transaction id that it holds; NULL for none
  strong_lock: the strongest lock on a table that it holds and that blocks writers; NULL for none
  locktype: kind of lock that it waits for; NULL when it waits for none
  mode: mode of that lock
  relation: table or index of that lock or page, as schema.name where it is in this database
  wait_s: >-
    s that it has waited for that lock, NULL in the first moment; for a safe snapshot, s since the
    query began; for a page, s since it and all that may hold the page have done nothing else
  waits_for_xid: transaction id that it waits for, where the lock is a transaction's
  row_relation: oid of the table of the row that it wants, where it wants one in this database
  row_ctid: ctid of that row
  blocked_by: >-
    pids that block it, holders before the queue ahead of it; 0 for a prepared transaction; for a
    page, those that may hold it
  query: what runs, or ran last; first 300 characters
source: >-
  pg_stat_activity, pg_locks and pg_blocking_pids in one statement; the startup process has no
  blockers in pg_blocking_pids, so that those of its lock are taken from pg_locks. VACUUM waits for
  pages that a cursor keeps in use (BufferPin), and PostgreSQL tells nobody's pins: who has one has
  a lock on the table, too
*/
WITH locks AS MATERIALIZED (
    SELECT pid, locktype, database, relation, page, tuple, transactionid, mode, granted, waitstart
    FROM pg_locks
    WHERE pid IS NOT NULL
),
strength (mode, rank) AS (
    VALUES ('ShareLock', 1),
           ('ShareRowExclusiveLock', 2),
           ('ExclusiveLock', 3),
           ('AccessExclusiveLock', 4)
),
-- a statement that changes rows keeps RowExclusiveLock on its table until the transaction ends;
-- a transaction id alone says less: a request for AccessExclusiveLock takes one before it waits
changed AS (
    SELECT DISTINCT pid
    FROM locks
    WHERE granted
      AND locktype = 'relation'
      AND mode IN ('RowExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                   'AccessExclusiveLock')
),
strong AS (
    SELECT DISTINCT ON (l.pid)
           l.pid,
           l.mode || ' on ' || coalesce(n.nspname || '.' || c.relname, 'relation ' || l.relation)
               AS what
    FROM locks l
    JOIN strength s USING (mode)
    LEFT JOIN pg_class c ON c.oid = l.relation
        AND l.database IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE l.granted AND l.locktype = 'relation' AND c.relkind IS DISTINCT FROM 'i'
    ORDER BY l.pid, s.rank DESC, l.relation
),
wanted AS MATERIALIZED (
    SELECT DISTINCT ON (l.pid)
           l.pid, l.locktype, l.mode, l.waitstart, l.transactionid,
           -- a session that waits for a transaction to end has locked the row that it wants
           coalesce(l.relation, t.relation) AS relation,
           coalesce(l.database, t.database) AS database,
           coalesce(l.page, t.page) AS page,
           coalesce(l.tuple, t.tuple) AS tuple
    FROM locks l
    LEFT JOIN locks t ON t.pid = l.pid AND t.granted AND t.locktype = 'tuple'
    WHERE NOT l.granted
    ORDER BY l.pid, l.waitstart
),
-- VACUUM keeps this lock on the table whose page it waits for
paged AS MATERIALIZED (
    SELECT v.pid, min(l.relation::bigint)::oid AS relation, l.database,
           array_agg(DISTINCT o.pid) AS users, max(u.state_change) AS changed
    FROM pg_stat_activity v
    JOIN locks l ON l.pid = v.pid AND l.granted AND l.locktype = 'relation'
        AND l.mode = 'ShareUpdateExclusiveLock'
    JOIN locks o ON o.pid <> v.pid AND o.granted AND o.locktype = 'relation'
        AND o.database = l.database AND o.relation = l.relation
    JOIN pg_stat_activity u ON u.pid = o.pid
    WHERE v.wait_event_type = 'BufferPin'
    GROUP BY v.pid, l.database
)
SELECT a.pid,
       a.leader_pid,
       a.backend_type,
       a.backend_start,
       a.application_name AS application,
       a.usename::text AS username,
       a.datname::text AS database,
       a.client_addr::text AS client,
       a.state,
       extract(epoch FROM clock_timestamp() - a.state_change)::float8 AS state_s,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS transaction_s,
       extract(epoch FROM clock_timestamp() - a.query_start)::float8 AS query_s,
       a.query_start,
       a.wait_event_type AS wait_type,
       a.wait_event,
       a.backend_xid IS NOT NULL AS has_xid,
       a.backend_xid IS NOT NULL AND changed.pid IS NOT NULL AS writes,
       greatest(age(a.backend_xid), age(a.backend_xmin)) AS xmin_age,
       s.what AS strong_lock,
       w.locktype,
       w.mode,
       CASE
           WHEN coalesce(w.relation, p.relation) IS NULL THEN NULL
           WHEN c.oid IS NOT NULL THEN n.nspname || '.' || c.relname
           ELSE 'relation ' || coalesce(w.relation, p.relation) || ' of database ' || coalesce(d.datname, '?')
       END AS relation,
       extract(epoch FROM clock_timestamp() - CASE
           WHEN a.wait_event = 'SafeSnapshot' THEN a.query_start
           WHEN p.pid IS NOT NULL THEN greatest(a.query_start, p.changed)
           ELSE w.waitstart
       END)::float8 AS wait_s,
       w.transactionid::text AS waits_for_xid,
       CASE WHEN w.tuple IS NOT NULL THEN c.oid::bigint END AS row_relation,
       CASE WHEN w.tuple IS NOT NULL THEN format('(%s,%s)', w.page, w.tuple) END AS row_ctid,
       CASE
           WHEN a.wait_event = 'SafeSnapshot' THEN pg_safe_snapshot_blocking_pids(a.pid)
           WHEN p.pid IS NOT NULL THEN p.users
           WHEN w.pid IS NULL THEN ARRAY[]::int[]
           WHEN a.backend_type = 'startup' THEN ARRAY(
               SELECT DISTINCT h.pid
               FROM locks h
               WHERE h.granted
                 AND h.pid <> w.pid
                 AND h.locktype = w.locktype
                 AND h.database = w.database
                 AND h.relation = w.relation)
           ELSE pg_blocking_pids(a.pid)
       END AS blocked_by,
       left(a.query, 300) AS query
FROM pg_stat_activity a
LEFT JOIN wanted w ON w.pid = a.pid
LEFT JOIN strong s ON s.pid = a.pid
LEFT JOIN changed ON changed.pid = a.pid
LEFT JOIN paged p ON p.pid = a.pid
LEFT JOIN pg_database d ON d.oid = coalesce(w.database, p.database)
LEFT JOIN pg_class c ON c.oid = coalesce(w.relation, p.relation)
    AND (coalesce(w.database, p.database) = 0 OR d.datname = current_database())
LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE a.pid <> pg_backend_pid()
ORDER BY a.pid
