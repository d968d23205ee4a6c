/*
purpose: Refused authorizations, by user and action, compared with the time before
requires_table:
  name: authorization_audit
  columns:
    user: {names: [user_id, actor_id, principal_id, subject_id, user_name, username, actor, principal]}
    action: {names: [action, permission, operation, scope]}
    resource:
      names: [resource_type, resource, object_type, target_type]
      optional: true
    granted: {names: [granted, allowed, is_allowed, permitted, authorized]}
    occurred_at:
      names: [occurred_at, created_at, logged_at, event_time, timestamp, at]
      time: true
columns:
  user: whose requests were refused
  action: what was refused
  refused: how many in the last :window_h h; a decision that is NULL counts as refused
  unclear: how many of them have no decision (granted is NULL)
  granted: how many of the user's requests for this action were granted in that time
  resources: kinds of resource that were refused; NULL if the table has no such column
  user_refused: refusals of this user for all actions
  user_actions: how many actions were refused to this user
  action_users: users to whom this action was refused
  usual: >-
    refusals of an average window in the :days days before, or in as much of them as the log holds,
    all users together
  all_refused: refusals in the window, all users together
  rise: all_refused as a multiple of usual; 0 below :many refusals
  probing: one user, many refusals of several actions, none of which is refused to :several users
  withdrawn: one action, refused to :several users who had it before, and granted to nobody since
  last_at: when the newest was refused
  sampled_at: the server's clock
parameters:
  window_h: {help: h that are judged, default: 1}
  days: {help: days before that to compare with, default: 7}
  many: {help: refusals of one user from which on they are judged, default: 20}
  several: {help: "actions of one user, or users of one action, from which on they are judged", default: 3}
rules:
  - title: Users who try what they may not do
    name: probing
    agg: rows
    where: {probing: true}
    by: user
    each: action
    unit: refused actions
    warn: 0
    cause: "One user was refused many different actions: {top}"
    next_step: >-
      ask the owner of the account whether it was them; if not, or if nobody can be reached, have the
      account locked (RUN-025)
    opens: RUN-027
    source: rbkernel's choice; a person mistypes a few times, a program tries everything
  - title: Actions refused to everybody
    name: withdrawn
    agg: rows
    where: {withdrawn: true}
    by: action
    each: user
    unit: users
    warn: 0
    cause: "An action that was granted before is refused to everybody: {top}"
    next_step: find the change that took the permission away (a deployment, a role), and restore it
    opens: RUN-027
    source: rbkernel's choice; a permission that many lose at once was taken away by mistake
  - title: Rise of refusals
    column: rise
    empty: 0
    unit: "times the usual number"
    warn: 3
    unseen: the log has no entries of the days before, so nobody knows what is usual
    cause: "Refusals have risen to {value}"
    next_step: see who was refused what
    opens: RUN-027
    source: rbkernel's choice; the template calls twice to five times the baseline high
  - title: Decisions that are neither granted nor refused
    column: unclear
    agg: sum
    by: action
    unit: entries
    warn: 0
    cause: "{value} in the audit log have no decision: {top}"
    next_step: ask the team of the service why it logs requests without a decision
    opens: RUN-027
    source: "granted = FALSE, as the template has it, does not find a NULL"
figure: {kind: bars, x: refused, y: action, by: user, title: Refused authorizations}
source: >-
  The template lists the newest 50 rows with granted = FALSE. That does not find a NULL, hides
  whoever comes after the 50th row, and does not say what is usual; so this counts all of them.
*/
WITH seen AS (
    SELECT {user}::text AS "user", {action}::text AS action, {resource}::text AS resource,
           {granted}::boolean AS granted, {occurred_at}::timestamptz AS at
    FROM {table}
    WHERE {occurred_at} > now() - make_interval(hours => :window_h, days => :days)
),
split AS (
    SELECT *, at > now() - make_interval(hours => :window_h) AS recent FROM seen WHERE at <= now()
),
usual AS (
    -- NULL without any entry before, since nothing is known then of what is usual; a log may be
    -- younger than the days, but what is younger than a window is not multiplied
    SELECT CASE WHEN count(*) > 0 THEN count(*) FILTER (WHERE granted IS NOT TRUE) END
               * CAST(:window_h AS float8)
               / nullif(greatest(extract(epoch FROM now() - min(at)) / 3600 - :window_h, :window_h),
                        0)::float8 AS usual
    FROM split
    WHERE NOT recent
),
held AS (
    SELECT "user", action, max(at) AS last_at FROM split WHERE granted GROUP BY "user", action
),
grants AS (
    SELECT action, max(last_at) AS last_at FROM held GROUP BY action
),
actions AS (
    SELECT s.action,
           count(DISTINCT s."user") AS users,
           -- who had it, and is refused since nobody is granted it any more
           count(DISTINCT h."user") FILTER (WHERE s.at > g.last_at) AS lost_by
    FROM split s
    LEFT JOIN grants g ON g.action = s.action
    LEFT JOIN held h ON h.action = s.action AND h."user" = s."user"
    WHERE s.recent AND s.granted IS NOT TRUE
    GROUP BY s.action
),
pairs AS (
    SELECT "user", action,
           count(*) FILTER (WHERE granted IS NOT TRUE) AS refused,
           count(*) FILTER (WHERE granted IS NULL) AS unclear,
           count(*) FILTER (WHERE granted) AS granted,
           string_agg(DISTINCT resource, ', ') FILTER (WHERE granted IS NOT TRUE) AS resources,
           max(at) FILTER (WHERE granted IS NOT TRUE) AS last_at
    FROM split
    WHERE recent
    GROUP BY "user", action
    HAVING count(*) FILTER (WHERE granted IS NOT TRUE) > 0
),
totals AS (
    SELECT p.*,
           a.lost_by >= :several AS withdrawn,
           a.users >= :several AS shared,
           a.users AS action_users
    FROM pairs p
    JOIN actions a ON a.action IS NOT DISTINCT FROM p.action
),
-- what many are refused is no reason to suspect one of them, although some may still be granted it
own AS (
    SELECT "user",
           sum(refused)::bigint AS user_refused,
           count(*) AS user_actions,
           coalesce(sum(refused) FILTER (WHERE NOT shared), 0) AS suspect,
           count(*) FILTER (WHERE NOT shared) AS suspect_actions
    FROM totals
    GROUP BY "user"
)
SELECT t."user", t.action, t.refused, t.unclear, t.granted, t.resources,
       o.user_refused, o.user_actions, t.action_users,
       u.usual::float8 AS usual,
       sum(t.refused) OVER ()::bigint AS all_refused,
       (CASE
            WHEN sum(t.refused) OVER () < :many THEN 0
            WHEN u.usual IS NOT NULL THEN sum(t.refused) OVER () / greatest(u.usual, 1)
        END)::float8 AS rise,
       NOT t.shared AND o.suspect >= :many AND o.suspect_actions >= :several AS probing,
       t.withdrawn,
       t.last_at,
       statement_timestamp() AS sampled_at
FROM totals t
JOIN own o ON o."user" IS NOT DISTINCT FROM t."user"
CROSS JOIN usual u
ORDER BY probing DESC, t.withdrawn DESC, t.refused DESC, t."user", t.action
