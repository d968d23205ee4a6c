"""What is configured wrongly is told before the seconds that the imports take."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rbkernel.config import Settings
from rbkernel.config.gateway import Gateway, Sender
from rbkernel.config.notify import Notify, Target
from rbkernel.config.pages import Pages
from rbkernel.errors import ConfigError
from rbkernel.gateway.assembly import must_be_set

SENDER = Sender(name="generic", secret_env=("NOPE_X",))


@pytest.mark.parametrize(
    "settings",
    [
        Settings(gateway=Gateway(senders={"generic": SENDER})),
        Settings(pages=Pages(link_secret_env="NOPE_X")),
        Settings(notify=Notify(targets={"p": Target(name="p", url_env="NOPE_X")})),
    ],
)
def test_a_variable_that_is_not_set(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="NOPE_X"):
        must_be_set(settings)


@pytest.mark.slow
def test_it_is_told_before_anything_heavy_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rbkernel.toml"
    file.write_text('[pages]\nlink_secret_env = "NOPE_X"\n')
    monkeypatch.setenv("RBKERNEL_CONFIG", str(file))
    command = [sys.executable, "-X", "importtime", "-m", "rbkernel", "serve"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 3
    assert "set NOPE_X" in done.stderr
    assert not any(heavy in done.stderr for heavy in ("pandas", "sqlalchemy", "nbformat"))
