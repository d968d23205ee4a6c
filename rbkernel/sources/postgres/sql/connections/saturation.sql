/*
purpose: How many of the connection slots for ordinary roles are in use
needs: [pg_monitor]
columns:
  used: client backends that hold a slot, rbkernel's included
  usable: max_connections less the reserved slots
  free: usable less used, 0 at the least
  used_pct: "%, used of usable; above 100 when reserved slots are taken"
  max_connections: as configured
  reserved: superuser_reserved_connections and, from 16 on, reserved_connections
  sampled_at: the server's clock
rules:
  - title: Connection slots in use
    column: used_pct
    agg: last
    unit: "%"
    warn: 80
    critical: 90
    cause: "{value} of the connection slots are in use"
    next_step: see who holds them (connections/holders)
    opens: RUN-001
    source: seed RUN-001 (alert above 90 %); 80 % is the field's usual warning
figure: {kind: timeline, y: used_pct, unit: "%", title: Connection slots in use}
*/
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
