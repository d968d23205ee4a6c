"""Extensions: found without being imported, never in the place of ours, and broken ones contained.

Packages are made by hand: a module and the metadata that pip writes beside it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import rbkernel as rb
from rbkernel import cli, extensions
from rbkernel.config import Settings
from rbkernel.config.notify import Target
from rbkernel.errors import ConfigError, ExtensionError, NotifyError
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
        assert "which is used instead" in problem.what

    def test_a_name_of_two_packages_is_given_to_neither(self, install: Install) -> None:
        install("one", "one_fault", "", faults="flood = one_fault:FLOOD")
        install("two", "two_fault", "", faults="flood = two_fault:FLOOD")
        assert "two has the same name" in _fail("flood").what

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


class TestEachKind:
    def test_a_broken_sender_leaves_the_others_described(self, install: Install) -> None:
        install("bad", "bad_sender", "1 / 0", senders="nagios = bad_sender:NAGIOS")
        assert "nagios" in SENDERS
        paths = openapi.document(Settings().gateway)["paths"]
        assert "/alerts/generic" in paths
        assert "/alerts/nagios" not in paths

    def test_a_sender_that_no_package_adds_is_not_configured(self) -> None:
        senders = {"nagios": {"secret_env": "A"}}
        with pytest.raises(ValueError, match="there is no sender 'nagios'; there are alertmanager"):
            Settings.model_validate({"gateway": {"senders": senders}})

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
        with pytest.raises(AttributeError, match="did you mean command"):
            _ = rb.actions.comand

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
