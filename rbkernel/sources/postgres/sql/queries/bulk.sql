/*
purpose: The statements of one login that read or changed the most rows since pg_stat_statements was reset
needs: [pg_monitor, pg_stat_statements]
columns:
  query_id: identifier of the statement
  database: the database in which it ran
  calls: how often
  rows: rows returned or changed, all calls
  rows_per_call: rows of an average call
  counted_since: when the counters were reset; whoever may do that can hide what was counted before
  query: its text with $n for the constants; first 300 characters
  sampled_at: the server's clock
parameters:
  login: {help: "login that may be in the wrong hands; empty for none", default: ""}
rules:
  - title: Rows read at once by the suspected login
    name: bulk
    column: rows_per_call
    empty: 0
    by: query
    unit: rows
    warn: 100000
    cause: "One statement of the login returned or changed {value} on average: {top}"
    next_step: find out whether the login's program does that; if not, these data may have left the system
    opens: RUN-025
    source: rbkernel's choice; an application reads pages of rows, a dump or COPY whole tables
figure: {kind: bars, x: rows, y: query_id, title: Rows of each statement of the suspected login}
source: pg_stat_statements; it counts statements that have ended, and neither when nor from where
*/
WITH statements AS MATERIALIZED (
    SELECT s.*,
           (SELECT stats_reset FROM {schema}.pg_stat_statements_info) AS counted_since,
           count(*) OVER () AS of_all
    FROM {schema}.pg_stat_statements({texts}) s
    WHERE s.userid = (SELECT oid FROM pg_roles WHERE rolname = CAST(:login AS text))
      AND s.calls > 0
    ORDER BY s.rows::float8 / s.calls DESC
    LIMIT 50
)
SELECT m.queryid::text AS query_id,
       d.datname::text AS database,
       m.calls,
       m.rows,
       m.rows::float8 / m.calls AS rows_per_call,
       m.counted_since,
       left(m.query, 300) AS query,
       statement_timestamp() AS sampled_at,
       m.of_all
FROM statements m
LEFT JOIN pg_database d ON d.oid = m.dbid
ORDER BY rows_per_call DESC, query_id
