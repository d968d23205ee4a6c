"""Read `[actions]`: which actions rbkernel may execute, and who must approve them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from rbkernel.config.action_commands import ActionCommand
from rbkernel.config.action_requests import ActionRequest
from rbkernel.config.action_values import must_undo
from rbkernel.config.named import Named
from rbkernel.config.people import Said
from rbkernel.config.quantities import Count, Minutes, Pause, Seconds, Whole
from rbkernel.config.words import AtField
from rbkernel.model import Severity
from rbkernel.spelling import did_you_mean

# how a person who approves is known: by a signature, or because the proxy of the pages, or the
# provider at which they signed in, says so
Identity = Literal["ssh", "passkey", "proxy", "oidc", "jupyterhub"]
ActionName = Literal[
    "cancel_queries", "requeue", "resume_replay", "set_failed", "set_flag", "terminate_sessions"
]
# s for which sessions and rows are watched at most; commands and requests may need longer
_LONGEST_WATCH_S = 300.0
# actions that set columns of rows
_ON_ROWS = frozenset({"requeue", "set_failed", "set_flag"})
# the action of a rule for a command or a request: run:NAME, request:NAME
RUN, REQUEST = "run", "request"


def _parsed(value: Any) -> Any:
    return Severity.parse(value) if isinstance(value, str) else value


def _known(value: Any) -> Any:
    """Return the name of an action, which is a function of rb.actions, or run:NAME, request:NAME.

    >>> _known("run:restart")
    'run:restart'
    """
    kind, _, name = value.partition(":") if isinstance(value, str) else ("", "", "")
    if value in get_args(ActionName) or (kind in {RUN, REQUEST} and name):
        return value
    known = ", ".join(map(repr, get_args(ActionName)))
    raise ValueError(f"should be {known}, '{RUN}:NAME' or '{REQUEST}:NAME'")


class ActionRule(BaseModel):
    """The conditions under which actions of one name may be executed.

    ``severities`` limits the rule to incidents of these severities; empty for all. Without
    ``proposer_may_approve``, the person who asks for approval signs the request, and cannot
    approve it. ``identities`` are the ways to be known that count for an approval. ``most_targets``
    limits the number of sessions or rows, and ``tables`` names the only tables whose rows may be
    changed, as SQL names. Without ``break_glass``, nobody may approve alone what
    needs more people. ``cool_down_s`` is the least time between two executions of the action on one
    connection. The effect is watched for ``watch_s``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Annotated[str, BeforeValidator(_known)]
    severities: tuple[
        Annotated[Severity, BeforeValidator(_parsed, json_schema_input_type=str)], ...
    ] = ()
    approvers: Annotated[Whole, Field(ge=0, le=9)] = 1
    proposer_may_approve: bool = False
    identities: Annotated[tuple[Identity, ...], Field(min_length=1)] = ("ssh", "passkey")
    break_glass: bool = True
    most_targets: Count = 1
    tables: tuple[str, ...] = ()
    cool_down_s: Pause = 0.0
    approve_within_min: Annotated[Minutes, Field(gt=0)] = 30.0
    execute_within_min: Annotated[Minutes, Field(gt=0)] = 10.0
    watch_s: Annotated[Seconds, Field(le=3600)] = 5.0

    @model_validator(mode="after")
    def _no_contradiction(self) -> ActionRule:
        about_people = self.model_fields_set & {"proposer_may_approve", "identities", "break_glass"}
        if not self.approvers and about_people:
            raise ValueError(
                f"has approvers = 0, so nobody approves: remove {max(about_people)}, or ask for"
                " approvers"
            )
        if ":" in self.action and "most_targets" in self.model_fields_set:
            raise ValueError("has most_targets, but a command or a request has no targets")
        return self

    @model_validator(mode="after")
    def _is_watched(self) -> ActionRule:
        if ":" not in self.action and self.watch_s > _LONGEST_WATCH_S:
            raise ValueError(f"has watch_s over {_LONGEST_WATCH_S:g}")
        return self

    @model_validator(mode="after")
    def _rows_are_of_tables(self) -> ActionRule:
        if self.action in _ON_ROWS and not self.tables:
            raise ValueError(
                'has no tables: name those whose rows it may change: tables = ["shop.flags"]'
            )
        if self.tables and self.action not in _ON_ROWS:
            raise ValueError(f"has tables, but {self.action} changes no rows")
        return self

    @property
    def needs_two_people(self) -> bool:
        """Whether no person alone can ask for the action and approve it."""
        return self.approvers > 1 or (self.approvers == 1 and not self.proposer_may_approve)

    def applies(self, action: str, severity: str) -> bool:
        """Return whether the rule is about an action in an incident of this severity.

        An unknown severity matches only a rule for all severities.
        """
        if self.action != action:
            return False
        return not self.severities or _severity(severity) in self.severities


def _severity(words: str) -> Severity | None:
    try:
        return Severity.parse(words)
    except ValueError:
        return None


class Actions(BaseModel):
    """The policy of actions. Without a rule for an action, the action cannot be executed.

    ``approvers`` is an OpenSSH file of allowed signers: the people who may approve. ``passkeys`` is
    the file in which `rbkernel serve` keeps the passkeys of these people; without it, nobody can
    approve on a page. ``one_user`` accepts passkeys where kernels run as the OS user of `rbkernel
    serve`: an approval is then a convenience. ``break_glass`` lets one approver, with a reason,
    approve alone what needs more people. ``commands`` and ``requests`` are what can be executed
    besides the actions on a server.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    approvers: Path | None = None
    passkeys: Path | None = None
    one_user: bool = False
    break_glass: bool = False
    rules: tuple[ActionRule, ...] = ()
    commands: Annotated[Mapping[str, ActionCommand], Named] = Field(default_factory=dict)
    requests: Annotated[Mapping[str, ActionRequest], Named] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _approvers_are_known(self) -> Actions:
        needed = self.passkeys is not None or any(rule.approvers for rule in self.rules)
        if self.approvers is None and needed:
            raise ValueError(
                "approvers is missing: name the OpenSSH file of the people who may approve"
            )
        self._two_people_are_two()
        for place, rule in enumerate(self.rules):
            if "break_glass" in rule.model_fields_set and not self.break_glass:
                raise AtField(
                    f"a rule for {rule.action} has break_glass, but [actions] break_glass is not"
                    " true: set it there, or remove it from the rule",
                    *("rules", place, "break_glass"),
                )
            before = (one for one in self.rules[:place] if one.action == rule.action)
            if any(not one.severities for one in before):
                raise AtField(
                    f"a rule for {rule.action} comes after one for all severities, so that it"
                    " never applies: write the rule for all severities last",
                    *("rules", place),
                )
        return self

    @model_validator(mode="after")
    def _names_are_known(self) -> Actions:
        for section, of_kind in (("commands", self.commands), ("requests", self.requests)):
            for name, one in of_kind.items():
                try:
                    must_undo(of_kind, one)
                except ValueError as error:
                    raise AtField(str(error), *(section, name, "undo")) from None
        for kind, section, known in (
            (RUN, "commands", {*self.commands}),
            (REQUEST, "requests", {*self.requests}),
        ):
            for place, rule in enumerate(self.rules):
                said, _, name = rule.action.partition(":")
                if said == kind and name not in known:
                    raise AtField(
                        f"a rule is for {rule.action}, but there is no [actions.{section}.{name}]"
                        f"{did_you_mean(name, known)}",
                        *("rules", place, "action"),
                    )
        return self

    @model_validator(mode="after")
    def _checks_have_time(self) -> Actions:
        """Refuse a default for how long an effect takes that only the command can know."""
        for place, rule in enumerate(self.rules):
            name = rule.action.removeprefix(f"{RUN}:")
            known = self.commands.get(name) if name != rule.action else None
            if known and isinstance(known.verify, tuple) and "watch_s" not in rule.model_fields_set:
                raise AtField(
                    f"a rule for {rule.action} has no watch_s: say for how many s `verify` may"
                    " fail before the action counts as failed",
                    *("rules", place),
                )
        return self

    def _two_people_are_two(self) -> None:
        """Refuse two people who do not sign, where a kernel could say both names."""
        for place, rule in enumerate(self.rules):
            said = {*rule.identities} & {*get_args(Said)}
            if self.one_user and rule.needs_two_people and said:
                raise AtField(
                    f"a rule for {rule.action} needs two people and takes the word of"
                    f" [pages.{min(said)}], but with one_user = true a kernel can use its secret:"
                    f' remove one_user, or "{min(said)}" from identities',
                    *("rules", place, "identities"),
                )

    def rule(self, action: str, severity: str) -> ActionRule | None:
        """Return the first rule for an action and a severity; None if no rule allows it.

        Its ``break_glass`` says whether the policy as a whole allows that.
        """
        found = next((one for one in self.rules if one.applies(action, severity)), None)
        allowed = self.break_glass and found is not None and found.needs_two_people
        return found and found.model_copy(update={"break_glass": found.break_glass and allowed})
