/*
purpose: Logical slots, and whether they would survive a failover to a standby
needs: [pg_monitor]
columns:
  slot: name of the slot
  database: the database that it decodes
  active: it has a reader
  failover: it is meant to be copied to the standbys; PostgreSQL 17 and later only
  survives: >-
    on a primary: failover is set; on a standby: the copy is complete and valid. NULL on a standby
    for a copy that is not complete yet
  waits: it sends a subscriber only what the standbys have (synchronized_standby_slots)
  matters: there is a standby to fail over to
  why: what is missing
  count: 1, for the figure
  sampled_at: the server's clock
rules:
  - title: Logical slots not kept in a failover
    name: not_kept
    agg: rows
    where: {survives: false, matters: true}
    each: slot
    unit: slots
    warn: 0
    unseen: the copy is not complete yet; run it again later
    cause: >-
      {value} would be lost in a failover: {its|their} subscribers would stop and have to be copied
      again
    next_step: >-
      set failover of the subscription or slot (ALTER SUBSCRIPTION ... SET (failover = true)), and
      sync_replication_slots, hot_standby_feedback and a dbname in primary_conninfo on the standby;
      before PostgreSQL 17 plan to create the slots and copy the tables again
    opens: RUN-030
    source: the manual's chapter on logical replication failover, PostgreSQL 17
  - title: Logical slots not held back for the standby
    name: not_held_back
    agg: rows
    where: {waits: false, failover: true, matters: true}
    each: slot
    unit: slots
    warn: 0
    cause: >-
      {value} may send a subscriber what no standby has yet, because synchronized_standby_slots is
      empty: after a failover the subscriber is ahead of its publisher
    next_step: add the standby's physical slot to synchronized_standby_slots on the primary
    opens: RUN-030
    source: the manual's chapter on logical replication failover, PostgreSQL 17
figure: {kind: bars, x: count, y: slot, by: why, title: Logical slots and a failover}
*/
SELECT s.slot_name::text AS slot,
       s.database::text AS database,
       s.active,
       false AS failover,
       false AS survives,
       false AS waits,
       EXISTS (
           SELECT FROM pg_replication_slots WHERE slot_type = 'physical' AND NOT temporary
           UNION ALL
           SELECT FROM pg_stat_replication r
           WHERE NOT EXISTS (SELECT FROM pg_replication_slots l
                             WHERE l.active_pid = r.pid AND l.slot_type = 'logical')
       ) AS matters,
       'before PostgreSQL 17 no copy is made' AS why,
       1 AS count,
       clock_timestamp() AS sampled_at
FROM pg_replication_slots s
WHERE s.slot_type = 'logical' AND NOT s.temporary AND NOT pg_is_in_recovery()
ORDER BY slot
