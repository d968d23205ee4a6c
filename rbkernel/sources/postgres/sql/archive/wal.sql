/*
purpose: How much WAL is in the server's WAL folder, and what keeps it there
needs: [pg_monitor]
columns:
  holder: >-
    a slot; the last checkpoint, from which a crash would recover; wal_keep_size; the archiver; files
    made ready for reuse; or nothing any more, so that a checkpoint may remove them
  kind: slot, checkpoint, wal_keep_size, archiver, reuse, nothing
  held_mb: MiB that it keeps; several may keep the same
  files: WAL files in the folder
  folder_mb: MiB in the folder, the same in each row
  allowed_mb: MiB that max_wal_size and wal_keep_size allow; PostgreSQL may exceed them for a while
  folder_pct: "%, of what they allow"
  held_by: what keeps the most
  large: the folder holds over :large_mb
  sampled_at: the server's clock
parameters:
  large_mb: {help: "MiB, from which size on the folder is judged", default: 1024}
rules:
  - title: WAL folder
    column: folder_pct
    empty: 0
    where: {large: true}
    by: held_by
    unit: "% of what the settings allow"
    warn: 200
    cause: "The WAL folder has grown to {value}; most is kept by: {top}"
    next_step: >-
      check the free disk space on the host. A slot: let its reader catch up, or drop the slot if it
      is not needed (replication/slots). The archiver: see why archiving fails (archive/status).
      Never remove files from this folder by hand
    opens: RUN-018
    source: rbkernel's choice; twice max_wal_size or wal_keep_size, and 1 GiB as for replication/slots
figure: {kind: bars, x: held_mb, y: holder, by: kind, title: What keeps WAL in its folder}
source: >-
  pg_ls_waldir(), pg_ls_archive_statusdir(), pg_replication_slots, pg_control_checkpoint(); a server
  that summarizes WAL (17 and later) may keep files, too
*/
WITH here AS (
    SELECT CASE
               WHEN pg_is_in_recovery()
                   THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
               ELSE pg_current_wal_lsn()
           END - '0/0'::pg_lsn AS position,
           (SELECT redo_lsn - '0/0'::pg_lsn FROM pg_control_checkpoint()) AS redo,
           (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size') AS segment,
           (SELECT setting::bigint FROM pg_settings WHERE name = 'max_wal_size') AS max_mb,
           (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_keep_size') AS keep_mb
),
files AS MATERIALIZED (
    SELECT f.size,
           (('x' || substr(f.name, 9, 8))::bit(32)::bigint * (4294967296 / h.segment)
               + ('x' || substr(f.name, 17, 8))::bit(32)::bigint) * h.segment AS begins,
           r.name IS NOT NULL AS waits
    FROM pg_ls_waldir() f
    CROSS JOIN here h
    LEFT JOIN pg_ls_archive_statusdir() r ON r.name = f.name || '.ready'
    WHERE f.name ~ '^[0-9A-F]{24}$'
),
needed AS (
    SELECT 'the last checkpoint' AS holder, 'checkpoint' AS kind, redo AS since FROM here
    UNION ALL
    SELECT 'wal_keep_size', 'wal_keep_size', position - keep_mb * 1048576 FROM here
    UNION ALL
    SELECT 'slot ' || slot_name, 'slot', restart_lsn - '0/0'::pg_lsn
    FROM pg_replication_slots
    WHERE restart_lsn IS NOT NULL AND wal_status IS DISTINCT FROM 'lost'
),
holders AS (
    SELECT n.holder, n.kind, greatest(h.position - n.since, 0) AS held
    FROM needed n
    CROSS JOIN here h
    UNION ALL
    SELECT 'the archiver', 'archiver', coalesce(sum(size), 0) FROM files WHERE waits
    UNION ALL
    SELECT 'files for reuse', 'reuse', coalesce(sum(f.size), 0)
    FROM files f
    CROSS JOIN here h
    WHERE f.begins > h.position
    UNION ALL
    SELECT 'nothing any more', 'nothing', coalesce(sum(f.size), 0)
    FROM files f
    CROSS JOIN here h
    WHERE NOT f.waits AND f.begins + h.segment <= (SELECT min(since) FROM needed)
),
folder AS (
    SELECT count(*) AS files, coalesce(sum(size), 0) AS size FROM files
)
SELECT o.holder,
       o.kind,
       (o.held / 1048576.0)::float8 AS held_mb,
       f.files,
       (f.size / 1048576.0)::float8 AS folder_mb,
       greatest(h.max_mb, h.keep_mb)::float8 AS allowed_mb,
       (100.0 * f.size / 1048576 / greatest(h.max_mb, h.keep_mb))::float8 AS folder_pct,
       first_value(o.holder) OVER (ORDER BY o.held DESC, o.holder) AS held_by,
       f.size > :large_mb * 1048576.0 AS large,
       clock_timestamp() AS sampled_at
FROM holders o
CROSS JOIN folder f
CROSS JOIN here h
ORDER BY held_mb DESC, o.holder
