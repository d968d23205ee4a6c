/*
purpose: How close each database is to transaction ID wraparound
columns:
  database: the database
  xid_age: transactions since its oldest row that is not frozen
  multixact_age: multixacts since the oldest that it may still need
  freeze_pct: "%, the worse of both, of the age at which autovacuum freezes by force"
  limit_pct: "%, the worse of both, of the 2^31 at which the server stops to accept writes"
rules:
  - title: Oldest transaction ID
    column: xid_age
    by: database
    unit: transactions
    warn: 1000000000
    critical: 1400000000
    cause: "The oldest transaction ID is {value} old (wraparound at 2.1 billion): {top}"
    next_step: >-
      find what holds vacuum back (vacuum/xmin) and end it, then VACUUM (FREEZE) the oldest tables
    opens: RUN-019
    source: >-
      warning at 50 % of 2 thousand million, which other tools report; critical at 1.4, the field's
      usual threshold. PostgreSQL itself warns at 40 million before the end, and stops at 3 million
    expected: at most 1,000,000,000, critical above 1,400,000,000 (wraparound at 2.1 billion)
  - title: Oldest multixact ID
    column: multixact_age
    by: database
    unit: multixacts
    warn: 1000000000
    critical: 1400000000
    cause: "The oldest multixact ID is {value} old (wraparound at 2.1 billion): {top}"
    next_step: VACUUM (FREEZE) the tables with the oldest relminmxid
    opens: RUN-019
    source: as for transaction ids
    expected: at most 1,000,000,000, critical above 1,400,000,000 (wraparound at 2.1 billion)
  - title: Age of unfrozen rows
    column: freeze_pct
    by: database
    unit: "% of the age at which autovacuum freezes by force"
    warn: 120
    cause: "Freezing is behind: {value}: {top}"
    next_step: >-
      see whether vacuums to prevent wraparound run (vacuum/progress), and what holds them back
    opens: RUN-019
    source: autovacuum acts at 100 %, so a healthy server goes there and not much further; ours
figure: {kind: bars, x: limit_pct, y: database, unit: "%", title: Transaction ids used up}
*/
SELECT datname::text AS database,
       xid_age,
       multixact_age,
       greatest(
           100.0 * xid_age / current_setting('autovacuum_freeze_max_age')::float8,
           100.0 * multixact_age / current_setting('autovacuum_multixact_freeze_max_age')::float8
       )::float8 AS freeze_pct,
       (100.0 * greatest(xid_age, multixact_age) / 2147483648)::float8 AS limit_pct
FROM (
    SELECT datname, age(datfrozenxid) AS xid_age, mxid_age(datminmxid) AS multixact_age
    FROM pg_database
) d
ORDER BY limit_pct DESC, database
