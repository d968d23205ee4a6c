/*
purpose: Whether outbox messages are delivered now, by destination, from two samples
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
    attempts:
      names: [attempts, attempt_count, retries, retry_count, tries, delivery_attempts, failures]
      optional: true
columns:
  destination: where they go; empty if the table has no such column
  waiting: messages that are not delivered, of the second sample
  waiting_before: the same in the first sample
  still_waiting: >-
    those of the second sample that were written before the first: older than the time between them
  oldest_s: s since the oldest of them was written
  untried_at: >-
    when the oldest message was written that was not tried yet, as s since 1970; it moves on when
    messages are tried
  untried_at_before: the same in the first sample
  stands: >-
    nothing was delivered between the two samples: all messages of the first one still wait, the
    oldest untried one is the same, and the oldest waits for over 60 s
  window_s: s between the two samples
  sampled_at: the server's clock of the second sample
parameters:
  pending:
    help: statuses of a message that waits, separated by commas, in any case
    default: "pending, queued, new, waiting, ready, retry"
  processing:
    help: statuses of a message that is being delivered
    default: "processing, in_progress, running, sending, claimed"
twice:
  every_s: 5
  key: [destination]
  counters: []
  gauges: [waiting, untried_at]
  made:
    stands: (still_waiting >= waiting_before) & (untried_at <= untried_at_before) & (oldest_s > 60)
  worst_first: waiting
rules:
  - title: Destinations without a delivery
    name: stands
    agg: rows
    where: {stands: true}
    each: destination
    unit: destinations
    warn: 0
    cause: "Nothing was delivered to {value} between the two samples"
    next_step: >-
      see whether the relay runs, whether it waits for a lock (locks/blocking), and what its oldest
      message reports (queue/stuck)
    opens: RUN-011
    source: >-
      rbkernel's choice; a delivery that takes longer than the time between the samples (every_s)
      looks the same, so raise every_s for slow receivers
figure: {kind: bars, x: waiting, y: destination, by: stands, title: Messages that wait}
*/
SELECT coalesce({destination}::text, '') AS destination,
       count(*) AS waiting,
       -- new messages do not make up for those that were delivered
       count(*) FILTER (
           WHERE ({created_at} > now() - make_interval(secs => :every_s)) IS NOT TRUE
       ) AS still_waiting,
       extract(epoch FROM clock_timestamp() - min({created_at}))::float8 AS oldest_s,
       -- when all were tried, the oldest of all
       extract(epoch FROM coalesce(
           min({created_at}) FILTER (WHERE coalesce({attempts}::text, '0') = '0'),
           min({created_at})))::float8 AS untried_at,
       statement_timestamp() AS sampled_at
FROM {table}
WHERE lower({status}::text) = ANY (regexp_split_to_array(lower(:pending || ',' || :processing), ' *, *'))
GROUP BY 1
ORDER BY waiting DESC, destination
