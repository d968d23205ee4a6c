/*
purpose: Recorded differences that are not resolved, by module
requires_table:
  name: reconciliation_diffs
  columns:
    module: {names: [module, service, domain, entity, table_name], optional: true}
    kind: {names: [kind, diff_type, difference_type, type], optional: true}
    detected_at:
      names: [detected_at, found_at, created_at, recorded_at, inserted_at, occurred_at]
      time: true
    resolved_at:
      names: [resolved_at, closed_at, fixed_at, reconciled_at]
      time: true
      optional: true
    status: {names: [status, state, resolved, is_resolved], optional: true}
columns:
  module: the module
  kind: missing, extra, changed; NULL if the table has no such column
  differences: how many are open
  oldest_s: s since the oldest was found
  newest_s: s since the newest was found
  sampled_at: the server's clock
parameters:
  resolved:
    help: statuses of a difference that is resolved, separated by commas, in any case
    default: "resolved, closed, fixed, reconciled, done, ignored, true"
rules:
  - title: Open differences
    column: differences
    agg: sum
    by: module
    unit: differences
    warn: 0
    cause: "{value} between source and target are open: {top}"
    next_step: check whether the rows still differ (RUN-006)
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
SELECT {module}::text AS module,
       {kind}::text AS kind,
       count(*) AS differences,
       extract(epoch FROM clock_timestamp() - min({detected_at}))::float8 AS oldest_s,
       extract(epoch FROM clock_timestamp() - max({detected_at}))::float8 AS newest_s,
       statement_timestamp() AS sampled_at
FROM {table}
WHERE {resolved_at} IS NULL
  -- a table that does not say which are resolved holds those that are open
  AND coalesce(lower({status}::text) <> ALL (regexp_split_to_array(lower(:resolved), ' *, *')), true)
GROUP BY 1, 2
ORDER BY differences DESC, module, kind
