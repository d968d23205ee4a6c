"""Commands and requests as actions: what the configuration refuses, and the plans made of it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from rbkernel import actions, config
from rbkernel.errors import ConfigError, ParameterError
from rbkernel.kernel import secrets
from rbkernel.redact import Redactor

CONFIGURED = """
[actions.commands.restart]
argv = ["kubectl", "rollout", "restart", "deployment/{service}"]
dry_run = ["kubectl", "rollout", "restart", "deployment/{service}", "--dry-run=server"]
verify = ["kubectl", "rollout", "status", "deployment/{service}"]
environment = ["KUBECONFIG", "DEPLOY_TOKEN"]
working_directory = "work"
values = {service = ["shop", "cart"]}

[actions.commands.scale]
argv = ["kubectl", "scale", "--replicas={n}", "deployment/{service}"]
verify = "exit code"
values = {service = {pattern = "[a-z./;$()`' -]+"}, n = {min = 0, max = 20}}
undo = {name = "scale", values = {n = "3"}}

[actions.requests.flag]
method = "PUT"
url = "https://flags.internal/api/{flag}?to={state}"
json = {state = "{state}", percent = "{percent}"}
headers = {Authorization = {env = "FLAG_KEYS", prefix = "Bearer "}, Accept = "application/json"}
preview = "https://flags.internal/api/{flag}"
verify = {url = "https://flags.internal/api/{flag}", pointer = "/state", equals = "{state}"}
undo = {name = "flag", values = {state = "on"}}

[actions.requests.flag.values]
flag = {pattern = ".+"}
state = ["on", "off"]
percent = {min = 0, max = 100}

[[actions.rules]]
action = "run:restart"
approvers = 0
watch_s = 600
"""
RESTART = "kubectl rollout restart deployment/{service}"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / config.FILE_NAME
    monkeypatch.setenv("RBKERNEL_CONFIG", str(path))
    path.write_text(CONFIGURED)
    return path


class TestDeclaration:
    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            ('["shop", "cart"]', "[]", "should be a list of texts"),
            ('["shop", "cart"]', '["shop", ""]', "is empty"),
            ('["shop", "cart"]', '["-A"]', "like an option"),
            ('["shop", "cart"]', "3", "should be a list of texts"),
            ('["shop", "cart"]', '{pattern = "["}', "not a valid regular expression"),
            ('["shop", "cart"]', '{pattern = "a", min = 1, max = 2}', "should be a list of texts"),
            ("{min = 0, max = 20}", "{min = 0}", "should be a list of texts"),
            ("{min = 0, max = 20}", "{min = 21, max = 20}", "min is larger than max"),
            ("{min = 0, max = 20}", "{min = -1, max = 20}", "min"),
            ('verify = "exit code"', "", "verify: is missing"),
            ('verify = "exit code"', 'verify = "status"', 'or "exit code"'),
            ('"kubectl", "scale"', '"./kubectl", "scale"', "write an absolute path"),
            ('"kubectl", "scale"', '"{n}", "scale"', "must not be empty or have a placeholder"),
            ('"--replicas={n}"', '"--replicas=1"', "placeholders service, and values for n"),
            ('"--replicas={n}"', '"--replicas={n}{m}"', "they must be the same"),
            ("n = {min", "title = {min", "they must be the same"),
            ('values = {n = "3"}', 'values = {n = "30"}', "n = '30' is not a whole number"),
            ('values = {n = "3"}', 'values = {m = "3"}', "scale has not"),
            ('values = {n = "3"}', 'values = {n = "{m}"}', "placeholder m, which has no value"),
            ('undo = {name = "scale"', 'undo = {name = "scael"', "not the name of another one"),
            ('environment = ["KUBECONFIG"', 'environment = ["A=1"', "not the name of a variable"),
            ('"run:restart"', '"run:restrat"', "there is no [actions.commands.restrat]"),
            ('"run:restart"', '"restart"', "'run:NAME' or 'request:NAME'"),
            ("approvers = 0", "approvers = 0\nmost_targets = 2", "has no targets"),
            ("watch_s = 600", "", "a rule for run:restart has no watch_s"),
            ("watch_s = 600", "watch_s = 3601", "watch_s"),
            ('working_directory = "work"', "shell = true", "shell: is not a known field"),
            ("[actions.commands.scale]", '[actions.commands."a b"]', "should match the pattern"),
            ('"PUT"', '"GET"', "method: should be"),
            ("flags.internal/api/{flag}?to", "{flag}/api/x?to", "placeholder in the host"),
            ("https://flags.internal/api/{flag}?to", "http://a:b@c/{flag}?to", "without user"),
            ('{env = "FLAG_KEYS", prefix = "Bearer "}', '"Bearer x"', "a secret into the file"),
            ("https://flags.internal/api/{flag}?to", "http://a/{flag}?to", "without TLS"),
            ('Accept = "application/json"', 'Host = "other"', "not the name of a header"),
            ('Accept = "application/json"', 'X-Api-Token = "a"', "a secret into the file"),
            ('Accept = "application/json"', 'Accept = "a\\nb"', "no header can contain"),
            ('state = "{state}", percent', '"{state}" = "{state}", percent', "in a name"),
            ('equals = "{state}"', 'equal = "{state}"', "write equals"),
            ('pointer = "/state"', 'pointer = "state"', "should match the pattern"),
            ('undo = {name = "flag"', 'expect = [301]\nundo = {name = "flag"', "expect"),
        ],
    )
    def test_what_cannot_be_enforced_is_refused_with_its_place(
        self, file: Path, old: str, new: str, words: str
    ) -> None:
        assert old in CONFIGURED
        file.write_text(CONFIGURED.replace(old, new))
        with pytest.raises(ConfigError) as caught:
            config.load()
        assert words in str(caught.value)
        assert "actions" in str(caught.value)
        assert str(file) in str(caught.value)
        assert caught.value.next_step

    def test_no_cell_can_run_one_by_itself(self, file: Path) -> None:
        """`rb.shell` runs what `[commands]` allows, which is another list."""
        settings = config.load()
        assert settings.commands == {}
        assert settings.allowing(["kubectl", "rollout", "restart", "deployment/shop"]) is None

    def test_folders_are_relative_to_the_file(self, file: Path) -> None:
        assert config.load().actions.commands["restart"].working_directory == file.parent / "work"

    def test_a_kernel_does_not_get_their_secrets(self, file: Path) -> None:
        environment = {"FLAG_KEYS": "canary-of-flags", "DEPLOY_TOKEN": "canary-of-deploy"}
        settings = config.load()
        given = secrets.without_action_passwords(settings, {**environment, "KUBECONFIG": "/k"})
        assert given == {"KUBECONFIG": "/k"}
        redactor = secrets.redactor(settings, environment)
        assert "canary" not in redactor.value([" ".join(environment.values())])[0]


class TestPlans:
    def test_of_a_command(self, file: Path) -> None:
        plan = actions.run("scale", service="shop", n=4)
        assert plan.command == "kubectl scale --replicas=4 deployment/shop"
        assert plan.action == "run:scale"
        assert plan.arguments == {"name": "scale", "values": {"service": "shop", "n": "4"}}
        assert plan.undo == "kubectl scale --replicas=3 deployment/shop"
        assert plan.title == "Run scale (service shop, n 4)"
        assert plan.id != actions.run("scale", service="shop", n=5).id

    def test_of_a_request_names_its_secret_and_does_not_show_it(
        self, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FLAG_KEYS", "canary")
        plan = actions.request("flag", flag="a/b c", state="off", percent="5")
        words = shlex.split(plan.command)
        assert words[-1] == "https://flags.internal/api/a%2Fb%20c?to=off"
        assert '{"state": "off", "percent": 5}' in words
        assert "Authorization: Bearer ${FLAG_KEYS}" in words
        assert "canary" not in str(plan)
        assert Redactor().value([plan.command]) == [plan.command]

    @pytest.mark.parametrize(
        "value",
        [
            *("-rf", "--help", "", "a\nb", "a\0b", "a\u202eb", "sh\u043ep", "x" * 201, None, 3.5),
            *(True, ["a"], "shop&"),
        ],
    )
    def test_a_value_that_is_not_allowed_is_refused(self, file: Path, value: Any) -> None:
        with pytest.raises(ParameterError) as caught:
            actions.run("scale", service=value, n=1)
        assert "service" in caught.value.what
        plan = actions.run("scale", service=value, n=1, otherwise="scale {service} --to {n}")
        assert plan.action == ""
        assert "rbkernel does not execute it: " in plan.risk

    @pytest.mark.parametrize("value", ["; rm -rf /", "$(id)", "`id`", "../..", "a b", "'"])
    def test_what_a_shell_would_read_stays_one_argument(self, file: Path, value: str) -> None:
        plan = actions.run("scale", service=value, n=1)
        assert shlex.split(plan.command)[-1] == f"deployment/{value}"

    @pytest.mark.parametrize("value", ["..", ".", "a/../../admin", "a\\..\\b", "./a"])
    def test_a_path_does_not_leave_its_folder(self, file: Path, value: str) -> None:
        with pytest.raises(ParameterError, match="a part of the path"):
            actions.request("flag", flag=value, state="off", percent=1)

    @pytest.mark.parametrize("number", [-1, 21, "+3", "03", "3.0", "٣", 10**12])
    def test_a_number_out_of_range_is_refused(self, file: Path, number: Any) -> None:
        with pytest.raises(ParameterError, match="not a whole number from 0 to 20"):
            actions.run("scale", service="shop", n=number)

    def test_an_inverse_that_its_own_rules_forbid_is_told(self, file: Path) -> None:
        narrow = '[actions.commands.narrow]\nargv = ["a", "{service}"]\nverify = "exit code"\n'
        text = CONFIGURED.replace('working_directory = "work"', 'undo = "narrow"')
        file.write_text(f'{text}{narrow}values = {{service = ["cart"]}}\n')
        assert actions.run("restart", service="cart").undo == "a cart"
        undo = actions.run("restart", service="shop").undo
        assert undo == "none: narrow is the inverse, but service = 'shop' is not one of cart"

    def test_an_action_that_is_its_own_inverse_says_so(self, file: Path) -> None:
        undo = actions.request("flag", flag="a", state="off", percent=5).undo
        assert "?to=on" in undo
        own = "none: flag is the inverse, but with these values it is the same"
        assert actions.request("flag", flag="a", state="on", percent=5).undo == own
        assert actions.run("scale", service="shop", n=3).undo == own.replace("flag", "scale")

    def test_what_is_not_configured_is_copied_as_before(self, file: Path) -> None:
        plan = actions.run("rollback", service="shop", otherwise=RESTART)
        assert (plan.command, plan.action) == ("kubectl rollout restart deployment/shop", "")
        assert "no [actions.commands.rollback]" in plan.risk
        unknown = actions.request("rollback", service=None, otherwise=RESTART)
        assert "‹PLACEHOLDER: service›" in unknown.command
        hostile = actions.run("rollback", service="a; rm -rf /", otherwise=RESTART)
        assert "rm" not in hostile.command

    def test_a_plan_to_copy_stays_as_it_is_where_nothing_is_configured(self, file: Path) -> None:
        copied = actions.command("Go back", "deploy <v>", values={"<v>": "1"}, undo="2", risk="r")
        assert actions.run("rollback", otherwise=copied, service="shop") == copied
        refused = actions.run("restart", otherwise=copied, service="other")
        assert (refused.command, refused.undo, refused.action) == ("deploy 1", "2", "")
        assert "r; rbkernel does not execute it: service = 'other' is not one of" in refused.risk
        plan = actions.run("restart", otherwise=copied, service="shop")
        assert (plan.title, plan.action, plan.risk) == ("Go back", "run:restart", "r")

    def test_without_a_file_at_all(self, file: Path) -> None:
        file.write_text("")
        assert actions.run("restart", service="shop", otherwise=RESTART).command
        with pytest.raises(ParameterError, match=r"rbkernel.toml has no \[actions.commands.re"):
            actions.run("restart", service="shop")

    def test_a_similar_name_is_suggested(self, file: Path) -> None:
        with pytest.raises(ParameterError, match="did you mean restart") as caught:
            actions.run("restrat", service="shop")
        assert "otherwise=" in caught.value.next_step
