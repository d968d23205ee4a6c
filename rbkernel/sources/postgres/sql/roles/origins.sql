/*
purpose: From which addresses each login has sessions now, and which addresses nobody expects
needs: [pg_monitor]
columns:
  login: the role that logged in
  address: where its sessions come from; NULL for a socket on the server's host
  origin: the address and, in brackets, the login
  systems: their application_name, which the client chooses; empty for none
  sessions: open sessions, without the one that asks
  oldest_s: s since the oldest of them began
  newest_s: s since the newest of them began
  unexpected: the address is not in :addresses; NULL if :addresses is empty, false for a socket
  elsewhere: sessions of the same login from expected addresses; NULL if :addresses is empty
  sampled_at: the server's clock
parameters:
  addresses: {help: "addresses and networks of known clients, with commas; empty if nobody knows", default: ""}
rules:
  - title: Addresses that nobody expects
    name: unexpected
    agg: rows
    where: {unexpected: true}
    each: origin
    unit: addresses
    critical: 0
    cause: "Sessions come from {value} that {is|are} not expected: {which}"
    next_step: find out whose address it is; if nobody knows, block it and end its sessions
    unseen: nobody said which addresses are expected
    opens: RUN-025
    source: a credential that was taken is used from elsewhere
figure: {kind: bars, x: sessions, y: origin, by: login, title: Sessions by address and login}
source: pg_stat_activity; PostgreSQL keeps nothing of sessions that have ended
*/
WITH given AS (
    SELECT CASE
               WHEN btrim(CAST(:addresses AS text)) <> ''
                   THEN regexp_split_to_array(btrim(CAST(:addresses AS text)), '\s*,\s*')::inet[]
           END AS addresses
),
sessions AS (
    SELECT coalesce(a.usename::text, '?') AS login,
           host(a.client_addr) AS address,
           -- a socket has client_addr NULL, and is not an address
           CASE
               WHEN g.addresses IS NOT NULL
                   THEN a.client_addr IS NOT NULL AND NOT EXISTS (
                       SELECT FROM unnest(g.addresses) n (network)
                       WHERE a.client_addr BETWEEN host(network(n.network))::inet
                                               AND host(broadcast(n.network))::inet
                   )
           END AS unexpected,
           a.application_name,
           extract(epoch FROM statement_timestamp() - a.backend_start)::float8 AS age_s
    FROM pg_stat_activity a
    CROSS JOIN given g
    WHERE a.backend_type IN ('client backend', 'walsender') AND a.pid <> pg_backend_pid()
),
origins AS (
    SELECT login,
           address,
           unexpected,
           coalesce(string_agg(DISTINCT nullif(application_name, ''), ', '), '') AS systems,
           count(*)::int AS sessions,
           max(age_s) AS oldest_s,
           min(age_s) AS newest_s
    FROM sessions
    GROUP BY login, address, unexpected
)
SELECT login,
       address,
       coalesce(address, 'socket') || ' (' || login || ')' AS origin,
       systems,
       sessions,
       oldest_s,
       newest_s,
       unexpected,
       CASE
           WHEN unexpected IS NOT NULL
               THEN coalesce(sum(sessions) FILTER (WHERE NOT unexpected) OVER (PARTITION BY login), 0)::int
       END AS elsewhere,
       statement_timestamp() AS sampled_at
FROM origins
ORDER BY unexpected DESC NULLS LAST, sessions DESC, login, address
