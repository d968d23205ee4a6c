/*
purpose: What keeps vacuum from removing dead rows, oldest first
needs: [pg_monitor]
columns:
  kind: session, standby (its hot_standby_feedback), slot, slot (catalog), or prepared transaction
  holder: application, standby, slot or name of the prepared transaction
  pid: process id; NULL for a slot or prepared transaction
  database: the database; NULL when it holds back all of them
  xmin_age: transactions begun since; all rows that died since are kept
  held_s: s since its transaction began; NULL for a slot or standby
  detail: state and query, or status
rules:
  - title: Vacuum horizon
    column: xmin_age
    empty: 0
    ranked: true
    by: holder
    unit: transactions
    warn: 10000000
    critical: 100000000
    cause: "Vacuum keeps the dead rows of the last {value}, because of: {top}"
    next_step: >-
      terminate the session, end the prepared transaction, drop the slot if it is not needed, or
      find the old query on the standby
    opens: RUN-019
    source: rbkernel's choice; critical is half of autovacuum_freeze_max_age, by default
figure: {kind: bars, x: xmin_age, y: holder, by: kind, title: How far back each keeps dead rows}
cut: {detail: 220}
*/
SELECT kind, holder, pid, database, xmin_age, held_s, detail, count(*) OVER () AS of_all
FROM (
    SELECT CASE WHEN backend_type = 'walsender' THEN 'standby' ELSE 'session' END AS kind,
           coalesce(nullif(application_name, ''), backend_type) AS holder,
           pid,
           datname::text AS database,
           greatest(age(backend_xmin), age(backend_xid)) AS xmin_age,
           extract(epoch FROM clock_timestamp() - xact_start)::float8 AS held_s,
           concat_ws(': ', state, query) AS detail
    FROM pg_stat_activity
    WHERE (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND pid <> pg_backend_pid()
    UNION ALL
    SELECT 'slot', slot_name::text, active_pid, database::text, age(xmin), NULL, wal_status
    FROM pg_replication_slots
    WHERE xmin IS NOT NULL
    UNION ALL
    SELECT 'slot (catalog)', slot_name::text, active_pid, database::text, age(catalog_xmin), NULL,
           wal_status
    FROM pg_replication_slots
    WHERE catalog_xmin IS NOT NULL
    UNION ALL
    SELECT 'prepared transaction', gid, NULL, database::text, age(transaction),
           extract(epoch FROM clock_timestamp() - prepared)::float8, 'prepared by ' || owner
    FROM pg_prepared_xacts
) held
ORDER BY xmin_age DESC, held_s DESC NULLS LAST, holder
LIMIT 100
