/*
purpose: The newest migrations in the table of the migration tool, and those that failed or did not end
requires_table:
  name: schema_migrations
  columns:
    version: {names: [version, MigrationId, version_num, version_id, migration_name, name, id, filename]}
    within: {names: [app, filename, script], optional: true}
    applied_at:
      names: [applied_at, installed_on, executed_at, dateexecuted, finished_at, created_at, applied]
      time: true
      optional: true
    success: {names: [success, succeeded], optional: true}
    dirty: {names: [dirty], optional: true}
    outcome: {names: [exectype], optional: true}
    started: {names: [started_at], optional: true}
    rolled_back: {names: [rolled_back_at], optional: true}
columns:
  version: the migration, with the application or file that it belongs to where the tool keeps that
  applied_at: when it was applied; NULL where the tool does not keep that
  failed: the tool says that it failed, or was left half-way; for Prisma, also one that runs now
rules:
  - title: Failed migrations
    name: failed
    agg: rows
    where: {failed: true}
    each: version
    unit: migrations
    warn: 0
    cause: "{value} failed or did not end, says the table of the migration tool: {which}"
    next_step: >-
      see what of it was applied, finish or undo that, and only then tell the tool (such as
      `flyway repair`, `migrate force`, `prisma migrate resolve`)
    opens: RUN-004
    source: >-
      columns success (Flyway), dirty (golang-migrate), exectype (Liquibase), and started_at without
      finished_at or rolled_back_at (Prisma); others, such as Alembic, Django, Rails and Entity Framework,
      keep only migrations that succeeded
source: >-
  the 20 newest, and all that failed. A template sorts __EFMigrationsHistory by applied_at, which that
  table does not have: its MigrationId begins with the time
*/
SELECT version, applied_at, failed
FROM (
    -- a repeatable migration of Flyway has no version; the names of Django and Liquibase need more
    SELECT coalesce({version}::text || coalesce(' (' || {within}::text || ')', ''), {within}::text)
               AS version,
           {applied_at} AS applied_at,
           coalesce({success}::text IN ('f', 'false', '0'), false)
               OR coalesce({dirty}::text IN ('t', 'true', '1'), false)
               OR coalesce({outcome}::text = 'FAILED', false)
               -- Prisma; a table without a time of the end says nothing
               OR ({started}::text IS NOT NULL AND {applied_at_name} IS NOT NULL
                   AND {applied_at} IS NULL AND {rolled_back}::text IS NULL)
               AS failed,
           row_number() OVER (ORDER BY {applied_at} DESC NULLS LAST, {version}::text DESC) AS place
    FROM {table}
) q
WHERE failed OR place <= 20
ORDER BY place
