/*
purpose: WAL that the primary keeps for its replication slots
runs_on: primary
needs: [pg_monitor]
columns:
  slot: name of the slot
  kind: physical or logical
  active: it has a reader
  retained_mb: MiB of WAL kept for it
  wal_status: reserved, extended, unreserved, lost, or none where the slot keeps no WAL yet
  retained_pct: "%, retained of max_slot_wal_keep_size; NULL when there is no limit"
  limited: there is such a limit
rules:
  - title: WAL kept for slots
    column: retained_mb
    agg: sum
    by: slot
    unit: MB
    warn: 1024
    critical: 10240
    cause: "The primary keeps {value} of WAL for its slots"
    next_step: watch the primary's disk (RUN-018); drop a slot that is no longer needed
    opens: RUN-018
    source: rbkernel's choice; 1 GB is more than a reader that is up leaves behind
  - title: WAL kept for a slot, against its limit
    column: retained_pct
    empty: 0
    where: {limited: true}
    by: slot
    unit: "% of max_slot_wal_keep_size"
    critical: 50
    cause: "A slot keeps {value}; at 100 % its reader must be rebuilt: {top}"
    next_step: let the reader catch up, or raise the limit while the disk has room
    opens: RUN-018
    source: at half of the limit, the time left is as long as the time that has passed
  - title: Slots losing their WAL
    name: losing_wal
    agg: rows
    where: {wal_status: [unreserved, lost]}
    each: slot
    unit: slots
    critical: 0
    cause: "{value} {is|are} about to lose {its|their} WAL, or {has|have} lost it: {which}"
    next_step: let the reader catch up at once; a reader whose slot is lost must be rebuilt
    opens: RUN-018
    source: pg_replication_slots.wal_status
  - title: Slots without a reader
    name: unread
    agg: rows
    where: {active: false}
    each: slot
    unit: slots
    warn: 0
    cause: "{value} {has|have} no reader, and {its|their} WAL is kept: {which}"
    next_step: see whether the reader is only restarting; drop a slot that is not needed
    opens: RUN-018
    source: pg_replication_slots.active; a reader may be down for a moment
figure: {kind: bars, x: retained_mb, y: slot, by: wal_status, title: WAL kept for each slot}
*/
SELECT slot_name::text AS slot,
       slot_type AS kind,
       active,
       (retained / 1048576.0)::float8 AS retained_mb,
       coalesce(wal_status, 'none') AS wal_status,
       (100.0 * retained / nullif(limit_bytes, 0))::float8 AS retained_pct,
       limit_bytes IS NOT NULL AS limited
FROM (
    SELECT *,
           -- a slot that was never used, or is lost, keeps nothing
           coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0) AS retained,
           -- the setting is in MB, -1 for no limit
           (SELECT CASE WHEN setting::bigint > 0 THEN setting::bigint * 1048576 END
            FROM pg_settings WHERE name = 'max_slot_wal_keep_size') AS limit_bytes
    FROM pg_replication_slots
) s
ORDER BY retained DESC, slot
