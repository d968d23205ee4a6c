"""Decide whether a call of Git or Ansible changes something. Pure."""

from __future__ import annotations

import re

from rbkernel.runbook.shell.effect import LOOKS, Judgement, changes_something, unknown
from rbkernel.runbook.shell.judges.call import Call


def git(call: Call) -> Judgement | None:
    """Decide whether git changes something, for sub-commands that only list without arguments.

    None for other sub-commands, about which `programs.toml` decides.
    """
    words = call.program.words(call.arguments)
    verb = words[0] if words else ""
    before = call.arguments[: call.arguments.index(verb)] if verb else call.arguments
    runs = re.compile(r"-c|--config-env|--exec-path=")
    if odd := next((one for one in before if runs.match(one)), ""):
        return unknown(call.name, odd)
    if verb == "grep" and (pager := call.has("-O")):
        return unknown(call.name, pager)
    lists = {
        "branch": (
            "--list",
            "-l",
            "-a",
            "-r",
            "--all",
            "--remotes",
            "--contains",
            "--merged",
            "--no-merged",
            "--show-current",
            "--points-at",
        ),
        "tag": ("--list", "-l", "-n", "--contains", "--points-at", "--merged", "--no-merged", "-v"),
        "config": ("--get", "--get-all", "--get-regexp", "--list", "-l", "--get-urlmatch"),
        "remote": (),
    }
    if verb not in lists:
        return None
    options = [one for one in call.arguments[call.arguments.index(verb) + 1 :] if one[:1] == "-"]
    sets = r"^(?:-[dDmMcCfuest]|--(?:delete|move|copy|force|set|unset|edit|add|replace|track).*)$"
    if any(re.match(sets, one) for one in options):
        return changes_something(call.name, verb)
    if any(one.partition("=")[0] in lists[verb] for one in options):
        return LOOKS
    if len(words) == 1 and verb != "config":
        return LOOKS
    return (
        None
        if verb == "remote" or words[1:2] in (["get"], ["list"])
        else changes_something(call.name, verb)
    )


def ansible(call: Call) -> Judgement:
    """Decide whether an ad-hoc Ansible call changes something, by its module."""
    if call.has("--list-hosts", "--version", "--check", "-C"):
        return LOOKS
    module = call.value("-m", "--module-name") or "command"
    if module in {
        "ping",
        "setup",
        "gather_facts",
        "debug",
        "stat",
        "win_ping",
        "ansible.builtin.ping",
    }:
        return LOOKS
    text = call.value("-a", "--args")
    if text and module.rpartition(".")[2] in {"command", "shell", "raw"}:
        return call.of_text(text)
    return unknown(call.name, "-m", module)
