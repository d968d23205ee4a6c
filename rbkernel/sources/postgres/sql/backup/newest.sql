/*
purpose: How old the newest backup is; the backup tool must say when it finished
columns:
  finished_at: when it finished, as given
  age_h: h since then; NULL when not given, or when it is in the future
  loss_h: >-
    h of changes that a restore would lose: since WAL was last archived, or since the newest backup
    where WAL is not archived; NULL when the newest backup is not known
  archiving: WAL is archived, so that a restore can go on after the backup
  sampled_at: the server's clock
parameters:
  finished_at:
    help: >-
      when the newest complete backup finished, with its time zone, such as 2026-11-30T02:10:00Z;
      empty when it is not known
    default: ""
rules:
  - title: Age of the newest backup
    column: age_h
    unit: h
    warn: 26
    critical: 50
    unseen: >-
      nobody said when the newest backup finished, or its time is in the future. PostgreSQL does not
      know it: read it from the backup tool (such as pgbackrest info, barman list-backup)
    cause: "The newest backup is {value} old"
    next_step: read in the log of the backup tool why no newer backup is complete, and start one
    opens: RUN-021
    source: rbkernel's choice for a daily backup; one or two that are missing, and 2 h to finish
  - title: What a restore would lose
    column: loss_h
    unit: h
    warn: 26
    critical: 50
    unseen: without a backup of which the time is known, nothing is known to be restorable
    cause: "A restore would lose the changes of the last {value}"
    next_step: >-
      see whether WAL is archived (archive/status); where it is not, the loss is the age of the
      newest backup
    opens: RUN-021
    source: rbkernel's choice; your recovery point objective is the limit
*/
SELECT finished_at, age_h,
       CASE
           WHEN age_h IS NULL THEN NULL
           WHEN NOT archiving THEN age_h
           ELSE least(age_h, extract(epoch FROM clock_timestamp() - last_archived_time) / 3600)
       END::float8 AS loss_h,
       archiving,
       clock_timestamp() AS sampled_at
FROM pg_stat_archiver
CROSS JOIN (
    SELECT CASE
               WHEN pg_is_in_recovery() THEN current_setting('archive_mode') = 'always'
               ELSE current_setting('archive_mode') <> 'off'
           END AS archiving
) s
CROSS JOIN (
    SELECT f.finished_at,
           CASE
               WHEN f.finished_at <= clock_timestamp()
                   THEN extract(epoch FROM clock_timestamp() - f.finished_at) / 3600
           END::float8 AS age_h
    FROM (SELECT CAST(nullif(:finished_at, '') AS timestamptz) AS finished_at) f
) b
