"""Sixty secrets, and no trace of any of them in what is written or sent to a browser.

Thirty are known from the environment, in many shapes. Thirty are known from nowhere: only the
place where each stands tells, one in each of thirty formats.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from rbkernel.evidence import bundle
from rbkernel.redact.forms import encodings, forms
from rbkernel.render.documents.formats import Format
from rbkernel.render.documents.writing import export
from tests.integration.test_redact_canary import Wire
from tests.support.kernels import kernel
from tests.support.page_server import opened, serving

SHAPES = (
    *(
        "Gannet{n}!tide",
        "gannet-{n}-tide",
        "gannet_{n}_tide",
        "GANNET{n}TIDE",
        "{n}",
        "ga'nn\"et{n}",
    ),
    *(
        "gann&et<{n}>",
        "gännet{n}ß€",
        "gan net {n}",
        "gan/net+{n}==",
        "g\\an\\net{n}",
        "%67annet%{n}",
    ),
    *("${n}gannet", "{n}", "gannettideflow{n}"),
)
KNOWN = {
    f"CANARY_{number}_PASSWORD": shape.format(n=7_310_405_900 + 37 * number)
    for number, shape in enumerate(SHAPES + SHAPES)
}
# {} is the secret
PLACES = (
    *(
        "PGPASSWORD={}",
        "export DB_PASS={} && ./run",
        "passwd={}",
        "password: {}",
        "DB_PASSWORD: '{}'",
    ),
    *(
        "postgresql://app:{}@db/shop",
        "host=db user=app password={} dbname=shop",
        "?password={}&x=1",
    ),
    *(
        "Server=db;Uid=app;Pwd={};Pooling=true",
        "db.internal:5432:shop:app:{}",
        "mysql -uroot -p{} x",
    ),
    *("sshpass -p {} ssh db", "redis-cli -p 6379 -a {} ping", "curl -u app:{} https://x.example"),
    *("sqlplus shop/{}@db1:1521/XE", "secret_key_base: {}", "Password for user app: {}"),
    *(
        "ALTER ROLE app PASSWORD '{}'",
        "CREATE USER app IDENTIFIED BY '{}'",
        "<password>{}</password>",
    ),
    *('{{"password": "{}"}}', "Authorization: Bearer {}", "X-Api-Key: {}", "setenv PGPASSWORD {}"),
    *("define('DB_PASSWORD', '{}')", "- name: DB_PASSWORD\n  value: {}", "[client]\npassword={}"),
    *("machine db login app password {}", "INSERT INTO u (name, password) VALUES ('a', '{}')"),
    "spring.datasource.password={}",
)
UNKNOWN = [
    (place, f"{'Plover_password_' if number % 3 else 'Plover-4b7d-9e2f-'}{8_101 + number}")
    for number, place in enumerate(PLACES)
]
CELLS = (
    "import base64, json, os, html\nfrom IPython.display import HTML, Markdown",
    "known = [value for key, value in os.environ.items() if key.startswith('CANARY_')]",
    "for one in known: print('the password is', one, 'as you see')",
    "known",
    "json.dumps(known), '\\n'.join(known), [one.encode() for one in known]",
    "for one in known: print(base64.b64encode(f'app:{one}'.encode()).decode(), one.encode().hex())",
    "for one in known: print(f'**{one[:4]}**{one[4:]}', one[:4] + '\\u200b' + one[4:])",
    "for one in known: print(one[:4] + '\\b' + one[4:], f'\\x1b[31m{one[:4]}\\x1b[0m{one[4:]}')",
    "import pandas\npandas.DataFrame({'value': known})",
    "HTML(''.join(f'<p>{html.escape(one)}</p>' for one in known))",
    "Markdown('\\n'.join(f'- `{one}`' for one in known))",
    "raise ValueError(' | '.join(known))",
    f"places = {[place.format(secret) for place, secret in UNKNOWN]!r}",
    "for one in places: print(one)",
    "places",
    "json.dumps(places)",
    "pandas.DataFrame({'line': places})",
    "raise RuntimeError('\\n'.join(places))",
)


def found(data: bytes) -> list[str]:
    """Return the canaries that stand in the data, in any form."""
    known = [
        value
        for value in KNOWN.values()
        if any(form.encode() in data for form in forms(value) | encodings(value))
    ]
    return known + [secret for _, secret in UNKNOWN if secret.encode() in data]


def in_files(folders: Iterable[Path]) -> list[tuple[str, list[str]]]:
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return [(str(path), there) for path in files if (there := found(path.read_bytes()))]


def test_sixty_canaries_are_nowhere(evidence: Path, tmp_path: Path) -> None:
    assert len(set(KNOWN.values()) | {secret for _, secret in UNKNOWN}) == 60
    leaked = []
    with kernel(**KNOWN) as running:
        wire = Wire(running)
        for code in CELLS:
            running.run(code)
            # what a client shows comes from the kernel alone: the source is the client's own
            leaked += [(code[:60], one) for one in found(wire.take())]
    assert leaked == []
    [run_id] = [path.name for path in (evidence / "open").iterdir()]
    bundle.seal(evidence, run_id)
    for to in (Format.HTML, Format.MARKDOWN, Format.ZIP):
        export(evidence, run_id, to, tmp_path / f"export-{to.value}")
    with serving(opened()) as client:
        for address in ("/rbkernel", f"/rbkernel/runs/{run_id}", f"/rbkernel/runs/{run_id}/report"):
            answer = client.get(address)
            assert answer.status_code == 200
            assert found(answer.content) == []
    assert in_files([tmp_path, evidence, Path(os.environ["HOME"])]) == []
