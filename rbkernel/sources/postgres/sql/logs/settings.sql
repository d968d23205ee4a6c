/*
purpose: Where PostgreSQL writes its log, whether it rotates it, and which settings make it write much
needs: [pg_monitor]
columns:
  setting: the name of the setting
  value: its value
  meaning: what the value means for the log
  each_statement: it writes a line for each statement or more
  unrotated: PostgreSQL writes files itself, and never begins a new one
  quieter_sql: sets the default, which writes little; NULL if it does already
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
    cause: PostgreSQL writes one file that grows for ever (log_rotation_age and log_rotation_size are 0)
    next_step: set log_rotation_age, and remove old files by a job on the host
    opens: RUN-029
    source: the manual, log_rotation_age; a file that is open cannot be removed to any effect
*/
SELECT s.name AS setting,
       current_setting(s.name) AS value,
       m.meaning,
       coalesce(lower(s.setting) = ANY (m.loud), false) AS each_statement,
       s.name = 'logging_collector' AND s.setting = 'on'
           AND current_setting('log_rotation_age') = '0'
           AND current_setting('log_rotation_size') = '0' AS unrotated,
       CASE
           WHEN lower(s.setting) = ANY (m.loud)
               THEN format('ALTER SYSTEM SET %I = %L', s.name, s.boot_val)
       END AS quieter_sql,
       format('ALTER SYSTEM SET %I = %L', s.name, s.setting) AS before_sql,
       clock_timestamp() AS sampled_at
FROM pg_settings s
JOIN (
    VALUES ('logging_collector', 'on: PostgreSQL writes files itself; off: whoever reads its output does', '{}'::text[]),
           ('log_destination', 'stderr, csvlog, jsonlog or syslog', '{}'),
           ('log_directory', 'a relative path begins in the data directory', '{}'),
           ('log_filename', 'with %a or %H, old files are written over if log_truncate_on_rotation is on', '{}'),
           ('log_rotation_age', 'a new file begins after this time; 0 for never', '{}'),
           ('log_rotation_size', 'a new file begins at this size; 0 for never', '{}'),
           ('log_truncate_on_rotation', 'a file of the same name is written over', '{}'),
           ('log_statement', 'which statements are written', '{all,mod}'),
           ('log_min_duration_statement', 'statements of this duration are written', '{0}'),
           ('log_duration', 'the duration of every statement', '{on}'),
           ('log_min_messages', 'from which level on', '{debug5,debug4,debug3,debug2,debug1}'),
           ('log_parser_stats', 'statistics of every statement', '{on}'),
           ('log_planner_stats', 'statistics of every statement', '{on}'),
           ('log_executor_stats', 'statistics of every statement', '{on}'),
           ('log_statement_stats', 'statistics of every statement', '{on}'),
           ('debug_print_parse', 'the tree of every statement', '{on}'),
           ('debug_print_plan', 'the plan of every statement', '{on}'),
           ('auto_explain.log_min_duration', 'plans of this duration are written', '{0}'),
           ('pgaudit.log', 'which statements are audited', '{all}')
) m (name, meaning, loud) ON m.name = s.name
ORDER BY unrotated DESC, each_statement DESC, setting
