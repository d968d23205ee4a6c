-- Pairs of tables. Expected differences stand as comments: key: kind (changed columns).
-- 1: NULL against the string a careless encoder prints for it. 1: changed (v)
CREATE TABLE legacy_1 (id bigint PRIMARY KEY, v text);      INSERT INTO legacy_1 VALUES (1, NULL), (2, 'x');
CREATE TABLE current_1 (id bigint PRIMARY KEY, v text);     INSERT INTO current_1 VALUES (1, '<null>'), (2, 'x');
-- 2: separators that move. 1: changed (a, b); 2: changed (a, b)
CREATE TABLE legacy_2 (id int PRIMARY KEY, a text, b text);  INSERT INTO legacy_2 VALUES (1, 'a|b', 'c'), (2, 'x', ''), (3, 'same', 'same');
CREATE TABLE current_2 (id int PRIMARY KEY, a text, b text); INSERT INTO current_2 VALUES (1, 'a', 'b|c'), (2, '', 'x'), (3, 'same', 'same');
-- 3: blanks, case, empty against NULL, Unicode forms. 1..5: changed (v)
CREATE TABLE legacy_3 (id int PRIMARY KEY, v text);  INSERT INTO legacy_3 VALUES (1, 'a'), (2, 'A'), (3, ''), (4, U&'\00e9'), (5, E'a\tb'), (6, 'ok');
CREATE TABLE current_3 (id int PRIMARY KEY, v text); INSERT INTO current_3 VALUES (1, 'a '), (2, 'a'), (3, NULL), (4, U&'e\0301'), (5, 'a b'), (6, 'ok');
-- 4: numbers. 1: same (1.0 equals 1.00); 2: changed; 3: same (NaN equals NaN); 4: changed; 5: changed (last digit of a double); 6: same (-0 equals 0)
CREATE TABLE legacy_4 (id int PRIMARY KEY, n numeric, d float8);  INSERT INTO legacy_4 VALUES (1, 1.0, 0), (2, 1.1, 0), (3, 'NaN', 'NaN'), (4, 5, 'Infinity'), (5, 5, 0.1), (6, 0, '-0');
CREATE TABLE current_4 (id int PRIMARY KEY, n numeric, d float8); INSERT INTO current_4 VALUES (1, 1.00, 0), (2, 1.11, 0), (3, 'NaN', 'NaN'), (4, 5, '-Infinity'), (5, 5, 0.10000000000000002), (6, 0, '0');
-- 5: times. 1: changed (microsecond); 2: same instant, other zone; 3: changed; 4: same infinity
CREATE TABLE legacy_5 (id int PRIMARY KEY, t timestamptz, u timestamp);  INSERT INTO legacy_5 VALUES (1, '2026-01-01 00:00:00.000001+00', NULL), (2, '2026-01-01 00:00:00+00', NULL), (3, NULL, '2026-03-29 02:30'), (4, 'infinity', NULL);
CREATE TABLE current_5 (id int PRIMARY KEY, t timestamptz, u timestamp); INSERT INTO current_5 VALUES (1, '2026-01-01 00:00:00.000002+00', NULL), (2, '2026-01-01 02:00:00+02', NULL), (3, NULL, '2026-03-29 03:30'), (4, 'infinity', NULL);
-- 6: jsonb, json, arrays, bytea, ranges. 1: same (key order of jsonb); 2: changed (a: null against missing); 3: changed (array); 4: changed (bytea); 5: same; 6: changed (json text differs in blanks: report it, or say that json is compared as text)
CREATE TABLE legacy_6 (id int PRIMARY KEY, j jsonb, a int[], b bytea, r int4range, x json);  INSERT INTO legacy_6 VALUES (1, '{"a":1,"b":2}', NULL, NULL, NULL, NULL), (2, '{"a":null}', NULL, NULL, NULL, NULL), (3, NULL, '{1,NULL}', NULL, NULL, NULL), (4, NULL, NULL, '\x00', NULL, NULL), (5, NULL, NULL, NULL, '[1,2]', NULL), (6, NULL, NULL, NULL, NULL, '{"a": 1}');
CREATE TABLE current_6 (id int PRIMARY KEY, j jsonb, a int[], b bytea, r int4range, x json); INSERT INTO current_6 VALUES (1, '{"b":2,"a":1}', NULL, NULL, NULL, NULL), (2, '{}', NULL, NULL, NULL, NULL), (3, NULL, '{1}', NULL, NULL, NULL), (4, NULL, NULL, '\x', NULL, NULL), (5, NULL, NULL, NULL, '[1,3)', NULL), (6, NULL, NULL, NULL, NULL, '{"a":1}');
-- 7: text keys with case, blanks, collation. 'a': same; 'A': missing; 'ä': same; 'z ': extra
CREATE TABLE legacy_7 (k text PRIMARY KEY, v int);  INSERT INTO legacy_7 VALUES ('a', 1), ('A', 2), (U&'\00e4', 3);
CREATE TABLE current_7 (k text PRIMARY KEY, v int); INSERT INTO current_7 VALUES ('a', 1), (U&'\00e4', 3), ('z ', 9);
-- 8: composite key, one part shared. (1,2): changed (v); (2,1): missing; (1,12) and (11,2) must not be mixed up: same
CREATE TABLE legacy_8 (a int, b int, v text, PRIMARY KEY (a, b));  INSERT INTO legacy_8 VALUES (1, 2, 'x'), (2, 1, 'y'), (1, 12, 'p'), (11, 2, 'q');
CREATE TABLE current_8 (a int, b int, v text, PRIMARY KEY (a, b)); INSERT INTO current_8 VALUES (1, 2, 'X'), (1, 12, 'p'), (11, 2, 'q');
-- 9: names that need quotes, columns in another order, one column more on one side (compared columns: Id, "Weird "" name"). 2: changed
CREATE TABLE legacy_9 ("Id" int PRIMARY KEY, "Weird "" name" text, "select" int);  INSERT INTO legacy_9 VALUES (1, 'a', 1), (2, 'b', 2);
CREATE TABLE current_9 ("select" int, extra int, "Weird "" name" text, "Id" int PRIMARY KEY); INSERT INTO current_9 VALUES (1, 0, 'a', 1), (2, 0, 'B', 2);
-- 10: uuid key, enum and domain; the enums are made in another order on each side. all same
CREATE TYPE mood_l AS ENUM ('sad', 'ok'); CREATE TYPE mood_c AS ENUM ('ok', 'sad'); CREATE DOMAIN cents AS bigint;
CREATE TABLE legacy_10 (id uuid PRIMARY KEY, m mood_l, c cents);  INSERT INTO legacy_10 VALUES ('00000000-0000-0000-0000-000000000001', 'sad', 5), ('ffffffff-ffff-ffff-ffff-ffffffffffff', 'ok', 6);
CREATE TABLE current_10 (id uuid PRIMARY KEY, m mood_c, c bigint); INSERT INTO current_10 VALUES ('FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF', 'ok', 6), ('00000000-0000-0000-0000-000000000001', 'sad', 5);
-- 11: empty against one row, and negative and huge keys. -9223372036854775808: extra; 9223372036854775807: extra
CREATE TABLE legacy_11 (id bigint PRIMARY KEY, v int);
CREATE TABLE current_11 (id bigint PRIMARY KEY, v int); INSERT INTO current_11 VALUES (-9223372036854775808, 1), (9223372036854775807, 1);
-- 12: no key at all, duplicates: a clear error that names the duplicate keys, not a verdict
CREATE TABLE legacy_12 (id int, v int);  INSERT INTO legacy_12 VALUES (1, 1), (1, 1), (2, 2);
CREATE TABLE current_12 (id int, v int); INSERT INTO current_12 VALUES (1, 1), (2, 2);
-- 13: two changes that cancel in a sum of hashes taken per column. 1, 2: changed (v)
CREATE TABLE legacy_13 (id int PRIMARY KEY, v text);  INSERT INTO legacy_13 VALUES (1, 'a'), (2, 'b');
CREATE TABLE current_13 (id int PRIMARY KEY, v text); INSERT INTO current_13 VALUES (1, 'b'), (2, 'a');
-- 14: integer against numeric against text of the same value: same under declared mapping, otherwise a type difference is reported, once
CREATE TABLE legacy_14 (id int PRIMARY KEY, v int);      INSERT INTO legacy_14 VALUES (1, 7);
CREATE TABLE current_14 (id bigint PRIMARY KEY, v text); INSERT INTO current_14 VALUES (1, '7');
-- 15: integers whose halves fold to the same hash (hashint8). 1, 2, 3: changed (v); 4: same
CREATE TABLE legacy_15 (id bigint PRIMARY KEY, v bigint);  INSERT INTO legacy_15 VALUES (1, 1), (2, -1), (3, 5), (4, 9);
CREATE TABLE current_15 (id bigint PRIMARY KEY, v bigint); INSERT INTO current_15 VALUES (1, 4294967296), (2, 0), (3, -9223372036854775808), (4, 9);
-- 16: times that fold to the same hash, and both infinities. 1, 2, 3: changed (t); 4: changed (d); 5: changed (z)
CREATE TABLE legacy_16 (id int PRIMARY KEY, t timestamp, d date, z timetz);  INSERT INTO legacy_16 VALUES (1, '2000-01-01 00:00:00.000005', NULL, NULL), (2, 'infinity', NULL, NULL), (3, '2024-02-29 23:59:59.999999', NULL, NULL), (4, NULL, '-infinity', NULL), (5, NULL, NULL, '10:00+00');
CREATE TABLE current_16 (id int PRIMARY KEY, t timestamp, d date, z timetz); INSERT INTO current_16 VALUES (1, '2000-01-01 01:11:34.9673', NULL, NULL), (2, '-infinity', NULL, NULL), (3, '2024-03-01 00:00:00', NULL, NULL), (4, NULL, 'infinity', NULL), (5, NULL, NULL, '11:00+01');
-- 17: the sign of a numeric, its special values, trailing zeros. 1, 2, 3, 5: changed (n); 4, 6: same
CREATE TABLE legacy_17 (id int PRIMARY KEY, n numeric);  INSERT INTO legacy_17 VALUES (1, 5), (2, 'NaN'), (3, 'Infinity'), (4, 100), (5, 0.00000000000000000001), (6, '0.0');
CREATE TABLE current_17 (id int PRIMARY KEY, n numeric); INSERT INTO current_17 VALUES (1, -5), (2, 'Infinity'), (3, '-Infinity'), (4, 100.000), (5, 0), (6, '0.00');
-- 18: the same inside jsonb. 1, 3, 4: changed (j); 2, 5: same
CREATE TABLE legacy_18 (id int PRIMARY KEY, j jsonb);  INSERT INTO legacy_18 VALUES (1, '{"a": 5}'), (2, '[1.0]'), (3, '["1"]'), (4, 'null'), (5, '{"b": 1, "a": {"y": 1, "x": 2}}');
CREATE TABLE current_18 (id int PRIMARY KEY, j jsonb); INSERT INTO current_18 VALUES (1, '{"a": -5}'), (2, '[1.00]'), (3, '[1]'), (4, NULL), (5, '{"a": {"x": 2, "y": 1}, "b": 1}');
-- 19: intervals, as PostgreSQL compares them. 1: same (a month is 30 days); 2, 3: changed (i)
CREATE TABLE legacy_19 (id int PRIMARY KEY, i interval);  INSERT INTO legacy_19 VALUES (1, '1 month'), (2, '1 day'), (3, '00:00:01');
CREATE TABLE current_19 (id int PRIMARY KEY, i interval); INSERT INTO current_19 VALUES (1, '30 days'), (2, '25 hours'), (3, '-00:00:01');
-- 20: text of different declared types, padded and not. 1: same; 2: changed (v); 3: changed (c)
CREATE TABLE legacy_20 (id int PRIMARY KEY, v varchar(20), c char(3), d text);  INSERT INTO legacy_20 VALUES (1, 'a', 'x', 'y'), (2, 'b', 'x', 'y'), (3, 'c', 'xy', 'y');
CREATE TABLE current_20 (id int PRIMARY KEY, v text, c char(5), d varchar); INSERT INTO current_20 VALUES (1, 'a', 'x', 'y'), (2, 'b ', 'x', 'y'), (3, 'c', 'x y', 'y');
-- 21: arrays and rows. 1, 2: changed (a); 3: same; 4: changed (n); 5: changed (p)
CREATE TYPE pair_l AS (x int, y text); CREATE TYPE pair_c AS (x int, y text);
CREATE TABLE legacy_21 (id int PRIMARY KEY, a text[], n numeric[], p point);  INSERT INTO legacy_21 VALUES (1, '{NULL}', NULL, NULL), (2, '{a,b}', NULL, NULL), (3, NULL, '{1.0,2}', NULL), (4, NULL, '{1,2}', NULL), (5, NULL, NULL, '(0,0)');
CREATE TABLE current_21 (id int PRIMARY KEY, a text[], n numeric[], p point); INSERT INTO current_21 VALUES (1, '{"NULL"}', NULL, NULL), (2, '{"a,b"}', NULL, NULL), (3, NULL, '{1.00,2}', NULL), (4, NULL, '{{1,2}}', NULL), (5, NULL, NULL, '(0,0.0000001)');
-- 22: changes that cancel where a bucket adds up hashes that are linear in the key. 1, 2, 3, 4: changed (a, b)
CREATE TABLE legacy_22 (id int PRIMARY KEY, a float8, b float8);  INSERT INTO legacy_22 VALUES (1, 0, NULL), (2, NULL, 0), (3, NULL, 0), (4, 0, NULL);
CREATE TABLE current_22 (id int PRIMARY KEY, a float8, b float8); INSERT INTO current_22 VALUES (1, NULL, 0), (2, 0, NULL), (3, 0, NULL), (4, NULL, 0);
-- 23: an integer key without an index, of another width. 3: missing; 70000: extra
CREATE TABLE legacy_23 (id smallint NOT NULL, v text);  INSERT INTO legacy_23 VALUES (-1, NULL), (2, 'x'), (3, 'y');
CREATE TABLE current_23 (id bigint NOT NULL, v text); INSERT INTO current_23 VALUES (-1, NULL), (2, 'x'), (70000, 'y');
-- 24: a composite key of text and time, with tabs, line breaks, backslashes. ('a<tab>b', …): changed (v); ('\N', …): missing; ('', …): extra
CREATE TABLE legacy_24 (k text, t timestamptz, v text, PRIMARY KEY (k, t));  INSERT INTO legacy_24 VALUES (E'a\tb', '2026-01-01 00:00+00', E'x\ny'), (E'\\N', '2026-01-01 00:00+00', 'x'), (E'a\nb\\', '2026-01-01 02:00+02', E'\\');
CREATE TABLE current_24 (t timestamptz, k text, v text, PRIMARY KEY (k, t)); INSERT INTO current_24 VALUES ('2026-01-01 00:00+00', E'a\tb', E'x\\ny'), ('2026-01-01 00:00+00', '', 'x'), ('2026-01-01 00:00+00', E'a\nb\\', E'\\');
-- 25: identity and generated columns. 1: changed (v, w); 2: missing; 3: extra
CREATE TABLE legacy_25 (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v int, w int GENERATED ALWAYS AS (v * 2) STORED);  INSERT INTO legacy_25 (v) VALUES (1), (2);
CREATE TABLE current_25 (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v int, w int GENERATED ALWAYS AS (v * 2) STORED); INSERT INTO current_25 (v) VALUES (9); INSERT INTO current_25 (id, v) OVERRIDING SYSTEM VALUE VALUES (3, 3);
-- 26: bits, addresses, ranges, arrays of enums. 1: changed (b); 2: changed (i); 3: changed (r); 4: changed (e); 5: same
CREATE TABLE legacy_26 (id int PRIMARY KEY, b varbit, i inet, r numrange, e mood_l[]);  INSERT INTO legacy_26 VALUES (1, B'1', NULL, NULL, NULL), (2, NULL, '10.0.0.1', NULL, NULL), (3, NULL, NULL, '[1,2)', NULL), (4, NULL, NULL, NULL, '{sad}'), (5, NULL, NULL, '[1.0,2.0]', '{ok}');
CREATE TABLE current_26 (id int PRIMARY KEY, b varbit, i inet, r numrange, e mood_l[]); INSERT INTO current_26 VALUES (1, B'10', NULL, NULL, NULL), (2, NULL, '10.0.0.1/24', NULL, NULL), (3, NULL, NULL, '[1,2]', NULL), (4, NULL, NULL, NULL, '{sad,ok}'), (5, NULL, NULL, '[1,2]', '{ok}');
-- 27: a partitioned table and a view on one. 2: changed (v); 30: missing
CREATE TABLE legacy_27 (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE legacy_27_a PARTITION OF legacy_27 FOR VALUES FROM (0) TO (10); CREATE TABLE legacy_27_b PARTITION OF legacy_27 DEFAULT;  INSERT INTO legacy_27 VALUES (1, 'a'), (2, 'b'), (30, 'c');
CREATE TABLE current_27_base (id int PRIMARY KEY, v text); INSERT INTO current_27_base VALUES (1, 'a'), (2, 'B'); CREATE VIEW current_27 AS SELECT * FROM current_27_base;
-- 28: percent signs in names and values, and rows that are all NULL but for the key. 1: same; 2: extra; 3: missing; 4: changed ("100%s")
CREATE TABLE legacy_28 ("%(id)s" int PRIMARY KEY, "100%s" text);  INSERT INTO legacy_28 VALUES (1, NULL), (3, NULL), (4, '%');
CREATE TABLE current_28 ("%(id)s" int PRIMARY KEY, "100%s" text); INSERT INTO current_28 VALUES (1, NULL), (2, NULL), (4, '%%');
