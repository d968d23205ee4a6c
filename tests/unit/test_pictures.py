"""Pictures of every kind: legible, within their frame, honest, whatever the rows hold."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import pandas as pd
import pytest

from rbkernel.redact.values import Redactor
from rbkernel.render import figure
from rbkernel.render.documents.blocks import Image, Reader
from rbkernel.render.documents.svg import clean_svg
from rbkernel.render.figures import lines, palette, shapes
from rbkernel.render.figures.palette import COLOURS, GROUNDS
from tests.support.figure_scenes import (
    AT,
    HEBREW,
    LONG,
    MARKUP,
    SCENES,
    asked,
    bars,
    lag,
    odd_bars,
    waits,
)
from tests.unit.test_page_colours import colours, contrast

_SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    """The texts of a picture, as a reader sees them."""
    return ["".join(one.itertext()) for one in ET.fromstring(svg).iter(f"{_SVG}text")]


def ends(element: ET.Element) -> tuple[float, float]:
    """Where a text begins and ends, in px, by the estimate of `shapes.width_of`."""
    at = float(element.get("x", ""))
    width = shapes.width_of(element.text or "", int(element.get("font-size", shapes.NORMAL)))
    width *= 1.1 if element.get("font-weight") else 1
    left = {"end": at - width, "middle": at - width / 2}.get(element.get("text-anchor", ""), at)
    return left, left + width


@pytest.mark.parametrize("name", SCENES)
def test_a_picture_is_sound_and_nothing_leaves_its_frame(name: str) -> None:
    svg = SCENES[name]()
    root = ET.fromstring(svg)
    title, words = root.find(f"{_SVG}title"), root.find(f"{_SVG}desc")
    assert title is not None
    assert words is not None
    assert title.text
    assert words.text
    assert not re.search(r'="[^"]*\b(?:nan|inf)\b', svg)
    height = float(root.get("height", ""))
    assert height <= 1300
    for element in root.iter(f"{_SVG}text"):
        left, right = ends(element)
        assert 0 <= left < right <= shapes.WIDTH + 4, element.text
        assert 0 < float(element.get("y", "")) < height, element.text


@pytest.mark.parametrize("name", SCENES)
def test_a_report_keeps_a_picture_with_its_dark_colours(name: str) -> None:
    clean = clean_svg(SCENES[name]())
    assert clean
    assert "prefers-color-scheme:dark" in clean
    assert texts(clean) == texts(SCENES[name]())


def test_a_report_keeps_no_other_style_sheet() -> None:
    svg = SCENES["bars"]()
    changed = svg.replace("</style>", "@import url(//x)</style>")
    assert "import" not in (clean_svg(changed) or "import")
    assert "<style" not in (clean_svg(changed) or "<style")


@pytest.mark.parametrize("dark", [False, True])
def test_every_colour_is_visible_and_text_is_legible(dark: bool) -> None:
    shown = {name: pair[dark] for name, pair in COLOURS.items()}
    for ground in ("paper", "shade"):
        for name in COLOURS.keys() - {*GROUNDS}:
            assert contrast(shown[name], shown[ground]) >= 3, (name, ground)
        for name in ("ink", "faint", "critical", "open"):
            assert contrast(shown[name], shown[ground]) >= 4.5, (name, ground)


@pytest.mark.parametrize("dark", [False, True])
def test_states_have_the_colours_of_the_pages(dark: bool) -> None:
    page = colours(dark=dark)
    for state in ("ok", "warning", "critical", "unknown", "open"):
        assert COLOURS[state][dark] == page[f"{state}-edge"]
    for name in ("ink", "faint", "paper", "shade", "edge"):
        assert COLOURS[name][dark] == page[name]


def test_texts_use_only_colours_that_are_legible() -> None:
    for name, draw in SCENES.items():
        used = set(re.findall(r'<text [^>]*class="f-([a-z0-9-]+)"', draw()))
        assert used <= {"ink", "faint", "critical", "open"}, name


def series(count: int, samples: int = 2) -> pd.DataFrame:
    """Lines that end at their number; the last has the largest values."""
    rows = [
        {"name": f"q{n}", "at": AT + pd.Timedelta(minutes=t), "v": n, "parent": "0"}
        for n in range(count)
        for t in range(samples)
    ]
    return pd.DataFrame(rows, columns=["name", "at", "v", "parent"])


def many_lines(count: int) -> str:
    return figure.timeline(series(count), "v", x="at", by="name", title="T").svg


def many_bars(count: int) -> str:
    return figure.bars(series(count), "v", "name", title="T").svg


def many_marks(count: int) -> str:
    return figure.strip(series(count), "v", by="name", title="T").svg


def many_servers(count: int) -> str:
    frame = lag(count) if count else lag(1).head(0)
    return figure.topology(frame).svg


@pytest.mark.parametrize("draw", [many_lines, many_bars, many_marks, many_servers])
def test_twelve_are_drawn_and_the_rest_is_named(draw: Callable[[int], str]) -> None:
    assert any("nothing to draw: no rows" in one for one in texts(draw(0)))
    for count, left in ((1, 0), (30, 18), (3000, 2988)):
        shown = texts(draw(count))
        assert sum(bool(re.fullmatch(r"(?:q|replica-)\d+", one)) for one in shown) == count - left
        said = [one for one in shown if one.startswith(f"and {left:,} more: ")]
        assert len(said) == bool(left)


def test_a_chain_is_whole_or_folded_and_each_session_is_counted() -> None:
    def drawn(count: int) -> list[str]:
        columns = {"parent": "blocked_by", "label": "application", "by": "state"}
        return texts(figure.tree(waits(count), "pid", **columns).svg)

    assert any("nothing to draw" in one for one in drawn(0))
    for count in (1, 6, 16):
        heads = [one for one in drawn(count) if re.match(r"(?:root: )?47\d\d ", one)]
        assert len(heads) == count
    for count in (30, 300, 3000):
        shown = drawn(count)
        assert f" {count - 1:,} wait behind 4711 migrate" in " ".join(shown[:2])
        heads = [one for one in shown if re.match(r"(?:root: )?\d{4} shop|root: ", one)]
        folded = [int(one[1].replace(",", "")) for line in shown
                  if (one := re.match(r"and ([\d,]+) more", line))]  # fmt: skip
        assert len(heads) <= 20
        assert len(heads) + sum(folded) == count


def test_a_deadlock_is_marked_as_one() -> None:
    frame = pd.DataFrame({"pid": [1, 2], "of": ["2", "1"], "app": ["a", "b"], "state": ["x", "x"]})
    drawn = figure.tree(frame, "pid", parent="of", label="app", by="state")
    assert "deadlock: 1 a" in texts(drawn.svg)
    assert drawn.caption.endswith("at the root none (a cycle)")


def test_names_are_shown_as_they_are_and_cut() -> None:
    shown = texts(figure.bars(odd_bars(), "n", "name", title="Odd").svg)
    assert {HEBREW, MARKUP} <= {*shown}
    [long] = [one for one in shown if one.startswith("pg_catalog")]
    assert long.endswith("…")
    assert len(long) < len(LONG)


def test_differences_say_which_columns_differ() -> None:
    shown = texts(SCENES["differences"]())
    assert {"changed", "missing", "a differs in 2; b differs in 1"} <= {*shown}


def test_values_below_zero_begin_at_zero() -> None:
    frame = pd.DataFrame({"name": ["up", "down"], "n": [10.0, -10.0]})
    drawn = ET.fromstring(figure.bars(frame, "n", "name").svg)
    up, down = [one for one in drawn.iter(f"{_SVG}rect") if one.get("class") == "f-series-0"]
    assert float(up.get("x", "")) == pytest.approx(
        float(down.get("x", "")) + float(down.get("width", "")) + 1, abs=1
    )


class TestReplay:
    """The title says since when replay stands still, and only if the samples show it."""

    def test_it_stands_still(self) -> None:
        drawn = figure.of(lag())
        title = "Replay on replica-1 stands still since 03:01:33 UTC and is 29 s behind"
        assert f"<title>{title}</title>" in drawn.svg
        shown = " ".join(texts(drawn.svg))
        assert title in shown
        assert {"critical 15 s", "stands still since 03:01:33"} <= {*texts(drawn.svg)}

    def test_it_moves(self) -> None:
        frame = lag(samples=3)
        frame["replay_lag_s"] = [31.0, 31.0, 31.0]
        assert ": replica-1 31 s, above critical 15 s</title>" in figure.of(frame).svg
        assert "stands still" not in figure.of(frame).svg

    def test_a_standby_that_has_not_reported_may_have_replayed_more(self) -> None:
        frame = lag()
        frame["reply_age_s"] = [7.0, 8.0, 9.0]
        assert "stands still" not in figure.of(frame).svg

    def test_within_the_limits_nothing_is_said(self) -> None:
        frame = lag(begin_s=0)
        frame.attrs["limits"] = {"replay_lag_s": (60.0, 600.0)}
        assert "stands still" not in figure.of(frame).svg

    @pytest.mark.parametrize("paused", [[False] * 3, [True, True, None], [True] * 3])
    def test_the_age_of_a_commit_grows_during_a_long_transaction(self, paused: list[Any]) -> None:
        frame = lag().rename(columns={"replay_lag_s": "stalled_s"}).assign(paused=paused)
        shown = figure.timeline(frame, "stalled_s", by="standby", critical=15, unit="s").svg
        assert ("stands still" in shown) == all(paused)

    def test_without_the_age_of_the_report_nothing_is_said(self) -> None:
        assert "stands still" not in figure.of(lag().drop(columns="reply_age_s")).svg

    def test_it_moved_at_the_end_of_a_long_time(self) -> None:
        frame = lag(samples=60)
        frame.loc[frame.index[-1], "replay_lag_s"] -= 5
        assert "stands still" not in figure.of(frame).svg

    def test_a_pause_of_days_has_its_date(self) -> None:
        assert re.search(r"since \d{4}-\d\d-\d\d \d\d:", figure.of(lag(begin_s=200_000)).svg)


def test_a_last_value_that_is_missing_is_unknown() -> None:
    frame = lag(samples=3).drop(columns="reply_age_s")
    frame["replay_lag_s"] = [0.0, None, None]
    shown = figure.of(frame).svg
    assert ": unknown</title>" in shown
    assert 'f-ok"' not in shown


def test_a_series_without_values_is_named_in_the_title_and_drawn() -> None:
    frame = lag(series=13).drop(columns="reply_age_s")
    frame.loc[frame["standby"] == "replica-13", "replay_lag_s"] = None
    drawn = figure.of(frame)
    assert "1 of 12 unknown</title>" in drawn.svg
    assert "replica-13" in texts(drawn.svg)


def test_the_smallest_bar_is_named_where_small_is_bad() -> None:
    frame = asked(
        pd.DataFrame({"relation": ["events", "orders"], "left_s": [7_776_000.0, 7200.0]}),
        "storage/partitions",
    )
    assert re.search(r": orders 2 h[^<]*</title>", figure.of(frame).svg)


@pytest.mark.parametrize("name", ["lag-brief", "lag-near", "lines-point", "bars", "slots"])
def test_no_line_of_a_threshold_crosses_a_text(name: str) -> None:
    elements = list(ET.fromstring(SCENES[name]()))
    upright = re.compile(r"M([\d.]+) ([\d.]+)L\1 ([\d.]+)")
    crossed = 0
    for at, line in enumerate(elements):
        found = upright.fullmatch(line.get("d", ""))
        if found is None or not line.get("stroke-dasharray"):
            continue
        x, top, bottom = map(float, found.groups())
        for place, one in enumerate(elements):
            if one.tag != f"{_SVG}text" or not top < float(one.get("y", "")) < bottom:
                continue
            left, right = ends(one)
            if left < x < right:
                crossed += 1
                # the ground of the text is drawn after the line
                assert place > at + 1, one.text
                assert elements[place - 1].get("class") == "f-paper", one.text
    assert crossed or name != "lag-near"


def test_samples_of_a_few_seconds_are_bars_with_the_colour_of_their_state() -> None:
    frame = pd.DataFrame({"v": [1.0, 20.0], "at": [AT, AT + pd.Timedelta(seconds=2)]})
    drawn = figure.timeline(frame, "v", x="at", warn=2, critical=15, unit="s", title="Lag").svg
    assert {"20 s", "warning 2 s", "critical 15 s", "1 s before, 2 s earlier"} <= {*texts(drawn)}
    assert re.search(r'<rect [^>]*height="16"[^>]*class="f-critical"', drawn)


def test_a_gap_is_a_gap() -> None:
    at = [AT + pd.Timedelta(minutes=9 * n) for n in range(5)]
    frame = pd.DataFrame({"v": [1.0, 2.0, None, 4.0, 5.0], "at": at})
    drawn = figure.timeline(frame, "v", x="at").svg
    assert len(re.findall(r'<path [^>]*class="s-series-0"', drawn)) == 2


def test_the_limit_of_slots_follows_from_their_share() -> None:
    drawn = SCENES["slots"]()
    assert {"limit 4 GB", "unreserved", "extended", "reserved"} <= {*texts(drawn)}
    assert re.search(r'<rect [^>]*class="f-critical"><title>old_standby unreserved: ', drawn)


def test_a_receiver_that_is_not_connected_is_critical_and_no_lag_is_unknown() -> None:
    frame = lag(2)
    frame.loc[frame["standby"].eq("replica-2"), ["connected", "replay_lag_s"]] = [False, None]
    shown = texts(figure.topology(frame).svg)
    assert "critical: not connected, async" in shown
    assert "lag unknown" in shown


def test_two_receivers_of_one_name_are_both_drawn() -> None:
    frame = lag(series=2, samples=2).assign(standby="16/main")
    drawn = figure.topology(frame)
    assert {"16/main", "16/main (2)"} <= {*texts(drawn.svg)}
    assert "is 28 s behind</title>" in drawn.svg


def test_the_worse_of_two_standbys_of_one_name_is_not_hidden() -> None:
    frame = lag(series=2).sort_values(["sampled_at", "replay_lag_s"], ascending=[True, False])
    frame = frame.assign(standby="16/main", reply_age_s=9.0).set_index(pd.Index([0] * 6))
    assert ": 16/main 29 s, above critical 15 s</title>" in figure.of(frame).svg


def test_a_value_that_is_unknown_has_no_severity() -> None:
    levels = [lines.Threshold(value=2, word="warning"), lines.Threshold(value=9, word="critical")]
    assert lines.judged(float("nan"), levels) == ""
    assert palette.of_parts(["unknown", "lost"]) == {"unknown": "unknown", "lost": "critical"}


class TestBundle:
    def test_a_report_shows_the_picture_and_not_plotly(self) -> None:
        drawn = figure.of(lag())
        data = drawn._repr_mimebundle_()
        assert {*data} == {
            "image/svg+xml", "text/plain", "application/vnd.plotly.v1+json",
        }  # fmt: skip
        [block] = Reader().blocks([{"output_type": "display_data", "data": data}], {})
        assert isinstance(block, Image)
        assert (block.mimetype, block.text) == ("image/svg+xml", drawn.caption)

    def test_a_picture_without_an_interactive_form_is_an_image_in_html(self) -> None:
        frame = waits(3)
        drawn = figure.tree(frame, "pid", parent="blocked_by", label="application", by="state")
        data = drawn._repr_mimebundle_()
        assert data["text/html"].startswith('<img src="data:image/svg+xml;base64,')
        assert 'alt="Who waits for whom: 3 sessions, at the root 4711"' in data["text/html"]

    def test_secrets_are_found_in_every_form(self) -> None:
        redactor = Redactor()
        redactor.learn("password", "t0p-s3cret-w0rd")
        frame = waits(2).assign(query="SELECT 't0p-s3cret-w0rd'")
        drawn = figure.tree(frame, "pid", parent="blocked_by", label="application", by="state")
        clean = redactor.value(drawn._repr_mimebundle_())
        assert "t0p-s3cret-w0rd" not in str(clean)
        assert clean["text/html"] != drawn._repr_mimebundle_()["text/html"]


def test_plotly_draws_the_same_values() -> None:
    made = figure.timeline(series(3), "v", x="at", by="name", warn=1, critical=2, unit="s").figure
    assert [(one.name, list(one.y)) for one in made.data] == [(f"q{n}", [n, n]) for n in range(3)]
    assert [one.y0 for one in made.layout.shapes] == [1, 2]
    assert [one.text for one in made.layout.annotations] == ["warning 1 s", "critical 2 s"]
    assert len(figure.bars(bars(30), "sessions", "application", by="state").figure.data) == 3
