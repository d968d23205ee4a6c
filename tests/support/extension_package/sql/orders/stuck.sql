/*
purpose: Orders that are paid and not shipped
columns:
  id: the order
  age_s: s, how long ago it was last changed
parameters:
  older_than_s: {help: "s, from which age on an order is stuck", default: 3600}
rules:
  - title: Stuck orders
    column: age_s
    empty: 0
    unit: s
    warn: 7200
    cause: "The oldest order has waited for {value}"
    next_step: call the warehouse
    source: ours; the warehouse promises an hour
*/
SELECT id, extract(epoch FROM now() - updated_at)::float8 AS age_s
FROM orders
WHERE status = 'paid' AND updated_at < now() - make_interval(secs => :older_than_s)
