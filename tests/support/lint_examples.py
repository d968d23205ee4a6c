"""What each rule finds fault with, and near misses that it must spare."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any, NamedTuple

from nbformat import NotebookNode
from nbformat.v4 import new_output

from tests.support.good_runbook import Spoil, cell, code, front, replace, without, words

TOKEN = "ghp_" + "a1B2" * 6


def _output(notebook: NotebookNode) -> None:
    cell(notebook, "query").outputs = [new_output("stream", text="3 rows")]


def _count(notebook: NotebookNode) -> None:
    cell(notebook, "query").execution_count = 3


def _secret_output(notebook: NotebookNode) -> None:
    cell(notebook, "query").outputs = [new_output("stream", text=f"token {TOKEN}")]


def _injected(notebook: NotebookNode) -> None:
    code('db = "other"', after="parameters")(notebook)
    cell(notebook, "added").metadata.tags = ["injected-parameters"]


def _papermill(notebook: NotebookNode) -> None:
    notebook.metadata.papermill = {"parameters": {}}


def _other_kernel(notebook: NotebookNode) -> None:
    notebook.metadata.kernelspec.name = "python3"


def _same_id(notebook: NotebookNode) -> None:
    cell(notebook, "sql").id = "query"


def _late_parameters(notebook: NotebookNode) -> None:
    notebook.cells.insert(4, notebook.cells.pop(2))


def _late_front_matter(notebook: NotebookNode) -> None:
    notebook.cells.insert(2, notebook.cells.pop(0))


def _untagged(notebook: NotebookNode) -> None:
    cell(notebook, "parameters").metadata.tags = []


def _tagged_twice(notebook: NotebookNode) -> None:
    cell(notebook, "start").metadata.tags = ["parameters"]


LONG = "\n".join(f"x{i} = {i}" for i in range(26))
FUNCTION = (
    "def total(frame):\n" + "\n".join(f"    a{i} = {i}" for i in range(9)) + "\n    return a0"
)
FIFTY = "\n".join(f"{i}. Look at `screen {i}`" for i in range(1, 51))


class Example(NamedTuple):
    """What spoils the good runbook, and the near misses that must not be found fault with."""

    bad: tuple[Spoil, ...]
    near: tuple[Spoil, ...] = ()
    around: dict[str, Any] = {}  # noqa: RUF012  # nobody changes it


def required(field: str, *further: Spoil) -> Example:
    """Return the example of a field that is missing."""
    return Example((front(**{field: None}), *further))


EXAMPLES: dict[str, Example] = {
    "RB002": Example(
        (front(severity="SEV9"), front(colour="red"), without("front-matter")),
        (front(severity="P1"),),
    ),
    "RB003": Example((_output, _count)),
    "RB004": Example(
        (code("x = 1  # rbkernel: ignore RB303"), words("<!-- rbkernel: ignore RB204 -->")),
        (code("x = 1  # rbkernel: ignore RB303 because it is short"),),
    ),
    "RB005": Example(
        (code("x = 1  # rbkernel: ignore RB999 because of a reason"),),
        (code("x = 1  # the kernel may ignore RB999"),),
    ),
    "RB006": Example((_injected, _papermill)),
    "RB007": Example((_other_kernel, lambda notebook: notebook.metadata.pop("kernelspec"))),
    "RB008": Example((_late_parameters, _late_front_matter, without("overview"))),
    "RB009": Example((_same_id,)),
    "RB101": required("scope__handles"),
    "RB102": required("scope__does_not_handle"),
    "RB103": Example(
        (front(escalation__when=None),),
        (front(escalation={"levels": [{"contact": "x", "after": "1 h", "provide": "x"}]}),),
    ),
    "RB104": required("escalation__contact"),
    "RB105": required("escalation__provide"),
    "RB106": required("response_time"),
    "RB107": required("symptoms"),
    "RB108": Example((front(impact=None),), (front(impact={"users": ["they wait"]}),)),
    "RB109": Example((front(triggers=None),), (front(triggers=["somebody telephones"]),)),
    "RB110": required("prerequisites"),
    "RB111": Example((front(on_call=None),), (front(on_call=None, contacts=["Ada (1234)"]),)),
    "RB112": required("communication"),
    "RB113": Example(
        (front(rollback=None, category="deployment"), front(rollback=None, category="recovery")),
        (front(rollback=["there is none"], category="deployment"),),
    ),
    "RB114": Example((front(recovery__rto=None, category="recovery"),), (front(recovery=None),)),
    "RB115": Example((front(recovery__rpo=None, category="recovery"),), (front(recovery=None),)),
    "RB116": required("drill"),
    "RB117": required("last_tested"),
    "RB118": required("testing_schedule"),
    "RB119": required("linked_ids"),
    "RB201": Example(
        (replace("step-2", "**Goal:** see", "Then see"),),
        (replace("step-2", "**Goal:** see", "**Purpose:** see"),),
    ),
    "RB202": Example(
        (replace("step-2", "**Expected:** below", "It is below"),),
        (
            replace("step-2", "**Expected:** below 80 %.", "- [ ] It is below 80 %"),
            replace("step-2", "**Expected:**", "### Success criteria\n\n"),
            replace("step-2", "**Expected:**", "## Success criteria\n\n"),
        ),
    ),
    "RB203": Example(
        (replace("step-2", "**If it does not work:** after 2 attempts, escalate.", "Go on."),),
        (replace("step-2", "If it does not work", "If this doesn't work"),),
    ),
    "RB204": Example(
        (words("Investigate the issue."), words("Take appropriate action, as needed.")),
        (
            words("Investigate the issue: run `rbkernel query`."),
            words("Check error rate: below 1 %. Investigate the queue."),
        ),
    ),
    "RB205": Example(
        (words("You know how to do this."), words("Obviously, simply restart the service.")),
        (words("You know how the figures are. Requests are as usual."),),
    ),
    "RB206": Example((words(FIFTY),), (words(FIFTY.rpartition("\n")[0]),)),
    "RB207": Example(
        (words("## Step 4: Wait\n\n**Goal:** a\n\n**Expected:** b\n\nIf not, escalate.", "act"),),
        (words("## Step 4: Wait\n\n**Goal:** a\n\n**Expected:** `b`\n\nIf not, go.", "act"),),
    ),
    "RB208": Example(
        (replace("overview", "# RUN-900: Connections", "# RUN-900: Slots"),
         replace("overview", "# RUN", "## RUN")),
        (replace("overview", "RUN-900: Connections", "Connections"),),
    ),
    "RB209": Example(
        (replace("step-2", "Step 2", "Step 4"), replace("step-3", "Step 3", "Step 2")),
    ),
    "RB210": Example(
        (
            without("step-1", "step-2", "step-3"),
            lambda notebook: [replace(f"step-{n}", "Step ", "")(notebook) for n in (1, 2, 3)],
        ),
        (without("step-3"),),
    ),
    "RB301": Example(
        (
            code("print(later)\nlater = 1"),
            replace("sql", ":stuck_after_s", ":stuck_for_s"),
            replace("sql", "--into stuck", ""),
            code("def show():\n    return nowhere\n\nshow()"),
        ),
        (
            code("def show():\n    return later\n\nlater = 1"),
            code("display([x for x in slots])\n%matplotlib inline\nget_ipython()"),
            code("if (found := len(slots)):\n    print(found, __name__)"),
        ),
    ),
    "RB302": Example((code("if slots"), code("%%capture\nx ="),), (code("files = !ls\nslots?"),)),
    "RB303": Example((code(LONG),), (code(LONG.rpartition("\n")[0]),)),
    "RB304": Example(
        (code(FUNCTION), code("class Slots: ...")),
        (code("def one():\n    return 1"),),
    ),
    "RB305": Example((_untagged, _tagged_twice)),
    "RB306": Example(
        (replace("parameters", "db: str = ", "db = "), replace("parameters", "5.0", "float('5')")),
        (replace("parameters", "5.0", "7.5"),),
    ),
    "RB307": Example((replace("parameters", "  # connection name, from rbkernel.toml", ""),)),
    "RB308": Example(
        (replace("parameters", "stuck_after_s:", 'unused: str = ""  # x\nstuck_after_s:'),),
        (replace("query", "stuck_after_s=stuck_after_s", "stuck_after_s=3"),),
    ),
    "RB309": Example(
        (
            replace("start", "RUN-900", "RUN-901"),
            code('rb.start("RUN-900")'),
            replace("start", "rb.start(", "print("),
            replace("start", "import rbkernel as rb\n", "import rbkernel as rb\nrb.note('x')"),
        ),
    ),
    "RB310": Example(
        (replace("parameters", "incident: str", "case: str"),),
        (replace("start", '"RUN-900"', '"RUN-900", db=db, incident=incident'),),
    ),
    "RB311": Example((without("summary"), code("rb.note('x')", after="summary"))),
    "RB312": Example(
        (replace("query", "rb.assess(", "rb.query("),),
        (
            replace(
                "query",
                'rb.assess("connections/saturation", db)',
                "rb.check('x', rb.query('connections/saturation', db), 'used_pct', warn=80)",
            ),
        ),
    ),
    "RB313": Example((code("rb.querry('x', db)"),), (code("rb.figure.of(slots)"),)),
    "RB314": Example(
        (
            code("rb.query('connections/holder', db)"),
            code("rb.assess('connections/holder', db)"),
        ),
    ),
    "RB315": Example(
        (
            code("answer = input()"),
            code("import sys\n\nsys.exit(0)"),
            code("raise SystemExit"),
            code("while True:\n    print(1)"),
        ),
        (code("while True:\n    break"), code("answer = inputs = 1")),
    ),
    "RB316": Example(
        (
            code("try:\n    x = 1\nexcept Exception:\n    pass"),
            code("try:\n    x = 1\nexcept:\n    x = 2"),
        ),
        (code("try:\n    x = 1\nexcept KeyError:\n    x = 2"),),
    ),
    "RB317": Example(
        (
            code('used = rb.assess("connections/saturation", db)\nused["used_pc"]'),
            code('rb.assess("connections/saturation", db)["free"]'),
        ),
        (
            code('used = rb.assess("connections/saturation", db)\nused["used_pct"]'),
            # one of two possible diagnostics has it; the rules of a frame are its own
            code(
                'x = rb.assess("connections/saturation", db)\n'
                'x = rb.assess("connections/sessions", db)\n'
                'x["waiting"]'
            ),
            code('x = rb.assess(rb.certificates(db))\nx["free"]'),
            code('x = rb.assess("connections/saturation", db)\nfor x in []:\n    x["free"]'),
            code('x = rb.assess("connections/saturation", db)\nlist(map(lambda x: x["a"], []))'),
            code('x = {"a": 1}\nx["free"]'),
        ),
    ),
    "RB401": Example(
        (
            code('rb.query(f"SELECT * FROM orders WHERE id = {len(slots)}", db)'),
            code('rb.query("SELECT * FROM orders WHERE id = %s" % len(slots), db)'),
            code('rb.query("SELECT * FROM orders WHERE id = {}".format(db), db)'),
            code('rb.query("SELECT * FROM orders WHERE id = " + db, db)'),
            code('text = "SELECT 1"\ntext += " WHERE " + db\nrb.query(text, db)'),
            code("frame = sessions.read_sql(f'SELECT {db}')"),
            code("rb.promql(f'up{{job=\"{db}\"}}')"),
            code("text = 'up ' + db\nrb.logql(query=text)"),
        ),
        (
            code('rb.query("SELECT 1 " + "AS one", db)'),
            code('print(f"SELECT {db}")'),
            code('rb.promql("up{job={db}} > " "3", db=db)'),
            code('text = "SELECT :a::int"\nrb.query(text, db, a=1)'),
        ),
    ),
    "RB402": Example(
        (
            replace("sql", ":stuck_after_s", "{stuck_after_s}"),
            replace("sql", ":stuck_after_s", "':stuck_after_s'"),
            replace("sql", ":stuck_after_s", "${stuck_after_s}"),
            replace("sql", ":stuck_after_s", "'%s'"),
        ),
        (
            replace("sql", "state FROM", "'{\"a\": 1}'::jsonb, '10:30' FROM"),
            replace("sql", "state FROM", "'%s' AS fmt, format('%s', state) FROM"),
        ),
    ),
    "RB403": Example(
        (
            replace("sql", "SELECT pid, state FROM", "DELETE FROM"),
            code('rb.query("SELECT pg_terminate_backend(1)", db)'),
            code('rb.query("SELECT 1; SELECT 2", db)'),
        ),
        (code('rb.query("EXPLAIN SELECT 1", db)'),),
    ),
    "RB404": Example(
        (code("import psycopg"), code("from sqlalchemy import create_engine")),
        (code("import pandas as pd\n\npd.DataFrame()"),),
    ),
    "RB405": Example(
        (
            code('rb.query("SELECT :stuck_after_s", db)'),
            code('rb.promql("up{job={db}}")'),
            code('rb.promql("@http/error_ratio")'),
            front(metrics=[{"name": "up", "promql": "up{job={nobody}}", "warning": 1}]),
        ),
        (
            code('rb.query("SELECT :a, \':b\'", db, a=1)'),
            code('rb.query("SELECT :a", db, **{"a": 1})'),
            code('rb.promql("up{job={db}}", db=db)\nrb.promql("up{job={a}}", **{"a": "b"})'),
            front(metrics=[{"name": "up", "promql": "up{job={db}}", "warning": 1}]),
        ),
    ),
    "RB406": Example(
        (
            code('rb.promql("@http/error_rate", service=service)'),
            code('rb.logql("@http/error_ratio", service=service)'),
            front(metrics=[{"name": "up", "promql": "@http", "warning": 1}]),
        ),
        (
            code('rb.promql("@http/error_ratio", service=service)\nrb.promql("up")'),
            code("rb.logql('{app=\"api\"} |= \"@\"')"),
            front(metrics=[{"name": "up", "promql": "@tls/expires_in", "warning": 1}]),
        ),
    ),
    "RB501": Example(
        (
            words(f"Use {TOKEN}."),
            code("password = 'hunter22'"),
            words("`postgresql://me:hunter22@db/orders`"),
            _secret_output,
        ),
        (
            words("curl -H 'Authorization: Bearer [api-token]'; export PGPASSWORD=${SECRET}"),
            code("import os\n\npassword = os.environ['ORDERS_PASSWORD']"),
            words("""`-d '{"email": "me@example.com", "password": "test"}'`"""),
        ),
    ),
    "RB502": Example(
        (
            replace("parameters", "stuck_after_s:", 'api_token: str = ""  # x\nstuck_after_s:'),
            replace("parameters", '"orders-primary"', '"postgresql://db/orders"'),
        ),
        (replace("parameters", "stuck_after_s:", "max_tokens: int = 3  # x\nstuck_after_s:"),),
    ),
    "RB503": Example(
        (
            code("!kubectl delete pod web-1"),
            code("%%bash\nkubectl get pods\nsystemctl restart web"),
            code('import subprocess\n\nsubprocess.run(["rm", "-rf", "/srv/x"])'),
            code('import os\n\nos.system("kill 3")'),
            code('import subprocess as sp\n\nsp.run(["rm", "x"])'),
            code('from subprocess import check_call as go\n\ngo("rm x", shell=True)'),
            code('command = ["rm", "x"]\nimport subprocess\nsubprocess.run(args=command)'),
            code('get_ipython().system("rm x")'),
            code('shell = get_ipython()\nshell.getoutput("rm x")'),
            code('get_ipython().run_line_magic("sx", "rm x")'),
            code('get_ipython().run_cell_magic("bash", "", "rm x")'),
            code("if slots is not None:\n    !rm x"),
            code("!kubectl \\\n  delete pod x"),
            code('rb.shell("x", ["kubectl", "delete", "pod", "x"])'),
            code('rb.shell("x", ["psql", "-c", "DELETE FROM orders"])'),
        ),
        (
            code("!kubectl get pods"),
            code("# kubectl delete pod web-1"),
            code('rb.shell("x", ["psql", "-c", "SELECT 1 FROM orders"])'),
            code('rb.shell("x", "drop")'),
            code('import subprocess as sp\n\nsp.run(["ls"])'),
        ),
    ),
    "RB504": Example((code("!kubectl get pods"),), (code("rb.shell('Pods', 'pods')"),)),
    "RB505": Example(
        (
            words("```bash\nkubectl rollout undo deployment/web\n```"),
            words("```sql\nUPDATE outbox_messages SET status = 'failed'\n```"),
        ),
        (words("```bash\nkubectl get pods\n```"), words("```text\nkubectl delete\n```")),
    ),
    "RB506": Example(
        (
            code("import httpx\n\nhttpx.post('http://api/flags')"),
            code("from requests import post as send\n\nsend('http://api/flags')"),
            code("from urllib.request import urlopen\n\nurlopen('http://api', data=b'x')"),
            code("import http.client as h\n\nh.HTTPConnection('api')"),
            code("import socket\n\nsocket.create_connection(('api', 80))"),
        ),
        (code("import httpx\n\nhttpx.get('http://api/flags')"),),
    ),
    "RB507": Example((replace("act", ', when=choice.chose("end them")', ""),)),
    "RB508": Example(
        (front(rollback=None),),
        (front(rollback=["what was not committed is lost"]),),
    ),
    "RB509": Example(
        (replace("act", 'rb.done(plan, note="")', "print(plan)"),),
        (replace("act", 'rb.done(plan, note="")', "rb.assess(slots)"),),
    ),
    "RB510": Example(
        (
            code("import os\n\nos.remove('x')"),
            code("from os import unlink as gone\n\ngone('x')"),
            code("import shutil as sh\n\nsh.rmtree('x')"),
            code("from pathlib import Path\n\nPath('x').write_text('y')"),
            code("from pathlib import Path\n\npath = Path('x')\npath.mkdir()"),
            code("import pathlib\n\n(pathlib.Path('x') / 'y').rename('z')"),
            code("with open('x', 'a') as file:\n    print(file)"),
            code("from pathlib import Path\n\nPath('x').open(mode='r+')"),
        ),
        (
            code("from pathlib import Path\n\nPath('x').read_text()\nopen('x', 'rb')"),
            code("slots.rename(columns={'a': 'b'}).replace('a', 'b')"),
        ),
    ),
    "RB601": Example(
        (words("See [this](gone.md)."), front(links={"Dashboard": "gone.html"})),
        (words("See [this](good.md) and [that](https://gone.example)."),
         front(links={"Dashboard": "https://gone.example"})),
    ),
    "RB602": Example(
        (words("See [this](#Step-9:-No)."), words("See [this](good.md#no).")),
        (words("See [this](#step-2-decide) and [that](good.md#a-heading)."),),
    ),
    "RB603": Example(
        (words("Go back to step 9."),),
        (words("Go back to step 2. The next step 9."),),
    ),
    "RB604": Example((words("Open RUN-777."),), (words("Open RUN-010, or RUN-900."),)),
    "RB605": Example((words("It answers MON-777."),), (words("It answers MON-005."),)),
    "RB606": Example(
        (
            replace("parameters", "orders-primary", "orders-old"),
            replace("query", 'saturation", db', 'saturation", "orders-old"'),
            replace("sql", "%%sql db", "%%sql orders-old"),
        ),
        (replace("sql", "%%sql db", "%%sql orders-primary"),),
    ),
    "RB607": Example((front(connections={"standby": "*"}), front(connections={"db": "shop-*"}))),
    "RB608": Example((front(connections=None),)),
    "RB609": Example(
        (front(title="Connections run out"),),
        (front(id="RUN-901"),),
        {"runbooks": {"RUN-900": (Path("/elsewhere/other.ipynb"),)}},
    ),
    "RB610": Example((front(drill="no-such-fault"),), (front(drill="Stop the server by hand"),)),
    "RB701": Example(
        (front(last_tested=datetime.date(2026, 6, 1)), front(testing_schedule="monthly",
         last_tested=datetime.date(2026, 10, 1), change_log=None)),
        (front(last_tested=datetime.date(2026, 11, 1), testing_schedule="after major changes"),),
    ),
    "RB702": Example(
        (front(change_log=[{"date": datetime.date(2026, 11, 2), "change": "x"}]),),
        (front(change_log=["no date"]),),
    ),
    "RB703": Example(
        (
            front(last_tested=datetime.date(2027, 1, 1)),
            front(change_log=[{"date": datetime.date(2027, 1, 1), "change": "x"}]),
        ),
        (front(last_tested=datetime.date(2026, 11, 22)),),
    ),
    "RB704": Example(
        (words("Run `SELECT pg_start_backup('x')`."), words("Ask the old-monitor.")),
        (words("Run `SELECT pg_backup_start('x')`."),),
        {"deprecated": {r"\bold-monitor\b": "the new one"}},
    ),
    "RB705": Example(
        (words("Call ‹PLACEHOLDER: whom›."), words("TBD"), words("Ask [Team Name].")),
        (words("Call `TODO` by its name, or [Team](good.md)."),),
    ),
}  # fmt: skip
