"""Decide whether a command changes something, for programs whose arguments need a parser. Pure.

A function in `JUDGES` returns None if `programs.toml` decides about the call. The effect is
unknown unless the call certainly only reads. `programs.toml` names the function of a program.
"""

from __future__ import annotations

from collections.abc import Mapping

from rbkernel.runbook.shell.judges import databases, files, http, shells, system, tools
from rbkernel.runbook.shell.judges.call import Judge, unknown_here

JUDGES: Mapping[str, Judge] = {
    "unknown": unknown_here,
    "shell": shells.shell,
    "su": shells.su,
    "source": shells.source,
    "trap": shells.trap,
    "alias": shells.alias,
    "find": files.find,
    "sed": files.sed,
    "awk": files.awk,
    "tar": files.tar,
    "less": files.less,
    "man": files.man,
    "dd": files.dd,
    "tee": files.tee,
    "ip": system.ip,
    "date": system.date,
    "kill": system.kill,
    "nc": system.nc,
    "python": system.python,
    "curl": http.curl,
    "wget": http.wget,
    "httpie": http.httpie,
    "psql": databases.psql,
    "sql": databases.sql,
    "bq": databases.bq,
    "mongo": databases.mongo,
    "redis": databases.redis,
    "git": tools.git,
    "ansible": tools.ansible,
}
