"""`rbkernel init` beside a file that the configuration includes."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from rbkernel.cli import app

_OPTIONS = ("--no-test", "--host", "h", "--port", "5432", "--dbname", "d", "--user", "u")
_ORDERS = '[connections.orders]\nhost = "a"\nuser = "b"\ndbname = "c"\ndefault = true\n'


@pytest.fixture
def main_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop.toml").write_text(_ORDERS)
    file = tmp_path / "rbkernel.toml"
    file.write_text('include = ["shop.toml"]\n')
    monkeypatch.setenv("RBKERNEL_CONFIG", str(file))
    return file


def test_a_connection_of_an_included_file_is_not_redefined(main_file: Path) -> None:
    before = main_file.read_text()
    result = CliRunner().invoke(
        app, ["init", "--name", "orders", *_OPTIONS, "--password", "env PW"]
    )
    assert result.exit_code != 0
    assert "the connection orders already exists" in str(result.exception)
    assert main_file.read_text() == before


def test_a_second_connection_is_not_the_default_one(main_file: Path) -> None:
    CliRunner().invoke(app, ["init", "--name", "stock", *_OPTIONS, "--password", "env PW"])
    text = main_file.read_text()
    assert "[connections.stock]" in text
    assert "default" not in text
