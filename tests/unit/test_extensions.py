"""Extensions: found without being imported, never in the place of ours, and broken ones contained.

Packages are made by hand: a module and the metadata that pip writes beside it.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import rbkernel as rb
from rbkernel import cli, extensions
from rbkernel.config import Settings
from rbkernel.config.notify import Target
from rbkernel.errors import ConfigError, ExtensionError, NotifyError, ParameterError
from rbkernel.gateway.intake import SENDERS, openapi
from rbkernel.gateway.notify import channels
from rbkernel.lint import RULES, load_extensions
from rbkernel.model import ActionPlan
from rbkernel.sandbox.faults.catalogue import FAULTS
from rbkernel.sources.source import open_source

Install = Callable[..., None]
PACKAGE = Path(__file__).parents[1] / "support" / "extension_package"
DOCS = (Path(__file__).parents[2] / "docs/how-to/extend.md").read_text(encoding="utf-8")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a package of one module, with these entry points."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(package: str, module: str, text: str, **groups: str) -> None:
        (tmp_path / f"{module}.py").write_text(text, encoding="utf-8")
        about = tmp_path / f"{package}-0.1.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1\n")
        points = (f"[rbkernel.{group}]\n{entry}\n" for group, entry in groups.items())
        (about / "entry_points.txt").write_text("\n".join(points))
        extensions._installed.cache_clear()
        monkeypatch.delitem(sys.modules, module, raising=False)

    return write


def _fail(name: str) -> ExtensionError:
    with pytest.raises(ExtensionError) as caught:
        FAULTS[name]
    return caught.value


class TestBroken:
    def test_one_that_cannot_be_imported_stops_only_what_needs_it(self, install: Install) -> None:
        install("bad", "bad_fault", "import no_such_module", faults="flood = bad_fault:FLOOD")
        assert "flood" in FAULTS
        assert FAULTS["lock-queue"].summary
        error = _fail("flood")
        assert "No module named 'no_such_module'" in error.what
        assert error.where == "bad 0.1, rbkernel.faults, flood = bad_fault:FLOOD"
        assert "pip uninstall bad" in error.next_step

    def test_one_that_ends_the_process_does_not(self, install: Install) -> None:
        install("bad", "bad_exit", "raise SystemExit(1)", faults="flood = bad_exit:FLOOD")
        assert "SystemExit" in _fail("flood").what

    def test_one_of_another_kind(self, install: Install) -> None:
        install("bad", "bad_kind", "FLOOD = 3", faults="flood = bad_kind:FLOOD")
        assert "its entry point must refer to a Fault, not to a int" in _fail("flood").what

    def test_a_name_of_ours_is_not_taken(self, install: Install) -> None:
        ours = FAULTS["lock-queue"]
        install("bad", "bad_name", "", faults="lock-queue = bad_name:FLOOD")
        assert FAULTS["lock-queue"] is ours
        assert list(FAULTS).count("lock-queue") == 1
        [extension] = FAULTS.extensions()
        problem = FAULTS.problem(extension)
        assert problem is not None
        assert "that of the package is not used" in problem.what

    def test_a_name_of_two_packages_is_given_to_neither(self, install: Install) -> None:
        install("one", "one_fault", "", faults="flood = one_fault:FLOOD")
        install("two", "two_fault", "", faults="flood = two_fault:FLOOD")
        for extension, other in zip(FAULTS.extensions(), ("two", "one"), strict=True):
            problem = FAULTS.problem(extension)
            assert problem is not None
            assert f"the package {other} adds the same name" in problem.what
            assert problem.where.startswith(extension.package)
        assert "adds the same name" in _fail("flood").what

    def test_the_command_names_each(
        self, install: Install, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install("bad", "bad_group", "", senderz="x = bad_group:X", faults="flood = bad_group:FLOOD")
        monkeypatch.setattr(sys, "argv", ["rbkernel", "extensions"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr().out
        assert ended.value.code == 3
        assert "there is no group rbkernel.senderz; did you mean rbkernel.senders?" in told
        assert "has no attribute 'FLOOD'" in told


SENDER = "from rbkernel.gateway.intake.sender import Sender\nfrom pydantic import BaseModel\n"
FAULT = "from rbkernel.sandbox.faults.catalogue import Fault\n"
SOURCE = "from rbkernel.sources.source import TableSource, Table\n"
ASK = " def ask(self, question, values): ..."
CHANNEL = "def names(target): return ''\n"


class TestUnusable:
    """Objects of the right kind that would fail at their first use."""

    @pytest.mark.parametrize(
        ("group", "entry", "text", "words"),
        [
            ("sources", "x = bad_x:X", "class X: pass", "X is no source: it has no method query"),
            (
                "sources",
                "x = bad_x:X",
                f"{SOURCE}class X(TableSource): pass",
                "the class X does not implement ask",
            ),
            (
                "sources",
                "x = bad_x:X",
                f"{SOURCE}class X(TableSource):\n def ask(self): return 1",
                "its method `ask`: it cannot be called with (self, question, values)",
            ),
            ("sources", "x = bad_x:X", "def X(): pass", "cannot be called with (configured)"),
            (
                "channels",
                "x = bad_x",
                f"{CHANNEL}def send(target): return ''",
                "its function `send`: it cannot be called with (target, title, body, level)",
            ),
            ("actions", "with-dash = bad_x:X", "def X(): pass", "not a valid name in Python"),
            ("actions", "x = bad_x:X", "class X: pass", "not the class X"),
            (
                "senders",
                "x = bad_x:X",
                f"{SENDER}X = Sender(name='x', read=lambda v: v, body=BaseModel)",
                "its function `read`: it cannot be called with (value, received_at)",
            ),
            (
                "senders",
                "x = bad_x:X",
                f"{SENDER}X = Sender(name='x', read=lambda v, at: v, body=None)",
                "its `body` is not a pydantic model",
            ),
            (
                "faults",
                "x = bad_x:X",
                f"{FAULT}X = Fault(name='x', summary='', start=print, stop=lambda: 1)",
                "its function `stop`: it cannot be called with (access, seed)",
            ),
        ],
    )
    def test_the_command_says_why(
        self,
        install: Install,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        group: str,
        entry: str,
        text: str,
        words: str,
    ) -> None:
        install("bad", "bad_x", text, **{group: entry})
        monkeypatch.setattr(sys, "argv", ["rbkernel", "extensions", "--json"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        [row] = json.loads(capsys.readouterr().out)
        assert ended.value.code == 3
        assert words in row["problem"]
        assert "Next: correct bad: docs/how-to/extend.md" in row["problem"]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("class X: pass", "X is no source"),
            (
                f"{SOURCE}class X(TableSource):\n def __init__(self, c): c.options['url']\n{ASK}",
                "[sources.stock] could not be opened: KeyError: 'url'",
            ),
            ("def X(configured): return 5", "int is no source"),
        ],
    )
    def test_a_cell_names_package_entry_and_next_step(
        self, install: Install, text: str, words: str
    ) -> None:
        # an entry point is loaded once in a process: each text is a module of its own
        module = f"bad_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        install("bad", module, f"{text}\n", sources=f"x = {module}:X")
        settings = Settings.model_validate({"sources": {"stock": {"name": "stock", "kind": "x"}}})
        with pytest.raises(ExtensionError) as caught:
            open_source(settings.source("stock"))
        assert words in caught.value.what
        assert caught.value.where == f"bad 0.1, rbkernel.sources, x = {module}:X"
        assert caught.value.next_step

    def test_an_action_with_wrong_arguments_names_the_argument(self, install: Install) -> None:
        install("bad", "bad_x", "def X(article, pieces): return 5", actions="restock = bad_x:X")
        with pytest.raises(ParameterError, match="missing a required argument: 'pieces'") as caught:
            rb.actions.restock("screws")
        assert caught.value.next_step == "write rb.actions.restock(article, pieces)"
        with pytest.raises(ExtensionError, match="returned a int, not an ActionPlan"):
            rb.actions.restock("screws", 5)

    def test_an_action_that_fails_names_its_package(self, install: Install) -> None:
        install("bad", "bad_y", "def X(): return {}['a']", actions="restock = bad_y:X")
        with pytest.raises(
            ExtensionError, match=r"rb\.actions\.restock failed: KeyError"
        ) as caught:
            rb.actions.restock()
        assert caught.value.where.startswith("bad 0.1, rbkernel.actions")
        assert caught.value.next_step == "repair bad"


class TestEachKind:
    def test_a_broken_sender_leaves_the_others_described(self, install: Install) -> None:
        install("bad", "bad_sender", "1 / 0", senders="nagios = bad_sender:NAGIOS")
        assert "nagios" in SENDERS
        paths = openapi.document(Settings().gateway)["paths"]
        assert "/alerts/generic" in paths
        assert "/alerts/nagios" not in paths

    def test_a_source_of_no_package(self) -> None:
        settings = Settings.model_validate({"sources": {"x": {"name": "x", "kind": "stock"}}})
        with pytest.raises(ConfigError, match="no installed package adds a source of the kind"):
            open_source(settings.source("x"))
        with pytest.raises(ConfigError, match="no source is called 'y'; known: x"):
            settings.source("y")

    def test_a_name_is_a_connection_or_a_source(self) -> None:
        both = {"connections": {"x": {"name": "x"}}, "sources": {"x": {"name": "x", "kind": "k"}}}
        with pytest.raises(ValueError, match="'x' is the name of a connection and of a source"):
            Settings.model_validate(both)

    def test_an_action_of_no_package_is_an_attribute_error(self) -> None:
        assert isinstance(rb.actions.command("Stop", "stop it"), ActionPlan)
        with pytest.raises(
            AttributeError, match=r"there are cancel_queries.*mean command"
        ) as error:
            _ = rb.actions.comand
        assert "rb.actions.statement" in str(error.value)
        assert not hasattr(rb.actions, "nope")

    def test_a_channel_that_fails_does_not_repeat_the_address(
        self, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = "def names(target): return 'x'\n"
        text += "def send(target, title, body, level): raise OSError(target.urls()[0])\n"
        install("chat", "chat_channel", text, channels="chat = chat_channel")
        monkeypatch.setenv("RB_TEST_CHAT", "S3cretAddress")
        target = Target(name="night", channel="chat", url_env="RB_TEST_CHAT")
        assert channels.names(target) == "x"
        with pytest.raises(NotifyError) as caught:
            channels.send(target, "title", "body", "info")
        assert "failed with OSError" in caught.value.what
        assert "S3cret" not in str(caught.value)

    def test_an_unknown_channel(self) -> None:
        target = Target(name="night", channel="chat", url_env="RB_TEST_CHAT")
        with pytest.raises(NotifyError, match="there is no channel 'chat'; there are apprise"):
            channels.names(target)

    def test_rules_with_a_code_that_is_taken_are_not_used_at_all(self, install: Install) -> None:
        before = dict(RULES)
        text = "from rbkernel.lint import Level, rule\n"
        for code in ("AC901", "RB101"):
            text += f"@rule('{code}', 'x', Level.ERROR, 'safe')\ndef _(document): yield from ()\n"
        install("acme", "acme_rules", text, lint_rules="acme = acme_rules")
        [problem] = load_extensions()
        assert "RB101 is taken" in problem.what
        assert before == RULES


def test_nothing_is_imported_or_looked_for_at_the_start() -> None:
    """`import rbkernel` and `--help` do not pay for extensions."""
    ask = "import sys, rbkernel; print('importlib.metadata' in sys.modules)"
    help_ = "import sys; from rbkernel import cli, extensions; sys.argv = ['rbkernel', '--help']\n"
    help_ += "try: cli.main()\nexcept SystemExit: pass\nprint(extensions._installed.cache_info())"
    said = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for code in (ask, help_)
    ]
    assert said[0].stdout.strip() == "False"
    assert "currsize=0" in said[1].stdout


@pytest.mark.parametrize(
    "file",
    sorted(
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*")
        if path.suffix in {".py", ".sql", ".toml"} and path.name != "__init__.py"
    ),
)
def test_the_guide_shows_the_package_in_at_most_30_lines_each(file: str) -> None:
    code = (PACKAGE / file).read_text(encoding="utf-8").rstrip()
    language = {".py": "python", ".sql": "sql", ".toml": "toml"}[Path(file).suffix]
    assert f"`{file}`:\n\n```{language}\n{code}\n```\n" in DOCS
    assert len(code.splitlines()) <= 30
