/*
purpose: Limits, prepared transactions and synchronous standbys of the server, in one row
needs: [pg_monitor]
columns:
  standby: whether the server is in recovery
  usable: connection slots that an ordinary role may use
  used: client backends, rbkernel's included
  limited_roles: >-
    roles whose CONNECTION LIMIT is reached, each as name (used of limit); without limits of 1, which
    keep a second session out on purpose
  limited_databases: databases whose connection limit is reached, each as name (used of limit)
  synchronous_standbys: synchronous_standby_names; empty for none
  synchronous_connected: standbys that are connected and count as synchronous
  senders: standbys that are connected, each as application_name (state)
  replay_waits_s: >-
    s after which replay on this standby cancels a query that it waits for, at the latest; NULL for
    never, or on a primary
  prepared: names of the prepared transactions, oldest first
  prepared_owners: their owners
  prepared_s: s since each was prepared
source: pg_settings, pg_roles, pg_database, pg_stat_replication, pg_prepared_xacts
*/
SELECT pg_is_in_recovery() AS standby,
       current_setting('max_connections')::int
           - current_setting('superuser_reserved_connections')::int
           -- the setting exists from PostgreSQL 16 on
           - coalesce(current_setting('reserved_connections', true), '0')::int AS usable,
       (SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend') AS used,
       ARRAY(
           SELECT format('%s (%s of %s)', r.rolname, count(*), r.rolconnlimit)
           FROM pg_roles r
           JOIN pg_stat_activity a ON a.usesysid = r.oid AND a.backend_type = 'client backend'
           WHERE r.rolconnlimit > 1 AND NOT r.rolsuper
           GROUP BY r.rolname, r.rolconnlimit
           HAVING count(*) >= r.rolconnlimit
           ORDER BY r.rolname) AS limited_roles,
       ARRAY(
           SELECT format('%s (%s of %s)', d.datname, count(*), d.datconnlimit)
           FROM pg_database d
           JOIN pg_stat_activity a ON a.datid = d.oid AND a.backend_type = 'client backend'
           WHERE d.datconnlimit > 1
           GROUP BY d.datname, d.datconnlimit
           HAVING count(*) >= d.datconnlimit
           ORDER BY d.datname) AS limited_databases,
       current_setting('synchronous_standby_names') AS synchronous_standbys,
       (SELECT count(*)::int FROM pg_stat_replication
        WHERE state = 'streaming' AND sync_state IN ('sync', 'quorum')) AS synchronous_connected,
       ARRAY(
           SELECT format('%s (%s)', application_name, state)
           FROM pg_stat_replication
           ORDER BY application_name) AS senders,
       (SELECT setting::float8 / 1000 FROM pg_settings
        WHERE name = CASE
                  WHEN EXISTS (SELECT FROM pg_stat_wal_receiver) THEN 'max_standby_streaming_delay'
                  ELSE 'max_standby_archive_delay'
              END
          AND setting <> '-1'
          AND pg_is_in_recovery()) AS replay_waits_s,
       ARRAY(SELECT gid FROM pg_prepared_xacts ORDER BY prepared, gid) AS prepared,
       ARRAY(SELECT owner::text FROM pg_prepared_xacts ORDER BY prepared, gid) AS prepared_owners,
       ARRAY(
           SELECT extract(epoch FROM clock_timestamp() - prepared)::float8
           FROM pg_prepared_xacts
           ORDER BY prepared, gid) AS prepared_s
