"""`[commands]` of rbkernel.toml: what is refused when it is read, and what when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rbkernel import config
from rbkernel.config import Command
from rbkernel.errors import ConfigError

PODS = """\
[commands.pods]
argv = ["kubectl", "get", "pods", "--namespace={namespace}", "{namespace}/{pod}"]
arguments = {namespace = "[a-z0-9-]+", pod = ".*"}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / config.FILE_NAME
    monkeypatch.setenv("RBKERNEL_CONFIG", str(path))
    return path


def pods(file: Path) -> Command:
    file.write_text(PODS)
    return config.load().command("pods")


class TestDeclaration:
    def test_of_a_file(self, file: Path) -> None:
        command = pods(file)
        assert (command.name, command.timeout_s) == ("pods", 10)
        assert config.load().connections == {}

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("argv = []", "argv"),
            ('argv = "kubectl get pods"', "argv"),
            ("argv = [1]", "argv"),
            ("timeout_s = 1", "argv"),
            ('argv = ["a"]\ntimeout_s = 0', "timeout_s"),
            ('argv = ["a"]\ntimeout_s = -1', "timeout_s"),
            ('argv = ["a"]\nshell = true', "shell"),
            ('argv = ["{program}"]\narguments = {program = "a|b"}', "must not be a placeholder"),
            ('argv = ["./{program}"]\narguments = {program = "a|b"}', "must not be a placeholder"),
            ('argv = ["a", "{pod}"]', "must be the same"),
            ('argv = ["a"]\narguments = {pod = "b"}', "must be the same"),
            ('argv = ["a", "{pod}"]\narguments = {pods = "b"}', "must be the same"),
            ('argv = ["a", "{pod}"]\narguments = {pod = "["}', "not a valid regular expression"),
            ('argv = ["a", "{pod}"]\narguments = {pod = 3}', "pod"),
        ],
    )
    def test_refusals_name_file_and_command(self, file: Path, text: str, words: str) -> None:
        file.write_text(f"[commands.pods]\n{text}\n")
        with pytest.raises(ConfigError) as caught:
            config.load()
        assert "commands.pods" in str(caught.value)
        assert words in str(caught.value)
        assert str(file) in str(caught.value)
        assert caught.value.next_step

    def test_braces_of_another_language_are_no_placeholder(self) -> None:
        argv = ("kubectl", "get", "-o", "jsonpath={.items[*].status}")
        assert Command(name="pods", argv=argv).with_arguments({}) == list(argv)

    def test_a_command_cannot_be_changed(self, file: Path) -> None:
        command = pods(file)
        with pytest.raises(ValidationError, match="frozen"):
            command.argv = ("sh",)  # type: ignore[misc]  # what is tested


class TestLookUp:
    def test_an_unknown_name_lists_those_there_are(self, file: Path) -> None:
        pods(file)
        with pytest.raises(ConfigError, match="'pod'; allowed: pods") as caught:
            config.load().command("pod")
        assert caught.value.next_step == "write pods"

    def test_nothing_is_allowed_by_default(self, file: Path) -> None:
        file.touch()
        with pytest.raises(ConfigError, match="allowed: none"):
            config.load().command("true")


class TestArguments:
    def test_fill_their_places_and_stay_one_word_each(self, file: Path) -> None:
        filled = pods(file).with_arguments({"namespace": "web-1", "pod": "a b; rm -rf $(x) {pod}"})
        assert filled == [
            *("kubectl", "get", "pods", "--namespace=web-1"),
            "web-1/a b; rm -rf $(x) {pod}",
        ]

    @pytest.mark.parametrize(
        "values",
        [
            {"namespace": "Web"},
            {"namespace": "web prod"},
            {"namespace": "web\n"},
            {"namespace": ""},
            {"namespace": "-web"},
            {"namespace": "--all-namespaces"},
            {"namespace": 3},
            {"namespace": None},
            {"pod": "-"},
            {"pod": "--kubeconfig=/tmp/evil"},
            {"pod": "a\0b"},
            {"pod": "a\nb"},
            {"pod": ["a", "b"]},
        ],
    )
    def test_a_value_that_does_not_match_is_refused(
        self, file: Path, values: Mapping[str, Any]
    ) -> None:
        [(name, value)] = values.items()
        with pytest.raises(ConfigError) as caught:
            pods(file).with_arguments({"namespace": "web", "pod": "a", **values})
        assert f"{name}={value!r}" in caught.value.what
        assert caught.value.where == "command pods"
        assert "pattern" in caught.value.next_step

    @pytest.mark.parametrize(
        "values",
        [{}, {"namespace": "web"}, {"namespace": "web", "pod": "a", "context": "prod"}],
    )
    def test_exactly_those_that_are_declared(self, file: Path, values: Mapping[str, str]) -> None:
        with pytest.raises(ConfigError, match="this command takes namespace, pod"):
            pods(file).with_arguments(values)

    def test_none_where_none_are_declared(self) -> None:
        command = Command(name="uptime", argv=("uptime",))
        assert command.with_arguments({}) == ["uptime"]
        with pytest.raises(ConfigError, match="this command takes no arguments"):
            command.with_arguments({"x": "1"})
