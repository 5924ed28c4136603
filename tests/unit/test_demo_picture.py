"""The demonstration's picture: one SVG file that any viewer can show, true to the calls."""

from __future__ import annotations

import random
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hand_made import Call, speech_call
from made_results import placed

from harness.record.verdict_files import load_call
from harness.report.demo_picture import PicturedCall, write_demo_picture

SVG = "{http://www.w3.org/2000/svg}"
PIXELS_PER_MS = 5.0


def speech(marks: int, earliest_ms: float = 0.1, latest_ms: float = 0.9) -> Call:
    dice = random.Random(1)
    offsets: list[int] = []
    for _ in range(marks):
        offsets.append((offsets[-1] if offsets else 0) + dice.randint(50, 700))
    return speech_call(offsets, [dice.uniform(earliest_ms, latest_ms) for _ in offsets])


def pictured(run: Path, name: str, call: Call) -> PicturedCall:
    placed(run, name, call)
    return PicturedCall(name, load_call(run / name))


def drawn(run: Path, *calls: PicturedCall, title: str = "Two calls") -> ET.Element:
    write_demo_picture(run / "picture.svg", title, calls)
    return ET.parse(run / "picture.svg").getroot()


def texts(picture: ET.Element) -> list[str]:
    return [one.text or "" for one in picture.iter(f"{SVG}text")]


def starts(picture: ET.Element, kind: str) -> list[float]:
    """Where the paths of that class in the close-ups begin, in pixels."""
    return [
        float(x)
        for group in picture.iter(f"{SVG}svg")
        for path in group.iter(f"{SVG}path")
        if path.get("class") == kind and group is not picture
        for x in re.findall(r"M(-?[\d.]+) ", path.get("d", ""))
    ]


def test_two_calls_in_one_picture(tmp_path: Path) -> None:
    picture = drawn(
        tmp_path,
        pictured(tmp_path, "patched", speech_call([400, 1200], [0.5, 0.25])),
        pictured(tmp_path, "stock", speech_call([400, 1200], [-3.0, -12.5])),
    )
    said = texts(picture)
    assert "patched: MARK m1 is acknowledged 0.25 ms after the end of its audio" in said
    assert "stock: MARK m1 is acknowledged 12.50 ms before the end of its audio" in said
    assert [text for text in said if text in ("patched", "stock")] == ["patched", "stock"]
    assert "acknowledged \u2212 end of audio, ms" in said
    # 1200 bytes are 150 ms, played from 20 ms on: the axis is about that, in both calls.
    assert sum("0.170 s into the call" in text for text in said) == 2
    assert "960..1120" in said
    (begin, *_), (begin_of_stock, *_) = (
        [float(value) for value in one.get("viewBox", "").split()]
        for one in picture.iter(f"{SVG}svg")
        if one.get("viewBox") and one is not picture
    )
    assert begin == begin_of_stock == (170 - 100) * PIXELS_PER_MS
    due = starts(picture, "due")
    assert due == [70 * PIXELS_PER_MS, 170 * PIXELS_PER_MS] * 2
    good, bad = starts(picture, "dot good"), starts(picture, "dot bad")
    assert good == pytest.approx([70.5 * PIXELS_PER_MS, 170.25 * PIXELS_PER_MS])
    assert bad == pytest.approx([67 * PIXELS_PER_MS, 157.5 * PIXELS_PER_MS])


@pytest.mark.parametrize("marks", [1, 300])
def test_one_call_short_or_long(tmp_path: Path, marks: int) -> None:
    picture = drawn(tmp_path, pictured(tmp_path, "patched", speech(marks)))
    assert len([text for text in texts(picture) if text.startswith("patched: MARK m")]) == 1
    # As large as its view box says, so that it is shown unscaled.
    box = picture.get("viewBox", "").split()
    assert (box[2], box[3]) == (picture.get("width"), picture.get("height"))
    assert (tmp_path / "picture.svg").stat().st_size < 400_000


def test_a_call_with_nothing_in_it_can_be_drawn(tmp_path: Path) -> None:
    silent = speech_call([160], [0.5])
    silent.packets.clear()
    call = pictured(tmp_path, "nothing", silent)
    empty = replace(call.call, messages=(), judged=replace(call.call.judged, marks=()))
    picture = drawn(tmp_path, PicturedCall("nothing", empty))
    assert "nothing: no mark" in texts(picture)
    assert "No mark was acknowledged as played." in texts(picture)


def test_a_mark_without_an_acknowledgement_is_drawn(tmp_path: Path) -> None:
    call = Call()
    call.send(1, 160)
    call.command(1, "MARK id=never")
    call.play(20, 0, 160)
    picture = drawn(tmp_path, pictured(tmp_path, "patched", call))
    assert "patched: MARK never was not acknowledged" in texts(picture)
    assert starts(picture, "due") == [39 * PIXELS_PER_MS]  # since the first event
    assert not starts(picture, "dot bad")


def test_a_mark_that_could_be_judged_is_shown_where_there_is_one(tmp_path: Path) -> None:
    def stalled(name: str, *after_ms: float) -> PicturedCall:
        call = speech_call([400, 1200], after_ms)
        placed(tmp_path, name, call, stalls_ms=[(169, 190)])
        return PicturedCall(name, load_call(tmp_path / name))

    # The second mark's audio ends at 170 ms, in a host stall.
    both = drawn(tmp_path, stalled("both", 0.5, 15.0))
    assert "both: MARK m0 is acknowledged 0.50 ms after the end of its audio" in texts(both)
    call = stalled("one", 0.5, 15.0)
    only = replace(call.call, judged=replace(call.call.judged, marks=call.call.judged.marks[1:]))
    assert (
        "one: MARK m1 is acknowledged 15.00 ms after the end of its audio (inconclusive)"
        in texts(drawn(tmp_path, PicturedCall("one", only)))
    )


def test_it_loads_nothing_and_needs_no_variables(tmp_path: Path) -> None:
    drawn(tmp_path, pictured(tmp_path, "patched", speech(5)))
    text = (tmp_path / "picture.svg").read_text()
    assert "var(" not in text
    assert "url(" not in text
    assert "@import" not in text
    assert "href" not in text
    assert re.findall(r"https?://[^\"]*", text) == ["http://www.w3.org/2000/svg"]  # its namespace
    assert ".good { color: #1a7d48; }" in text


def test_nothing_that_was_measured_can_be_markup(tmp_path: Path) -> None:
    evil = "</svg><script>alert(1)</script>"
    call = speech_call([160], [0.5])
    call.json_command(2, command="MARK", id=evil)
    call.json_event(90, event="MARK_PLAYED", id=evil)
    picture = drawn(tmp_path, pictured(tmp_path, "x", call), title=evil)
    assert not list(picture.iter(f"{SVG}script"))
    assert evil in texts(picture)


def test_texts_of_a_row_do_not_overlap(tmp_path: Path) -> None:
    picture = drawn(tmp_path, pictured(tmp_path, "patched", speech(60)))
    rows: dict[str, list[tuple[float, float]]] = {}
    for one in picture.iter(f"{SVG}text"):
        if one.get("class") in ("label", "frame"):
            begin = float(one.get("x", ""))
            end = begin + 6.2 * len(one.text or "")
            rows.setdefault(f"{one.get('class')} {one.get('y')}", []).append((begin, end))
    assert len(rows) >= 2
    for spans in rows.values():
        assert all(a[1] <= b[0] for a, b in pairwise(sorted(spans)))
