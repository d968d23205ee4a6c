/*
purpose: What a promotion of this standby would lose, and whether it is ready for it
runs_on: standby
needs: [pg_monitor]
columns:
  receiving: a WAL receiver is streaming, so that some primary still sends
  received_lsn: end of the WAL that is here; a promotion replays all of it
  end_lsn: end of the old primary's WAL, as given; NULL when it is not known
  lost_bytes: >-
    bytes of WAL that are missing here; NULL when the end is not known, or lies before what is here,
    so that it is not the end
  lost_s: >-
    s of commits that may be lost at most; 0 when nothing is missing; NULL as lost_bytes, and when
    WAL is missing and last_commit_at is NULL or not before the stop
  not_replayed_bytes: bytes of WAL that are here and must be replayed before it accepts writes
  last_commit_at: time of the newest replayed commit; NULL when none was since this standby started
  paused: replay is paused
  delay_s: s, by how much replay is delayed on purpose
  sampled_at: the server's clock
parameters:
  end_lsn: {help: "end of the old primary's WAL, such as 0/5F000028; empty when not known", default: ""}
  stopped_at: {help: "when the old primary stopped, with its time zone; empty when not known", default: ""}
  lives: {help: "1 when the primary still writes, so that more than end_lsn may be here", default: 0}
rules:
  - title: WAL that a promotion would lose
    column: lost_bytes
    unit: bytes
    warn: 0
    expected: all WAL of the primary is here
    unseen: >-
      nobody said where the old primary's WAL ends, or the position lies before what is here. Read
      it on the host of the old primary: pg_controldata if its state is "shut down", else the last
      record that pg_waldump shows
    cause: "{value} of WAL never arrived on this standby: commits in it are lost by a promotion"
    next_step: copy the missing WAL from the old primary's pg_wal, or have the loss accepted
    opens: RUN-030
    source: a promotion replays what has been received, and nothing else
  - title: Commits that a promotion would lose
    column: lost_s
    unit: s
    warn: 0
    unseen: >-
      it is not known how much WAL is missing, or it is, and not since when: no commit was replayed
      since this standby started, or stopped_at lies before the newest commit that is here
    cause: "The commits of up to {value} are lost by a promotion"
    next_step: compare with the recovery point objective; above it, the owner of the data decides
    opens: RUN-030
    source: from the newest commit that is here to the stop of the old primary; an upper bound
  - title: Replay before a promotion
    column: not_replayed_bytes
    unit: bytes
    warn: 1073741824
    cause: "{value} of WAL must be replayed before this standby accepts writes"
    next_step: expect the promotion to take that long; see how fast replay is (replication/standby)
    opens: RUN-030
    source: rbkernel's choice; 1 GiB takes about a minute
  - title: Delay of the standby
    column: delay_s
    unit: s
    warn: 0
    expected: no delay
    cause: "This standby is {value} behind on purpose"
    next_step: choose another standby if there is one; a promotion replays all that has been received
    opens: RUN-030
    source: recovery_min_apply_delay
*/
SELECT receiving,
       received::text AS received_lsn,
       given::text AS end_lsn,
       lost AS lost_bytes,
       (CASE
            WHEN lost = 0 THEN 0
            -- neither an unknown commit nor one after the stop says since when WAL is missing
            WHEN lost > 0 AND stopped > last_commit_at
                THEN extract(epoch FROM stopped - last_commit_at)
        END)::float8 AS lost_s,
       pg_wal_lsn_diff(received, replayed)::bigint AS not_replayed_bytes,
       last_commit_at,
       paused,
       delay_s,
       clock_timestamp() AS sampled_at
FROM (
    SELECT *,
           (CASE
                WHEN given IS NULL OR received IS NULL THEN NULL
                WHEN received < given THEN pg_wal_lsn_diff(given, received)
                -- the record of a shutdown begins where pg_controldata says, and ends a little later
                WHEN :lives = 1 OR pg_wal_lsn_diff(received, given) <= 1024 THEN 0
            END)::bigint AS lost
    FROM (
        SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming') AS receiving,
               greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) AS received,
               pg_last_wal_replay_lsn() AS replayed,
               CAST(nullif(:end_lsn, '') AS pg_lsn) AS given,
               coalesce(CAST(nullif(:stopped_at, '') AS timestamptz), clock_timestamp()) AS stopped,
               pg_last_xact_replay_timestamp() AS last_commit_at,
               pg_is_wal_replay_paused() AS paused,
               (SELECT setting::float8 / 1000 FROM pg_settings
                WHERE name = 'recovery_min_apply_delay') AS delay_s
    ) here
) s
