"""Pictures of the gateway's pages: at rest, live, in a storm, empty, with errors, refused."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from rbkernel.evidence import incident
from rbkernel.gateway.jobs.storage.store import Store
from tests.support import cause_scenes, page_scenes
from tests.support.journal_builder import INCIDENT, RUN_ID, Journal
from tests.support.page_gateway import gateway
from tests.support.page_scenes import LIVE_RUN

_CONSOLE, _RUN = "/rbkernel", f"/rbkernel/runs/{RUN_ID}"
_INCIDENT = f"/rbkernel/incidents/{INCIDENT}"
_BROKEN = "20261120T050000Z-00dead"
_NOTHING = "INC-20261120-none"
_CAUSES = (*cause_scenes.SCENES, cause_scenes.LONG)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A gateway in some state, and the pages of it to look at, by name."""

    name: str
    pages: dict[str, str]


SCENES = (
    Scene(name="rest", pages={"console": _CONSOLE, "run": _RUN, "incident": _INCIDENT}),
    Scene(
        name="causes",
        pages={
            "console": _CONSOLE,
            "empty-incident": f"/rbkernel/incidents/{_NOTHING}",
            **{one.name: f"/rbkernel/incidents/{one.incident}" for one in _CAUSES},
        },
    ),
    Scene(name="live", pages={"console": _CONSOLE, "run": f"/rbkernel/runs/{LIVE_RUN}"}),
    Scene(name="storm", pages={"console": _CONSOLE}),
    Scene(name="empty", pages={"console": _CONSOLE}),
    Scene(
        name="errors",
        pages={
            "console": _CONSOLE,
            "changed-run": _RUN,
            "unreadable-run": f"/rbkernel/runs/{_BROKEN}",
            "nothing": "/rbkernel/nothing",
        },
    ),
    Scene(name="refused", pages={"run": _RUN}),
)
# by name: width, height if only the first screen is wanted, and whether it is dark
_LOOKS = (
    ("", 1440, 0, False),
    ("-dark", 1440, 0, True),
    ("-phone", 390, 0, False),
    ("-phone-dark", 390, 0, True),
    ("-phone-first", 390, 844, False),
)


def take(browser: Browser, folder: Path) -> None:
    """Take a picture of each page of each scene: wide, as on a phone, and dark."""
    for scene in SCENES:
        with tempfile.TemporaryDirectory() as own, _set(scene, Path(own)) as address:
            for name, page in scene.pages.items():
                for suffix, width, height, dark in _LOOKS:
                    path = folder / f"pages-{scene.name}-{name}{suffix}.png"
                    _picture(browser, address + page, path, width=width, height=height, dark=dark)
        print(f"pages-{scene.name}", flush=True)


def _picture(
    browser: Browser, url: str, path: Path, *, width: int, height: int, dark: bool
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": height or 900}, color_scheme="dark" if dark else "light"
    )
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("html[data-ready=yes]", state="attached")
    page.screenshot(path=path, full_page=not height)
    context.close()


@contextmanager
def _set(scene: Scene, folder: Path) -> Iterator[str]:
    """Have a gateway in the state of a scene."""
    root = folder / "evidence"
    root.mkdir()
    with ExitStack() as kept:
        if scene.name in ("rest", "errors", "refused"):
            page_scenes.at_rest(root)
        if scene.name == "causes":
            _causes(root)
        if scene.name == "live":
            kept.enter_context(page_scenes.live(root))
        if scene.name == "storm":
            store = Store.open(f"sqlite:///{folder / 'store.sqlite'}")
            page_scenes.storm(root, store)
            store.close()
        if scene.name == "errors":
            _damage(root)
        is_open = scene.name != "refused"
        yield kept.enter_context(gateway(folder, root, open_on_loopback=is_open))


def _causes(root: Path) -> None:
    """Have incidents: with 60 alerts, closed, with long names, and without a run."""
    for one in _CAUSES:
        cause_scenes.play(root, one)
    cause_scenes.storm(root, alerts=60)
    resolution: dict[str, Any] = {"resolution": "debezium_old was dropped"}
    incident.append(root, cause_scenes.SLOT.incident, "closed", by="ann", **resolution)
    incident.append(root, _NOTHING, "opened", by="ann", title="Reports are stale", severity="P2")


def _damage(root: Path) -> None:
    """Have a run that was changed after the seal, and one whose journal is no journal."""
    [sealed] = (root / INCIDENT).glob("0001-*")
    for path in (sealed, sealed / "journal.jsonl"):
        path.chmod(0o755)
    journal = sealed / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b"31.5 s", b"0.5 s"))
    broken = Journal(root, _BROKEN)
    broken.raw(b"nonsense\n")
    broken.line("end")
