/*
purpose: Where PostgreSQL writes its log, whether it rotates it, and which settings make it write much
needs: [pg_monitor]
columns:
  setting: the name of the setting
  value: its value
  meaning: what the value means for the log
  each_statement: it writes a line for each statement or more
  unrotated: PostgreSQL writes files itself, and never begins a new one
  quieter_sql: sets a value that writes less; NULL if the present one writes little
  rotate_sql: begins a new file, now or from now on; NULL unless PostgreSQL writes the files itself
  before_sql: sets the present value
  sampled_at: the server's clock
rules:
  - title: Settings that write a line for each statement
    name: verbose
    agg: rows
    where: {each_statement: true}
    each: setting
    unit: settings
    warn: 0
    cause: "{value} {makes|make} PostgreSQL write a line for each statement or more: {which}"
    next_step: set what nobody reads any more back to its default
    opens: RUN-029
    source: the manual, Error Reporting and Logging
  - title: Rotation of PostgreSQL's log
    name: unrotated
    agg: rows
    where: {unrotated: true}
    each: setting
    unit: settings
    warn: 0
    expected: a new file begins by age or by size
    cause: PostgreSQL writes one file that grows for ever (see log_rotation_age, log_rotation_size, log_filename)
    next_step: let new files begin, and remove old ones by a job on the host
    opens: RUN-029
    source: the manual, log_rotation_age; a file that is open cannot be removed to any effect
*/
SELECT s.name AS setting,
       current_setting(s.name) AS value,
       m.meaning,
       coalesce(lower(s.setting) = ANY (m.loud), false) AS each_statement,
       s.name = 'logging_collector' AND s.setting = 'on' AND r.endless AS unrotated,
       CASE
           WHEN lower(s.setting) = ANY (m.loud)
               THEN format('ALTER SYSTEM SET %I = %L', s.name, coalesce(m.quieter, s.boot_val))
       END AS quieter_sql,
       CASE
           WHEN s.name <> 'logging_collector' OR s.setting <> 'on' THEN NULL
           WHEN r.never THEN 'ALTER SYSTEM SET log_rotation_age = ''1d'''
           WHEN r.endless THEN 'ALTER SYSTEM SET log_filename = ''postgresql-%Y-%m-%d_%H%M%S.log'''
           ELSE 'SELECT pg_rotate_logfile()'
       END AS rotate_sql,
       format('ALTER SYSTEM SET %I = %L', s.name, s.setting) AS before_sql,
       clock_timestamp() AS sampled_at
FROM pg_settings s
JOIN (
    VALUES ('logging_collector', 'on: PostgreSQL writes files itself; off: whoever reads its output does', '{}'::text[], NULL::text),
           ('log_destination', 'stderr, csvlog, jsonlog or syslog', '{}', NULL),
           ('log_directory', 'a relative path begins in the data directory', '{}', NULL),
           ('log_filename', 'with %a or %H, old files are written over if log_truncate_on_rotation is on', '{}', NULL),
           ('log_rotation_age', 'a new file begins after this time; 0 for never', '{}', NULL),
           ('log_rotation_size', 'a new file begins at this size; 0 for never', '{}', NULL),
           ('log_truncate_on_rotation', 'a file of the same name is written over', '{}', NULL),
           ('log_statement', 'which statements are written', '{all,mod}', 'ddl'),
           ('log_min_duration_statement', 'statements of this duration are written', '{0}', NULL),
           ('log_duration', 'the duration of every statement', '{on}', NULL),
           ('log_min_messages', 'from which level on', '{debug5,debug4,debug3,debug2,debug1}', NULL),
           ('log_parser_stats', 'statistics of every statement', '{on}', NULL),
           ('log_planner_stats', 'statistics of every statement', '{on}', NULL),
           ('log_executor_stats', 'statistics of every statement', '{on}', NULL),
           ('log_statement_stats', 'statistics of every statement', '{on}', NULL),
           ('debug_print_parse', 'the tree of every statement', '{on}', NULL),
           ('debug_print_plan', 'the plan of every statement', '{on}', NULL),
           ('auto_explain.log_min_duration', 'plans of this duration are written', '{0}', NULL),
           -- an audit may be a duty: no other value of it is proposed
           ('pgaudit.log', 'which statements are audited: ask the owner of the audit', '{}', NULL)
) m (name, meaning, loud, quieter) ON m.name = s.name
CROSS JOIN (
    SELECT age = '0' AND size = '0' AS never,
           -- with a constant name, the same file is opened again, and only age empties it
           (age = '0' AND size = '0') OR (strpos(name, '%') = 0 AND (age = '0' OR truncated = 'off')) AS endless
    FROM (
        SELECT current_setting('log_rotation_age') AS age,
               current_setting('log_rotation_size') AS size,
               current_setting('log_filename') AS name,
               current_setting('log_truncate_on_rotation') AS truncated
    ) t
) r
ORDER BY unrotated DESC, each_statement DESC, setting
