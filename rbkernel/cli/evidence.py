"""The commands for the evidence of runs: `rbkernel evidence …`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from rbkernel import amounts, config
from rbkernel.cli import exporting
from rbkernel.cli.destinations import Force, destination
from rbkernel.cli.output import AsJson, Ending, print_json, print_table, tell

app = typer.Typer(
    help="Evidence of runs: list, verify, rebuild, seal, sign, export.\n\n"
    "Exit codes: 0 done or unchanged, 1 changed, 3 error.\n\n"
    "Example: rbkernel evidence verify"
)
app.command("export")(exporting.export)


@app.command("list")
def list_evidence(as_json: AsJson = False) -> None:
    """List all runs, open and sealed.

    Exit codes: 0 listed, 3 error.

    Example: rbkernel evidence list
    """
    from rbkernel.evidence import runs

    root = config.load().evidence_root
    found = runs.list_runs(root)
    if as_json:
        print_json([dataclasses.asdict(entry) for entry in found])
        return
    names = ("run", "incident", "runbook", "verdict", "state")
    rows = [(e.run_id, e.incident, e.runbook, e.verdict.value, e.state) for e in found]
    print_table(names, rows)
    typer.echo(f"{amounts.count(len(found), 'run')} in {root}")


@app.command()
def verify(
    what: Annotated[
        str,
        typer.Argument(
            help="What to verify: a notebook, a run id or a folder. Default: all sealed evidence."
        ),
    ] = "",
    head: Annotated[
        list[str], typer.Option(help="A published head that must still exist; repeatable.")
    ] = [],  # noqa: B006  # typer reads the default, nobody changes it
    as_json: AsJson = False,
) -> None:
    """Verify sealed folders, or a saved notebook against the journal of its run.

    Exit codes: 0 unchanged, 1 changed, 3 nothing to verify, or error.

    Example: rbkernel evidence verify INC-20261120-7f3a
    """
    from rbkernel.render import verification

    settings = config.load()
    root, signers = settings.evidence_root, settings.allowed_signers
    lines, ok = verification.verify(root, what, signers=signers, published=head)
    tell(*lines, as_json=as_json, verified=ok, remarks=lines)
    raise Ending(0 if ok else 1)


@app.command()
def rebuild(
    run_id: Annotated[str, typer.Argument(help="The run.")],
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", help="The notebook to write, or a folder for it (DIR/ is created)."
        ),
    ],
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Rebuild the notebook of a run from its snapshot and journal.

    Exit codes: 0 written, 3 error.

    Example: rbkernel evidence rebuild 20261120T030211Z-3fa9c1 -o run.ipynb
    """
    from rbkernel.evidence import notebook, reading, runs, store
    from rbkernel.evidence import rebuild as rebuilding

    record = reading.read(runs.find(config.load().evidence_root, run_id))
    built = rebuilding.rebuild(record, reading.snapshot_of(record))
    to_write = destination(output, f"{run_id}.ipynb", force=force)
    store.write_atomically(to_write.path.absolute(), notebook.dump(built))
    ran = sum(1 for cell in record.cells if cell.status == reading.DONE)
    cells = amounts.count(len(built.cells), "cell")
    tell(
        f"{to_write.path}: {cells}, {amounts.count(ran, 'execution')} done",
        as_json=as_json,
        path=to_write.path,
        cells=len(built.cells),
        executed=ran,
    )


@app.command()
def seal(
    what: Annotated[
        str,
        typer.Argument(
            help="The saved notebook, or a run id, to seal a notebook rebuilt from the journal."
        ),
    ],
    edited: Annotated[
        bool, typer.Option("--edited", help="Seal a notebook that was edited after the run.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Seal the evidence of a run whose kernel has ended.

    Exit codes: 0 sealed, 1 sealed with differences from the journal, 3 error.

    Example: rbkernel evidence seal out.ipynb
    """
    from rbkernel.evidence import bundle, reading, runs
    from rbkernel.render import verification
    from rbkernel.render.documents.report import report_files

    settings = config.load()
    root = settings.evidence_root
    run_id = reading.read(runs.find(root, what)).run_id
    path = Path(what)
    given = path.read_bytes() if path.is_file() else None
    sealed = bundle.seal(
        *(root, run_id, given), edited=edited, key=settings.signing_key, report=report_files
    )
    lines = verification.sealed(sealed)
    tell(*lines, as_json=as_json, folder=sealed.folder, head=sealed.head, remarks=lines[2:])
    raise Ending(0 if sealed.verification.ok and not sealed.other_notebook else 1)


@app.command()
def keygen(
    name: Annotated[
        str, typer.Option(help="The signer's name in signatures. Default: your user at this host.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Create the key that signs seals, and allow it to sign.

    Exit codes: 0 created, 3 error.

    Example: rbkernel evidence keygen
    """
    from rbkernel.evidence import signing

    settings = config.load()
    allowed = settings.allowed_signers
    signer = signing.keygen(settings.evidence_root, settings.signing_key, allowed, name)
    tell(
        f"{'key' if signer.is_new else 'the key already exists:'} {signer.key}",
        f"signs as {signer.name}, {signer.fingerprint}",
        f"allowed in {allowed}",
        "Publish this line where nobody who can write the evidence can change it:",
        signer.line,
        as_json=as_json,
        **dataclasses.asdict(signer),
        allowed_signers=allowed,
    )
