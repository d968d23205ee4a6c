/*
purpose: >-
  The servers that receive WAL from this one, and where their WAL is held up; on a standby, the
  cascaded standbys
needs: [pg_monitor]
columns:
  receiver: application_name of the standby or subscription
  kind: physical or logical
  state: streaming, catchup, startup, backup, stopping
  sync_state: async, sync, quorum, potential
  client: address of the receiver; NULL for a local socket
  not_sent_bytes: bytes of WAL that are here and not yet sent
  not_written_bytes: bytes sent, and not yet written there
  not_flushed_bytes: bytes written, and not yet on the disk there
  not_replayed_bytes: bytes on the disk, and not yet replayed there
  behind_bytes: all of them
  replay_lag_s: s, age of the newest WAL from here that it has replayed
  reply_age_s: s since it last reported
  sampled_at: the server's clock
rules:
  - title: Lag of WAL receivers
    column: replay_lag_s
    empty: 0
    by: receiver
    unit: s
    warn: 2
    critical: 15
    cause: "A receiver is {value} behind: {top}"
    next_step: >-
      see where the bytes are: not sent means the network or a busy sender, not replayed means the
      receiver (replication/standby there)
    opens: RUN-005
    source: as for replication/lag
figure: {kind: timeline, y: behind_bytes, by: receiver, unit: bytes, title: Bytes behind}
source: as for replication/lag; a standby sends on what it has received or replayed, whichever is more
*/
SELECT r.application_name AS receiver,
       coalesce(s.slot_type, 'physical') AS kind,
       r.state,
       r.sync_state,
       r.client_addr::text AS client,
       greatest(pg_wal_lsn_diff(w.lsn, r.sent_lsn), 0)::bigint AS not_sent_bytes,
       greatest(pg_wal_lsn_diff(r.sent_lsn, r.write_lsn), 0)::bigint AS not_written_bytes,
       greatest(pg_wal_lsn_diff(r.write_lsn, r.flush_lsn), 0)::bigint AS not_flushed_bytes,
       greatest(pg_wal_lsn_diff(r.flush_lsn, r.replay_lsn), 0)::bigint AS not_replayed_bytes,
       greatest(pg_wal_lsn_diff(w.lsn, r.replay_lsn), 0)::bigint AS behind_bytes,
       (CASE
            WHEN r.replay_lsn >= w.lsn THEN 0
            ELSE extract(epoch FROM coalesce(r.replay_lag, '0') + (w.at - r.reply_time))
        END)::float8 AS replay_lag_s,
       extract(epoch FROM w.at - r.reply_time)::float8 AS reply_age_s,
       w.at AS sampled_at
FROM (
    SELECT CASE
               WHEN pg_is_in_recovery()
                   THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
               ELSE pg_current_wal_lsn()
           END AS lsn,
           clock_timestamp() AS at
) w
CROSS JOIN pg_stat_replication r
LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid
-- a base backup, and a receiver that only stores WAL (it reports, and no replay), do not lag
WHERE r.state <> 'backup' AND (r.replay_lsn IS NOT NULL OR r.reply_time IS NULL)
ORDER BY behind_bytes DESC NULLS FIRST, receiver
