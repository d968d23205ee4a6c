/*
purpose: How often each database finds its pages in shared_buffers, and its other counters
columns:
  database: the database; (shared catalogues) for those of all databases, if a page is damaged there
  hit_pct: "%, pages found of all asked for since stats_reset; NULL when none was"
  enough: more than 100 000 pages were asked for, so that the share is meaningful
  hits: pages found
  reads: pages fetched from the system, which may have had them in memory too
  temp_mb: MiB written to temporary files since stats_reset
  deadlocks: deadlocks since stats_reset
  rolled_back_pct: "%, transactions rolled back of all since stats_reset; NULL when there was none"
  conflicts: queries cancelled because of recovery, on a standby, since stats_reset
  checksum_failures: pages found damaged since stats_reset; 0 when checksums are off
  damaged_at: when the last of them was found
  newly_damaged: it was found within the last 24 h
  stats_reset: start of counting; NULL means since the database was created
  sampled_at: the server's clock
rules:
  - title: Cache hit ratio
    column: hit_pct
    agg: min
    empty: 100
    where: {enough: true}
    unit: "%"
    warn: 98
    critical: 90
    below: true
    cause: A database finds only {value} of its pages in shared_buffers
    next_step: >-
      run it twice and compare hits and reads, to see the current ratio; then find the query that
      reads the most (queries/top)
    opens: RUN-009
    source: the field's usual threshold, 98 to 99 %; critical is rbkernel's choice
  - title: Damaged pages
    name: damaged_now
    column: checksum_failures
    agg: sum
    where: {newly_damaged: true}
    by: database
    unit: pages
    critical: 0
    cause: "{value} failed {its|their} checksum, the last within 24 h: {top}"
    next_step: >-
      see which relation it is (the server's log names the block), and whether a copy is good: a
      standby may have the damage, too. Then fail over or restore; until then, do not vacuum or dump
      over it
    opens: RUN-021
    source: any damaged page is one too many; the count never falls, so its age decides
  - title: Pages that were damaged earlier
    name: damaged_earlier
    column: checksum_failures
    agg: sum
    where: {newly_damaged: false}
    by: database
    unit: pages
    warn: 0
    cause: "{value} failed {its|their} checksum, none within 24 h: {top}"
    next_step: >-
      find out whether it was repaired; verify with pg_amcheck, or pg_checksums on a stopped copy
    opens: RUN-021
    source: as above; a damaged page that nobody reads is not counted again
figure: {kind: bars, x: reads, y: database, title: Pages that were not in shared_buffers}
*/
SELECT coalesce(datname::text, '(shared catalogues)') AS database,
       (100.0 * blks_hit / nullif(blks_hit + blks_read, 0))::float8 AS hit_pct,
       blks_hit + blks_read > 100000 AS enough,
       blks_hit AS hits,
       blks_read AS reads,
       (temp_bytes / 1048576.0)::float8 AS temp_mb,
       deadlocks,
       (100.0 * xact_rollback / nullif(xact_commit + xact_rollback, 0))::float8 AS rolled_back_pct,
       conflicts,
       coalesce(checksum_failures, 0) AS checksum_failures,
       checksum_last_failure AS damaged_at,
       coalesce(checksum_last_failure > statement_timestamp() - interval '24 hours',
                checksum_failures > 0,
                false) AS newly_damaged,
       stats_reset,
       statement_timestamp() AS sampled_at
FROM pg_stat_database
WHERE datname IS NOT NULL OR checksum_failures > 0
ORDER BY reads DESC, database
