"""Decide whether a call of a database client changes something, by its SQL or command. Pure."""

from __future__ import annotations

import getopt
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from rbkernel.runbook.shell.effect import (
    LOOKS,
    Judgement,
    changes_something,
    first_bad,
    unknown,
    written,
)
from rbkernel.runbook.shell.judges.call import Call
from rbkernel.sql.words import changing_sql, only_reads, unknown_calls


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PSQL_SHORT = "aAbc:d:eEf:F:h:HlL:no:p:P:qR:sStT:U:v:VwWxXz0?1"
_PSQL_LONG = [
    *("echo-all", "no-align", "command=", "csv", "dbname=", "echo-errors", "echo-queries"),
    *("echo-hidden", "file=", "field-separator=", "host=", "html", "list", "log-file="),
    *("no-readline", "output=", "port=", "pset=", "quiet", "record-separator=", "single-step"),
    *("single-line", "tuples-only", "table-attr=", "username=", "set=", "variable=", "version"),
    *("no-password", "password", "expanded", "no-psqlrc", "single-transaction", "help"),
]
_PSQL_READS_FILE = {"-f", "--file"}
_PSQL_WRITES = {"-o", "--output", "-L", "--log-file"}
_META = re.compile(
    r"\\(?:(?:copy|i|ir|o|out|w|g|gexec|e|ef|ev|edit|password|c|connect|setenv|include|cd|s|watch"
    r"|gset|write)\b|lo_|!|\|)"
)


def psql_options(words: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]] | None:
    """Parse psql's options as psql does; None if psql would refuse them.

    >>> psql_options(["-hdb9", "-Atc", "SELECT 1", "shop"])[0]
    [('-h', 'db9'), ('-A', ''), ('-t', ''), ('-c', 'SELECT 1')]
    """
    try:
        return getopt.gnu_getopt(list(words), _PSQL_SHORT, _PSQL_LONG)
    except getopt.GetoptError:
        return None


def psql(call: Call) -> Judgement:
    """Decide whether a psql call changes something: by its SQL, backslash commands and files."""
    known = psql_options(call.arguments)
    if known is None:
        return unknown(call.name)
    options, _ = known
    given = [value for name, value in options if name in {"-c", "--command"}]
    files = [(name, value) for name, value in options if name in _PSQL_READS_FILE]
    if all(value == "-" for _, value in files) and call.stdin is not None and not given:
        given.append(call.stdin)
        files = []
    if word := changing_sql("\n".join(given)):
        return changes_something(call.name, "with", word)
    for name, value in files:
        return changes_something(call.name, name if name == "-f" else f"{name}={value}")
    writes = first_bad(written(value) for name, value in options if name in _PSQL_WRITES)
    if writes is not LOOKS:
        return writes
    if meta := next(filter(None, map(_META.search, given)), None):
        return changes_something(call.name, "with", meta[0])
    lists = {"-l", "--list", "-V", "--version", "-?", "--help"} & {name for name, _ in options}
    if lists and not given:
        return LOOKS
    if not given or not all(map(only_reads, given)):
        return unknown(call.name)
    calls = next((one for text in given for one in unknown_calls(text)), "")
    return unknown(call.name, f"with {calls}()") if calls else LOOKS


_SQL_ASKS = re.compile(
    r"^(?:-\w*[ceqQ]|--(?:command|execute|query|sql))(?:=(?P<sql>.*))?$", re.DOTALL
)
_SQL_FILE = re.compile(r"^(?:-\w*[fi]|--(?:file|input|queries-file|init-file|source).*)$")
# they run a program or a statement, or write a file
_SQL_RUNS = re.compile(r"^--(?:pager|tee|init-command)\b")
_SQL_STATEMENTS = re.compile(
    r"^\s*(?:select|show|explain|describe|desc|with|pragma|\.)", re.IGNORECASE
)


def sql(call: Call) -> Judgement:
    """Decide whether a call of another database's client changes something, by its SQL."""
    given = list(_sql_given(call))
    # an option's dashes would begin a comment in SQL
    texts = "\n".join(re.sub(r"^--[\w-]*=?", "", word) for word in [*call.arguments, *given])
    if word := changing_sql(texts):
        return changes_something(call.name, "with", word)
    if found := next((word for word in call.arguments if _SQL_RUNS.match(word)), ""):
        return unknown(call.name, found.partition("=")[0])
    if found := next((word for word in call.arguments if _SQL_FILE.match(word)), ""):
        return unknown(call.name, found.partition("=")[0])
    reads = given and all(map(_reads_elsewhere, given))
    return LOOKS if reads else unknown(call.name)


def _sql_given(call: Call) -> Iterator[str]:
    found = False
    for word, following in pairwise([*call.arguments, ""]):
        if asks := _SQL_ASKS.match(word):
            found = True
            yield following if asks["sql"] is None else asks["sql"]
    if found:
        return
    positional = [word for word in call.arguments if _SQL_STATEMENTS.match(word)]
    yield from positional
    if not positional and call.stdin is not None:
        yield call.stdin


_DOT_READS = re.compile(r"^\.(?:tables|schema|indexes|indices|databases|dbinfo|show|version)\b")
_PRAGMA = re.compile(r"^\s*pragma\s+\w+(?:\(\w+\))?\s*;?\s*$", re.IGNORECASE)
_SLEEPS = re.compile(
    r"\b(?:sleep|benchmark|get_lock|load_file|sys_exec|sys_eval|kill)\s*\(|\bkill\b", re.IGNORECASE
)


# a function that somebody wrote, by its schema or by a verb in its name
_OWN_FUNCTION = re.compile(
    r"\b(?!sys\.)\w+\.\w+\s*\(|\b\w*(?:purg|delet|remov|drop|kill|reset|updat|archiv|clean|fix|repair"
    r"|move|promot|fail_?over)\w*\s*\(",
    re.IGNORECASE,
)


def _reads_elsewhere(text: str) -> bool:
    """Tell whether SQL of MySQL, SQLite or another database only reads."""
    if _DOT_READS.match(text) or _PRAGMA.match(text):
        return True
    plain = re.sub(r"\\G\s*$", "", text.strip())
    locks = re.search(
        r"\bfor\s+update\b|\binto\s+(?:out|dump)file\b|\block\b", plain, re.IGNORECASE
    )
    odd = _SLEEPS.search(plain) or _OWN_FUNCTION.search(plain) or locks
    return only_reads(plain) and not odd


def bq(call: Call) -> Judgement | None:
    """Decide whether a `bq` call (BigQuery) changes something, by the SQL of `bq query`."""
    words = call.program.words(call.arguments)
    if words[:1] != ["query"]:
        return None
    sql = words[1:] or [call.stdin or ""]
    writes = call.has("--destination_table*", "--replace", "--append_table", "--schedule*")
    return LOOKS if not writes and all(map(_reads_elsewhere, sql)) else unknown(call.name, "query")


_MONGO_READS = _words(
    """
        find findone count countdocuments estimateddocumentcount stats serverstatus status
        conf currentop getcollectionnames getindexes explain limit sort pretty
        printreplicationinfo printsecondaryreplicationinfo printslavereplicationinfo
        ismaster hello version getsiblingdb getcollection datasize totalsize storagesize
        toarray size getreplicationinfo latencystats hostinfo getusers printshardingstatus
        distinct skip projection getmongo getdbs getdb isodate objectid indexstats
        totalindexsize getcollectioninfos getname json.stringify stringify printjson print
        tojson keys config getprofilingstatus listcommands help ping
        """
)
_MONGO_ASKED = re.compile(
    r"\b(?:runCommand|adminCommand)\(\s*\{?\s*['\"]?(?:ping|serverStatus|listDatabases|hello"
    r"|replSetGetStatus|buildInfo|currentOp|dbStats|isMaster|hostInfo|top)\b[^()$]*\)"
)


def mongo(call: Call) -> Judgement:
    """Decide whether a MongoDB shell call changes something, by the methods that it calls."""
    text = call.value("--eval") if call.has("--eval*") else call.stdin
    if text is None or [one for one in call.arguments if re.search(r"\.js$|^-f$|^--file", one)]:
        return unknown(call.name)
    calls = re.findall(r"([\w.]+)\s*\(", _MONGO_ASKED.sub("ping()", text))
    known = all(one.rpartition(".")[2].lower() in _MONGO_READS for one in calls)
    sets = re.search(r"[^=!<>]=[^=]|\$out|\$merge|\bdelete\b|\bnew\b|=>|\bfunction\b", text)
    shows = re.fullmatch(r"\s*(?:show \w+\s*;?\s*)+", text)
    return LOOKS if (shows or (calls and known and not sets)) else unknown(call.name, "--eval")


_REDIS_READS: Mapping[str, frozenset[str] | None] = {
    **dict.fromkeys(
        _words(
            """
        info get mget hget hgetall hmget hkeys hvals hlen hexists hstrlen hscan llen lrange
        lindex lpos scard smembers sismember smismember srandmember sscan sinter sunion
        sdiff zcard zrange zrangebyscore zrevrange zrevrangebyscore zscore zmscore zcount
        zrank zrevrank zscan zlexcount ttl pttl type exists dbsize scan keys ping echo role
        time lastsave strlen getrange bitcount randomkey xlen xrange xrevrange xpending
        touchless geopos geodist expiretime lolwut
        """
        ),
        None,
    ),
    "memory": frozenset({"usage", "stats", "doctor", "malloc-stats", "help"}),
    "slowlog": frozenset({"get", "len", "help"}),
    "client": frozenset({"list", "info", "getname", "id", "help"}),
    "cluster": _words(
        """
        info nodes slots shards keyslot myid links countkeysinslot help
        """
    ),
    "config": frozenset({"get", "help"}),
    "latency": frozenset({"latest", "history", "doctor", "graph", "histogram", "help"}),
    "object": frozenset({"encoding", "freq", "idletime", "refcount", "help"}),
    "xinfo": frozenset({"stream", "groups", "consumers", "help"}),
    "pubsub": frozenset({"channels", "numsub", "numpat", "help"}),
    "module": frozenset({"list", "help"}),
    "acl": frozenset({"list", "whoami", "getuser", "users", "cat", "help"}),
    "command": frozenset({"count", "info", "docs", "list", "getkeys", "help"}),
    "script": frozenset({"exists"}),
    "function": frozenset({"list", "stats"}),
    "sentinel": _words(
        """
        masters master slaves replicas sentinels get-master-addr-by-name ckquorum myid
        info-cache
        """
    ),
}
_REDIS_VALUES = _words(
    """
        -h -p -a -n -u -s -i -r -t -d -D --user --pass --cacert --cert --key --sni
        --cacertdir --pattern --count --type --tls-ciphers
        """
)
_REDIS_MODES = re.compile(
    r"^--(?:scan|bigkeys|memkeys|hotkeys|stat|latency(?:-history|-dist)?|intrinsic-latency)$"
)


def redis(call: Call) -> Judgement:
    """Decide whether a redis-cli call changes something, by its Redis command."""
    rest, words = list(call.arguments), list[str]()
    while rest:
        word = rest.pop(0)
        if re.match(r"^--(?:pipe|rdb|functions-rdb|eval|cluster-yes|replica|slave|lru)", word):
            return unknown(call.name, word)
        if word == "--cluster":
            shows = rest[:1] in (["check"], ["info"]) and "--cluster-fix" not in word
            return LOOKS if shows else changes_something(call.name, word, *rest[:1])
        if _REDIS_MODES.match(word):
            return LOOKS
        if word in _REDIS_VALUES:
            rest = rest[1:]
        elif words or not word.startswith("-"):
            words.append(word)
    if not words and call.stdin is not None:
        lines = [line.split() for line in call.stdin.splitlines() if line.strip()]
        return first_bad(_redis_command(call.name, line) for line in lines)
    if len(words) == 1 and " " in words[0]:
        words = words[0].split()
    return _redis_command(call.name, words)


def _redis_command(name: str, words: Sequence[str]) -> Judgement:
    verb = words[0].lower() if words else ""
    if verb not in _REDIS_READS:
        changes = re.match(
            r"^(?:flush|[hl]?m?set|h?del|unlink|shutdown|failover|eval|expire|rename|incr|decr"
            r"|[lrsz](?:push|pop|add|rem|trim)|xadd|xdel|xack|xgroup|debug|migrate|restore|bgsave"
            r"|bgrewriteaof|save|replicaof|slaveof|persist|copy|move|swapdb)",
            verb,
        )
        return changes_something(name, verb) if changes else unknown(name, verb)
    verbs = _REDIS_READS[verb]
    said = words[1].lower() if len(words) > 1 else ""
    if verbs is None or said in verbs or (verb == "command" and not said):
        return LOOKS
    return changes_something(name, verb, said) if said else unknown(name, verb)
