"""Known secrets: through what splits them they are found, in longer words they are left alone."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest

from rbkernel.config import Settings
from rbkernel.kernel.secrets import gather
from rbkernel.redact import Redactor, secrets_in
from rbkernel.runbook.placeholders import placeholder

SECRETS = ("hunter2-Quetzal", "prod_password_9", "correcthorse9", "Quetzal9silent")
SPLIT = {
    "bold": "**{}**{}",
    "italic": "*{}*{}",
    "underlined": "_{}_{}",
    "code": "`{}`{}",
    "struck": "~~{}~~{}",
    "backspace": "{}\b{}",
    "typed wrong": "{}xy\b\b{}",
    "zero-width space": "{}\u200b{}",
    "zero-width joiner": "{}\u200d{}",
    "byte order mark": "{}\ufeff{}",
    "mark of direction": "{}\u200e{}",
    "override of direction": "{}\u202e{}",
    "word joiner": "{}\u2060{}",
    "variation selector": "{}\ufe0f{}",
    "tag character": "{}\U000e0041{}",
    "soft hyphen": "{}\xad{}",
    "soft hyphen in HTML": "{}&shy;{}",
    "named entity": "{}&ZeroWidthSpace;{}",
    "number entity": "{}&#8203;{}",
    "null": "{}\0{}",
    "colour": "{}\x1b[1;31m{}",
    "title of a window": "{}\x1b]0;title\x07{}",
    "tag": "{}<b>{}</b>",
    "line break in HTML": "{}<br>{}",
    "comment": "{}<!-- x -->{}",
    "end of a line": "x {}\n{} y",
    "indented line": "x {}\n    {} y",
    "Windows line": "{}\r\n{}",
    "carriage return": "{}\r{}",
    "continued line": "{}\\\n{}",
}


def redactor(*values: str) -> Redactor:
    made = Redactor()
    for value in values:
        assert made.learn("known", value)
    return made


def left(text: str) -> str:
    return text.replace("[redacted:known]", "")


@pytest.mark.parametrize("form", SPLIT.values(), ids=SPLIT.keys())
@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_that_is_split_vanishes(secret: str, form: str) -> None:
    head, tail = secret[:6], secret[6:]
    shown = redactor(secret).text(f"before {form.format(head, tail)} after")
    assert "[redacted:known]" in shown
    assert head not in left(shown)
    assert tail not in left(shown)
    assert shown.startswith("before")
    assert shown.endswith("after")


@pytest.mark.parametrize("dress", [repr, json.dumps], ids=["repr", "json"])
@pytest.mark.parametrize("form", ["{}\n{}", "{}\u200b{}", "{}\b{}", "**{}**{}"])
def test_also_where_a_text_is_quoted(form: str, dress: Callable[[str], str]) -> None:
    text = dress(form.format("hunter2-", "Quetzal"))
    assert "[redacted:known]" in redactor("hunter2-Quetzal").text(text)


@pytest.mark.parametrize("secret", SECRETS)
def test_letters_that_are_struck_over_or_underlined_with_backspaces(secret: str) -> None:
    known = redactor(secret)
    for text in ("".join(f"{one}\b{one}" for one in secret), "".join(f"_\b{o}" for o in secret)):
        assert left(known.text(text)).strip("_\b") == ""


def test_what_markdown_escapes_vanishes() -> None:
    assert redactor("prod_password_9").text(r"is prod\_password\_9.") == "is [redacted:known]."


@pytest.mark.parametrize("form", ["{}\b{}", "{}\x1b[0m{}", "**{}**{}", "{}\u200b{}", "{}\n{}"])
def test_backslashes_in_a_secret_are_no_escapes(form: str) -> None:
    shown = redactor(r"g\an\net7310").text(form.format(r"g\an", r"\net7310"))
    assert "net7310" not in shown


def test_an_unknown_secret_is_read_through_backspaces() -> None:
    assert "wrong" not in Redactor().text("PGPASSWORD=hunxx\b\bter2wrong\n")


NUMBER, WORD, BOTH = "12345678", "quetzals", "shop2024"


@pytest.mark.parametrize(
    "text",
    [
        "wal_bytes 9123456780",
        "1234567812345678 bytes",
        "0.12345678",
        "12345678.5 ms",
        "a12345678b",
        "id_12345678",
        "restart_lsn 2A/12345678",
        "12345\n678",
        "quetzalss, 3quetzals",
        "shop20245, webshop2024",
        "shop\n2024-11-20",
        "9123456... rows",
        b"9123456780".hex(),
        base64.b64encode(b"9123456780").decode(),
        base64.b64encode(b"a9123456780").decode(),
        base64.b64encode(b"ab9123456780").decode(),
        base64.b64encode(b"xquetzalsx").decode(),
    ],
)
def test_longer_words_and_numbers_keep_their_letters(text: str) -> None:
    assert redactor(NUMBER, WORD, BOTH).text(text) == text


@pytest.mark.parametrize("secret", [NUMBER, WORD, BOTH])
@pytest.mark.parametrize(
    "form",
    ["{}", "({})", "pw={},", "'{}'", "{}.", r"\n{}\n", "u:{}@db", "%3D{}%26", "p={}&x=1"],
)
def test_what_stands_alone_vanishes(secret: str, form: str) -> None:
    assert secret not in redactor(secret).text(f"x {form.format(secret)} y")


@pytest.mark.parametrize("secret", [NUMBER, WORD, BOTH, "hunter2-Quetzal"])
def test_what_stands_alone_vanishes_in_every_encoding(secret: str) -> None:
    known, data = redactor(secret), secret.encode()
    for prefix in (b"", b"u:", b"us:", b"usr:"):
        encoded = base64.b64encode(prefix + data + b"@").decode()
        assert "[redacted:known]" in known.text(f"Authorization {encoded}")
    percent = "".join(f"%{byte:02x}" for byte in data)
    for text in (data.hex(), data.hex().upper(), data.hex(":"), percent, percent.upper()):
        assert "[redacted:known]" in known.text(text)


@pytest.mark.parametrize(
    "value",
    [
        *("postgres", "localhost", "true", "none", "orders", "admin", "production", "password"),
        *("5432", "1234567", "abc", "   ", "****", "${PGPASSWORD}", "<password>", "{{ secret }}"),
        *("[redacted:password]", "[withheld: image/gif]", "x [redacted:dsn] y", "[masked]"),
        *(placeholder("the password of the role"), f"pw {placeholder('x')}", "‹PLACEHOLDER:"),
    ],
)
def test_what_cannot_be_a_secret_is_not_learned(value: str) -> None:
    assert not Redactor().learn("known", value)


def test_public_names_are_never_learned_afterwards() -> None:
    made = Redactor()
    assert made.learn("one", "Sesame-4711", public={"Orders_primary"})
    assert not made.learn("two", "orders_primary")
    assert made.text("connection orders_primary") == "connection orders_primary"


def test_names_of_connections_users_databases_and_hosts_are_public() -> None:
    connection = {"name": "shop-primary", "host": "db.internal", "dbname": "shop_orders"}
    settings = Settings.model_validate({"connections": {"shop-primary": connection}})
    environment = {"A_PASSWORD": "shop-primary", "B_PASSWORD": "shop_orders", "PGUSER": "rb_diag_1"}
    environment |= {
        "C_PASSWORD": "rb_diag_1",
        "D_PASSWORD": "db.internal",
        "E_PASSWORD": "Sesame-47",
        "REDISCLI_AUTH": "Thistle-48",
        "PROXY_AUTH": "kerberos",
    }
    made = Redactor()
    learned = [value for name, value, public in gather(settings, environment)
               if made.learn(name, value, public=public)]  # fmt: skip
    assert learned == ["Sesame-47", "Thistle-48"]


@pytest.mark.parametrize(
    "source",
    [
        f"password = '{placeholder('the password of the role')}'",
        f'api_key = "{placeholder("key of the paging service")}"',
        "password = '[redacted:environment ORDERS_PASSWORD]'",
        "token = '[withheld: this could not be searched for secrets]'",
    ],
)
def test_our_own_marks_are_neither_learned_nor_changed(source: str) -> None:
    made = Redactor()
    for rule, value in secrets_in(source):
        made.learn(rule, value)
    assert made.text(source) == source
    page = f"replace each {placeholder('the password of the role')} before the first run"
    assert made.text(page) == page


def test_a_mask_stays_when_its_words_are_secrets() -> None:
    made = redactor("Sesame-4711")
    assert made.learn("environment ORDERS_PASSWORD", "Sesame-4712")
    assert made.learn("other", "ORDERS_PASSWORD")
    shown = made.text("pw Sesame-4712, ORDERS_PASSWORD")
    assert shown == "pw [redacted:environment ORDERS_PASSWORD], [redacted:other]"
    assert made.text(shown) == shown
    assert "4711" not in made.text("[redacted:Sesame-4711]")


@pytest.mark.parametrize(
    "code",
    [
        *("password=get_password", "connect(password=get_password)", "password = get_password()"),
        *("connect(user=user, password=db_password)", "password=settings.password"),
        *(
            "password     float64\ntoken    datetime64[ns, UTC]\nsecret   string[python]",
            "token int64",
        ),
        *("redis-cli -p 6379 ping", "psql -p 5432 -h db", "mysql -P 3306 -u app -p shop"),
    ],
)
def test_real_code_stays_readable(code: str) -> None:
    assert Redactor().text(code) == code


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("PGPASSWORD=password psql", "=password"),
        ("DB_PASSWORD=secret", "=secret"),
        ("https://x.example/api?token=service_token&x=1", "service_token"),
        ("scott/tiger@orcl", "tiger"),
        ("shop/shop_password@db1", "shop_password"),
        ("PGPASSWORD prod_password_9", "prod_password_9"),
    ],
)
def test_plain_words_are_passwords_where_nothing_else_can_stand(text: str, secret: str) -> None:
    assert secret not in Redactor().text(text)
