/*
purpose: Whether WAL is archived, since when archiving fails, and how much WAL waits
needs: [pg_monitor]
columns:
  enabled: archive_mode is on, and this server archives (a standby only with always)
  configured: archive_command or archive_library says how
  failing: the newest attempt failed, or all of them since archiving is counted
  waiting: WAL files that wait to be archived
  last_archived: the newest WAL file that was archived
  last_archived_s: s since then; NULL when never
  archived: files archived since stats_reset
  failed: attempts that failed since stats_reset
  last_failed: the newest file that failed
  last_failed_s: s since then; NULL when never
  stats_reset: start of counting
  sampled_at: the server's clock
rules:
  - title: WAL archiving
    column: failing
    critical: 0
    expected: not failing
    cause: The last attempt to archive WAL failed
    next_step: read what archive_command reports in the server's log; WAL piles up until it works
    opens: RUN-018
    source: pg_stat_archiver
  - title: Archive command
    name: unconfigured
    agg: rows
    where: {enabled: true, configured: false}
    critical: 0
    cause: archive_mode is on, but neither archive_command nor archive_library is set
    next_step: set archive_command, or archive_mode = off; WAL piles up until then
    opens: RUN-018
    source: the manual's chapter on continuous archiving
  - title: WAL waiting to be archived
    column: waiting
    unit: files
    warn: 10
    critical: 100
    cause: "{value} {waits|wait} to be archived"
    next_step: >-
      see whether the archive is slow, full or unreachable; these files fill the primary's disk
    opens: RUN-018
    source: rbkernel's choice; 100 files are 1.6 GB that a restore would miss
figure: {kind: timeline, y: waiting, unit: files, title: WAL that waits to be archived}
*/
SELECT s.enabled,
       NOT s.enabled OR current_setting('archive_command') <> ''
           OR current_setting('archive_library') <> '' AS configured,
       s.enabled
           AND a.last_failed_time IS NOT NULL
           AND (a.last_archived_time IS NULL OR a.last_failed_time > a.last_archived_time) AS failing,
       CASE
           WHEN s.enabled
               THEN (SELECT count(*) FROM pg_ls_archive_statusdir() f WHERE f.name LIKE '%.ready')
           ELSE 0
       END AS waiting,
       a.last_archived_wal AS last_archived,
       extract(epoch FROM clock_timestamp() - a.last_archived_time)::float8 AS last_archived_s,
       a.archived_count AS archived,
       a.failed_count AS failed,
       a.last_failed_wal AS last_failed,
       extract(epoch FROM clock_timestamp() - a.last_failed_time)::float8 AS last_failed_s,
       a.stats_reset,
       clock_timestamp() AS sampled_at
FROM pg_stat_archiver a
CROSS JOIN (
    SELECT CASE
               WHEN pg_is_in_recovery() THEN current_setting('archive_mode') = 'always'
               ELSE current_setting('archive_mode') <> 'off'
           END AS enabled
) s
