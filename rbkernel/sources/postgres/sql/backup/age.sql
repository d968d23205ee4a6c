/*
purpose: What PostgreSQL knows about backups; it does not know when the last one was made
needs: [pg_monitor]
columns:
  archiving: archive_mode is on, and this server archives (a standby only with always)
  failing: the newest attempt to archive failed, or all of them since they are counted
  last_archived_s: s since WAL was last archived; NULL when never
  unarchived_s: >-
    s since WAL was last archived, or since it is counted where it never was; NULL when archive_mode
    is off
  running: base backups that run now
  running_s: s since the oldest of them began; NULL when none runs
  phase: what it does; NULL when none runs
  done_pct: "%, streamed of its estimated size; NULL when none runs or it was not estimated"
  note: what this cannot tell
  sampled_at: the server's clock
rules:
  - title: WAL archiving for point-in-time recovery
    column: failing
    critical: 0
    expected: not failing
    unseen: >-
      archive_mode is off, so this server cannot be restored to a point in time from an archive
    cause: >-
      Archiving fails: point-in-time recovery cannot restore anything after the last archived WAL
    next_step: read what archive_command reports in the server's log (archive/status)
    opens: RUN-021
    source: pg_stat_archiver
  - title: Time since WAL was last archived
    column: unarchived_s
    unseen: >-
      archive_mode is off, so this server cannot be restored to a point in time from an archive
    unit: s
    warn: 3600
    critical: 86400
    cause: "WAL was last archived {value} ago"
    next_step: >-
      see whether archiving fails (archive/status); on a quiet server set archive_timeout. Only the
      backup tool knows when the last base backup was made and whether it can be restored
    opens: RUN-021
    source: rbkernel's choice; an hour is a usual recovery point objective
  - title: Running base backups
    column: running_s
    empty: 0
    where: {running: 1}
    unit: s
    warn: 86400
    cause: "A base backup has been running for {value}"
    next_step: see whether it makes progress (done_pct); it keeps WAL while it runs
    opens: RUN-021
    source: rbkernel's choice
figure: {kind: timeline, y: last_archived_s, x: sampled_at, unit: s, title: Age of the newest archived WAL}
*/
SELECT s.enabled AS archiving,
       CASE
           WHEN s.enabled
               THEN a.last_failed_time IS NOT NULL
                    AND (a.last_archived_time IS NULL OR a.last_failed_time > a.last_archived_time)
       END AS failing,
       extract(epoch FROM clock_timestamp() - a.last_archived_time)::float8 AS last_archived_s,
       CASE
           WHEN s.enabled
               THEN extract(epoch FROM clock_timestamp()
                            - coalesce(a.last_archived_time, a.stats_reset))
       END::float8 AS unarchived_s,
       b.running,
       b.running_s,
       b.phase,
       b.done_pct,
       'PostgreSQL does not record when the last backup was made, nor whether it can be restored:'
           || ' ask the backup tool, and rehearse a restore' AS note,
       clock_timestamp() AS sampled_at
FROM pg_stat_archiver a
CROSS JOIN (
    SELECT CASE
               WHEN pg_is_in_recovery() THEN current_setting('archive_mode') = 'always'
               ELSE current_setting('archive_mode') <> 'off'
           END AS enabled
) s
CROSS JOIN (
    SELECT count(*)::int AS running,
           max(extract(epoch FROM clock_timestamp() - v.backend_start))::float8 AS running_s,
           min(p.phase) AS phase,
           min(100.0 * p.backup_streamed / nullif(p.backup_total, 0))::float8 AS done_pct
    FROM pg_stat_progress_basebackup p
    LEFT JOIN pg_stat_activity v ON v.pid = p.pid
) b
