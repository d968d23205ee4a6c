-- purpose: How far this standby is behind, and what holds it up, as it sees itself
-- runs on: standby
-- needs: pg_monitor
-- column: receiving boolean: a WAL receiver runs and is streaming
-- column: paused boolean: replay was paused with pg_wal_replay_pause
-- column: stalled_s float: s since the newest transaction that was replayed; 0 when streaming and all received WAL is replayed
-- column: received_not_replayed_bytes int: bytes of WAL that lie here and wait
-- column: last_replayed_at timestamptz: commit time, by the primary's clock, of the newest replayed transaction
-- column: sender text: host and port that it receives from
-- column: last_message_s float: s since the sender was last heard; NULL without a receiver
-- column: sampled_at timestamptz: the server's clock
-- source: receive = replay means 0 only while the receiver streams; otherwise the age of the newest replayed commit is an upper bound
SELECT receiving,
       paused,
       (CASE
            WHEN receiving AND received = replayed THEN 0
            ELSE extract(epoch FROM at - last_replayed_at)
        END)::float8 AS stalled_s,
       pg_wal_lsn_diff(received, replayed)::bigint AS received_not_replayed_bytes,
       last_replayed_at,
       sender,
       last_message_s,
       at AS sampled_at
FROM (
    SELECT coalesce(w.status = 'streaming', false) AS receiving,
           pg_is_wal_replay_paused() AS paused,
           pg_last_wal_receive_lsn() AS received,
           pg_last_wal_replay_lsn() AS replayed,
           pg_last_xact_replay_timestamp() AS last_replayed_at,
           w.sender_host || ':' || w.sender_port AS sender,
           extract(epoch FROM clock_timestamp() - w.last_msg_receipt_time)::float8 AS last_message_s,
           clock_timestamp() AS at
    FROM (SELECT) one
    LEFT JOIN pg_stat_wal_receiver w ON true
) s
