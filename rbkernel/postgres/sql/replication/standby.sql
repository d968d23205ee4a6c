/*
purpose: How far this standby is behind, and what holds it up, as it sees itself
runs_on: standby
needs: [pg_monitor]
columns:
  receiving: a WAL receiver runs and is streaming
  paused: replay was paused with pg_wal_replay_pause
  stalled_s: s since the newest transaction that was replayed; 0 when streaming and all is replayed;
    NULL when nobody here can tell, since the sender has been quiet
  received_not_replayed_bytes: bytes of WAL that lie here and wait
  last_replayed_at: commit time, by the primary's clock, of the newest replayed transaction
  sender: host and port that it receives from
  last_message_s: s since the sender was last heard; NULL without a receiver
  quiet_s: s since the sender had anything new; NULL without a receiver
  sampled_at: the server's clock
parameters:
  cascaded:
    help: 1 when it receives from another standby, which may be cut off; then a quiet sender proves nothing
    default: 0
rules:
  - title: Replay is not paused
    column: paused
    agg: last
    critical: 0
    expected: not paused
    cause: "Replay is paused on the standby: somebody called pg_wal_replay_pause()"
    next_step: find out who paused it and why; then resume it
    opens: RUN-005
    source: pg_is_wal_replay_paused()
  - title: WAL receiver is streaming
    column: receiving
    agg: last
    critical: 1
    below: true
    expected: streaming
    cause: "The standby receives no WAL: its receiver is not running"
    next_step: >-
      look at the standby's log, primary_conninfo, the password and the network between the two;
      there is no SQL that mends it
    opens: RUN-005
    source: pg_stat_wal_receiver.status
  - title: Replay is up to date
    column: stalled_s
    agg: last
    unit: s
    warn: 2
    critical: 15
    cause: "Replay has been stalled for {value}: the newest commit on the standby is that old"
    next_step: whoever needs fresh rows should read from the primary until this is mended
    opens: RUN-005
    source: as for replication/lag
figure: {kind: timeline, y: stalled_s, unit: s, title: Age of the newest commit on the standby}
source: >-
  receive = replay means 0 only while the receiver streams; otherwise the age of the newest replayed
  commit is an upper bound, and a close one while commits flow
*/
SELECT receiving,
       paused,
       (CASE
            WHEN receiving AND received = replayed
                THEN CASE WHEN :cascaded = 0 OR quiet_s < 1 THEN 0 END
            -- what waits is at least as old as the newest of it, and at most as the newest replayed
            WHEN receiving AND quiet_s > 1
                AND extract(epoch FROM at - last_replayed_at) - quiet_s > 0.5 THEN NULL
            ELSE extract(epoch FROM at - last_replayed_at)
        END)::float8 AS stalled_s,
       pg_wal_lsn_diff(received, replayed)::bigint AS received_not_replayed_bytes,
       last_replayed_at,
       sender,
       last_message_s,
       quiet_s,
       at AS sampled_at
FROM (
    SELECT coalesce(w.status = 'streaming', false) AS receiving,
           pg_is_wal_replay_paused() AS paused,
           pg_last_wal_receive_lsn() AS received,
           pg_last_wal_replay_lsn() AS replayed,
           pg_last_xact_replay_timestamp() AS last_replayed_at,
           w.sender_host || ':' || w.sender_port AS sender,
           extract(epoch FROM clock_timestamp() - w.last_msg_receipt_time)::float8 AS last_message_s,
           extract(epoch FROM clock_timestamp() - w.latest_end_time)::float8 AS quiet_s,
           clock_timestamp() AS at
    FROM (SELECT) one
    LEFT JOIN pg_stat_wal_receiver w ON true
) s
