/*
purpose: How old the newest backup is; the backup tool must say when it finished
columns:
  finished_at: when it finished, as given
  age_h: h since then; NULL when not given, or when it is in the future
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
*/
SELECT CAST(nullif(:finished_at, '') AS timestamptz) AS finished_at,
       CASE
           WHEN CAST(nullif(:finished_at, '') AS timestamptz) <= clock_timestamp()
               THEN extract(epoch FROM clock_timestamp()
                            - CAST(nullif(:finished_at, '') AS timestamptz)) / 3600
       END::float8 AS age_h,
       clock_timestamp() AS sampled_at
