"""Programs that operations people write, and what makes each change something. Pure.

Known readers only look, but for their options that write; known writers change something; of all
else nobody here knows, and that is said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

from rbkernel.runbook.shell.programs import (
    LOOKS,
    Judge,
    Judgement,
    Words,
    always,
    changes_something,
    curl,
    httpie,
    looks,
    matching,
    reader,
    sql,
    unknown,
    verb,
    wget,
)

_KNOW_DRY = frozenset(
    {"kubectl", "oc", "helm", "ansible-playbook", "rsync", "apt", "apt-get", "pip", "npm", "git"}
    | {"pg_rewind", "puppet"}
)
_DRY = re.compile(r"^(?:--dry-run(?:=(?!none|false).*)?|--check|--noop|--whatif)$")
_CHANGING_NAME = re.compile(
    r"(?:^|[-_.])(?:deploy|rollback|roll-back|restart|hotfix|migrate|rotate|delete|drop|purge|clear"
    r"|flush|failover|promote|scale|kill|restore|notify|reconcile|cleanup|clean)(?:$|[-_.])",
    re.IGNORECASE,
)


def program(name: str, arguments: Words) -> Judgement:
    """Judge one program with its arguments.

    >>> program("kubectl", ["-n", "shop", "get", "pods"]).effect.value
    'only looks'
    >>> program("sysctl", ["-w", "vm.swappiness=1"]).what, program("frobnicate", []).effect.value
    ('sysctl -w', 'unknown')
    """
    if name in PROGRAMS and arguments in (["--help"], ["--version"]):
        return LOOKS
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if name in _KNOW_DRY and any(map(_DRY.match, own)):
        return LOOKS
    if name in PROGRAMS:
        return PROGRAMS[name](name, arguments)
    return changes_something(name) if _CHANGING_NAME.search(name) else unknown(name)


def _verbs(reads: str, writes: str) -> Judge:
    return partial(verb, _verb_set(reads), _verb_set(writes))


def _verb_set(words: str) -> frozenset[str]:
    return frozenset(word.replace("_", " ") for word in words.split())


def _reads(writing: str) -> Judge:
    return partial(reader, re.compile(writing))


def _matches(writes: str, reads: str, start: int = 0, end: int = 1) -> Judge:
    writing, reading = (re.compile(one, re.IGNORECASE) for one in (writes, reads))
    return partial(matching, writing, reading, slice(start, end))


def _ip(name: str, arguments: Words) -> Judgement:
    words = [word for word in arguments if not word.startswith("-")]
    writing = r"^(?:add|del\w*|set|flush|change|replace|append|exec|up|down)$"
    if found := next((word for word in words if re.match(writing, word)), ""):
        return changes_something(name, *words[:1], found)
    shows = len(words) < 2 or re.match(r"^(?:s|sh|show|l|ls|list|get)$", words[1])
    return LOOKS if shows else unknown(name, *words[:2])


def _only_bare(options: str, name: str, arguments: Words) -> Judgement:
    """Judge a program that shows something without arguments, and else sets it."""
    found = next((word for word in arguments if not re.match(options, word)), "")
    return changes_something(name, found) if found else LOOKS


def _date(name: str, arguments: Words) -> Judgement:
    setting = r"^(?:-\w*s|--set.*|\d{8,}(?:\.\d+)?)$"
    found = next((word for word in arguments if re.match(setting, word)), "")
    described = {"-d", "--date"} & set(arguments)
    return (
        changes_something(name, found) if found and not (described and found.isdigit()) else LOOKS
    )


def _kill(name: str, arguments: Words) -> Judgement:
    return LOOKS if arguments[:1] in (["-0"], ["-l"]) else changes_something(name)


# what a shell itself reads, and what only shows
_READERS = """
    for in while until if elif fi done do then else case esac } [ [[ ]] test true false : echo
    printf cd pwd exit set unset local read sleep wait return break continue shift declare type
    which export cat head tail less more grep egrep fgrep zgrep zcat rg wc cut tr uniq nl tac rev
    column fold jq od xxd hexdump strings file stat ls ll realpath readlink basename dirname md5sum
    sha256sum diff cmp comm seq ping traceroute tracepath mtr dig nslookup host getent pg_isready
    pg_lsclusters pg_controldata pg_waldump pg_config ps df du free uptime vmstat iostat mpstat
    pidstat top htop w who last id whoami groups uname arch nproc lscpu lsblk lspci lsof findmnt
    netstat pgrep pstree printenv tty locale numactl lsns logcli history
"""
_WRITERS = """
    rm rmdir mv cp dd truncate tee shred pkill killall reboot shutdown halt poweroff chmod chown
    chgrp ln mkdir touch install mkfs umount dropdb createdb dropuser createuser pg_restore
    pg_rewind pg_resetwal pgbench vacuumdb reindexdb clusterdb useradd userdel usermod passwd
    iptables nft ansible-playbook rsync scp sftp swapoff renice logrotate update-rc.d modprobe
    rmmod parted fdisk lvextend lvreduce resize2fs xfs_growfs vi vim nano visudo unlink
"""
_CLOUD = (
    r"^(?:create|delete|remove|update|put|modify|reboot|restart|start|stop|terminate|run-|set-"
    r"|add-|attach|detach|deploy|patch|promote|failover|restore|scale|resize|import|drain|cancel"
    r"|enable|disable|invoke|call$|ssh$|execute|publish|send-|rm$|mv$|sync$|cp$)"
)
_CLOUD_READS = r"^(?:describe|list|get-|show|lookup|ls$|read$|tail$|wait$|head-)"
_PACKAGES = r"^(?:install|remove|purge|upgrade|update|publish|uninstall|migrate|reconcile|deploy)$"
_PACKAGES_READ = r"^(?:list|ls|show|info|view|search|policy|freeze|check|outdated|why)$"

PROGRAMS: Mapping[str, Judge] = {
    **dict.fromkeys(_READERS.split(), looks),
    **dict.fromkeys(_WRITERS.split(), always),
    **dict.fromkeys(
        ["kubectl", "oc"],
        _verbs(
            "get describe logs top version events explain api-resources api-versions cluster-info"
            " wait diff auth_can-i rollout_status rollout_history config_view config_get-contexts"
            " config_current-context",
            "delete scale apply patch create replace edit annotate label set cordon uncordon drain"
            " taint expose autoscale run cp rollout_restart rollout_undo rollout_pause"
            " rollout_resume exec",
        ),
    ),
    "helm": _verbs(
        "list ls status history get show search version env lint template repo_list",
        "install upgrade rollback uninstall delete",
    ),
    **dict.fromkeys(
        ["systemctl", "rc-service"],
        _verbs(
            "status is-active is-enabled is-failed list-units list-unit-files list-timers"
            " list-dependencies list-sockets list-jobs show cat",
            "start stop restart reload kill enable disable mask unmask isolate daemon-reload"
            " reset-failed set-property edit",
        ),
    ),
    "service": _matches("^(?:start|stop|restart|reload)$", "^status$", 1, 2),
    **dict.fromkeys(
        ["docker", "podman", "docker-compose"],
        _verbs(
            "ps images logs inspect stats top version info diff port history events compose_ps"
            " compose_logs compose_ls system_df container_ls image_ls network_ls network_inspect"
            " volume_ls volume_inspect node_ls service_ls service_ps service_logs",
            "rm rmi stop start restart kill run exec prune system_prune up down compose",
        ),
    ),
    **dict.fromkeys(
        ["terraform", "tofu", "pulumi"],
        _verbs(
            "plan show output validate version state_list state_show providers preview",
            "apply destroy import taint up",
        ),
    ),
    "aws": _matches(_CLOUD, _CLOUD_READS, 1, 2),
    **dict.fromkeys(["gcloud", "az"], _matches(_CLOUD, _CLOUD_READS, 1, 4)),
    "gsutil": _verbs("ls cat stat du version", "rm mv cp rsync"),
    "git": _verbs(
        "log status diff show blame rev-parse describe ls-files ls-remote shortlog grep cat-file",
        "push tag commit checkout reset merge rebase revert clean pull rm mv stash switch restore",
    ),
    "gh": _verbs(
        "pr_list pr_view pr_status pr_checks pr_diff run_list run_view run_watch release_list"
        " release_view issue_list issue_view auth_status repo_view workflow_list",
        "pr_create pr_merge pr_close workflow_run run_rerun run_cancel release_create",
    ),
    "vercel": _verbs("list ls inspect logs whoami", "rollback deploy promote remove"),
    "patronictl": _verbs(
        "list topology history show-config version",
        "failover switchover restart reload reinit pause resume remove edit-config flush",
    ),
    "repmgr": _verbs(
        "cluster_show cluster_matrix cluster_event node_status node_check",
        "standby_promote standby_switchover node_rejoin primary_register",
    ),
    "pg_ctl": _verbs("status", "start stop restart reload promote kill logrotate"),
    "pg_ctlcluster": _matches("^(?:start|stop|restart|reload|promote)$", "^status$", 2, 3),
    "redis-cli": _matches(
        r"^(?:flush|[hl]?m?set\w*$|h?del$|unlink$|config$|shutdown|failover|eval|expire|rename|incr"
        r"|decr|[lrsz](?:push|pop|add|rem)|xadd|client$|cluster$|script$|debug$)",
        r"^(?:info|get|hget\w*|ping|llen|ttl|type|dbsize|memory|slowlog|scan|exists|lrange)$",
    ),
    "rabbitmqctl": _matches(
        r"^(?:purge|delete|stop|reset|set_)", r"^(?:list_\w+|status|cluster_status|report|ping)$"
    ),
    "etcdctl": _verbs("get member_list endpoint_health endpoint_status", "put del"),
    "amtool": _verbs("alert_query silence_query config_show", "silence_add silence_expire"),
    "openssl": _verbs("x509 s_client version verify", "req genrsa genpkey ca"),
    "nginx": partial(_only_bare, r"^-[tTvVq]+$"),
    "sed": _reads(r"^(?:-[a-zA-Z]*i|--in-place)|(?:^|[/;0-9}{g])[we](?:\s+\S|$)"),
    "awk": _reads(r"system\s*\(|print[^;}]*>|\|\s*\"|^-i$"),
    "sort": _reads(r"^(?:-o|--output)"),
    "yq": _reads(r"^(?:-i|--inplace)"),
    "sysctl": _reads(r"^(?:-\w*[wpf]|--write|--load.*|--system)$|^[\w.]+="),
    "journalctl": _reads(r"^--(?:vacuum|rotate|flush|sync|relinquish|smart|setup-keys|update-cat)"),
    "dmesg": _reads(r"^(?:-\w*[cCnDE]|--(?:clear|read-clear|console).*)$"),
    "ss": _reads(r"^(?:-\w*K|--kill)$"),
    "tcpdump": _reads(r"^-[wz]"),
    "swapon": _reads(r"^(?!--show|-s$)"),
    "ip": _ip,
    "date": _date,
    "hostname": partial(_only_bare, r"^-[fsidAIy]+$|^--(?!file|boot)"),
    "hostnamectl": partial(_only_bare, "^status$"),
    "timedatectl": partial(_only_bare, "^(?:status|show|list-timezones)$"),
    "mount": partial(_only_bare, "^-l$"),
    "crontab": partial(_only_bare, "^-l$"),
    "ifconfig": partial(_only_bare, r"^-a$|^[a-z]+\d+$"),
    "kill": _kill,
    "curl": curl,
    "wget": wget,
    **dict.fromkeys(["http", "https"], httpie),
    **dict.fromkeys(["psql", "mysql", "mariadb"], sql),
    **dict.fromkeys(
        ["apt", "apt-get", "apt-cache", "yum", "dnf", "pip", "npm", "pnpm", "yarn"],
        _matches(_PACKAGES, _PACKAGES_READ),
    ),
}
