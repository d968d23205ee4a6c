"""Recognise the content of a fence: PromQL, LogQL, YAML, JSON, a table, log lines, output.

Pure. The info string is not reliable: people write ```` ```console ```` for all of these. A line
is output only if it looks like nothing else. `shell` parses what is not recognised here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import yaml

# the words behind a fence's mark that name a query language, and the other way round
QUERIES = {"promql": "PromQL", "prometheus": "PromQL", "logql": "LogQL", "loki": "LogQL"}
INFO = {"PromQL": "promql", "LogQL": "logql"}
# what programs print; see `output`
PRINTED = frozenset({"output", "table", "log lines"})

_AGGREGATES = r"(?:sum|avg|min|max|count|stddev|stdvar|topk|bottomk|quantile|group|count_values)"
_FUNCTIONS = (
    r"(?:rate|irate|increase|delta|idelta|deriv|changes|resets|absent|absent_over_time|abs|ceil|floor"
    r"|clamp_max|clamp_min|clamp|exp|ln|log2|log10|round|scalar|vector|sort|sort_desc|time|timestamp"
    r"|label_replace|label_join|histogram_quantile|predict_linear|holt_winters|\w+_over_time)"
)
_PROMQL = re.compile(
    rf"^\s*(?:{_AGGREGATES}\s*(?:\b(?:by|without)\b\s*\([\w\s,]*\)\s*)?\(|{_FUNCTIONS}\s*\("
    r"|\(\s*$|[a-zA-Z_:][\w:]*\s*\{[^}]*[=~][^}]*\}?|[a-zA-Z_:][\w:]*\[\d+[smhdwy]\]"
    r"|[a-z]+(?:[_:][a-z0-9]+){2,}\s*(?:[<>=!]=?|[-+*/])\s*[\w(.])"
)
_PROMQL_PART = re.compile(
    rf"\b{_FUNCTIONS}\s*\(|\b{_AGGREGATES}\b|\[\d+[smhdwy](?::\d*[smhdwy]?)?\]|\{{\s*\w+\s*[=!]~?"
)
_LOGQL = re.compile(r"^\s*\{\s*\w+\s*(?:=~|!~|!=|=)\s*[\"`]")
_LOGQL_STAGE = re.compile(
    r"\|[=~]|![=~]|\|\s*(?:json|logfmt|pattern|regexp|line_format|label_format)"
)
_TABLE = re.compile(
    r"^\s*(?:[-+=|─┼│├┤]{2}[-+=|\s─┼│├┤]*|\+[-=+]+\+|\|.*\||[┌┏└│┃╭╰].*)\s*$"
    r"|^\s*\(\d+ (?:rows?|row\(s\))\)\s*$|^\s*\d+ rows? (?:in set|affected)"
)
_HEADER = re.compile(r"^\s*[A-Z][A-Z0-9_()%/.:#-]*(?:(?:\s{2,}|\t)[A-Z%#][A-Za-z0-9_()%/.:# -]*)+$")
_COLUMNS = re.compile(r"^\s*\S+(?: \S+)?(?:\s{2,}|\t)\S.*")
_LOG = re.compile(
    r"^\s*(?:\[?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d|\[?\d\d:\d\d:\d\d|\w{3} +\d+ \d\d:\d\d:\d\d"
    r"|[IWEF]\d{4} \d\d:\d\d:\d\d|(?:ts|time|level|lvl|msg)=\S|(?:ERROR|FATAL|WARN(?:ING)?|INFO"
    r"|DEBUG|PANIC|HINT|DETAIL|STATEMENT|CONTEXT|NOTICE|LOG|CRITICAL|Error|Warning|Traceback)\b[:\s(\[]"
    r"|panic:|fatal:|error:|warning:|goroutine \d+|Caused by:|\s+at [\w.$<>]+\(|\s+File \"|npm ERR!"
    r"|\d{1,3}(?:\.\d{1,3}){3} - )"
)
_YAML_LINE = re.compile(r"^\s*(?:- )*[\w./-]+:(?:\s+\S.*|\s*)$|^\s*- \S|^---\s*$|^\s*#")
_JSON_LINE = re.compile(r"^\s*(?:[\[{]\s*$|[\]}],?\s*$|\"[^\"]*\"\s*:|[\]}]\s*,?\s*[\[{]?\s*$)")
_MOST_JSON = 200
_ARROWS = re.compile(r"^\s*(?:->|=>|→|✓|✔|✗|✘|…|\.\.\.|>>>|\* \w+ -|●|├|└|│)\s?")
_NAMED = re.compile(r"^\s*[A-Z][\w ()/-]{0,40}:(?:\s|$)")
_STATUS = re.compile(r"^\s*(?:HTTP/\d|OK\b|[A-Z][a-z]+ing\b.*\.\.\.)|^\s*\d+(?:\.\d+)?%?\s*$")


def whole(text: str) -> str:
    """Return the language of a whole fence; empty if it may contain commands.

    >>> whole('{"a": [1]}'), whole("apiVersion: v1\\nkind: Pod"), whole("kubectl get pods")
    ('JSON', 'YAML', '')
    >>> whole('sum(rate(x{code=~"5.."}[5m]))'), whole('{app="web"} |= "error"'), whole("a | b")
    ('PromQL', 'LogQL', '')
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return ""
    if _is_json(text):
        return "JSON"
    if _is_yaml(text, lines):
        return "YAML"
    bare = [line for line in lines if not line.lstrip().startswith("#")]
    if bare and query(bare) and end_of_query(bare, 0) == len(bare):
        return query(bare)
    return ""


def query(lines: Sequence[str]) -> str:
    """Return the query language (PromQL, LogQL) in which these lines begin; empty if none."""
    text = "\n".join(lines)
    first = lines[0]
    if _LOGQL.match(first) and (_LOGQL_STAGE.search(text) or len(lines) == 1):
        return "LogQL"
    if not _PROMQL.match(first) or not _PROMQL_PART.search(text):
        return ""
    stages = _LOGQL_STAGE.search(text) and re.search(r"\(\s*\{|\{[^}]*\}\s*\|", text)
    return "LogQL" if stages else "PromQL"


def end_of_query(lines: Sequence[str], start: int) -> int:
    """Return the line after a query: brackets are closed, and no operator continues it.

    >>> end_of_query(["sum(", "  rate(x[5m])", ") > 1", "kubectl get pods"], 0)
    3
    """
    depth = 0
    for number in range(start, len(lines)):
        line = re.sub(r"\"[^\"]*\"|'[^']*'|`[^`]*`", "", lines[number])
        depth += sum(map(line.count, "([{")) - sum(map(line.count, ")]}"))
        ends = depth <= 0 and not re.search(
            r"(?:[-+*/%^<>=!,(|]|\b(?:and|or|unless|by|on))\s*$", line
        )
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if ends and not _goes_on(following):
            return number + 1
    return len(lines)


def _goes_on(line: str) -> bool:
    joins = r"^\s*(?:[)\]},]|(?:and|or|unless|by|without|on|ignoring|offset)\b|[-+*/%^<>=!|])"
    return re.match(joins, line) is not None


def output(line: str) -> str:
    """Return the kind of output that a line is; empty if it may be a command.

    >>> output("(1 row)"), output("2025-01-01 12:00:00 UTC ERROR: x"), output("ls -l")
    ('table', 'log lines', '')
    >>> output("NAME    READY   STATUS"), output("-> 5 workers")
    ('table', 'output')
    """
    if _TABLE.match(line) or _HEADER.match(line):
        return "table"
    if _LOG.match(line):
        return "log lines"
    return "output" if _ARROWS.match(line) or _NAMED.match(line) or _STATUS.match(line) else ""


def is_row(line: str) -> bool:
    """Tell whether a line has columns, like the row of a printed table.

    >>> is_row("web-1     1/1   Running"), is_row(" shop | app | 1"), is_row("ls -l")
    (True, True, False)
    """
    return _COLUMNS.match(line) is not None or re.match(r"^\s.* \| ", line) is not None


def is_header(line: str) -> bool:
    """Tell whether a line after a command is a header in the output of that command.

    >>> is_header("       total      used"), is_header("a   b    c"), is_header("  ls -l   /x")
    (True, True, False)
    """
    return re.match(r"^\s*\w\S*(?:\s{2,}\w\S*){2,}$|^\s{6,}\w+(?:\s{2,}\w+)+$", line) is not None


def end_of_json(lines: Sequence[str], at: int) -> int | None:
    """Return the line after a JSON answer that begins at a line; None if none begins there.

    >>> end_of_json(["{", '  "a": [1]', "}", "ls"], 0), end_of_json(["{ ls; }"], 0)
    (3, None)
    """
    if not re.match(r"\s*[\[{]\s*(?:$|[\]}\"\[{\d])", lines[at]):
        return None
    for end in range(at + 1, min(len(lines), at + _MOST_JSON) + 1):
        if re.search(r"[\]}]\s*$", lines[end - 1]) and _parses("\n".join(lines[at:end])):
            return end
    return None


def _parses(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except ValueError:
        return False


def begins_table(lines: Sequence[str], at: int) -> bool:
    """Tell whether a line is the header of a table: the next line is a rule."""
    following = lines[at + 1] if at + 1 < len(lines) else ""
    ruler = re.match(r"^\s*[-+=─┼]{3}[-+=\s─┼|]*$", following) is not None
    return ruler and bool(lines[at].strip())


def dialect(sql: str) -> str:
    """Return the database that SQL is for, if not PostgreSQL; empty if it may be PostgreSQL.

    >>> dialect("SHOW POOLS"), dialect("SHOW ENGINE INNODB STATUS"), dialect("SELECT 1")
    ('pgbouncer', 'MySQL', '')
    >>> dialect("SELECT * FROM `p.d.t`"), dialect("SELECT a FROM information_schema.processlist")
    ('BigQuery', 'MySQL')
    >>> dialect("SELECT 1 -- must be `t`")
    ''
    """
    bare = re.sub(r"'(?:[^']|'')*'|--[^\n]*", "''", sql)
    return next((name for name, pattern in _DIALECTS if pattern.search(bare)), "")


_DIALECTS = (
    (
        "pgbouncer",
        re.compile(
            r"^\s*(?:show\s+(?:pools|stats\w*|clients|servers|databases|lists|mem|fds|users|sockets"
            r"|active_sockets|dns_hosts|dns_zones|totals|peers|peer_pools|state)|pause(?:\s+\w+)?|resume"
            r"(?:\s+\w+)?|reload|kill\s+(?!\d)\w+|suspend|reconnect(?:\s+\w+)?|wait_close\s+\w+|disable\s+\w+"
            r"|enable\s+\w+)\s*;?\s*$",
            re.IGNORECASE,
        ),
    ),
    (
        "BigQuery",
        re.compile(
            r"`[\w-]+\.[\w-]+(?:\.[\w*-]+)?`|\bregion-\w+`?\.INFORMATION_SCHEMA|\bTIMESTAMP_(?:SUB|ADD"
            r"|DIFF|TRUNC)\s*\(|\bAPPROX_COUNT_DISTINCT\(|\b_TABLE_SUFFIX\b|\bSAFE_DIVIDE\("
        ),
    ),
    (
        "MySQL",
        re.compile(
            r"^\s*show\s+(?:full\s+)?(?:processlist|(?:global\s+|session\s+)?(?:status|variables)|engine"
            r"|engines|slave|replica|master|binary|binlog|grants|tables|databases|create\s+table|index"
            r"|open\s+tables|warnings|errors|plugins|profiles)\b"
            r"|\\G\s*;?\s*$|\b(?:information_schema\.(?:processlist|innodb_\w+|global_status)|mysql\.\w+"
            r"|performance_schema\.\w+|sys\.innodb\w*)|^\s*(?:stop|start|reset|change)\s+(?:slave|replica"
            r"|master|replication|group_replication)\b|^\s*kill\s+(?:query\s+|connection\s+)?\d+|`\w+`"
            r"|@@\w+|\bUNIX_TIMESTAMP\(|\bENGINE\s*=|\bIFNULL\(|\bDATE_SUB\(|^\s*flush\s+\w+"
            r"|^\s*set\s+global\b|\bSTRAIGHT_JOIN\b|^\s*optimize\s+table\b",
            re.IGNORECASE | re.MULTILINE,
        ),
    ),
    (
        "Cassandra",
        re.compile(r"\bALLOW\s+FILTERING\b|\bsystem_schema\.|^\s*consistency\s+\w+", re.IGNORECASE),
    ),
    (
        "ClickHouse",
        re.compile(
            r"\bsystem\.(?:parts|merges|replicas|processes|query_log|mutations|replication_queue|tables"
            r"|columns|clusters|errors|disks|metrics|events|asynchronous_metrics|part_log)\b"
            r"|\bFORMAT\s+(?:Vertical|Pretty\w*|JSON\w*|TSV\w*|CSV\w*)\b|\bcountIf\(|\btoStartOf\w+\(",
            re.IGNORECASE,
        ),
    ),
)


def _is_json(text: str) -> bool:
    stripped = text.strip()
    if stripped[:1] not in {"{", "["}:
        return False
    try:
        json.loads(stripped)
    except ValueError:
        lines = [line for line in stripped.splitlines() if line.strip()]
        return len(lines) > 2 and sum(map(bool, map(_JSON_LINE.match, lines))) > len(lines) * 0.6
    return True


def _is_yaml(text: str, lines: Sequence[str]) -> bool:
    keys = [line for line in lines if re.match(r"^\s*(?:- )*[\w./-]+:(?:\s|$)", line)]
    if len(keys) < 2 or not all(map(_yaml_like, lines)):
        return False
    try:
        return isinstance(yaml.safe_load(text), dict | list)
    except (yaml.YAMLError, ValueError, RecursionError):
        # templates with {{ }} are no YAML until they are filled in
        return "{{" in text and len(keys) > len(lines) * 0.6


def _yaml_like(line: str) -> bool:
    return _YAML_LINE.match(line) is not None or line.startswith((" ", "\t"))
