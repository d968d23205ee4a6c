-- purpose: How many connection slots are taken of those that an ordinary role may use
-- runs on: any
-- needs: pg_monitor
-- column: used int: client backends that hold a slot, ours included
-- column: usable int: max_connections less the reserved slots
-- column: free int: usable - used, 0 at the least
-- column: used_pct float: %, used of usable; above 100 when reserved slots are taken
-- column: max_connections int: as configured
-- column: reserved int: superuser_reserved_connections + reserved_connections (16 and later)
-- column: sampled_at timestamptz: the server's clock
-- source: warn at 80 %, critical at 90 %: seed 003 (alert above 90 %) and the field's monitors
SELECT used,
       usable,
       greatest(usable - used, 0) AS free,
       (100.0 * used / usable)::float8 AS used_pct,
       max_connections,
       reserved,
       clock_timestamp() AS sampled_at
FROM (
    SELECT (SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend') AS used,
           current_setting('max_connections')::int AS max_connections,
           reserved,
           current_setting('max_connections')::int - reserved AS usable
    FROM (
        SELECT current_setting('superuser_reserved_connections')::int
               -- the setting exists from PostgreSQL 16 on
               + coalesce(current_setting('reserved_connections', true), '0')::int AS reserved
    ) r
) s
