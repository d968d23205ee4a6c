/*
purpose: How fast WAL is written, checkpointed and archived now, from two samples of the counters
needs: [pg_monitor]
columns:
  wal_mb_per_s: MiB of WAL written per second; on a standby, received per second
  max_wal_pct: "%, of max_wal_size that is written between two timed checkpoints, at this rate"
  timed: checkpoints between the two samples because of checkpoint_timeout
  requested: checkpoints because of max_wal_size, or on request
  buffers_per_s: pages written by checkpoints per second
  archived: WAL files archived between the two samples
  failed: attempts to archive that failed
  waiting: WAL files that wait to be archived, of the second sample
  waiting_before: the same in the first sample
  folder_mb: MiB in the WAL folder, of the second sample
  folder_mb_per_s: MiB by which the folder grows per second; negative if it shrinks
  falls_behind: ten files or more wait to be archived, and more than in the first sample
  window_s: s between the two samples
  sampled_at: the server's clock of the second sample
twice:
  every_s: 10
  counters: [wal_mb, timed, requested, buffers, archived, failed]
  gauges: [waiting, folder_mb]
  since: [checkpoints_since, archive_since]
  made:
    max_wal_pct: 100 * wal_mb_per_s * timeout_s / max_wal_mb
    falls_behind: (waiting >= 10) & (waiting > waiting_before)
rules:
  - title: WAL between two checkpoints, now
    column: max_wal_pct
    unit: "% of max_wal_size"
    warn: 100
    cause: >-
      At the current rate {value} is written between two timed checkpoints, so checkpoints start
      early
    next_step: >-
      find the query that writes the most (queries/busiest, wal_mb_per_s); raise max_wal_size
    opens: RUN-018
    unseen: the counters were reset between the two samples; run it again
    source: max_wal_size and checkpoint_timeout in the manual
  - title: Requested checkpoints, now
    column: requested
    unit: checkpoints
    warn: 1
    cause: "{value} {was|were} requested between two samples"
    next_step: raise max_wal_size, unless CHECKPOINT commands or backups explain it
    opens: RUN-018
    unseen: the counters were reset between the two samples; run it again
    source: >-
      checkpoint_warning, 30 s: PostgreSQL's log warns of checkpoints that WAL has requested and that
      are closer than that
  - title: Archiving rate
    name: falls_behind
    agg: rows
    where: {falls_behind: true}
    critical: 0
    expected: fewer than 10 files wait, or no more than before
    cause: WAL is written faster than it is archived, and the backlog grows
    next_step: >-
      see whether archiving fails (archive/status), or how long archive_command takes for a file;
      the backlog fills the primary's disk
    opens: RUN-018
    source: rbkernel's choice; ten files as for archive/status
figure: {kind: timeline, y: wal_mb_per_s, unit: MiB/s, title: WAL written per second}
source: pg_stat_bgwriter or pg_stat_checkpointer, pg_stat_archiver, pg_ls_waldir()
*/
SELECT (pg_wal_lsn_diff(
            CASE
                WHEN pg_is_in_recovery()
                    THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
                ELSE pg_current_wal_lsn()
            END,
            '0/0') / 1048576)::float8 AS wal_mb,
       c.checkpoints_timed AS timed,
       c.checkpoints_req AS requested,
       c.buffers_checkpoint AS buffers,
       a.archived_count AS archived,
       a.failed_count AS failed,
       (SELECT count(*) FROM pg_ls_archive_statusdir() f WHERE f.name LIKE '%.ready') AS waiting,
       (SELECT (sum(size) / 1048576)::float8 FROM pg_ls_waldir()) AS folder_mb,
       c.stats_reset AS checkpoints_since,
       a.stats_reset AS archive_since,
       (SELECT setting::float8 FROM pg_settings WHERE name = 'checkpoint_timeout') AS timeout_s,
       (SELECT setting::float8 FROM pg_settings WHERE name = 'max_wal_size') AS max_wal_mb,
       clock_timestamp() AS sampled_at
FROM pg_stat_archiver a
CROSS JOIN pg_stat_bgwriter c
