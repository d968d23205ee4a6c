/*
purpose: Which sessions wait for a lock, which sessions block them, and the blocker at the root
needs: [pg_monitor]
columns:
  pid: process id of a session that waits or blocks; 0 for prepared transactions
  backend_start: with pid, the identity of the session; for 0 when the oldest was prepared
  root: pid of the session at the root; NULL in a deadlock that is not yet resolved
  roots: pids of all roots that it waits for, directly or not
  blocked_by: pids that it waits for directly, holders before the queue ahead of it; the first ten
  depth: 0 for a root, 1 for those whom it blocks, and so on; NULL in a deadlock
  waits: how many sessions wait behind it, directly or not
  waiting: it waits for a lock itself
  wait_s: s that it has been waiting; NULL for a root
  locktype: kind of what it waits for (relation, transactionid, tuple, advisory, …)
  mode: lock mode that it asks for
  relation: table or index concerned, if there is one
  state: active, idle in transaction, …, or prepared
  query_start: with pid and backend_start, the identity of the query
  transaction_s: s since its transaction began or was prepared
  database: the database
  application: application_name, or the type of the process
  username: the role
  client: address of the client; NULL for a local socket
  query: what runs, or ran last; first 300 characters; the names of the prepared transactions
rules:
  - title: Longest wait for a lock
    column: wait_s
    empty: 0
    where: {waiting: true}
    by: application
    unit: s
    warn: 5
    critical: 30
    cause: "A session has been waiting for a lock for {value}, by application: {top}"
    next_step: "find the root of the tree: the blocker must commit or be terminated"
    opens: RUN-007
    source: >-
      log_lock_waits reports from deadlock_timeout (1 s) on, 5 s is more than a short wait; 30 s is
      the usual time-out of the requests behind it
figure: {kind: bars, x: waits, y: pid, by: depth, title: How many wait behind each session}
source: pg_blocking_pids, the only right answer; it knows lock modes, queues and parallel groups
cut: {query: 300}
*/
WITH RECURSIVE activity AS MATERIALIZED (
    SELECT pid, leader_pid, backend_type, backend_start, datname, application_name, usename,
           client_addr, state, xact_start, query_start, wait_event_type, query
    FROM pg_stat_activity
    WHERE pid <> pg_backend_pid()
),
-- a parallel worker waits on behalf of its leader, and pg_blocking_pids asks the whole group
waiting AS MATERIALIZED (
    SELECT pid AS member,
           CASE WHEN backend_type = 'parallel worker' THEN coalesce(leader_pid, pid) ELSE pid END
               AS pid
    FROM activity
    WHERE wait_event_type = 'Lock'
),
locks AS MATERIALIZED (
    SELECT pid, locktype, database, relation, transactionid, virtualtransaction, mode, granted,
           waitstart,
           -- what is locked; which of these are NULL depends on the kind alone
           concat_ws('/', locktype, database, relation, page, tuple, virtualxid, transactionid,
                     classid, objid, objsubid) AS target
    FROM pg_locks
    WHERE NOT granted OR locktype = 'tuple' OR pid IS NULL
),
asked AS MATERIALIZED (
    SELECT DISTINCT ON (w.pid)
           w.pid, l.locktype, l.mode, l.target,
           -- who waits for a transaction to end has locked the row that it wants
           coalesce(l.relation, t.relation) AS relation,
           coalesce(l.database, t.database) AS database,
           -- waitstart is NULL for a moment after the wait began
           coalesce(l.waitstart, clock_timestamp()) AS since
    FROM locks l
    JOIN waiting w ON w.member = l.pid
    LEFT JOIN locks t ON t.pid = l.pid AND t.granted AND t.locktype = 'tuple'
    WHERE NOT l.granted
    ORDER BY w.pid, l.waitstart
),
blocked AS (
    SELECT *, pg_blocking_pids(pid) AS blockers
    FROM asked
),
waiter AS MATERIALIZED (
    SELECT *, cardinality(blockers) AS many
    FROM blocked
    WHERE cardinality(blockers) > 0
),
-- Two that want the same lock in the same mode have the same blockers, and the later one those in
-- between besides: holders come first in the list, then the queue in its order. So a queue of n
-- needs n steps and not the n * n of all lists; where a list does not begin like the one before, it
-- is taken whole
queued AS (
    SELECT *,
           lag(pid) OVER alike AS before,
           lag(blockers) OVER alike AS known,
           lag(many) OVER alike AS known_many
    FROM waiter
    WINDOW alike AS (PARTITION BY target, mode ORDER BY many, since, pid)
),
compared AS (
    SELECT pid, before, blockers, many, known_many,
           coalesce(blockers[1 : known_many] = known, false) AS extends
    FROM queued
),
fresh AS MATERIALIZED (
    SELECT DISTINCT c.pid, b.blocker, w.pid IS NULL AS is_root
    FROM compared c
    CROSS JOIN LATERAL unnest(
        CASE WHEN c.extends THEN c.blockers[c.known_many + 1 : c.many] ELSE c.blockers END
    ) AS b (blocker)
    LEFT JOIN waiter w ON w.pid = b.blocker
),
step AS MATERIALIZED (
    SELECT pid, before AS next FROM compared WHERE extends
    UNION
    SELECT pid, blocker FROM fresh WHERE NOT is_root
),
reach (pid, at) AS (
    SELECT pid, pid FROM waiter
    UNION
    SELECT r.pid, s.next FROM reach r JOIN step s ON s.pid = r.at
),
behind AS MATERIALIZED (
    SELECT DISTINCT r.pid, f.blocker, f.is_root
    FROM reach r
    JOIN fresh f ON f.pid = r.at
),
-- for the tree each hangs under the first of its blockers: a holder if there is one, else the head
-- of the queue
tree (pid, root, depth) AS (
    SELECT DISTINCT blocker, blocker, 0 FROM fresh WHERE is_root
    UNION
    SELECT w.pid, t.root, t.depth + 1 FROM tree t JOIN waiter w ON w.blockers[1] = t.pid
),
counted AS (
    SELECT blocker AS pid, count(*) FILTER (WHERE pid <> blocker)::int AS waits
    FROM behind
    GROUP BY 1
),
origin AS (
    SELECT b.pid,
           min(b.blocker) AS first,
           string_agg(b.blocker::text, ', ' ORDER BY b.blocker) AS roots
    FROM behind b
    WHERE b.is_root
    GROUP BY 1
),
node AS (
    SELECT pid FROM waiter
    UNION
    SELECT blocker FROM fresh
),
conflict (held, wanted) AS (
    VALUES ('AccessShareLock', '{AccessExclusiveLock}'::text[]),
           ('RowShareLock', '{ExclusiveLock,AccessExclusiveLock}'),
           ('RowExclusiveLock',
            '{ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'),
           ('ShareUpdateExclusiveLock',
            '{ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'),
           ('ShareLock',
            '{RowExclusiveLock,ShareUpdateExclusiveLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'),
           ('ShareRowExclusiveLock',
            '{RowExclusiveLock,ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'),
           ('ExclusiveLock',
            '{RowShareLock,RowExclusiveLock,ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'),
           ('AccessExclusiveLock',
            '{AccessShareLock,RowShareLock,RowExclusiveLock,ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}')
),
-- pg_blocking_pids calls every prepared transaction 0: find those that hold what is waited for
prepared AS (
    SELECT string_agg(DISTINCT p.gid, ', ') AS names,
           min(p.prepared) AS since,
           string_agg(DISTINCT p.owner::text, ', ') AS owners,
           string_agg(DISTINCT p.database::text, ', ') AS databases
    FROM fresh f
    JOIN waiter w ON w.pid = f.pid
    JOIN locks h ON h.pid IS NULL AND h.granted AND h.target = w.target
    JOIN conflict c ON c.held = h.mode AND w.mode = ANY (c.wanted)
    -- each holds the lock of its own transaction id, too
    JOIN locks x ON x.pid IS NULL
        AND x.locktype = 'transactionid'
        AND x.virtualtransaction = h.virtualtransaction
    JOIN pg_prepared_xacts p ON p.transaction = x.transactionid
    WHERE f.blocker = 0
)
SELECT n.pid,
       CASE WHEN n.pid = 0 THEN p.since ELSE a.backend_start END AS backend_start,
       coalesce(t.root, o.first) AS root,
       CASE WHEN w.pid IS NULL THEN n.pid::text ELSE o.roots END AS roots,
       array_to_string(w.blockers[1 : 10], ', ')
           || CASE WHEN w.many > 10 THEN ' and ' || w.many - 10 || ' more' ELSE '' END AS blocked_by,
       t.depth,
       coalesce(b.waits, 0) AS waits,
       w.pid IS NOT NULL AS waiting,
       extract(epoch FROM clock_timestamp() - w.since)::float8 AS wait_s,
       w.locktype,
       w.mode,
       CASE
           WHEN w.relation IS NULL THEN NULL
           WHEN c.oid IS NOT NULL THEN s.nspname || '.' || c.relname
           ELSE 'relation ' || w.relation || ' of database ' || coalesce(d.datname, '?')
       END AS relation,
       CASE WHEN n.pid = 0 THEN 'prepared' ELSE a.state END AS state,
       a.query_start,
       extract(epoch FROM clock_timestamp() - CASE WHEN n.pid = 0 THEN p.since ELSE a.xact_start END
       )::float8 AS transaction_s,
       CASE WHEN n.pid = 0 THEN p.databases ELSE a.datname::text END AS database,
       CASE
           WHEN n.pid = 0 THEN 'prepared transactions'
           ELSE coalesce(nullif(a.application_name, ''), a.backend_type)
       END AS application,
       CASE WHEN n.pid = 0 THEN p.owners ELSE a.usename::text END AS username,
       a.client_addr::text AS client,
       CASE WHEN n.pid = 0 THEN p.names ELSE a.query END AS query
FROM node n
CROSS JOIN prepared p
LEFT JOIN activity a ON a.pid = n.pid
LEFT JOIN waiter w ON w.pid = n.pid
LEFT JOIN tree t ON t.pid = n.pid
LEFT JOIN origin o ON o.pid = n.pid
LEFT JOIN counted b ON b.pid = n.pid
LEFT JOIN pg_database d ON d.oid = w.database
LEFT JOIN pg_class c ON c.oid = w.relation AND (w.database = 0 OR d.datname = current_database())
LEFT JOIN pg_namespace s ON s.oid = c.relnamespace
ORDER BY root, t.depth, wait_s DESC, n.pid
