/*
purpose: Outbox messages that fail again and again, or that a worker claimed and left
requires_table:
  name: outbox_messages
  columns:
    id: {names: [id, message_id, event_id, outbox_id, uuid]}
    status: {names: [status, state, delivery_status]}
    created_at:
      names: [created_at, enqueued_at, queued_at, inserted_at, created, submitted_at, occurred_at,
              updated_at, modified_at]
      time: true
    updated_at:
      names: [updated_at, modified_at, claimed_at, locked_at, last_attempt_at, processed_at]
      time: true
      optional: true
    destination:
      names: [destination, target, recipient, topic, queue, channel, endpoint, type]
      optional: true
    attempts:
      names: [attempts, attempt_count, retries, retry_count, tries, delivery_attempts, failures]
      optional: true
    error:
      names: [last_error, error_message, error, failure_reason, last_failure]
      optional: true
columns:
  id: the message
  destination: where it goes; NULL if the table has no such column
  status: pending, processing, ...
  attempts: how often it was tried; NULL if that is not counted
  touched_s: s since it was last changed; NULL if the table has no such time
  age_s: s since it was written
  fails: it was tried as often as attempts_min, or more; NULL if that is not counted
  rejected: >-
    the only message of its destination that fails, with an error that says that the message itself
    is at fault (invalid, too large, HTTP 422, ...), and nothing of the network, of logins, of
    time-outs or of load
  unsent: it fails, and is not rejected
  abandoned: claimed by a worker, and not changed for stuck_s; NULL if the table has no such time
  error: its last error
  report: destination and last error
  relation: SQL name of the table
  id_column: SQL name of its column
  status_column: SQL name of its column
  error_column: SQL name of its column; NULL if there is none
  sampled_at: the server's clock
parameters:
  pending:
    help: statuses of a message that waits, separated by commas, in any case
    default: "pending, queued, new, waiting, ready, retry"
  processing:
    help: statuses of a message that is being delivered
    default: "processing, in_progress, running, sending, claimed"
  attempts_min: {help: tries after which a message counts as failing, default: 5}
  stuck_s: {help: "s without a change after which a claimed message counts as abandoned", default: 3600}
rules:
  - title: Messages that their receiver rejects
    name: rejected
    agg: rows
    where: {rejected: true}
    by: report
    unit: messages
    warn: 0
    cause: "{value} {is|are} rejected again and again, and {holds|hold} up the next ones: {top}"
    next_step: read the error; set the message to failed, so that the next ones go on
    opens: RUN-011
    unseen: the table has no column that counts the attempts
    source: >-
      rbkernel's choice; 5 tries. A relay that keeps the order fails only with the first message of
      a destination, so the error must say whose fault it is; several failing messages, or any other
      error, are the receiver
  - title: Messages that cannot be sent
    name: unsent
    agg: rows
    where: {unsent: true}
    by: report
    unit: messages
    warn: 0
    cause: "{value} cannot be sent, again and again: {top}"
    next_step: >-
      ask the owner of the receiver, and set none to failed: it is not clear that one is at fault
    opens: RUN-011
    unseen: the table has no column that counts the attempts
    source: as above
  - title: Abandoned messages
    name: abandoned
    agg: rows
    where: {abandoned: true}
    by: destination
    unit: messages
    warn: 0
    cause: "{value} {was|were} claimed by a worker and left, by destination: {top}"
    next_step: >-
      ask the receiver whether they arrived; set them to failed, which sends nothing twice
    opens: RUN-011
    unseen: the table has no time of the last change
    source: template of the service runbook, processing and unchanged for 1 hour
cut: {error: 300, report: 120}
figure: {kind: bars, x: attempts, y: id, by: destination, title: How often each message was tried}
*/
WITH undelivered AS (
    SELECT {id}::text AS id,
           {destination}::text AS destination,
           {status}::text AS status,
           {attempts}::text::numeric::bigint AS attempts,
           extract(epoch FROM clock_timestamp() - {updated_at})::float8 AS touched_s,
           extract(epoch FROM clock_timestamp() - {created_at})::float8 AS age_s,
           {error}::text AS error,
           lower({status}::text) = ANY (regexp_split_to_array(lower(:processing), ' *, *')) AS claimed
    FROM {table}
    WHERE lower({status}::text) = ANY (regexp_split_to_array(lower(:pending || ',' || :processing), ' *, *'))
),
judged AS (
    SELECT *,
           -- unknown for all, if nothing is counted; a column that is NULL before the first try is 0
           coalesce(attempts, CASE WHEN max(attempts) OVER () IS NOT NULL THEN 0 END) >= :attempts_min
               AS fails,
           CASE WHEN claimed THEN touched_s > :stuck_s ELSE false END AS abandoned,
           error ~* ANY (ARRAY[
               '^\W*(400|409|413|415|422)\M',
               '\mhttp(/[\d.]+)?[ :=-]*(400|409|413|415|422)\M',
               '(status|code|error|response|returned|success)\W*(400|409|413|415|422)\M',
               'bad.?request|unprocessable|invalid|validat|malformed|schema|duplicate',
               'too.?(large|long|big)',
               'missing.*(field|property|parameter|attribute|column|value)',
               '(field|property|parameter|attribute|column|value).*(missing|required)'
           ]) AS about_message,
           -- decides where both match: "invalid token" is no fault of the message
           error ~* ANY (ARRAY[
               'connect|network|socket|refused|unreach|no route|reset|closed|broken.?pipe|\meof\M',
               'resol(ve|ution)|\mdns\M|proxy|gateway|\mhost',
               'time[ds]?[ _-]*out|deadline|expired|unavailable|maintenance|internal.*error',
               'authori[sz]|authenti|oauth|forbidden|denied|permission|token|credential|password',
               'login|api.?key|signature|secret|session|invalid.(client|grant|scope|user|account)',
               '\m(open)?(ssl|tls)|handshake|certificate|x509|pkix',
               'quota|rate.?limit|throttl|too.?many|overload|capacity|busy|try again|temporar',
               'registry|serializ|deadlock',
               '(invalid|malformed).(http.)?(response|reply|answer|header|frame|chunk|ur[il]|endpoint)',
               '\m(40[1-8]|41[0124678]|42[13-9]|431|451|5\d\d)\M'
           ]) AS about_receiver
    FROM undelivered
),
counted AS (
    SELECT *, count(*) FILTER (WHERE fails) OVER (PARTITION BY destination) AS failing
    FROM judged
),
chosen AS (
    SELECT *,
           CASE WHEN fails IS NOT NULL
               THEN fails AND failing = 1 AND coalesce(about_message AND NOT about_receiver, false)
               END AS rejected,
           count(*) OVER () AS of_all
    FROM counted
    -- a young message may be in delivery: what is unknown of it does not matter
    WHERE (coalesce(fails, true) OR coalesce(abandoned, true)) AND age_s > 60
    ORDER BY fails DESC NULLS LAST, abandoned DESC NULLS LAST, age_s DESC, id
    LIMIT 500
)
SELECT id,
       destination,
       status,
       attempts,
       touched_s,
       age_s,
       fails,
       rejected,
       CASE WHEN fails IS NOT NULL THEN fails AND NOT rejected END AS unsent,
       abandoned,
       error,
       concat_ws(': ', destination, error) AS report,
       {table_name} AS relation,
       {id_name} AS id_column,
       {status_name} AS status_column,
       {error_name} AS error_column,
       statement_timestamp() AS sampled_at,
       of_all
FROM chosen
ORDER BY fails DESC NULLS LAST, abandoned DESC NULLS LAST, age_s DESC, id
