/*
purpose: Tables whose autovacuum is overdue, and the reason
runs_on: primary
needs: [pg_monitor]
columns:
  relation: the table
  dead: rows that died and still take room, estimated
  vacuum_due_at: dead rows at which autovacuum vacuums this table
  dead_of_due: dead as a multiple of vacuum_due_at
  why: >-
    switched off, blocked by a lock, in progress, held back, just vacuumed, workers busy, or not come by; the first
    that is true
  slow: its vacuum has been running for longer than :slow_s
  detail: who or what it is
  pid: process id of who holds the lock or the horizon, or of the worker; NULL otherwise
  since_s: s for which that has lasted; NULL if nobody knows
  last_vacuum_s: s since the last vacuum; NULL when never counted
parameters:
  held_s:
    help: s, how long a transaction, a lock or busy workers must have lasted to count
    default: 60
  slow_s: {help: "s, how long a vacuum may run", default: 3600}
rules:
  - title: Overdue tables with autovacuum off
    name: switched_off
    agg: rows
    where: {why: switched off}
    each: relation
    unit: tables
    warn: 0
    cause: "{value} {needs|need} a vacuum, and autovacuum is switched off for {it|them}"
    next_step: >-
      VACUUM them; then turn on autovacuum (and track_counts), and ALTER TABLE ... RESET
      (autovacuum_enabled)
    opens: RUN-019
    source: pg_class.reloptions and pg_settings
  - title: Overdue tables blocked by a lock
    name: blocked
    agg: rows
    where: {why: blocked by a lock}
    by: detail
    each: relation
    unit: tables
    warn: 0
    cause: "Autovacuum skips {value}, because it cannot get the lock: {top}"
    next_step: the blocker must commit or be terminated; find out why it holds the lock for so long
    opens: RUN-019
    source: autovacuum skips a table that it cannot lock at once; 60 s is autovacuum_naptime by default
  - title: Overdue tables held back from vacuum
    name: held_back
    agg: rows
    where: {why: held back}
    by: detail
    each: relation
    unit: tables
    warn: 0
    cause: >-
      Vacuum could not remove the dead rows of {value}, because they may still be visible to: {top}
    next_step: end that transaction, or let its slot catch up or drop it (vacuum/xmin)
    opens: RUN-019
    source: the oldest transaction is older than the last vacuum, and than 60 s, which is rbkernel's choice
  - title: Overdue tables waiting for a worker
    name: waiting_for_worker
    agg: rows
    where: {why: workers busy}
    each: relation
    unit: tables
    warn: 0
    cause: "{value} {waits|wait} for an autovacuum worker; all workers are busy"
    next_step: >-
      see the progress of the running vacuums (vacuum/progress); raise autovacuum_vacuum_cost_limit,
      then autovacuum_max_workers
    opens: RUN-019
    source: as many workers as autovacuum_max_workers, each for 60 s, which is rbkernel's choice
  - title: Overdue tables with a slow vacuum
    name: slow
    agg: rows
    where: {slow: true}
    by: detail
    each: relation
    unit: tables
    warn: 0
    cause: "The vacuum of {value} has been running for too long: {top}"
    next_step: >-
      if the disks are not busy, raise autovacuum_vacuum_cost_limit or lower
      autovacuum_vacuum_cost_delay; see vacuum/progress
    opens: RUN-019
    source: rbkernel's choice; an hour
figure: {kind: bars, x: dead_of_due, y: relation, by: why, title: Dead rows as a multiple of what autovacuum waits for}
cut: {detail: 120}
source: >-
  tables with at least twice the dead rows that autovacuum waits for, as in vacuum/tables, which
  judges those that it has not come by
*/
WITH known AS MATERIALIZED (
    SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS relation,
           pg_stat_get_dead_tuples(c.oid) AS dead,
           greatest(pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid))
               AS vacuumed,
           o.autovacuum,
           least(o.base + o.scale * greatest(c.reltuples, 0), o.most) AS vacuum_due_at
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL (
        SELECT coalesce(max(value) FILTER (WHERE name = 'autovacuum_enabled'), 'true')
                   NOT IN ('false', 'off', 'no', '0', 'f', 'n') AS autovacuum,
               coalesce(max(value) FILTER (WHERE name = 'autovacuum_vacuum_threshold'),
                        current_setting('autovacuum_vacuum_threshold'))::float8 AS base,
               coalesce(max(value) FILTER (WHERE name = 'autovacuum_vacuum_scale_factor'),
                        current_setting('autovacuum_vacuum_scale_factor'))::float8 AS scale,
               nullif(coalesce(
                   max(value) FILTER (WHERE name = 'autovacuum_vacuum_max_threshold'),
                   current_setting('autovacuum_vacuum_max_threshold', true))::float8, -1) AS most
        FROM (
            SELECT split_part(option, '=', 1) AS name, split_part(option, '=', 2) AS value
            FROM unnest(c.reloptions) AS option
        ) r
    ) o
    WHERE c.relkind IN ('r', 'm')
      AND c.relpersistence <> 't'
      AND pg_stat_get_dead_tuples(c.oid) > 0
      AND n.nspname NOT IN ('pg_catalog', 'information_schema')
),
behind AS MATERIALIZED (
    SELECT *, dead / greatest(vacuum_due_at, 1) AS dead_of_due,
           coalesce(clock_timestamp() - vacuumed > 2 * interval '1 s' * (
               SELECT setting::int FROM pg_settings WHERE name = 'autovacuum_naptime'), true) AS had_time
    FROM known
    WHERE dead >= 2 * greatest(vacuum_due_at, 1)
),
-- whoever has the table in a mode that a vacuum conflicts with
holder AS MATERIALIZED (
    SELECT DISTINCT ON (l.relation) l.relation AS oid, l.pid, a.xact_start, a.backend_type,
           concat_ws(' ', coalesce(nullif(a.application_name, ''), a.backend_type,
                                   'a prepared transaction'),
                     CASE WHEN l.pid IS NOT NULL THEN '(pid ' || l.pid || ')' END) AS who
    FROM pg_locks l
    LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'relation'
      AND l.granted
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock',
                     'ExclusiveLock', 'AccessExclusiveLock')
      AND NOT EXISTS (SELECT FROM pg_stat_progress_vacuum v WHERE v.pid = l.pid AND v.relid = l.relation)
      AND coalesce(a.xact_start <= clock_timestamp() - make_interval(secs => :held_s), true)
    ORDER BY l.relation, a.xact_start NULLS FIRST
),
-- what still sees the oldest rows of this database
horizon AS MATERIALIZED (
    SELECT * FROM (
        SELECT concat_ws(' ', coalesce(nullif(application_name, ''), backend_type), '(pid ' || pid || ')')
                   AS who,
               pid, xact_start AS since, greatest(age(backend_xmin), age(backend_xid)) AS xmin_age
        FROM pg_stat_activity
        WHERE (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
          AND pid <> pg_backend_pid()
          AND backend_type <> 'autovacuum worker'
          AND (datname = current_database() OR datname IS NULL)
        UNION ALL
        SELECT 'the slot ' || slot_name, active_pid, NULL, age(xmin)
        FROM pg_replication_slots WHERE xmin IS NOT NULL
        UNION ALL
        SELECT 'the prepared transaction ' || gid, NULL, prepared, age(transaction)
        FROM pg_prepared_xacts WHERE database = current_database()
    ) h
    WHERE xmin_age > 0
      AND coalesce(since <= clock_timestamp() - make_interval(secs => :held_s), true)
    ORDER BY xmin_age DESC
    LIMIT 1
),
explained AS (
    SELECT b.*,
           w.pid IS NOT NULL AND r.since < clock_timestamp() - make_interval(secs => :slow_s) AS slow,
           CASE
               WHEN NOT b.autovacuum OR current_setting('autovacuum') = 'off'
                    OR current_setting('track_counts') = 'off' THEN 'switched off'
               WHEN o.oid IS NOT NULL THEN 'blocked by a lock'
               WHEN w.pid IS NOT NULL THEN 'in progress'
               WHEN h.xmin_age IS NOT NULL AND coalesce(h.since < b.vacuumed, h.pid IS NULL AND b.vacuumed IS NOT NULL)
                   THEN 'held back'
               WHEN NOT b.had_time THEN 'just vacuumed'
               WHEN v.busy >= current_setting('autovacuum_max_workers')::int THEN 'workers busy'
               ELSE 'not come by'
           END AS why,
           o.who AS locker, o.pid AS locker_pid, o.xact_start AS locked,
           w.pid AS worker_pid, w.phase || r.slowed AS phase, r.since AS working,
           h.who AS keeper, h.pid AS keeper_pid, h.since AS kept
    FROM behind b
    LEFT JOIN holder o ON o.oid = b.oid
    LEFT JOIN pg_stat_progress_vacuum w
        ON w.relid = b.oid AND w.datname = current_database()
    LEFT JOIN LATERAL (
        SELECT xact_start AS since,
               CASE WHEN wait_event = 'VacuumDelay' THEN ', slowed by its cost limit' ELSE '' END AS slowed
        FROM pg_stat_activity a WHERE a.pid = w.pid
    ) r ON true
    LEFT JOIN horizon h ON true
    CROSS JOIN (
        SELECT count(*) AS busy FROM pg_stat_activity
        WHERE backend_type = 'autovacuum worker'
          AND xact_start <= clock_timestamp() - make_interval(secs => :held_s)
    ) v
)
SELECT relation, dead, vacuum_due_at, dead_of_due, why, slow,
       CASE why
           WHEN 'switched off' THEN
               CASE
                   WHEN NOT autovacuum THEN 'autovacuum_enabled of the table'
                   WHEN current_setting('autovacuum') = 'off' THEN 'autovacuum of the server'
                   ELSE 'track_counts of the server'
               END
           WHEN 'blocked by a lock' THEN locker
           WHEN 'in progress' THEN phase
           WHEN 'held back' THEN keeper
       END AS detail,
       CASE why
           WHEN 'blocked by a lock' THEN locker_pid
           WHEN 'in progress' THEN worker_pid
           WHEN 'held back' THEN keeper_pid
       END AS pid,
       extract(epoch FROM clock_timestamp() - CASE why
           WHEN 'blocked by a lock' THEN locked
           WHEN 'in progress' THEN working
           WHEN 'held back' THEN kept
       END)::float8 AS since_s,
       extract(epoch FROM clock_timestamp() - vacuumed)::float8 AS last_vacuum_s
FROM explained
ORDER BY dead_of_due DESC, relation
