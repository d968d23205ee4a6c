/*
purpose: Which server this is of its cluster, and up to where it has written or replayed WAL
needs: [pg_monitor]
columns:
  standby: whether it is in recovery
  system_identifier: what initdb gave the cluster; its copies have the same
  timeline: timeline that it writes or replays; a promotion begins a new one
  lsn: position in the WAL, written on a primary, replayed on a standby
  position: lsn as bytes
  newest_commit_s: s since the newest commit that a standby has replayed; NULL on a primary
  started_at: when this server was started; with the same cluster, identifies the copy
  apply_delay_s: s, by how much a standby delays replay on purpose (recovery_min_apply_delay)
  delaying: whether replay waits for that delay to pass at this moment
  address: address and port of this server, as this connection reaches it; NULL for a local socket
source: pg_control_system, pg_control_checkpoint, WAL functions
*/
SELECT standby,
       (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
       (CASE
            -- the control file follows only at the next checkpoint
            WHEN NOT standby THEN ('x' || substr(pg_walfile_name(lsn), 1, 8))::bit(32)::int
            ELSE (SELECT timeline_id FROM pg_control_checkpoint())
        END)::int AS timeline,
       lsn::text AS lsn,
       pg_wal_lsn_diff(lsn, '0/0')::bigint AS position,
       (CASE
            WHEN standby
                THEN extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())
        END)::float8 AS newest_commit_s,
       pg_postmaster_start_time() AS started_at,
       (SELECT setting::float8 / 1000 FROM pg_settings
        WHERE name = 'recovery_min_apply_delay') AS apply_delay_s,
       EXISTS (SELECT FROM pg_stat_activity
               WHERE backend_type = 'startup' AND wait_event = 'RecoveryApplyDelay') AS delaying,
       inet_server_addr()::text || ':' || inet_server_port() AS address
FROM (
    SELECT pg_is_in_recovery() AS standby,
           CASE
               WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
               ELSE pg_current_wal_lsn()
           END AS lsn
) s
