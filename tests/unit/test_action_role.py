"""The role that executes actions: its configuration, and that kernels do not get its password."""

from __future__ import annotations

from pathlib import Path

import pytest

from rbkernel import config
from rbkernel.config import Settings
from rbkernel.errors import ConfigError
from rbkernel.kernel import secrets

CONNECTION = """
[connections.orders]
host = "db1"
user = "rb_diag"
password_env = "DIAG_PASSWORD"
"""
ROLE = f"""{CONNECTION}
[connections.orders.action]
user = "rb_action"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "rbkernel.toml"
    monkeypatch.setenv("RBKERNEL_CONFIG", str(path))
    return path


def read(file: Path, text: str) -> Settings:
    file.write_text(text)
    return config.load()


def test_it_logs_in_to_the_same_server_with_a_password_of_its_own(file: Path) -> None:
    found = read(file, f'{ROLE}passfile = "secret/action"\n').connection("orders").for_actions()
    assert (found.host, found.user, found.password_env) == ("db1", "rb_action", None)
    assert found.passfile == file.parent / "secret/action"
    assert found.action is None


def test_without_it_nothing_can_be_executed(file: Path) -> None:
    with pytest.raises(ConfigError, match="no role for actions is configured"):
        read(file, CONNECTION).connection("orders").for_actions()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f'{ROLE}password = "x"\n', "would put a secret into the file"),
        (ROLE.replace("rb_action", "rb_diag"), "the role 'rb_diag' of the diagnostics"),
        (ROLE.replace("rb_action", ""), "is empty"),
        (f'{ROLE}host = "db2"\n', "not a known field"),
    ],
)
def test_what_is_not_a_role_of_its_own_is_refused(file: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        read(file, text)


def test_a_kernel_does_not_get_its_password(file: Path) -> None:
    settings = read(file, f'{ROLE}password_env = "ACTION_PASSWORD"\n')
    environment = {"ACTION_PASSWORD": "s3cret-of-action", "DIAG_PASSWORD": "d", "HOME": "/"}
    given = secrets.without_action_passwords(settings, environment)
    assert given == {"DIAG_PASSWORD": "d", "HOME": "/"}
    redactor = secrets.redactor(settings, environment)
    assert "s3cret" not in redactor.value(["it is s3cret-of-action"])[0]


def test_a_variable_of_both_roles_is_kept(file: Path) -> None:
    settings = read(file, f'{ROLE}password_env = "DIAG_PASSWORD"\n')
    assert secrets.without_action_passwords(settings, {"DIAG_PASSWORD": "d"}) == {
        "DIAG_PASSWORD": "d"
    }
