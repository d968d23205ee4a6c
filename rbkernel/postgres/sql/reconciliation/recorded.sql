/*
purpose: The newest differences on record that nobody has resolved, of one module or of all
requires_table:
  name: reconciliation_diffs
  columns: [module, kind, entity_id, detected_at, resolved_at, details]
columns:
  detected_at: when it was found
  module: the module
  entity_id: the row that differs
  kind: missing, extra, changed
  details: what was found
  oldest_h: h since the oldest that is open was found, the same in each row
  sampled_at: the server's clock
parameters:
  module: {help: "the module, as in reconciliation_diffs.module; empty for all", default: ""}
  most: {help: "how many are shown, the newest first", default: 50}
rules:
  - title: Oldest difference on record
    column: oldest_h
    empty: 0
    ranked: true
    unit: h
    critical: 24
    cause: "A difference has been on record for {value}"
    next_step: escalate to P1 and engage the architect
    opens: RUN-006
    source: "seed RUN-000: persistent for more than 24 h is P1"
figure: {kind: strip, x: detected_at, by: kind, title: When each difference was found}
*/
SELECT detected_at,
       module::text AS module,
       entity_id::text AS entity_id,
       kind::text AS kind,
       details,
       (extract(epoch FROM clock_timestamp() - min(detected_at) OVER ()) / 3600)::float8 AS oldest_h,
       statement_timestamp() AS sampled_at,
       count(*) OVER () AS of_all
FROM {schema}.reconciliation_diffs
WHERE (:module = '' OR module::text = :module) AND resolved_at IS NULL
ORDER BY detected_at DESC, entity_id
LIMIT CAST(:most AS int)
