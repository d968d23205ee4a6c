/*
purpose: Whether PostgreSQL offers TLS, which certificate file it reads, and who connects without TLS
needs: [pg_monitor]
columns:
  tls: ssl is on
  certificate: ssl_cert_file; a relative path begins in the data directory
  loaded_at: when the settings were last loaded; a certificate that could not be read then was not
  encrypted: sessions with TLS
  plain: sessions from other hosts without TLS
  unknown: sessions of which it is not known
  sampled_at: the server's clock
rules:
  - title: Sessions from other hosts without TLS
    column: plain
    name: plain
    where: {tls: true}
    empty: 0
    unit: sessions
    warn: 0
    cause: "{value} from other hosts {is|are} not encrypted, although the server offers TLS"
    next_step: ask their owners for sslmode=verify-full, then demand it with hostssl in pg_hba.conf
    opens: RUN-028
    source: rbkernel's choice; a server without TLS is in a network that is trusted
*/
SELECT current_setting('ssl')::boolean AS tls,
       current_setting('ssl_cert_file') AS certificate,
       pg_conf_load_time() AS loaded_at,
       count(*) FILTER (WHERE s.ssl)::int AS encrypted,
       count(*) FILTER (
           WHERE NOT s.ssl AND host(a.client_addr) NOT LIKE '127.%' AND a.client_addr <> inet '::1'
       )::int AS plain,
       count(*) FILTER (WHERE s.ssl IS NULL)::int AS unknown,
       clock_timestamp() AS sampled_at
FROM pg_stat_activity a
LEFT JOIN pg_stat_ssl s ON s.pid = a.pid
WHERE a.backend_type = 'client backend'
