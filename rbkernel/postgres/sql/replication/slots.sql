/*
purpose: WAL that the primary keeps for its replication slots
runs_on: primary
needs: [pg_monitor]
columns:
  slot: name of the slot
  kind: physical or logical
  active: somebody reads from it
  retained_mb: MiB of WAL kept for it
  wal_status: reserved, extended, unreserved, lost
  retained_pct: "%, retained of max_slot_wal_keep_size; NULL when there is no limit"
rules:
  - title: WAL kept for slots
    column: retained_mb
    agg: sum
    by: slot
    unit: MB
    warn: 1024
    critical: 10240
    cause: "The primary keeps {value} of WAL for its slots"
    next_step: watch the primary's disk (RUN-018); a slot that nobody needs any more may be dropped
figure: {kind: bars, x: retained_mb, y: slot, by: wal_status, title: WAL kept for each slot}
*/
SELECT slot_name::text AS slot,
       slot_type AS kind,
       active,
       (retained / 1048576.0)::float8 AS retained_mb,
       wal_status,
       (100.0 * retained / nullif(limit_bytes, 0))::float8 AS retained_pct
FROM (
    SELECT *,
           pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) AS retained,
           -- the setting is in MB, -1 for no limit
           (SELECT CASE WHEN setting::bigint > 0 THEN setting::bigint * 1048576 END
            FROM pg_settings WHERE name = 'max_slot_wal_keep_size') AS limit_bytes
    FROM pg_replication_slots
) s
ORDER BY retained DESC NULLS LAST
