-- purpose: WAL that the primary keeps for its replication slots
-- runs on: primary
-- needs: pg_monitor
-- column: slot text: name of the slot
-- column: kind text: physical or logical
-- column: active boolean: somebody reads from it
-- column: retained_mb float: MiB of WAL kept for it
-- column: wal_status text: reserved, extended, unreserved, lost
-- column: retained_pct float: %, retained of max_slot_wal_keep_size; NULL when there is no limit
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
