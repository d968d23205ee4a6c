/*
purpose: The newest migrations in the table of the migration tool, and those that failed
requires_table:
  name: schema_migrations
  columns:
    version: {names: [version, MigrationId, version_num, migration_name, filename, name, script, id]}
    applied_at:
      names: [applied_at, installed_on, executed_at, dateexecuted, finished_at, created_at, applied]
      time: true
      optional: true
    success: {names: [success, succeeded], optional: true}
    dirty: {names: [dirty], optional: true}
columns:
  version: the migration
  applied_at: when it was applied; NULL where the tool does not keep that
  failed: the tool says that it failed, or was left half-way
rules:
  - title: Failed migrations
    name: failed
    agg: rows
    where: {failed: true}
    each: version
    unit: migrations
    warn: 0
    cause: "{value} {is|are} marked as failed by the migration tool: {which}"
    next_step: >-
      see what of it was applied, finish or undo that, and only then tell the tool (such as
      `flyway repair`, `migrate force`)
    opens: RUN-004
    source: >-
      columns success (Flyway) and dirty (golang-migrate); others keep only migrations that succeeded
source: >-
  the 20 newest, and all that failed. A template sorts __EFMigrationsHistory by applied_at, which that
  table does not have: its MigrationId begins with the time
*/
SELECT version, applied_at, failed
FROM (
    SELECT {version}::text AS version,
           {applied_at} AS applied_at,
           coalesce({success}::text IN ('f', 'false', '0'), false)
               OR coalesce({dirty}::text IN ('t', 'true', '1'), false)
               AS failed,
           row_number() OVER (ORDER BY {applied_at} DESC NULLS LAST, {version}::text DESC) AS place
    FROM {table}
) q
WHERE failed OR place <= 20
ORDER BY place
