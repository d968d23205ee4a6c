-- purpose: Who holds the connection slots, and in which state
-- runs on: any
-- needs: pg_monitor
-- column: application text: application_name, or the user where there is none
-- column: username text: the role
-- column: database text: the database
-- column: state text: active, idle, idle in transaction, …
-- column: sessions int: client backends of this kind
-- column: stuck int: those of them that have been in this state longer than :stuck_after_s
-- column: stuck_pct float: %, stuck of all slots that an ordinary role may use
-- column: oldest_s float: s, how long the oldest has been in this state
-- parameter: stuck_after_s float: s, how long a state may last before it counts as stuck
SELECT coalesce(nullif(application_name, ''), usename, '?') AS application,
       usename::text AS username,
       datname::text AS database,
       state,
       count(*)::int AS sessions,
       (count(*) FILTER (WHERE state_s > :stuck_after_s))::int AS stuck,
       (100.0 * count(*) FILTER (WHERE state_s > :stuck_after_s) / (
           current_setting('max_connections')::int
           - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true), '0')::int
       ))::float8 AS stuck_pct,
       max(state_s)::float8 AS oldest_s
FROM (
    SELECT *, extract(epoch FROM clock_timestamp() - state_change) AS state_s
    FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid IS DISTINCT FROM pg_backend_pid()
) a
GROUP BY 1, 2, 3, 4
ORDER BY sessions DESC, application
