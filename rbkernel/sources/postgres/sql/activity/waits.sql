/*
purpose: "What the busy sessions do now: run, or wait for what, by application"
needs: [pg_monitor]
columns:
  application: application_name, or the user if there is none
  wait_type: running, or wait_event_type
  wait: "running, or wait_event_type and wait_event, such as Lock: tuple"
  sessions: sessions with a query under way that do this; the mean of several samples
  share_pct: "%, share of all sessions with a query under way"
rules:
  - title: Busy sessions waiting for a lock
    column: share_pct
    agg: sum
    where: {wait_type: Lock}
    empty: 0
    by: application
    unit: "% of the busy sessions"
    warn: 10
    critical: 50
    cause: "{value} wait for a lock, by application: {top}"
    next_step: see which session holds the lock (locks/blocking)
    opens: RUN-007
    source: the same shares as for slots that are held (connections/holders)
figure: {kind: bars, x: share_pct, y: wait, by: application, title: What the busy sessions do}
source: pg_stat_activity; one sample can mislead, so take several (rb.sample, or rb.diagnose with seconds)
*/
SELECT coalesce(nullif(application_name, ''), usename, '?') AS application,
       coalesce(wait_event_type, 'running') AS wait_type,
       coalesce(wait_event_type || ': ' || wait_event, 'running') AS wait,
       count(*)::float8 AS sessions,
       (100.0 * count(*) / sum(count(*)) OVER ())::float8 AS share_pct
FROM pg_stat_activity
WHERE state = 'active'
  AND backend_type IN ('client backend', 'parallel worker')
  AND pid <> pg_backend_pid()
GROUP BY 1, 2, 3
ORDER BY sessions DESC, application, wait
