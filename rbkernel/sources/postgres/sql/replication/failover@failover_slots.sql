/* From 17 on: a slot can be copied to the standbys. */
SELECT s.slot_name::text AS slot,
       s.database::text AS database,
       s.active,
       s.failover,
       CASE
           WHEN s.invalidation_reason IS NOT NULL THEN false
           WHEN NOT p.standby THEN s.failover
           WHEN NOT s.temporary THEN true
       END AS survives,
       p.standby OR current_setting('synchronized_standby_slots') <> '' AS waits,
       p.standby OR EXISTS (
           SELECT FROM pg_replication_slots WHERE slot_type = 'physical' AND NOT temporary
           UNION ALL
           SELECT FROM pg_stat_replication r
           WHERE NOT EXISTS (SELECT FROM pg_replication_slots l
                             WHERE l.active_pid = r.pid AND l.slot_type = 'logical')
       ) AS matters,
       CASE
           WHEN s.invalidation_reason IS NOT NULL THEN 'invalid: ' || s.invalidation_reason
           WHEN NOT p.standby AND NOT s.failover THEN 'failover is not set'
           WHEN p.standby AND s.temporary THEN 'not yet complete'
           ELSE ''
       END AS why,
       1 AS count,
       clock_timestamp() AS sampled_at
FROM pg_replication_slots s
CROSS JOIN (SELECT pg_is_in_recovery() AS standby) p
-- on a standby only the copies; its other slots belong to another server
WHERE s.slot_type = 'logical' AND CASE WHEN p.standby THEN s.synced ELSE NOT s.temporary END
ORDER BY survives, slot
