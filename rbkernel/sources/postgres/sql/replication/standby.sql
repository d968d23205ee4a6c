/*
purpose: How far this standby is behind, and what holds it up, as the standby sees it
runs_on: standby
needs: [pg_monitor]
columns:
  receiving: a WAL receiver runs and is streaming
  paused: replay was paused with pg_wal_replay_pause
  stalled_s: s since the newest transaction that was replayed; 0 when streaming and all is replayed, or
    when replay waits for a configured delay to pass; NULL when nobody here can tell, since the sender has
    been quiet
  received_not_replayed_bytes: bytes of WAL that lie here and wait
  waiting_lsn: end of the WAL that had arrived and waits; NULL when none does, or replay is held up
  last_replayed_at: commit time, by the primary's clock, of the newest replayed transaction
  sender: host and port that it receives from
  application: application_name with which it connects to its sender; NULL without a receiver
  apply_delay_s: s, by how much replay is delayed on purpose (recovery_min_apply_delay)
  last_message_s: s since the sender was last heard; NULL without a receiver
  silent_s: s of that, beyond half of wal_receiver_timeout, after which a sender that lives answers
  quiet_s: s since the sender had anything new; NULL without a receiver
  sampled_at: the server's clock
parameters:
  cascaded:
    help: 1 when it receives from another standby, which may be cut off; then a quiet sender proves nothing
    default: 0
  arrived: {help: an end of WAL that had been received a moment ago; empty for now, default: ""}
again: {column: waiting_lsn, parameter: arrived, every_s: 0.2, times: 5}
rules:
  - title: Replay
    column: paused
    agg: last
    critical: 0
    expected: not paused
    cause: "Replay is paused on the standby: pg_wal_replay_pause() was called"
    next_step: find out who paused it and why; then resume it
    opens: RUN-005
    source: pg_is_wal_replay_paused()
  - title: Configured replay delay
    column: apply_delay_s
    agg: last
    unit: s
    warn: 0
    expected: no delay
    cause: Replay is delayed by {value} on purpose (recovery_min_apply_delay)
    next_step: >-
      leave it: it is configured, often to recover from mistakes; applications that need current rows must
      read from another server
    opens: RUN-005
    source: the setting recovery_min_apply_delay
  - title: WAL receiver
    column: receiving
    agg: last
    critical: 1
    below: true
    expected: streaming
    cause: "The standby receives no WAL: its receiver is not running"
    next_step: >-
      check the standby's log, primary_conninfo, the password and the network between the servers;
      SQL cannot fix this
    opens: RUN-005
    source: pg_stat_wal_receiver.status
  - title: WAL sender
    column: silent_s
    agg: last
    where: {receiving: true}
    empty: 0
    unit: s
    critical: 2
    cause: "The WAL sender is silent: its answer is {value} overdue"
    next_step: >-
      check the WAL sender and the network: one of them is stuck; wal_receiver_timeout will end the
      connection
    opens: RUN-005
    source: the receiver asks for an answer after half of wal_receiver_timeout; 2 s for the answer
  - title: Replay progress
    column: stalled_s
    agg: last
    unit: s
    warn: 2
    critical: 15
    cause: "Replay has been stalled for {value}: the newest commit on the standby is that old"
    next_step: applications that need current rows must read from the primary until this is fixed
    opens: RUN-005
    source: as for replication/lag
figure: {kind: timeline, y: stalled_s, unit: s, title: Age of the newest commit on the standby}
source: >-
  receive = replay means 0 only while the receiver streams; otherwise the age of the newest replayed
  commit is an upper bound, and a close one while commits flow. A long transaction writes WAL without
  a commit: so what had been received at the first sample and is replayed within a second is no lag,
  however old the newest commit. A sender that is frozen looks like one that has nothing to send, until
  wal_receiver_timeout; compare with the primary (situation/position)
*/
SELECT receiving,
       paused,
       (CASE
            WHEN delaying THEN 0
            WHEN receiving AND arrived <= replayed
                THEN CASE WHEN :cascaded = 0 OR quiet_s < 1 THEN 0 END
            -- what waits is at least as old as the newest of it, and at most as the newest replayed
            WHEN receiving AND quiet_s > 1
                AND extract(epoch FROM at - last_replayed_at) - quiet_s > 0.5 THEN NULL
            ELSE greatest(extract(epoch FROM at - last_replayed_at) - apply_delay_s, 0)
        END)::float8 AS stalled_s,
       pg_wal_lsn_diff(received, replayed)::bigint AS received_not_replayed_bytes,
       CASE
           WHEN arrived > replayed AND receiving AND NOT paused AND apply_delay_s = 0
               THEN arrived::text
       END AS waiting_lsn,
       last_replayed_at,
       sender,
       application,
       apply_delay_s,
       last_message_s,
       (CASE WHEN receiver_timeout_s > 0
           THEN greatest(last_message_s - receiver_timeout_s / 2, 0) ELSE 0 END)::float8 AS silent_s,
       quiet_s,
       at AS sampled_at
FROM (
    SELECT coalesce(w.status = 'streaming', false) AS receiving,
           pg_is_wal_replay_paused() AS paused,
           -- what comes next was committed less than the delay ago
           EXISTS (SELECT FROM pg_stat_activity
                   WHERE backend_type = 'startup' AND wait_event = 'RecoveryApplyDelay') AS delaying,
           pg_last_wal_receive_lsn() AS received,
           coalesce(CAST(nullif(:arrived, '') AS pg_lsn), pg_last_wal_receive_lsn()) AS arrived,
           pg_last_wal_replay_lsn() AS replayed,
           pg_last_xact_replay_timestamp() AS last_replayed_at,
           w.sender_host || ':' || w.sender_port AS sender,
           coalesce(substring(w.conninfo FROM '(?:^| )application_name=(\S+)'),
                    substring(w.conninfo FROM '(?:^| )fallback_application_name=(\S+)')) AS application,
           extract(epoch FROM clock_timestamp() - w.last_msg_receipt_time)::float8 AS last_message_s,
           extract(epoch FROM clock_timestamp() - w.latest_end_time)::float8 AS quiet_s,
           (SELECT setting::float8 / 1000 FROM pg_settings
            WHERE name = 'recovery_min_apply_delay') AS apply_delay_s,
           (SELECT setting::float8 / 1000 FROM pg_settings
            WHERE name = 'wal_receiver_timeout') AS receiver_timeout_s,
           clock_timestamp() AS at
    FROM (SELECT) one
    LEFT JOIN pg_stat_wal_receiver w ON true
) s
