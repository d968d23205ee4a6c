/*
purpose: >-
  Statements that have become slower, from two samples of pg_stat_statements, each compared with its
  own history
needs: [pg_monitor, pg_stat_statements]
columns:
  statement: beginning of the text, and identifier
  slower: duration of a call between the two samples, as a multiple of the duration before; NULL without a call
  sessions: sessions that it kept busy between the two samples, on average; those below 0.001 are left out
  rows_a_call: mean rows returned or changed by a call between the two samples
  rows_a_call_before: the same before
  pages_a_call: mean pages of tables and indexes, in memory or not, that a call read between the two samples
  pages_a_call_before: the same before
  mean_ms: mean execution time of a call between the two samples, in ms
  mean_before_ms: mean execution time of a call before, in ms
  calls: calls between the two samples; a call counts when it ends
  calls_before: calls from the reset to the first sample
  username: who ran it
  applications: the applications whose sessions ran it last; empty if none is connected
  database: the database in which it ran
  longest_before_s: s of the longest call before
  running_s: s of the longest running call that does not wait for a lock; 0 for none
  comparable: enough calls before and between the two samples, and enough time, to tell a change from noise
  regressed: >-
    it is comparable, and a call takes twice as long or more, beyond the spread of the past, also without
    the longest call ever; NULL without a past
  no_past: there is nothing to compare with, since all counters were reset within the last 10 min
  more_rows: a call returns twice as many rows or more, so that it is a different request
  more_pages: a call reads twice as many pages or more
  worse_plan: it has regressed, and reads more pages for as many rows
  endless: a call has been running for over 5 s and twice as long as the longest before
  query_id: identifier of the statement
  request: the role and the applications that run it, and the statement
  query: its text with $n for the constants; first 300 characters
  window_s: s between the two samples
  counted_since: when the counters of the statement, or of all, were reset
  sampled_at: the server's clock of the second sample
parameters:
  busy_sessions: {help: "sessions that a statement must keep busy on average to be judged", default: 0.02}
  least_share: {help: "share of the time of all statements, from 0 to 1, that it must take to be judged", default: 0}
  least_calls: {help: "calls between the two samples that are needed to judge", default: 5}
  single_spreads: {help: "standard deviations of single calls by which the mean must have grown", default: 0}
twice:
  every_s: 10
  key: [query_id, user_id, database_id, toplevel]
  counters: [calls, total_ms, rows, pages]
  gauges: [spread_ms, longest_ms]
  since: [counted_since]
  made:
    sessions: total_ms_per_s / 1000
    mean_ms: total_ms / calls
    mean_before_ms: total_ms_before / calls_before
    slower: mean_ms / mean_before_ms
    others_ms: (total_ms - longest_ms).clip(lower=0) / (calls - 1)
    rows_a_call: rows / calls
    rows_a_call_before: rows_before / calls_before
    pages_a_call: pages / calls
    pages_a_call_before: pages_before / calls_before
    longest_before_s: longest_ms_before / 1000
    comparable: >-
      (calls >= least_calls) & (calls_before >= 20) & (sessions >= busy_sessions)
      & (total_ms >= least_share * total_ms.sum())
    no_past: (past_s < 600) & (calls >= least_calls) & (calls_before < 20) & (sessions >= busy_sessions)
    regressed: >-
      (comparable & (slower >= 2) & (others_ms >= 2 * mean_before_ms)
      & (mean_ms - mean_before_ms > 3 * spread_ms_before / calls ** 0.5)
      & (mean_ms - mean_before_ms > single_spreads * spread_ms_before)).mask(no_past)
    more_rows: (rows_a_call >= 2 * rows_a_call_before) & (rows_a_call >= 1)
    more_pages: pages_a_call >= 2 * pages_a_call_before + 4
    worse_plan: regressed & more_pages & ~more_rows
    endless: (calls_before >= 20) & (running_s > 5) & (running_s > 2 * longest_before_s)
    statement: query.fillna('').str.slice(0, 60).str.cat(query_id, ' (id ').str.replace('$', ')', regex=True)
    request: >-
      username.fillna('a role that is gone').str.cat(applications.fillna('').str.replace('^(.+)$', ' (\\1)', regex=True))
      .str.cat(statement, ': ')
  keep: ((calls > 0) & (sessions >= 0.001)) | (running_s > 0)
  worst_first: slower
rules:
  - title: Statements that read more than before
    name: reads_more
    column: slower
    empty: 0
    where: {regressed: true, more_rows: false, more_pages: true}
    by: statement
    unit: times as long as before
    warn: 2
    cause: "A statement takes up to {value}, and reads more pages for as many rows: {top}"
    next_step: >-
      compare its plan with the earlier one (EXPLAIN): was an index dropped or made invalid
      (storage/indexes), are statistics stale or are there many dead rows (vacuum/tables), has the
      table grown?
    opens: RUN-009
    unseen: the counters were reset, so there is no history to compare with; run it again later
    source: >-
      rbkernel's choice; twice, beyond 3 standard errors of the past, with 5 calls, 20 before, and 2 % of a session by default
  - title: Statements that return more than before
    name: returns_more
    column: slower
    empty: 0
    where: {regressed: true, more_rows: true}
    by: request
    unit: times as long as before
    warn: 2
    cause: "A statement takes up to {value}, since each call asks for more rows: {top}"
    next_step: >-
      ask who runs applications as that role what has changed (a deployment, a missing LIMIT, a report); the
      plan may be right
    opens: RUN-009
    unseen: the counters were reset, so there is no history to compare with; run it again later
    source: as above
  - title: Statements that take longer for the same work
    name: takes_longer
    column: slower
    empty: 0
    where: {regressed: true, more_rows: false, more_pages: false}
    by: statement
    unit: times as long as before
    warn: 2
    cause: "A statement takes up to {value}, with the same number of rows and pages: {top}"
    next_step: >-
      it waits for a lock (locks/blocking), the disk (io/backends) or a CPU; the plan is not the
      reason
    opens: RUN-009
    unseen: the counters were reset, so there is no history to compare with; run it again later
    source: as above
  - title: Longest running call
    column: running_s
    empty: 0
    where: {endless: true}
    by: statement
    unit: s
    warn: 5
    cause: "A call has been running for {value}, more than twice as long as any earlier one: {top}"
    next_step: >-
      find the session (activity/long_queries) and compare the plan with the earlier one; a call is
      counted only when it ends
    opens: RUN-009
    unseen: the counters were reset, so there is no history to compare with; run it again later
    source: rbkernel's choice; twice the longest call since the reset
figure: {kind: bars, x: slower, y: statement, title: Times that a call takes of what it took before}
source: >-
  pg_stat_statements: what happened before the first look is the past, so that a change long ago does
  not show; total_exec_time includes time spent waiting for locks
*/
SELECT s.queryid::text AS query_id,
       s.userid::bigint AS user_id,
       s.dbid::bigint AS database_id,
       s.toplevel,
       u.rolname::text AS username,
       d.datname::text AS database,
       s.calls,
       s.total_exec_time AS total_ms,
       s.rows,
       s.shared_blks_hit + s.shared_blks_read + s.local_blks_hit + s.local_blks_read AS pages,
       s.stddev_exec_time AS spread_ms,
       s.max_exec_time AS longest_ms,
       coalesce(r.running_s, 0) AS running_s,
       coalesce(r.applications, '') AS applications,
       extract(epoch FROM clock_timestamp() - i.stats_reset)::float8 AS past_s,
       i.stats_reset AS counted_since,
       left(s.query, 300) AS query,
       CAST(:busy_sessions AS float8) AS busy_sessions,
       CAST(:least_share AS float8) AS least_share,
       CAST(:least_calls AS float8) AS least_calls,
       CAST(:single_spreads AS float8) AS single_spreads,
       clock_timestamp() AS sampled_at
FROM {schema}.pg_stat_statements({texts}) s
CROSS JOIN {schema}.pg_stat_statements_info i
LEFT JOIN pg_roles u ON u.oid = s.userid
LEFT JOIN pg_database d ON d.oid = s.dbid
LEFT JOIN (
    SELECT query_id,
           usesysid,
           datid,
           string_agg(DISTINCT nullif(application_name, ''), ', ') AS applications,
           extract(epoch FROM clock_timestamp() - min(query_start) FILTER (
               WHERE state = 'active' AND wait_event_type IS DISTINCT FROM 'Lock'))::float8 AS running_s
    FROM pg_stat_activity
    WHERE backend_type = 'client backend'
      AND query_id IS NOT NULL
      AND pid <> pg_backend_pid()
    GROUP BY query_id, usesysid, datid
) r ON s.toplevel AND r.query_id = s.queryid AND r.usesysid = s.userid AND r.datid = s.dbid
