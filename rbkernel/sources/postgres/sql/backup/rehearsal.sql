/*
purpose: How long ago a restore was rehearsed; a person must say when
columns:
  restored_at: when a backup was last restored and checked, as given
  age_d: days since then; NULL when not given, or when it is in the future
  sampled_at: the server's clock
parameters:
  restored_at:
    help: when a backup was last restored and checked, with its time zone; empty when it is not known
    default: ""
rules:
  - title: Last rehearsal of a restore
    column: age_d
    unit: days
    warn: 92
    critical: 366
    unseen: nobody said when a restore was last rehearsed; a backup that was never restored is a hope
    cause: "The last rehearsal of a restore is {value} ago"
    next_step: restore the newest backup on another host, check the data, and measure the time
    opens: RUN-021
    source: rbkernel's choice; each quarter
*/
SELECT r.restored_at,
       CASE
           WHEN r.restored_at <= clock_timestamp()
               THEN extract(epoch FROM clock_timestamp() - r.restored_at) / 86400
       END::float8 AS age_d,
       clock_timestamp() AS sampled_at
FROM (SELECT CAST(nullif(:restored_at, '') AS timestamptz) AS restored_at) r
