"""Wrong arguments of `rb.*`: one sentence, which names the keyword that was meant."""

from __future__ import annotations

import copy
import inspect
import linecache
import math
import pickle
import types
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter

import rbkernel as rb
from rbkernel.arguments import checked
from rbkernel.checks import rules
from rbkernel.checks.answer import Provenance
from rbkernel.checks.assessed import Assessed
from rbkernel.checks.frames import missing
from rbkernel.checks.rule import Rule
from rbkernel.checks.rules import judge
from rbkernel.config import Settings
from rbkernel.config.commands import Command
from rbkernel.config.connections import Connection
from rbkernel.config.quantities import Count, Measured, Number, Seconds
from rbkernel.errors import ConfigError, ParameterError, QueryError, RbkernelError, UnknownName
from rbkernel.model import Decision, DecisionState, Verdict
from rbkernel.render import figure
from rbkernel.sources.postgres import diagnostics
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.triage.decide import OpenDecision


def calls() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every function that a notebook can call, by name."""
    for name in rb.__all__:
        found = getattr(rb, name)
        if isinstance(found, types.ModuleType):
            for inner, function in vars(found).items():
                home = getattr(function, "__module__", "")
                own = home == found.__name__ or (name == "figure" and inner in figure.__all__)
                if inspect.isfunction(function) and own and not inner.startswith("_"):
                    yield f"{name}.{inner}", function
        elif callable(found):
            yield name, found


CALLS = dict(calls())
UNTYPED: Any = rb  # for calls that mypy would refuse
KEYWORDS = [
    (name, parameter.name)
    for name, function in CALLS.items()
    for parameter in inspect.signature(function).parameters.values()
    if not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())
    if parameter.kind is not parameter.VAR_POSITIONAL and len(parameter.name) > 3
]


def test_every_call_is_held_to_its_signature() -> None:
    assert len(CALLS) > 30
    for name, call in CALLS.items():
        assert hasattr(call, "__wrapped__"), name


@pytest.mark.parametrize(("name", "keyword"), KEYWORDS)
def test_a_misspelt_keyword(name: str, keyword: str) -> None:
    misspelt = keyword[:2] + keyword[3:]
    with pytest.raises(ParameterError) as caught:
        CALLS[name](**{misspelt: 1})
    assert f"rb.{name} takes no keyword {misspelt!r}" in caught.value.what
    assert caught.value.next_step == f"write {keyword}=…"


@pytest.mark.parametrize(
    ("name", "arguments", "meant"),
    [
        ("query", {"what": "SELECT 1", "db": "x", "rowcap": 3}, "row_cap"),
        ("query", {"what": "SELECT :since", "db": "x", "sinse": 3}, "since"),
        ("query", {"what": "connections/holders", "db": "x", "stuck_after": 3}, "stuck_after_s"),
        ("sample", {"what": "SELECT 1", "db": "x", "every": 3}, "every_s"),
        ("reconcile", {"db": "x", "source": "a", "target": "b", "colums": "c"}, "columns"),
    ],
)
def test_a_misspelt_keyword_of_a_call_that_takes_values(
    name: str, arguments: dict[str, Any], meant: str
) -> None:
    with pytest.raises(ParameterError) as caught:
        CALLS[name](**arguments)
    assert caught.value.next_step == f"write {meant}=…"


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("check", ["t", [1], "a"], "frame should be a DataFrame"),
        ("check", ["t"], "missing a required argument"),
        ("check", ["t", pd.DataFrame(), "a", 3], "too many positional"),
        ("check", ["t", pd.DataFrame(), "a"], "needs warn="),
        ("decide", ["q", "ab"], "options should be a list of texts, not one text"),
        ("decide", ["q", "abc"], "options should be a list of texts, not one text"),
        ("decide", ["q", ["a", "a"]], "different options"),
        ("assess", [pd.DataFrame()], "named diagnostic"),
        ("figure.of", [pd.DataFrame()], "not from a diagnostic"),
        ("act", [3], "plan should be"),
        ("summary", [3], "too many positional"),
    ],
)
def test_wrong_arguments(name: str, arguments: list[Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words) as caught:
        CALLS[name](*arguments)
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("call", "words", "next_step"),
    [
        (
            lambda: UNTYPED.act("SELECT 1"),
            "plan should be an ActionPlan",
            "rb.actions.statement(db",
        ),
        (
            lambda: UNTYPED.act(rb.actions.resume_replay("x"), when="yes"),
            "when should be a Condition",
            'choice.chose("…")',
        ),
        (
            lambda: UNTYPED.start("RUN-901", {"db": "x"}),
            "too many positional arguments",
            "write rb.start(runbook, …), with each value by name (name=value)",
        ),
        (lambda: question().chose("resume"), "'resume' is not one of", "write 'resume replay'"),
        (lambda: question().choose("flee"), "'flee' is not one of", "use one of the options"),
        (
            lambda: rb.actions.terminate_sessions("x", pd.DataFrame({"lag_s": [1]})),
            "sessions has no column pid and backend_start; it has lag_s",
            'rb.assess("connections/sessions", db)',
        ),
        (
            lambda: rb.actions.cancel_queries("x", pd.DataFrame({"pid": [1]})),
            "sessions has no column backend_start and query_start",
            "rb.diagnose",
        ),
        (
            lambda: rb.actions.repair_rows(pd.DataFrame({"a": [1]})),
            "differences has no column key and kind",
            "what rb.reconcile returned",
        ),
        (
            lambda: rb.actions.statement("x", "DELETE FROM t WHERE a = :s", values={"t": 1}),
            "the text has no placeholder for the value 't', only for s",
            "remove the value",
        ),
        (
            lambda: rb.actions.command("t", "restart <pod>", values={"<pods>": "a"}),
            "the text has no placeholder for the value '<pods>', only for <pod>",
            "write '<pod>'",
        ),
        (
            lambda: rb.assess("replication/lag", "x", replay_lag_s=(2,)),
            "replay_lag_s: needs two thresholds",
            "write replay_lag_s=(warn, critical)",
        ),
        (
            lambda: rb.assess("replication/lag", "x", replay_lag_s=(2, "many")),
            "replay_lag_s: critical should be a number",
            "write replay_lag_s=(warn, critical)",
        ),
        (
            lambda: rb.assess("replication/lag", "x", replay_lag_s=(20, 2)),
            "warn=20 is above critical=2",
            "write replay_lag_s=(warn, critical)",
        ),
    ],
)
def test_what_to_do_instead(call: Callable[[], object], words: str, next_step: str) -> None:
    """No run has begun here, so each is refused before anything else is looked at."""
    with pytest.raises(ParameterError) as caught:
        call()
    assert words in caught.value.what
    assert next_step in caught.value.next_step


def question() -> OpenDecision:
    """An open question."""
    options = ("resume replay", "wait")
    return OpenDecision(
        Decision(
            id="a", question="Now?", options=options, recommended=None, reason="",
            state=DecisionState.OPEN,
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("values", "words", "next_step"),
    [
        ({"stuck_after_s": "abc"}, "stuck_after_s must be a number, but was given text", "as 5"),
        ({"stuck_after_s": True}, "stuck_after_s must be a number", "as 5"),
        ({"stuck_after_s": None}, "stuck_after_s is None, which is no number", "as 5"),
        ({"stuck_after_s": math.nan}, "is nan, which is no number to compare with", "as 5"),
        ({"stuck": 5}, "connections/holders has no parameter 'stuck'", "write stuck_after_s"),
        ({"colour": 5}, "its parameters: stuck_after_s", "use stuck_after_s"),
    ],
)
def test_a_wrong_parameter_of_a_diagnostic_is_named_before_it_is_sent(
    values: dict[str, Any], words: str, next_step: str
) -> None:
    nowhere = Session(Connection(name="nowhere", host="127.0.0.1", port=1), application_name="t")
    with pytest.raises(ParameterError) as caught:
        diagnostics.run(nowhere, "connections/holders", **values)
    assert words in str(caught.value)
    assert next_step in caught.value.next_step


def test_a_text_parameter_of_a_diagnostic_is_not_a_number() -> None:
    nowhere = Session(Connection(name="nowhere", host="127.0.0.1", port=1), application_name="t")
    with pytest.raises(ParameterError, match="standby must be text"):
        diagnostics.run(nowhere, "replication/lag", standby=5)
    taken: Any = np.float64(3)
    frame = diagnostics.run(nowhere, "connections/holders", stuck_after_s=taken)
    assert frame.empty  # it was sent, and the server does not answer


@pytest.mark.parametrize("name", ["rm -rf /", "a.b", ""])
def test_no_section_is_advised_that_toml_cannot_have(name: str) -> None:
    for look_up in (Settings().command, Settings().source):
        with pytest.raises(ConfigError) as caught:
            look_up(name)
        assert "pass the NAME of a section" in caught.value.next_step


def test_a_similar_name_is_the_next_step() -> None:
    settings = Settings.model_validate(
        {
            "sources": {"warehouse": {"name": "warehouse", "kind": "stock"}},
            "connections": {"orders": {"name": "orders"}},
            "commands": {"disk-free": {"name": "disk-free", "argv": ["df"]}},
        }
    )
    for call, given, meant in (
        (settings.source, "wharehouse", "write warehouse"),
        (settings.command, "diskfree", "write disk-free"),
        (settings.connection, "order", "write orders, or add it"),
    ):
        with pytest.raises(ConfigError) as caught:
            call(given)
        assert caught.value.next_step.startswith(meant)


def test_an_unknown_attribute_says_what_there_is_and_stays_an_attribute_error() -> None:
    lag = Assessed(pd.DataFrame(), {})
    for thing in (rb, rb.actions, rb.figure, lag):
        with pytest.raises(UnknownName) as caught:
            _ = thing.nope
        assert caught.value.next_step
        assert not hasattr(thing, "_repr_html_")
        assert getattr(thing, "nope", None) is None
    assert copy.deepcopy(lag).ok is lag.ok
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), UnknownName)


def test_an_unknown_diagnostic_suggests_before_it_lists() -> None:
    with pytest.raises(QueryError) as caught:
        diagnostics.get("locks/blockin")
    assert caught.value.what.endswith("'locks/blockin'; did you mean locks/blocking?")
    with pytest.raises(QueryError, match="there are locks/") as caught:
        diagnostics.get("locks/zzzz")
    assert "replication/" not in caught.value.what


@pytest.mark.parametrize("value", ["3", True, [1], None])
@pytest.mark.parametrize("name", ["warn", "critical"])
def test_a_threshold_that_is_no_number(name: str, value: object) -> None:
    with pytest.raises(ParameterError, match=f"{name} should be a|needs warn="):
        rb.check("t", pd.DataFrame({"a": [1]}), "a", **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"warn": 9, "critical": 5}, "warn=9 is above critical=5"),
        ({"warn": 5, "critical": 9, "below": True}, "warn=5 is below critical=9"),
    ],
)
def test_a_warning_beyond_the_critical_threshold(limits: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words) as caught:
        rb.check("t", answered({"a": [7.0]}), "a", **limits)
    assert caught.value.where == "t"
    with pytest.raises(ValueError, match=words):
        Rule(title="t", column="a", **limits)
    # the other way round, and the same for both, is as it should be
    turned = limits | {"below": not limits.get("below", False)}
    assert Rule(title="t", column="a", **turned)
    assert Rule(title="t", column="a", **limits | {"warn": limits["critical"]})


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"critical": 5}, "can never be above critical=5"),
        ({"critical": 1}, "can never be above critical=1"),
        ({"warn": 0, "critical": 1}, "can never be above critical=1"),
        ({"warn": 0, "below": True}, "can never be below warn=0"),
    ],
)
def test_a_threshold_that_true_and_false_never_reach(limits: dict[str, Any], words: str) -> None:
    frame = answered({"down": pd.Series([True, False], dtype="boolean")})
    with pytest.raises(ParameterError, match=words) as caught:
        rb.check("t", frame, "down", **limits)
    assert "agg='sum'" in caught.value.next_step
    judged = rules.apply(Rule(title="t", column="down", **limits), frame)
    assert judged.verdict is Verdict.UNKNOWN
    assert words in judged.actual


@pytest.mark.parametrize(
    "limits",
    [{"critical": 0}, {"critical": 1, "below": True}, {"critical": 5, "agg": "sum"}],
)
def test_thresholds_that_true_and_false_do_reach(limits: dict[str, Any]) -> None:
    wrong = not limits.get("below", False)
    frame = answered({"down": pd.Series([wrong] * 6, dtype="boolean")})
    judged = rules.apply(Rule(title="t", column="down", **limits), frame)
    assert judged.verdict is Verdict.CRITICAL


@pytest.mark.parametrize(
    ("call", "arguments", "named"),
    [
        ("timeline", {"y": "lagg_s"}, "y names 'lagg_s'"),
        ("timeline", {"y": "lag_s"}, "x names 'sampled_at'"),
        ("bars", {"x": "lag_s", "y": "stndby"}, "y names 'stndby'"),
        ("strip", {"x": "lag_s", "by": "nothing"}, "by names 'nothing'"),
        ("tree", {"node": "standby", "parent": "of", "label": "lag_s", "by": "lag_s"}, "parent"),
        ("differences", {}, "key names 'key'"),
    ],
)
def test_a_figure_of_a_column_that_is_not_there(
    call: str, arguments: dict[str, Any], named: str
) -> None:
    frame = pd.DataFrame({"lag_s": [1.0, 2.0], "standby": ["a", "b"]})
    with pytest.raises(ParameterError, match=named) as caught:
        CALLS[f"figure.{call}"](frame, **arguments)
    assert caught.value.next_step.startswith(("write ", "use lag_s, standby"))


@pytest.mark.parametrize(
    ("values", "dtype", "words"),
    [
        ([math.nan, 1.0], "float64", "ratio is NaN in 1 of 2 rows"),
        ([None, 1.0], "float64", "ratio has no value in 1 of 2 rows"),
        ([None, math.nan], "float64", "ratio is NULL or NaN in 2 of 2 rows"),
        ([Decimal("NaN"), Decimal(1)], "object", "ratio is NaN in 1 of 2 rows"),
        (
            [Decimal("NaN"), None],
            "object",
            "ratio has no value in 1 of 2 rows, ratio is NaN in 1 of 2",
        ),
    ],
)
def test_nan_is_not_called_null(values: list[Any], dtype: str, words: str) -> None:
    frame = answered({"ratio": pd.Series(values, dtype=dtype)}, rows=[(one,) for one in values])
    judged = rules.apply(Rule(title="t", column="ratio", critical=5), frame)
    assert judged.verdict is Verdict.UNKNOWN
    assert words in judged.actual


def test_a_misspelt_name_of_a_diagnostic_or_a_command() -> None:
    with pytest.raises(QueryError, match=r"did you mean replication/lag\?"):
        diagnostics.get("replication/lagg")
    settings = Settings(commands={"disk-free": Command(name="disk-free", argv=("df", "-h"))})
    with pytest.raises(ConfigError, match=r"did you mean disk-free\?"):
        settings.command("diskfree")


def answered(columns: dict[str, Any], rows: Any = ()) -> pd.DataFrame:
    """Return a frame as a query gives it."""
    frame = pd.DataFrame(columns)
    frame.attrs["rbkernel"] = Provenance(
        name="q", connection="c", server="s", role="r", sql="SELECT 1", values={}, at="",
        duration_s=0.0, rows=len(frame), cut_by="", missing=missing(frame, list(rows)),
    )  # fmt: skip
    return frame


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), pd.NA])
def test_a_threshold_from_a_query_without_an_answer_is_nan(value: Any) -> None:
    # the server is down, which must not end the run: what is compared with NaN is unknown
    taken = TypeAdapter(Measured).validate_python(value)
    assert math.isnan(taken)
    assert judge(1.0, warn=taken, critical=None) is Verdict.UNKNOWN
    assert rb.figure.bars(pd.DataFrame(), "x", "y", limit=value).caption


class TestChecked:
    @staticmethod
    @checked
    def call(count: Count, *, wait: Seconds = 1, limit: Number | None = None) -> tuple[Any, ...]:
        return count, wait, limit

    def test_numbers_of_other_libraries(self) -> None:
        given: Any = {"count": np.int64(3), "wait": np.float64(2), "limit": np.int32(1)}
        assert self.call(**given) == (3, 2.0, 1.0)

    def test_an_error_of_the_call_itself_is_not_one_of_its_arguments(self) -> None:
        @checked
        def call() -> None:
            raise KeyError("inside")

        with pytest.raises(KeyError):
            call()


def test_a_notebook_shows_the_sentence_and_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import rbkernel as rb\nrb.check('t', frme=3)"
    lines = source.splitlines(keepends=True)
    monkeypatch.setitem(linecache.cache, "<cell>", (len(source), None, lines, "<cell>"))
    with pytest.raises(RbkernelError) as caught:
        exec(compile(source, "<cell>", "exec"), {})  # as a cell is run
    shown = caught.value._render_traceback_()
    assert shown[0] == f"ParameterError: {caught.value}"
    assert shown[1:] == ["line 2: rb.check('t', frme=3)"]


def test_a_misspelt_call() -> None:
    with pytest.raises(AttributeError, match=r"did you mean check\?"):
        rb.chek  # noqa: B018
