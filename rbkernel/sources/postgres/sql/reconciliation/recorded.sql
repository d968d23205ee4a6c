/*
purpose: The newest recorded differences that are not resolved, of one module or of all
requires_table:
  name: reconciliation_diffs
  columns:
    module: {names: [module, service, domain, entity, table_name], optional: true}
    kind: {names: [kind, diff_type, difference_type, type], optional: true}
    entity_id:
      names: [entity_id, record_id, row_id, object_id, entity_key, row_key, primary_key, pk, key]
      optional: true
    details: {names: [details, detail, data, diff, payload, description, message], optional: true}
    detected_at:
      names: [detected_at, found_at, created_at, recorded_at, inserted_at, occurred_at]
      time: true
    resolved_at:
      names: [resolved_at, closed_at, fixed_at, reconciled_at]
      time: true
      optional: true
    status: {names: [status, state, resolved, is_resolved], optional: true}
columns:
  detected_at: when it was found
  module: the module
  entity_id: the row that differs; NULL if the table has no such column
  kind: missing, extra, changed; NULL if the table has no such column
  details: what was found; NULL if the table has no such column
  oldest_h: h since the oldest that is open was found, the same in each row
  sampled_at: the server's clock
parameters:
  module: {help: "the module, as the table names it; empty for all", default: ""}
  most: {help: "how many are shown, the newest first", default: 50}
  resolved:
    help: statuses of a difference that is resolved, separated by commas, in any case
    default: "resolved, closed, fixed, reconciled, done, ignored, true"
rules:
  - title: Oldest recorded difference
    column: oldest_h
    empty: 0
    ranked: true
    unit: h
    critical: 24
    cause: A recorded difference has been open for {value}
    next_step: escalate to P1 and engage the architect
    opens: RUN-006
    source: "seed RUN-000: persistent for more than 24 h is P1"
figure: {kind: strip, x: detected_at, by: kind, title: When each difference was found}
*/
SELECT {detected_at} AS detected_at,
       {module}::text AS module,
       {entity_id}::text AS entity_id,
       {kind}::text AS kind,
       {details} AS details,
       (extract(epoch FROM clock_timestamp() - min({detected_at}) OVER ()) / 3600)::float8 AS oldest_h,
       statement_timestamp() AS sampled_at,
       count(*) OVER () AS of_all
FROM {table}
WHERE (:module = '' OR coalesce({module}::text, :module) = :module)
  AND {resolved_at} IS NULL
  -- a table that does not say which are resolved holds those that are open
  AND coalesce(lower({status}::text) <> ALL (regexp_split_to_array(lower(:resolved), ' *, *')), true)
ORDER BY detected_at DESC, entity_id
LIMIT CAST(:most AS int)
