/*
purpose: Messages of the outbox that have not been delivered, by destination
requires_table: {name: outbox_messages, columns: [status, destination, created_at]}
columns:
  destination: where they should go
  status: pending, processing, …
  messages: how many
  oldest_s: s since the oldest was written
  sampled_at: the server's clock
parameters:
  pending: {help: status of a message that waits, default: pending}
  processing: {help: status of a message that is being delivered, default: processing}
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
    source: seed RUN-001 calls a message stuck after an hour; 300 s is ours
  - title: Undelivered messages
    column: messages
    agg: sum
    by: destination
    unit: messages
    warn: 1000
    critical: 10000
    cause: "{value} have not been delivered: {top}"
    next_step: see which destination they are for, and whether it answers
    opens: RUN-011
    source: ours; set your own with rb.assess
figure: {kind: bars, x: messages, y: destination, by: status, title: Undelivered messages}
*/
SELECT destination::text AS destination,
       status::text AS status,
       count(*) AS messages,
       extract(epoch FROM clock_timestamp() - min(created_at))::float8 AS oldest_s,
       statement_timestamp() AS sampled_at
FROM {schema}.outbox_messages
-- as text, so that an enum without one of the words is no error
WHERE status::text IN (:pending, :processing)
GROUP BY 1, 2
ORDER BY messages DESC, destination, status
