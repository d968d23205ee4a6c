/*
purpose: Settings that matter in an incident, what they mean, and which of them are dangerous
needs: [pg_monitor]
columns:
  setting: name of the setting
  value: the server's, with its unit; NULL if this role, this database or rbkernel's login sets it
  danger: data (rows can be lost or damaged), service (one session or slot can take all down), or empty
  at_risk: the value is dangerous; NULL when a setting of this role or database hides the server's own
  why: what it means
  source: where the value comes from (default, configuration file, database, user, …)
  pending_restart: the file has another value, which a restart applies
rules:
  - title: Settings that endanger data
    name: endanger_data
    agg: rows
    column: at_risk
    where: {danger: data}
    each: setting
    unit: settings
    critical: 0
    unseen: >-
      a setting of the role or the database (pg_db_role_setting), or of rbkernel's login, hides the
      server's value; ALTER ROLE ... RESET of it shows it
    cause: "{value} {puts|put} data at risk"
    next_step: correct them, and reload or restart; until then a crash can lose or damage rows
    opens: RUN-017
    source: the manual's chapters on reliability and on developer options
  - title: Settings that endanger the service
    name: endanger_service
    agg: rows
    column: at_risk
    where: {danger: service}
    each: setting
    unit: settings
    warn: 0
    unseen: >-
      a setting of the role or the database (pg_db_role_setting), or of rbkernel's login, hides the
      server's value; ALTER ROLE ... RESET of it shows it
    cause: "{value} {lets|let} one session or slot take the whole server down"
    next_step: read why, and set a limit
    opens: RUN-017
    source: the manual's chapters on client connection defaults and on replication
  - title: Settings waiting for a restart
    name: pending_restart
    agg: rows
    where: {pending_restart: true}
    each: setting
    unit: settings
    warn: 0
    cause: "{value} will change at the next restart"
    next_step: restart in a planned window, or revert the change
    opens: RUN-017
    source: pg_settings.pending_restart
*/
SELECT s.name AS setting,
       CASE WHEN NOT h.hidden THEN concat_ws(' ', s.reset_val, s.unit) END AS value,
       CASE
           WHEN h.hidden OR (s.reset_val = ANY (n.dangerous) AND n.holds) THEN n.danger
           ELSE ''
       END AS danger,
       CASE
           WHEN n.danger = '' THEN false
           WHEN NOT h.hidden THEN s.reset_val = ANY (n.dangerous) AND n.holds
       END AS at_risk,
       n.why,
       s.source,
       s.pending_restart
FROM (
    SELECT name, danger, string_to_array(dangerous, ',') AS dangerous, why,
           -- a limit on what slots keep is missed only where there is a slot
           name <> 'max_slot_wal_keep_size' OR EXISTS (SELECT FROM pg_replication_slots) AS holds,
           -- reset_val is what this role gets in this database
           name = ANY (string_to_array(coalesce(current_setting('rbkernel.set_at_login', true), ''), ','))
           OR name IN (
               SELECT lower(split_part(setting, '=', 1))
               FROM pg_db_role_setting r CROSS JOIN unnest(r.setconfig) AS setting
               WHERE r.setdatabase IN (0, (SELECT oid FROM pg_database
                                           WHERE datname = current_database()))
                 AND r.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = session_user))
           ) AS listed
    FROM (
        VALUES
            ('fsync', 'data', 'off', 'off: a crash of the machine can damage the whole cluster'),
            ('full_page_writes', 'data', 'off', 'off: a crash can leave half-written pages'),
            ('zero_damaged_pages', 'data', 'on', 'on: damaged pages are read as empty, and their rows are gone'),
            ('ignore_checksum_failure', 'data', 'on', 'on: damaged pages are taken for sound'),
            ('ignore_invalid_pages', 'data', 'on', 'on: recovery goes on over pages that are missing'),
            ('ignore_system_indexes', 'data', 'on', 'on: meant for the repair of a damaged catalog only'),
            ('allow_system_table_mods', 'data', 'on', 'on: the catalog itself can be changed'),
            ('autovacuum', 'service', 'off', 'off: tables bloat, and transaction ids run out'),
            ('track_counts', 'service', 'off', 'off: autovacuum does not know where to go'),
            ('track_activities', 'service', 'off', 'off: nobody sees what the sessions do'),
            ('idle_in_transaction_session_timeout', 'service', '0', '0: a session that forgets to commit keeps its locks for ever'),
            ('max_slot_wal_keep_size', 'service', '-1', '-1: a slot that nobody reads fills the disk'),
            ('max_standby_streaming_delay', 'service', '-1', '-1: a query on the standby can hold up replay for ever'),
            ('restart_after_crash', '', '', 'off: the server stays down when a process of it crashed'),
            ('synchronous_commit', '', '', 'off: the newest commits can be lost in a crash, and nothing is damaged'),
            ('synchronous_standby_names', '', '', 'not empty: commits wait for these standbys'),
            ('statement_timeout', '', '', '0: a query may run for ever'),
            ('lock_timeout', '', '', '0: a statement may wait for its lock for ever'),
            ('deadlock_timeout', '', '', 'how long a wait lasts before a deadlock is looked for'),
            ('log_lock_waits', '', '', 'off: the log says nothing of long waits'),
            ('log_min_duration_statement', '', '', '-1: the log says nothing of slow statements'),
            ('track_io_timing', '', '', 'off: nobody sees how slow the disk is'),
            ('shared_preload_libraries', '', '', 'pg_stat_statements belongs here'),
            ('max_connections', '', '', 'slots for sessions'),
            ('superuser_reserved_connections', '', '', 'slots that only a superuser may take'),
            ('reserved_connections', '', '', 'slots for members of pg_use_reserved_connections'),
            ('max_prepared_transactions', '', '', 'above 0: prepared transactions can be left behind'),
            ('shared_buffers', '', '', 'memory for pages'),
            ('work_mem', '', '', 'memory of each sort or hash, several in a query'),
            ('maintenance_work_mem', '', '', 'memory of vacuum and of index builds'),
            ('max_wal_size', '', '', 'WAL between two checkpoints'),
            ('checkpoint_timeout', '', '', 'time between two checkpoints'),
            ('wal_level', '', '', 'minimal: no standby and no archive are possible'),
            ('wal_keep_size', '', '', 'WAL kept for standbys without a slot'),
            ('archive_mode', '', '', 'off: no restore to a point in time'),
            ('hot_standby_feedback', '', '', 'on: queries of this standby hold back vacuum on the primary'),
            ('recovery_min_apply_delay', '', '', 'above 0: this standby is behind on purpose'),
            ('autovacuum_freeze_max_age', '', '', 'age at which a table is frozen by force'),
            ('autovacuum_max_workers', '', '', 'tables that are vacuumed at once'),
            ('data_checksums', '', '', 'off: damaged pages go unnoticed'),
            ('default_transaction_read_only', '', '', 'on: writes are refused'),
            ('password_encryption', '', '', 'md5: passwords are kept in a way that is broken'),
            ('ssl', '', '', 'off: all that clients say can be read on the network'),
            ('listen_addresses', '', '', 'where the server can be reached')
    ) v (name, danger, dangerous, why)
) n
JOIN pg_settings s ON s.name = n.name
CROSS JOIN LATERAL (SELECT n.listed OR s.source = 'client' AS hidden) h
ORDER BY CASE WHEN h.hidden OR (s.reset_val = ANY (n.dangerous) AND n.holds) THEN 0 ELSE 1 END, s.name
