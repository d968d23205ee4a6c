/*
purpose: Checkpoints (restartpoints on a standby), why they came, and what they cost
columns:
  timed: checkpoints because of checkpoint_timeout
  requested: checkpoints because of max_wal_size, or on request
  requested_pct: "%, requested of both; NULL when there was none"
  enough: ten or more, so that the share is meaningful
  every_s: s between two, on average since stats_reset
  write_ms: ms of writing, in all
  sync_ms: ms of fsync, in all
  sync_each_ms: ms of that, each; NULL when there was none
  buffers: pages written by checkpoints
  stats_reset: start of counting
  sampled_at: the server's clock
rules:
  - title: Requested checkpoints
    column: requested_pct
    empty: 0
    where: {enough: true}
    unit: "%"
    warn: 50
    cause: "{value} of the checkpoints were requested, not timed"
    next_step: raise max_wal_size, unless CHECKPOINT commands or backups explain it
    opens: RUN-018
    source: rbkernel's choice; the manual wants checkpoints to be timed, as a rule
  - title: Checkpoint sync time
    column: sync_each_ms
    empty: 0
    where: {enough: true}
    unit: ms
    warn: 10000
    cause: A checkpoint waits {value} for the disk on average
    next_step: see what else uses the disk; meanwhile the writes of all sessions are slow
    opens: RUN-018
    source: rbkernel's choice
figure: {kind: timeline, y: write_ms, unit: ms, title: "Time spent writing checkpoints, since the reset"}
*/
SELECT timed,
       requested,
       (100.0 * requested / nullif(timed + requested, 0))::float8 AS requested_pct,
       timed + requested >= 10 AS enough,
       (extract(epoch FROM clock_timestamp() - stats_reset)
           / nullif(timed + requested, 0))::float8 AS every_s,
       write_ms,
       sync_ms,
       (sync_ms / nullif(timed + requested, 0))::float8 AS sync_each_ms,
       buffers,
       stats_reset,
       clock_timestamp() AS sampled_at
FROM (
    SELECT checkpoints_timed AS timed,
           checkpoints_req AS requested,
           checkpoint_write_time AS write_ms,
           checkpoint_sync_time AS sync_ms,
           buffers_checkpoint AS buffers,
           stats_reset
    FROM pg_stat_bgwriter
) c
