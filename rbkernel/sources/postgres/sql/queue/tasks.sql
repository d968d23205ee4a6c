/*
purpose: Tasks that wait for a human, and the age of the oldest
requires_table:
  name: hitl_tasks
  columns:
    status: {names: [status, state]}
    created_at:
      names: [created_at, requested_at, submitted_at, queued_at, enqueued_at, inserted_at, created,
              updated_at]
      time: true
    kind: {names: [kind, type, task_type, workflow, workflow_id, module, queue], optional: true}
columns:
  kind: kind of task, or its workflow; NULL if the table has no such column
  tasks: how many are pending
  oldest_s: s since the oldest was made, or last touched where the table has only that time
  sampled_at: the server's clock
parameters:
  pending:
    help: statuses of a task that waits, separated by commas, in any case
    default: "pending, open, new, waiting, queued, assigned, in_review"
rules:
  - title: Pending human tasks
    column: tasks
    agg: sum
    by: kind
    unit: tasks
    warn: 50
    critical: 200
    cause: "{value} {waits|wait} for a human: {top}"
    next_step: >-
      find the stuck workflows in the task dashboard; escalate to the backup approver, or pause the
      workflow if an agent loops
    opens: RUN-012
    source: "template of the module runbook: more than 50 is an alert, more than 200 a P2"
  - title: Oldest pending human task
    column: oldest_s
    empty: 0
    by: kind
    unit: s
    warn: 14400
    cause: "A task has been waiting for a human for {value}"
    next_step: see whether the approver is available; escalate to the backup approver
    opens: RUN-012
    source: "template of the module runbook: the oldest above 4 h is an alert"
figure: {kind: bars, x: tasks, y: kind, title: Tasks that wait for a human}
*/
SELECT kind, count(*) AS tasks,
       extract(epoch FROM clock_timestamp() - min(created_at))::float8 AS oldest_s,
       statement_timestamp() AS sampled_at
FROM (
    SELECT {kind}::text AS kind, {created_at} AS created_at
    FROM {table}
    WHERE lower({status}::text) = ANY (regexp_split_to_array(lower(:pending), ' *, *'))
) q
GROUP BY 1
ORDER BY tasks DESC, kind
