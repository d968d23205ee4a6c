-- The service "shop" as its owner shop_app creates it: two orders tables that must be equal, and
-- the differences that its reconciliation job found. Everything is drawn from hashes of the row
-- number, so each sandbox holds the same rows; only the times move with now().
--
-- Ids are 100004, 100008, … 300000: the gaps are where a fault can put rows that never existed.

CREATE TABLE orders_legacy (
    id            bigint PRIMARY KEY,
    customer_id   integer NOT NULL,
    status        text NOT NULL,
    amount_cents  bigint NOT NULL,
    currency      text NOT NULL,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL
);

CREATE TABLE orders (LIKE orders_legacy INCLUDING ALL);

CREATE SEQUENCE order_ids START 300004 INCREMENT 4;

-- 50 000 orders in 30 days, fewer at night
INSERT INTO orders_legacy
SELECT 100000 + 4 * n,
       1 + abs(hashint8extended(n, 1) % 4000),
       (ARRAY['delivered', 'delivered', 'delivered', 'delivered', 'delivered', 'shipped',
              'returned', 'cancelled'])[1 + abs(hashint8extended(n, 2) % 8)],
       490 + abs(hashint8extended(n, 3) % 25000),
       (ARRAY['EUR', 'EUR', 'EUR', 'EUR', 'USD', 'GBP'])[1 + abs(hashint8extended(n, 4) % 6)],
       placed,
       least(placed + make_interval(mins => (5 + abs(hashint8extended(n, 5) % 2880))::integer), now())
FROM generate_series(1, 50000) AS n,
     LATERAL (SELECT now() - interval '30 days' + make_interval(
                  secs => 51.84 * n - 6000 * sin(2 * pi() * 51.84 * n / 86400))) AS t (placed);

INSERT INTO orders SELECT * FROM orders_legacy;

CREATE INDEX ON orders_legacy (created_at);
CREATE INDEX ON orders (created_at);

CREATE TABLE reconciliation_diffs (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    module       text NOT NULL,
    entity       text NOT NULL,
    entity_id    bigint NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('missing', 'extra', 'changed')),
    detected_at  timestamptz NOT NULL DEFAULT now(),
    resolved_at  timestamptz,
    details      jsonb NOT NULL DEFAULT '{}'
);

-- what was found and mended in the last 30 days
INSERT INTO reconciliation_diffs (module, entity, entity_id, kind, detected_at, resolved_at, details)
SELECT (ARRAY['orders', 'orders', 'orders', 'invoices'])[1 + abs(hashint8extended(n, 6) % 4)],
       'order',
       100000 + 4 * (1 + abs(hashint8extended(n, 7) % 50000)),
       (ARRAY['missing', 'changed', 'changed', 'extra'])[1 + abs(hashint8extended(n, 8) % 4)],
       found,
       least(found + make_interval(mins => (3 + abs(hashint8extended(n, 9) % 240))::integer), now()),
       '{"source": "nightly reconciliation"}'
FROM generate_series(1, 240) AS n,
     LATERAL (SELECT now() - interval '30 days' + make_interval(
                  mins => (abs(hashint8extended(n, 10) % 41760))::integer)) AS t (found)
ORDER BY found;

CREATE INDEX ON reconciliation_diffs (module, detected_at DESC);

-- what the relay delivers to other services; empty until a fault fills it
CREATE TABLE shop_outbox (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    destination  text NOT NULL,
    status       text NOT NULL DEFAULT 'pending',
    attempts     integer NOT NULL DEFAULT 0,
    last_error   text,
    payload      jsonb NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL
);

GRANT SELECT ON orders_legacy, orders, reconciliation_diffs, shop_outbox TO rb_diag;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO rb_diag;
GRANT SELECT, INSERT, UPDATE, DELETE ON orders_legacy, orders, reconciliation_diffs, shop_outbox
    TO rb_action;

ANALYZE orders_legacy, orders, reconciliation_diffs, shop_outbox;
