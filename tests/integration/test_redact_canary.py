"""A canary in every place that a secret can hide in, and in none of what comes out.

What comes out is everything that a client receives, on every channel and byte for byte, and every
file that is written: journal, snapshot, notebook, IPython's folder, the kernel's own output.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from rbkernel.config import Settings
from rbkernel.evidence import reading, store
from rbkernel.redact.forms import encodings, forms
from rbkernel.sandbox import control
from rbkernel.sandbox.access import Access
from rbkernel.sandbox.home import Home
from tests.support.kernels import (
    PATIENCE_S,
    START,
    Kernel,
    configure,
    kernel,
    papermill,
    write_runbook,
)

CANARY = "c4nary-Tr0ub4dor&3/x9"
ENVIRONMENT = {
    "CANARY_PASSWORD": CANARY,
    "CANARY_DSN": f"postgresql://rb:{CANARY.replace('/', '%2F')}@127.0.0.1:1/orders",
}
TEXT_CHUNK = b"Comment\0" + CANARY.encode()
PNG = b"".join(
    [
        b"\x89PNG\r\n\x1a\n",
        *(
            struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))
            for kind, data in (
                (b"IHDR", struct.pack("!IIBBBBB", 1, 1, 8, 2, 0, 0, 0)),
                (b"tEXt", TEXT_CHUNK),
                (b"IDAT", zlib.compress(b"\0\xff\xff\xff")),
                (b"IEND", b""),
            )
        ),
    ]
)
ACTIVITY = """\
SELECT usename, query FROM pg_stat_activity
WHERE query LIKE '%nobody-at-all%' AND pid <> pg_backend_pid()"""
BEFORE = (
    "import base64, json, os, subprocess, sys, threading\ncanary = os.environ['CANARY_PASSWORD']"
)
# each cell says the canary in another way; the name tells which way leaked
CELLS = {
    "print": "print('the password is', canary, 'as you see')",
    "result": "{'password': canary, 'rows': [canary] * 3}",
    "dsn": "print(os.environ['CANARY_DSN'])\nos.environ['CANARY_DSN']",
    "environment": "dict(os.environ)",
    "error": "raise ValueError(f'no login with {canary}')",
    "traceback": "def connect(password):\n    1 / 0\nconnect(canary)",
    "verbose traceback": "%xmode Verbose\nsecret_value = canary\nconnect(secret_value)",
    "driver error": 'import psycopg\npsycopg.connect(f"host=\'127.0.0.1 password={canary}")',
    "stderr": "print(canary, file=sys.stderr)\nimport logging; logging.warning(canary)",
    "split": "for part in (canary[:9], canary[9:15], canary[15:]):\n"
    "    print(part, end='', flush=True)\nprint()",
    "split at the end": "sys.stdout.write(canary[:7]); sys.stdout.flush()\n"
    "sys.stdout.write(canary[7:]); sys.stdout.flush()",
    "split around a widget": "import ipywidgets\nprint(canary[:9], end='', flush=True)\n"
    "bar = ipywidgets.IntProgress(); bar.value = 3\nprint(canary[9:], flush=True)",
    "widget": "ipywidgets.HTML(f'<b>{canary}</b>')",
    "widget update": "text = ipywidgets.Textarea(); text.value = canary; text",
    "password widget": "ipywidgets.Password(value='typed-' + canary)",
    "output widget": "out = ipywidgets.Output()\nwith out: print(canary)\nout",
    "buffer": "ipywidgets.Image(value=base64.b64decode(PNG), format='png')",
    "frame": "import pandas as pd\nframe = pd.DataFrame({'who': ['bob'], 'pw': [canary]})\nframe",
    "cut frame": "pd.DataFrame({'dsn': [os.environ['CANARY_DSN'] + ' and much more text' * 4]})",
    "hover": "import plotly.graph_objects as go\nfigure = go.Figure(go.Scatter(x=[1, 2], y=[3, 4],"
    " text=[canary, 'b'], customdata=[[canary]]))\n"
    "display({'application/vnd.plotly.v1+json': json.loads(figure.to_json()),"
    " 'text/html': figure.to_html(include_plotlyjs=False)}, raw=True)",
    "typed array": "display({'application/vnd.plotly.v1+json': {'data': [{'x': {'dtype': 'u1',"
    " 'bdata': base64.b64encode(canary.encode()).decode()}}]}}, raw=True)",
    "picture": "from IPython.display import Image\nImage(data=base64.b64decode(PNG))",
    "picture in a page": "from IPython.display import HTML\n"
    "HTML(f'<img src=\"data:image/png;base64,{PNG}\">')",
    "opaque": "display({'application/pdf': base64.b64encode(canary.encode()).decode(),"
    " 'text/plain': 'a pdf'}, raw=True)",
    "display update": "handle = display('before', display_id=True)\nhandle.update(canary)",
    "clear": "from IPython.display import clear_output\nprint(canary); clear_output(); print('x')",
    "subprocess": "say = ['sh', '-c', 'echo $CANARY_PASSWORD; echo $CANARY_PASSWORD >&2']\n"
    "subprocess.run(say)\nsubprocess.run(say, stdout=sys.stdout, stderr=sys.stderr)\n"
    "os.system('echo $CANARY_PASSWORD')\n"
    "os.write(1, canary.encode())\nos.write(2, canary.encode());",
    "fork": "child = os.fork()\nif child == 0:\n    print(canary, flush=True)\n    os._exit(0)\n"
    "os.waitpid(child, 0);",
    "thread": "threading.Thread(target=lambda: print(canary)).start()",
    "encoded": "from urllib.parse import quote\nimport html\nprint(quote(canary, safe=''),"
    " json.dumps(canary), html.escape(canary), base64.b64encode(f'rb:{canary}'.encode()).decode(),"
    " canary.encode().hex())",
    "colours": "print(f'\\x1b[31m{canary[:5]}\\x1b[0m{canary[5:]}')",
    "page": "get_ipython().run_line_magic('pinfo', 'canary')",
    "raw streams": "print(canary, file=sys.__stdout__, flush=True)",
    "event": "from rbkernel.evidence import current\ncurrent().event('note', text=canary)",
    "kernel log": "get_ipython().kernel.log.error('cannot log in with %s', canary)",
    "source": f"password = '{CANARY}'",
    "display metadata": "display({'text/plain': 'x'}, metadata={'who': canary}, raw=True)",
    "history": "%history",
}


def traces(data: bytes) -> list[str]:
    """Return the forms in which the canary stands in the data."""
    looked_for = forms(CANARY) | encodings(CANARY) | {CANARY[:12], "c4nary-Tr0u"}
    return [form for form in looked_for if form.encode() in data]


class Wire:
    """Keeps every byte that the client receives."""

    def __init__(self, running: Kernel) -> None:
        self.frames: list[bytes] = []
        session = running.client.session
        whole = session.deserialize

        def deserialize(frames: Any, *arguments: Any, **named: Any) -> Any:
            self.frames += [bytes(getattr(frame, "buffer", frame)) for frame in frames]
            return whole(frames, *arguments, **named)

        session.deserialize = deserialize

    def take(self) -> bytes:
        frames, self.frames = self.frames, []
        return b"\n".join(frames)


@pytest.fixture
def tapped(evidence: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Kernel, Wire]]:
    with kernel(**ENVIRONMENT) as running:
        wire = Wire(running)
        running.run(BEFORE)
        running.run(f"PNG = {base64.b64encode(PNG).decode()!r}; canary;")
        wire.take()
        yield running, wire


def files_with_traces(*folders: Path) -> list[str]:
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return [f"{path}: {found}" for path in files if (found := traces(path.read_bytes()))]


def test_nothing_of_it_reaches_the_client_or_a_file(
    tapped: tuple[Kernel, Wire], evidence: Path
) -> None:
    running, wire = tapped
    leaked, silent, failed = [], [], set()
    for name, code in CELLS.items():
        answer = running.run(code)
        received = wire.take()
        leaked += [(name, form) for form in traces(received)]
        if not answer.messages:
            silent.append(name)
        if answer.reply["status"] == "error":
            failed.add(name)
    assert leaked == []
    assert silent == []
    assert failed == {"error", "traceback", "verbose traceback", "driver error"}
    running.run("d = {canary: 1}")
    running.client.complete("d['", reply=True, timeout=PATIENCE_S)
    running.client.inspect("canary", reply=True, timeout=PATIENCE_S)
    running.client.history(hist_access_type="tail", n=99, reply=True, timeout=PATIENCE_S)
    running.client.execute_interactive(
        "", user_expressions={"x": "canary"}, timeout=PATIENCE_S, output_hook=lambda _: None
    )
    assert traces(wire.take()) == []
    assert files_with_traces(evidence, Path(os.environ["HOME"])) == []


def test_the_text_around_it_stays(tapped: tuple[Kernel, Wire]) -> None:
    running, _ = tapped
    mask = "[redacted:environment CANARY_PASSWORD]"
    assert running.run(CELLS["print"]).text == f"the password is {mask} as you see\n"
    assert running.run(CELLS["split"]).text == f"{mask}\n"
    assert running.run(CELLS["split at the end"]).text == mask
    pdf = running.run(CELLS["opaque"]).messages[-1]["content"]["data"]
    assert pdf == {
        "text/plain": "a pdf\n[withheld: application/pdf: it cannot be searched for secrets]"
    }
    shown = running.run(CELLS["picture"]).messages[-1]["content"]["data"]["image/png"]
    assert base64.b64decode(shown) == PNG.replace(
        struct.pack("!I", len(TEXT_CHUNK)) + b"tEXt" + TEXT_CHUNK
        + struct.pack("!I", zlib.crc32(b"tEXt" + TEXT_CHUNK)), b""
    )  # fmt: skip
    update = running.run(CELLS["display update"]).messages[-1]
    assert update["msg_type"] == "update_display_data"
    assert update["content"]["transient"]["display_id"]


def test_the_counts_are_evidence(evidence: Path) -> None:
    with kernel(**ENVIRONMENT) as running:
        running.run("import os; canary = os.environ['CANARY_PASSWORD']")
        running.run("print('PGPASSWORD=made-up-1', canary)")
    [folder] = (evidence / "open").iterdir()
    told = reading.read(folder).of_kind("redaction")[-1].data["rules"]
    # the source as asked, the source as told, what it printed
    assert told == {"environment CANARY_PASSWORD": 1, "password": 3}


def test_what_is_typed_hidden_is_known_from_then_on(evidence: Path) -> None:
    with kernel() as running:
        wire = Wire(running)

        def answer(_: object) -> None:
            running.client.input(CANARY)

        running.client.execute_interactive(
            "import getpass\ntyped = getpass.getpass('Password: ')\nprint(typed)",
            allow_stdin=True,
            stdin_hook=answer,
            timeout=PATIENCE_S,
            output_hook=lambda _: None,
        )
        assert traces(wire.take()) == []
    assert files_with_traces(evidence) == []


def test_a_password_that_is_fetched_late_is_taken_out_of_what_was_written(
    evidence: Path, tmp_path: Path
) -> None:
    file = tmp_path / "rbkernel.toml"
    file.write_text(
        '[connections.late]\nhost = "127.0.0.1"\nport = 1\nuser = "rb"\ndbname = "x"\n'
        f'password_command = ["printf", "{CANARY}"]\n'
    )
    with kernel(RBKERNEL_CONFIG=str(file)) as running:
        running.run(f"print({CANARY[:8]!r} + {CANARY[8:]!r})")
        assert traces(next((evidence / "open").glob("*/journal.jsonl")).read_bytes())
        told = running.run(
            "from rbkernel import config\nconfig.load().connections['late'].password()"
        )
        assert "Next: change that password" in told.text
        assert traces(json.dumps(told.reply).encode() + told.text.encode()) == []
        assert running.run("print('and', 'on')").text == "and on\n"
        assert files_with_traces(evidence) == []
        [folder] = (evidence / "open").iterdir()
        assert store.kernel_is_alive(folder)
    lines = [json.loads(line) for line in (folder / store.JOURNAL).read_text().splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    [late] = reading.read(folder).of_kind("late secret")
    assert late.data == {"name": "password of late", "lines": 1}


def test_plain_papermill_writes_none_of_it(evidence: Path, tmp_path: Path) -> None:
    """What papermill writes, and what the kernel says on its own standard output and error."""
    cells = [START.replace("rb.start", "# rb.start"), BEFORE, CELLS["subprocess"], CELLS["hover"]]
    cells += [CELLS["split"], CELLS["kernel log"], CELLS["error"]]
    document = write_runbook(tmp_path / "runbook.ipynb", ["import json", *cells])
    output = tmp_path / "out.ipynb"
    log = (tmp_path / "server.log").open("wb")
    with log:
        done = subprocess.run(
            [sys.executable, "-m", "papermill", str(document), str(output), "-k", "rbkernel"],
            env={**os.environ, **ENVIRONMENT, "PYTHONWARNINGS": "ignore"},
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE_S,
            check=False,
        )
    assert done.returncode != 0  # the last cell raises
    assert (
        b"cannot log in with [redacted:environment CANARY_PASSWORD]"
        in (tmp_path / "server.log").read_bytes()
    )
    assert len(nbformat.read(output, as_version=4).cells) >= len(cells)
    assert files_with_traces(tmp_path) == []


def test_a_statement_in_pg_stat_activity_is_shown_without_its_password(
    evidence: Path, shop: Settings, tmp_path: Path
) -> None:
    status = control.status()
    assert status.primary_port
    assert status.standby_port
    ways = Access(
        home=Home.configured(), primary_port=status.primary_port, standby_port=status.standby_port
    )
    document = write_runbook(
        tmp_path / "runbook.ipynb",
        [
            START,
            f"seen = rb.query({ACTIVITY!r}, 'sandbox-primary')",
            "seen",
            "rb.note(seen['query'].iloc[0])",
            "rb.check('Statements', seen, 'query', agg='rows', warn=0)",
        ],
    )
    with ways.connect("postgres", autocommit=False) as raw:
        # it fails, and its text stays in view while the transaction is open
        with contextlib.suppress(Exception):
            raw.execute(f"ALTER ROLE \"nobody-at-all\" PASSWORD '{CANARY}'")
        done = papermill(document, tmp_path / "out.ipynb", RBKERNEL_CONFIG=str(configure(tmp_path)))
        _, complaint = done.communicate(timeout=PATIENCE_S)
        raw.rollback()
    assert done.returncode == 0, complaint
    assert files_with_traces(tmp_path, evidence) == []
    shown = (tmp_path / "out.ipynb").read_text()
    assert "nobody-at-all" in shown
    assert "PASSWORD '[redacted:sql password]'" in shown


def test_a_secret_in_a_cells_source_is_known_for_the_rest_of_the_run(
    tmp_path: Path, evidence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RBKERNEL_CONFIG", str(configure(tmp_path)))
    with kernel() as ours:
        ours.run("password = 'Quetzal9silent'; pw = 'postgres'")
        assert ours.run("print(password, pw)").text == "[redacted:password] postgres\n"
    [journal] = evidence.glob("open/*/journal.jsonl")
    assert "Quetzal9silent" not in journal.read_text()
