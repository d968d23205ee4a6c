/*
purpose: >-
  What each database does now, from two samples of its counters, above all temporary files and
  deadlocks
columns:
  database: the database
  commits_per_s: transactions committed per second
  rollbacks_per_s: transactions rolled back per second
  rows_written_per_s: rows inserted, updated or deleted per second
  pages_read_per_s: pages fetched from the operating system per second
  temp_files: temporary files that were finished between the two samples; a query counts when it ends
  temp_mb_per_s: MiB written to them per second
  deadlocks: deadlocks between the two samples
  deadlocks_before: deadlocks from stats_reset to the first sample
  conflicts: queries cancelled because of recovery between the two samples, on a standby
  stats_reset: start of counting; NULL means since the database was created
  window_s: s between the two samples
  sampled_at: the server's clock of the second sample
twice:
  every_s: 5
  key: [database]
  counters: [commits, rollbacks, rows_written, pages_read, temp_files, temp_mb, deadlocks, conflicts]
  since: [stats_reset]
  worst_first: temp_mb_per_s
rules:
  - title: Temporary files, now
    column: temp_mb_per_s
    agg: sum
    by: database
    unit: MB/s
    warn: 10
    cause: "Queries write {value} to temporary files: {top}"
    next_step: >-
      find the query that sorts or hashes more than work_mem holds (queries/busiest, temp_mb_per_s);
      these files also fill the disk
    opens: RUN-018
    unseen: the counters were reset between the two samples; run it again
    source: rbkernel's choice; a tenth of what a common cloud disk writes, 125 MB/s
  - title: Deadlocks, now
    column: deadlocks
    agg: sum
    by: database
    unit: deadlocks
    warn: 0
    cause: "{value} between two samples; each ended a transaction: {top}"
    next_step: >-
      read the server's log, which names both sessions and their queries; change them to lock in the
      same order
    opens: RUN-007
    unseen: the counters were reset between the two samples; run it again
    source: PostgreSQL resolves a deadlock by ending one of the transactions, so each is an error
figure: {kind: bars, x: temp_mb_per_s, y: database, title: MiB written to temporary files per second}
source: pg_stat_database; sessions report at the end of a transaction, at most once a second
*/
SELECT datname::text AS database,
       xact_commit AS commits,
       xact_rollback AS rollbacks,
       tup_inserted + tup_updated + tup_deleted AS rows_written,
       blks_read AS pages_read,
       temp_files,
       (temp_bytes / 1048576.0)::float8 AS temp_mb,
       deadlocks,
       conflicts,
       stats_reset,
       clock_timestamp() AS sampled_at
FROM pg_stat_database
WHERE datname IS NOT NULL
ORDER BY database
