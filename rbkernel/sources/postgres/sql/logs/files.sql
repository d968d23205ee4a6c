/*
purpose: How large the files of PostgreSQL's log are, how fast they grow, and how old they are
needs: [pg_monitor]
columns:
  collected: PostgreSQL writes the files itself (logging_collector); else nothing is known of them here
  files: how many
  bytes: of all of them
  largest: name of the largest
  largest_bytes: its size
  rotated_h: h since the newest but one was last written, which is when the newest began; NULL below two files
  oldest_d: d since the oldest was last written; NULL for none
  sampled_at: the server's clock
  window_s: s between the two samples
  bytes_before: in the first sample
  bytes_per_s: growth
  mb_per_h: growth in MiB per hour
rules:
  - title: Growth of PostgreSQL's log
    name: growth
    column: mb_per_h
    where: {collected: true}
    empty: 0
    by: largest
    unit: MiB per hour
    warn: 1024
    cause: "PostgreSQL's log grows by {value}, in {top}"
    next_step: see which setting writes so much (logs/settings), or which message repeats
    opens: RUN-029
    source: rbkernel's choice; a disk of 20 GiB is full within a day
  - title: Hours since PostgreSQL's log was rotated
    column: rotated_h
    where: {collected: true}
    empty: 0
    unit: h
    warn: 25
    unseen: there are no two files yet
    cause: "The last file of the log ended {value} ago"
    next_step: compare with log_rotation_age and log_rotation_size (logs/settings)
    opens: RUN-029
    source: log_rotation_age is a day by default
  - title: Age of PostgreSQL's oldest log
    column: oldest_d
    where: {collected: true}
    empty: 0
    unit: d
    warn: 30
    cause: "The oldest file of the log was last written {value} ago"
    next_step: remove old files by a job on the host
    opens: RUN-029
    source: rbkernel's choice; the retention of most teams
twice:
  every_s: 2
  counters: []
  gauges: [bytes]
  made:
    mb_per_h: bytes_per_s * 3600 / 1048576
figure: {kind: bars, x: bytes, y: largest, unit: bytes, title: Files of PostgreSQL's log}
*/
WITH logs AS (
    -- in the target list, since the function fails where there is no folder
    SELECT (pg_ls_logdir()).* WHERE current_setting('logging_collector')::boolean
)
SELECT current_setting('logging_collector')::boolean AS collected,
       count(l.name)::int AS files,
       coalesce(sum(l.size), 0)::bigint AS bytes,
       coalesce((array_agg(l.name ORDER BY l.size DESC))[1], '') AS largest,
       max(l.size) AS largest_bytes,
       (extract(epoch FROM clock_timestamp() - (array_agg(l.modification ORDER BY l.modification DESC))[2])
           / 3600)::float8 AS rotated_h,
       (extract(epoch FROM clock_timestamp() - min(l.modification)) / 86400)::float8 AS oldest_d,
       clock_timestamp() AS sampled_at
FROM logs l
