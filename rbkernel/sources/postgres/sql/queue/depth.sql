/*
purpose: Outbox messages that are not delivered, by destination
requires_table:
  name: outbox_messages
  columns:
    status: {names: [status, state, delivery_status]}
    created_at:
      names: [created_at, enqueued_at, queued_at, inserted_at, created, submitted_at, occurred_at,
              updated_at, modified_at]
      time: true
    destination:
      names: [destination, target, recipient, topic, queue, channel, endpoint, type]
      optional: true
columns:
  destination: where they go; NULL if the table has no such column
  status: pending, processing, ...
  messages: how many
  oldest_s: s since the oldest was written, or last touched where the table has only that time
  sampled_at: the server's clock
parameters:
  pending:
    help: statuses of a message that waits, separated by commas, in any case
    default: "pending, queued, new, waiting, ready, retry"
  processing:
    help: statuses of a message that is being delivered
    default: "processing, in_progress, running, sending, claimed"
rules:
  - title: Oldest undelivered message
    column: oldest_s
    empty: 0
    by: destination
    unit: s
    warn: 300
    critical: 3600
    cause: "A message has been waiting for {value}: {top}"
    next_step: see whether the workers run, and whether they wait for a lock (locks/blocking)
    opens: RUN-011
    source: seed RUN-001 calls a message stuck after an hour; 300 s is rbkernel's choice
  - title: Undelivered messages
    column: messages
    agg: sum
    by: destination
    unit: messages
    warn: 1000
    critical: 10000
    cause: "{value} {is|are} not delivered: {top}"
    next_step: see which destination they are for, and whether it responds
    opens: RUN-011
    source: rbkernel's choice; set your own with rb.assess
figure: {kind: bars, x: messages, y: destination, by: status, title: Undelivered messages}
*/
SELECT destination, status, count(*) AS messages,
       extract(epoch FROM clock_timestamp() - min(created_at))::float8 AS oldest_s,
       statement_timestamp() AS sampled_at
FROM (
    -- as text, so that an enum without one of the words is no error
    SELECT {destination}::text AS destination, {status}::text AS status, {created_at} AS created_at
    FROM {table}
    WHERE lower({status}::text) = ANY (regexp_split_to_array(lower(:pending || ',' || :processing), ' *, *'))
) q
GROUP BY 1, 2
ORDER BY messages DESC, destination, status
