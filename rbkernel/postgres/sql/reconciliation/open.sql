/*
purpose: Differences on record that nobody has resolved, by module
requires_table: {name: reconciliation_diffs, columns: [module, kind, detected_at, resolved_at]}
columns:
  module: the module
  kind: missing, extra, changed
  differences: how many are open
  oldest_s: s since the oldest was found
  newest_s: s since the newest was found
  sampled_at: the server's clock
rules:
  - title: Open differences
    column: differences
    agg: sum
    by: module
    unit: differences
    warn: 0
    cause: "{value} between source and target are open: {top}"
    next_step: look at the rows again, and see whether they still differ (RUN-006)
    opens: RUN-006
    source: seed RUN-000, reconciliation diff
  - title: Oldest open difference
    column: oldest_s
    empty: 0
    by: module
    unit: s
    critical: 86400
    cause: "A difference has been open for {value}: {top}"
    next_step: escalate to P1 and engage the architect
    opens: RUN-006
    source: "seed RUN-000: persistent for more than 24 h is P1"
figure: {kind: bars, x: differences, y: module, by: kind, title: Open differences}
*/
SELECT module::text AS module,
       kind::text AS kind,
       count(*) AS differences,
       extract(epoch FROM clock_timestamp() - min(detected_at))::float8 AS oldest_s,
       extract(epoch FROM clock_timestamp() - max(detected_at))::float8 AS newest_s,
       statement_timestamp() AS sampled_at
FROM {schema}.reconciliation_diffs
WHERE resolved_at IS NULL
GROUP BY 1, 2
ORDER BY differences DESC, module, kind
