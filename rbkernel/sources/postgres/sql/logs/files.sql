/*
purpose: How large the files of PostgreSQL's log are, how fast they grow, and how old they are
needs: [pg_monitor]
columns:
  collected: PostgreSQL writes the files itself (logging_collector); else nothing is known of them here
  files: how many
  bytes: of all of them
  largest: name of the largest
  largest_bytes: its size
  overdue_h: h by which a new file should have begun, by log_rotation_age; 0 without an age, NULL below two files
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
  - title: Overdue rotation of PostgreSQL's log
    column: overdue_h
    where: {collected: true}
    empty: 0
    unit: h
    warn: 1
    unseen: there are no two files yet
    cause: "A new file of the log should have begun {value} ago"
    next_step: see whether PostgreSQL can write into the folder, then call pg_rotate_logfile()
    opens: RUN-029
    source: rbkernel's choice; a new file begins on time, also if nothing is written
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
WITH read AS MATERIALIZED (
    -- in the target list, since the function fails where there is no folder; once, since it reads the folder
    SELECT pg_ls_logdir() AS file WHERE current_setting('logging_collector')::boolean
),
logs AS (
    SELECT (r.file).name, (r.file).size, (r.file).modification FROM read r
),
-- stderr, csvlog and jsonlog have files of their own; a file begins when the one before it ends
began AS (
    SELECT extract(epoch FROM clock_timestamp() - (array_agg(l.modification ORDER BY l.modification DESC))[2])
               / 3600 AS h
    FROM logs l
    GROUP BY substring(l.name FROM '[.][a-z]+$')
)
SELECT current_setting('logging_collector')::boolean AS collected,
       count(l.name)::int AS files,
       coalesce(sum(l.size), 0)::bigint AS bytes,
       coalesce((array_agg(l.name ORDER BY l.size DESC))[1], '') AS largest,
       max(l.size) AS largest_bytes,
       (
           SELECT CASE WHEN s.setting = '0' THEN 0 ELSE max(b.h) - s.setting::float8 / 60 END
           FROM pg_settings s
           LEFT JOIN began b ON true
           WHERE s.name = 'log_rotation_age'
           GROUP BY s.setting
       )::float8 AS overdue_h,
       (extract(epoch FROM clock_timestamp() - min(l.modification)) / 86400)::float8 AS oldest_d,
       clock_timestamp() AS sampled_at
FROM logs l
