"""A database whose owner is no superuser and wants to be taken for healthy.

Whatever PostgreSQL's own functions, operators, aggregates, types and tables are called, the owner
has one of that name in each schema that the search path finds first. Each of them says in the
server's log that it ran. The settings of the database and of the diagnostic role are as odd as
PostgreSQL lets them be.
"""

from __future__ import annotations

from rbkernel.sandbox import service
from rbkernel.sources.postgres.connection.driver import RawConnection
from tests.support.servers import Servers

CLEAN, HOSTILE = "clean", "hostile"
OWNER = "mallory"
TRACE = "planted code ran"
# "rb_diag" is what "$user" stands for
SCHEMAS = ("evil", "rb_diag", "public")

_FUNCTIONS = """
DO $do$
DECLARE
    f record;
BEGIN
    FOR f IN
        SELECT DISTINCT p.proname AS name, p.prokind AS kind, p.proretset AS rows,
               ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) t) AS arguments,
               format_type(p.prorettype, NULL) AS result
        FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind IN ('f', 'a')
          AND NOT EXISTS (
              SELECT FROM unnest(p.proargtypes || p.prorettype) u
              JOIN pg_catalog.pg_type t ON t.oid = u WHERE t.typtype = 'p')
    LOOP
        BEGIN
            IF f.kind = 'f' THEN
                EXECUTE format(
                    'CREATE FUNCTION {schema}.%I(%s) RETURNS %s%s LANGUAGE plpgsql AS %L',
                    f.name, array_to_string(f.arguments, ', '),
                    CASE WHEN f.rows THEN 'SETOF ' ELSE '' END, f.result,
                    CASE WHEN f.rows THEN 'BEGIN RAISE LOG ''{trace}: {schema}''; RETURN; END'
                         ELSE 'BEGIN RAISE LOG ''{trace}: {schema}''; RETURN NULL; END' END);
            ELSIF cardinality(f.arguments) = 1 THEN
                EXECUTE format(
                    'CREATE FUNCTION {schema}.planted_step(%1$s, %1$s) RETURNS %1$s '
                    'LANGUAGE plpgsql AS %2$L', f.arguments[1],
                    'BEGIN RAISE LOG ''{trace}: {schema}''; RETURN NULL; END');
                EXECUTE format(
                    'CREATE AGGREGATE {schema}.%1$I(%2$s) (SFUNC = {schema}.planted_step, '
                    'STYPE = %2$s)', f.name, f.arguments[1]);
            END IF;
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
END $do$
"""
# all that PostgreSQL has, and for the usual ones every pair of types: an exact match in a later
# schema wins over one of pg_catalog's that needs a cast
_OPERATORS = """
DO $do$
DECLARE
    o record;
    kinds text[] := '{{int4,int8,numeric,float8,text,varchar,name,bool,oid,interval,timestamptz}}';
BEGIN
    FOR o IN
        SELECT DISTINCT p.oprname AS name, format_type(p.oprleft, NULL) AS one,
               format_type(p.oprright, NULL) AS other, format_type(p.oprresult, NULL) AS result
        FROM pg_catalog.pg_operator p
        WHERE p.oprkind = 'b'
        UNION
        SELECT n, format_type(a::regtype, NULL), format_type(b::regtype, NULL),
               CASE WHEN n IN ('||') THEN 'text' WHEN n IN ('+', '-', '*', '/') THEN 'numeric'
                    ELSE 'boolean' END
        FROM unnest(ARRAY['=', '<>', '<', '>', '<=', '>=', '||', '+', '-', '*', '/', '~', '!~',
                          '~~', '!~~']) n, unnest(kinds) a, unnest(kinds) b
    LOOP
        BEGIN
            EXECUTE format(
                'CREATE FUNCTION {schema}.%I(%s, %s) RETURNS %s LANGUAGE plpgsql '
                'AS %L', 'planted_' || o.result, o.one, o.other, o.result,
                'BEGIN RAISE LOG ''{trace}: {schema}''; RETURN NULL; END');
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
        BEGIN
            EXECUTE format(
                'CREATE OPERATOR {schema}.%s (LEFTARG = %s, RIGHTARG = %s, '
                'FUNCTION = {schema}.%I)', o.name, o.one, o.other, 'planted_' || o.result);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
END $do$
"""
# a domain's check runs at each cast to it; tables and views are found before PostgreSQL's, empty
_TYPES_AND_TABLES = """
DO $do$
DECLARE
    t record;
BEGIN
    CREATE FUNCTION {schema}.planted_check() RETURNS boolean LANGUAGE plpgsql AS
        'BEGIN RAISE LOG ''{trace}: {schema}''; RETURN true; END';
    FOR t IN
        SELECT c.relname AS name
        FROM pg_catalog.pg_class c
        WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind IN ('r', 'v')
    LOOP
        BEGIN
            EXECUTE format(
                'CREATE VIEW {schema}.%1$I AS SELECT * FROM pg_catalog.%1$I '
                'WHERE {schema}.planted_check() AND false', t.name);
            EXECUTE format('GRANT SELECT ON {schema}.%1$I TO PUBLIC', t.name);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    FOR t IN
        SELECT p.typname AS name
        FROM pg_catalog.pg_type p
        WHERE p.typnamespace = 'pg_catalog'::regnamespace AND p.typtype = 'b' AND p.typelem = 0
    LOOP
        BEGIN
            EXECUTE format(
                'CREATE DOMAIN {schema}.%1$I AS pg_catalog.%1$I CHECK ({schema}.planted_check())',
                t.name);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
END $do$
"""
_DECOYS = """
CREATE TABLE {schema}.outbox_messages (
    id int PRIMARY KEY, destination text, status text, created_at timestamptz);
CREATE TABLE {schema}.reconciliation_diffs (
    module text, kind text, entity_id bigint, detected_at timestamptz, resolved_at timestamptz,
    details jsonb);
CREATE TABLE {schema}.pg_stat_statements ();
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO PUBLIC;
"""
_CAST = """
CREATE TYPE public.planted AS ENUM ('pending', 'processing');
CREATE FUNCTION public.planted_cast(public.planted) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
    'BEGIN RAISE LOG ''planted code ran: cast''; RETURN ''done''; END';
CREATE CAST (public.planted AS text) WITH FUNCTION public.planted_cast AS IMPLICIT;
"""
SETTINGS = {
    "search_path": 'evil, "$user", public, pg_catalog, pg_temp',
    "DateStyle": "German, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Kathmandu",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "client_encoding": "LATIN1",
    "standard_conforming_strings": "off",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "array_nulls": "off",
    "row_security": "off",
    "enable_hashjoin": "off",
    "enable_nestloop": "off",
    "enable_sort": "off",
    "join_collapse_limit": "1",
    "constraint_exclusion": "on",
    "idle_in_transaction_session_timeout": "1h",
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "client_min_messages": "debug1",
    "exit_on_error": "on",
    "stats_fetch_consistency": "none",
}
ROLE_SETTINGS = {
    # the role has `on` for all databases, and this goes before
    "default_transaction_read_only": "off",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "iso_8601",
    "search_path": "rb_diag, evil, public, pg_catalog",
}


_OUTBOX = """
CREATE TABLE outbox_messages AS
    SELECT i AS id, 'mail' AS destination, 'pending' AS status,
           now() - interval '2 h' AS created_at
    FROM generate_series(1, 20) i;
ALTER TABLE outbox_messages ADD PRIMARY KEY (id);
GRANT SELECT ON outbox_messages TO rb_diag;
"""


def settle(of: Servers) -> None:
    """Create the service's database twice, and hand one to an owner to plant in."""
    with of.access.connect("postgres", dbname="postgres") as raw:
        raw.execute(f"CREATE ROLE {OWNER}".encode())
        raw.execute(f"CREATE DATABASE {CLEAN} OWNER shop_app".encode())
    with of.access.connect("postgres", dbname=CLEAN) as raw:
        service._create_extension(raw)
    with of.access.connect("shop_app", dbname=CLEAN) as raw:
        raw.execute(service._sql("shop.sql"))
        raw.execute(_OUTBOX.encode())
    with of.access.connect("postgres", dbname="postgres") as raw:
        raw.execute(f"CREATE DATABASE {HOSTILE} TEMPLATE {CLEAN} OWNER {OWNER}".encode())
    with of.access.connect("postgres", dbname=HOSTILE) as raw:
        raw.execute(f"SET ROLE {OWNER}".encode())
        raw.execute(b"SET search_path = pg_catalog")
        plant(raw)
    with of.access.connect("postgres", dbname="postgres") as raw:
        for name, value in SETTINGS.items():
            raw.execute(f"ALTER DATABASE {HOSTILE} SET {name} = {_value(name, value)}".encode())
        for name, value in ROLE_SETTINGS.items():
            where = f"ROLE rb_diag IN DATABASE {HOSTILE}"
            raw.execute(f"ALTER {where} SET {name} = {_value(name, value)}".encode())


def take_away(of: Servers) -> None:
    """Drop both databases, their owner, and what statistics hold of them."""
    with of.access.connect("postgres", dbname="postgres") as raw:
        for name in (HOSTILE, CLEAN):
            raw.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        raw.execute(f"DROP ROLE IF EXISTS {OWNER}".encode())


def plant(raw: RawConnection) -> None:
    """Plant whatever the session's role may plant."""
    for schema in SCHEMAS:
        if schema != "public":
            raw.execute(f"CREATE SCHEMA {schema}".encode())
            raw.execute(f"GRANT USAGE ON SCHEMA {schema} TO PUBLIC".encode())
        for script in (_FUNCTIONS, _OPERATORS, _TYPES_AND_TABLES):
            # psycopg would take a % for the place of a value
            text = script.replace("{schema}", schema).replace("{trace}", TRACE)
            raw.execute(text.replace("{{", "{").replace("}}", "}").encode())
    raw.execute(_DECOYS.replace("{schema}", "evil").encode())
    raw.execute(_CAST.encode())


def ran(of: Servers) -> int:
    """Count how often planted code has run."""
    return of.access.home.log("primary").read_text(errors="replace").count(TRACE)


def _value(name: str, value: str) -> str:
    # a path is a list, anything else one text
    return value if name == "search_path" else f"'{value}'"
