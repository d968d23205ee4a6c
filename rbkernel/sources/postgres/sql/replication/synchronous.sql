/*
purpose: >-
  Synchronous replication: which standbys are configured and connected, and whether commits wait for
  them
runs_on: primary
needs: [pg_monitor]
columns:
  standby: application_name of a connected standby that is configured; NULL if none is
  state: streaming, catchup, startup; only one that streams confirms commits
  sync_state: sync, quorum, or potential (takes the place of another), as PostgreSQL itself says
  priority: place in the list of a FIRST; 1 for each of an ANY
  not_flushed_bytes: bytes of WAL that are not on its disk
  asked: synchronous_standby_names is set, so that commits wait
  confirming: standbys that confirm commits
  missing: commits are to wait, and no standby confirms them
  waiting: commits that wait for a standby
  waiting_s: s that the oldest of them has been running; 0 for none
  names: what is configured, and who else is connected
  sampled_at: the server's clock
rules:
  - title: Synchronous standbys
    name: missing
    agg: rows
    where: {missing: true}
    each: names
    critical: 0
    expected: no setting of synchronous_standby_names without a connected standby
    cause: No synchronous standby is connected and streaming, so commits wait
    next_step: >-
      bring the standby back, or correct its application_name in primary_conninfo; or, if losing its
      copy is acceptable, have an administrator remove it from synchronous_standby_names and reload
    opens: RUN-005
    source: pg_stat_replication.sync_state; without one, PostgreSQL lets no commit return
  - title: Commits waiting for a standby
    column: waiting_s
    unit: s
    warn: 1
    critical: 5
    cause: Commits have been waiting for a synchronous standby for up to {value}
    next_step: >-
      see whether enough standbys confirm (sync_state), and how far they are behind
      (replication/downstream); with remote_apply also whether replay is paused there. Do not cancel
      the commits: they would remain committed here but not on the standby
    opens: RUN-005
    source: rbkernel's choice; a commit waits for one round trip and one flush
figure: {kind: bars, x: not_flushed_bytes, y: standby, by: sync_state, title: Bytes that are not on the standby's disk}
source: >-
  pg_stat_replication and pg_stat_activity (wait event SyncRep); PostgreSQL reads the list, not
  by us, so that how many standbys it asks for is seen by the commits that wait
*/
SELECT r.application_name AS standby,
       r.state,
       r.sync_state,
       r.sync_priority AS priority,
       greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), r.flush_lsn), 0)::bigint AS not_flushed_bytes,
       c.asked,
       c.confirming,
       c.asked AND c.confirming = 0 AS missing,
       w.waiting,
       w.waiting_s,
       format('synchronous_standby_names = ''%s''; also connected: %s',
              current_setting('synchronous_standby_names'), c.others) AS names,
       clock_timestamp() AS sampled_at
FROM (
    SELECT current_setting('synchronous_standby_names') <> '' AS asked,
           count(*) FILTER (WHERE state = 'streaming' AND sync_state IN ('sync', 'quorum'))
               AS confirming,
           coalesce(string_agg(application_name || ' (' || state || ')', ', ' ORDER BY application_name)
                        FILTER (WHERE sync_state = 'async' AND state <> 'backup'),
                    'nobody') AS others
    FROM pg_stat_replication
) c
CROSS JOIN (
    SELECT count(*) AS waiting,
           coalesce(max(extract(epoch FROM clock_timestamp() - query_start)), 0)::float8 AS waiting_s
    FROM pg_stat_activity
    WHERE wait_event_type = 'IPC' AND wait_event = 'SyncRep'
) w
LEFT JOIN pg_stat_replication r ON r.sync_state <> 'async'
ORDER BY priority, standby
