/*
purpose: >-
  Prepared transactions, which keep their locks and hold back vacuum until they are committed or
  rolled back
runs_on: primary
columns:
  gid: the name for COMMIT PREPARED and ROLLBACK PREPARED
  age_s: s since it was prepared
  xid: its transaction id
  xid_age: transactions begun since
  owner: who prepared it
  database: where it can be ended
  locks: how many locks it holds
rules:
  - title: Prepared transactions
    column: age_s
    empty: 0
    by: gid
    unit: s
    warn: 30
    critical: 300
    cause: "A prepared transaction has been open for {value}: {top}"
    next_step: >-
      ask its transaction manager for the outcome, then COMMIT PREPARED or ROLLBACK PREPARED it in
      its database
    opens: RUN-007
    source: 30 s is the field's usual warning; 300 s that for any transaction
figure: {kind: bars, x: age_s, y: gid, by: owner, unit: s, title: Age of each prepared transaction}
*/
SELECT p.gid,
       extract(epoch FROM clock_timestamp() - p.prepared)::float8 AS age_s,
       p.transaction::text AS xid,
       age(p.transaction) AS xid_age,
       p.owner::text AS owner,
       p.database::text AS database,
       coalesce(l.locks, 0) AS locks
FROM pg_prepared_xacts p
LEFT JOIN (
    -- pg_locks does not name it, but each holds the lock of its own transaction id
    SELECT max(transactionid::text) AS xid, count(*)::int AS locks
    FROM pg_locks
    WHERE pid IS NULL
    GROUP BY virtualtransaction
) l ON l.xid = p.transaction::text
ORDER BY age_s DESC, gid
