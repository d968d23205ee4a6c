"""The commands and requests that the templates name: the documented example fits each of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbkernel import actions, config
from rbkernel.config import Settings
from rbkernel.config.actions import Actions
from rbkernel.model import Run
from rbkernel.runbook import catalogue, scaffold
from rbkernel.runbook.catalogue import Runbook
from rbkernel.runbook.frontmatter_sections import Operation
from rbkernel.runbook.placeholders import unfilled
from rbkernel.triage import context, handover
from rbkernel.triage.context import Triage

GUIDE = Path(__file__).parents[2] / "docs/how-to/deploy.md"
SECTION = "## The names that the templates use"
FORMS = scaffold.templates()
#: A value that the example allows, for each placeholder of the templates.
FITTING = {
    "service": "shop",
    "version": "1.4.2",
    "replicas": "5",
    "revision": "7",
    "module": "billing",
    "stage": "double_write",
    "locked": "true",
    "window": "24h",
    "team": "architect",
    "migration": "20261120_orders",
    "days": "90",
    "backup": "20261120-0200",
    "site": "secondary",
    "flag": "ai_enabled",
    "state": "off",
    "upstream": "payments",
    "per_minute": "60",
    "per_hour": "50",
    "source": "tenant-7",
    "tag": "pre-deploy-20261120",
    "deployment": "https://shop-1.example",
}


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Actions:
    _, _, behind = GUIDE.read_text(encoding="utf-8").partition(SECTION)
    [block, *_] = re.findall(r"```toml\n(.*?)```", behind, re.DOTALL)
    file = tmp_path / config.FILE_NAME
    file.write_text(block)
    monkeypatch.setenv("RBKERNEL_CONFIG", str(file))
    return config.load().actions


@pytest.mark.parametrize("name", FORMS)
def test_the_front_matter_of_a_template_fits_the_example(name: str, example: Actions) -> None:
    for one in _named(FORMS[name]):
        named = one.run or one.request
        asked = {*one.values} | {*re.findall(r"\{(\w+)\}", one.command)}
        said = {value: text for value, text in one.values.items() if not _open(text)}
        values = {value: said.get(value, FITTING[value]) for value in asked}
        propose = actions.run if one.run else actions.request
        plan = propose(named, **values)
        assert plan.action == f"{'run' if one.run else 'request'}:{named}"
        assert set(plan.arguments["values"]) == asked


@pytest.mark.parametrize("name", FORMS)
def test_the_cells_of_a_template_fit_the_example(name: str, example: Actions) -> None:
    for kind, named, asked in _calls(name):
        known = example.commands if kind == "run" else example.requests
        assert {*known[named].values} == asked, named


def test_the_example_has_nothing_that_no_template_asks_for(example: Actions) -> None:
    asked = {one.run or one.request for form in FORMS.values() for one in _named(form)}
    asked |= {named for name in FORMS for _, named, _ in _calls(name)}
    inverse = {
        one.undo.name
        for one in (*example.commands.values(), *example.requests.values())
        if one.undo
    }
    flags = {"flag_staging", "flag_dev"}  # the environment is a parameter
    assert {*example.commands, *example.requests} == (asked | inverse | flags) - {""}


def test_what_cannot_be_meant_is_refused() -> None:
    for wrong in (
        {"name": "Scale", "run": "scale", "request": "scale", "command": "scale"},
        {"name": "Scale", "run": "scale"},
    ):
        with pytest.raises(ValueError, match=r"has run and request|has no command"):
            Operation.model_validate(wrong)


def _named(form: Runbook) -> list[Operation]:
    commands = form.front_matter.commands
    return [one for one in commands if (one.run or one.request) and not unfilled(one.run)]


def _open(text: str) -> bool:
    """Tell whether a value is a parameter, or is to be filled in."""
    return unfilled(text) or bool(re.fullmatch(r"\{\w+\}", text))


def _calls(name: str) -> Iterator[tuple[str, str, set[str]]]:
    """Yield each call that proposes a command or request: its kind, name, and values."""
    for cell in catalogue.parse(FORMS[name].document).cells:
        if cell.cell_type != "code":
            continue
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("rb.actions.r"):
                kind = ast.unparse(node.func).rpartition(".")[2]
                if kind not in {"run", "request"}:
                    continue
                given = {str(one.arg) for one in node.keywords} - {"otherwise", "title"}
                first = next(one for one in ast.walk(node.args[0]) if isinstance(one, ast.Constant))
                yield kind, str(first.value), given


class TestAnOperation:
    """Of the front matter, as `rb.commands` plans it."""

    @pytest.fixture(autouse=True)
    def run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        given = {"service": "shop", "version": "", "backup": ""}
        told = Run(
            id="r",
            runbook="RUN-900",
            title="",
            incident="",
            headless=True,
            started_at="",
            parameters=given,
        )
        monkeypatch.setattr(context, "_current", Triage(told, Settings(), ()))

    def test_is_planned_as_before_where_nothing_is_configured(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / config.FILE_NAME
        file.write_text("")
        monkeypatch.setenv("RBKERNEL_CONFIG", str(file))
        text = "kubectl scale deployment/{service} --replicas={replicas}"
        one = Operation(name="Scale", run="scale", command=text, values={"replicas": "5"}, undo="u")
        same = one.model_copy(
            update={"run": "", "command": "kubectl scale deployment/shop --replicas=5"}
        )
        assert handover._plan(one) == handover._plan(same.model_copy(update={"values": {}}))

    def test_takes_parameters_and_never_an_empty_one(self, example: Actions) -> None:
        scale = Operation(
            name="Scale", run="scale", command="scale {service}", values={"replicas": "5"}
        )
        assert handover._plan(scale).arguments["values"] == {"service": "shop", "replicas": "5"}
        values = {"service": "{service}", "version": "{version}"}
        deploy = Operation(name="Deploy", run="deploy", command="deploy {version}", values=values)
        plan = handover._plan(deploy)
        assert (plan.action, plan.command) == ("", "deploy ‹PLACEHOLDER: version›")
        assert "the value version is not known" in plan.risk
