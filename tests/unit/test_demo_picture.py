"""The reports of a call: a picture, a table, a text; and a saved call judged again."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hand_made import Call, speech_call
from rich.console import Console

from harness.capture.timeline import Ruler, Timeline
from harness.errors import InputFault
from harness.judge.judge import CallVerdict, judge
from harness.record.capture_files import load_timeline, save_timeline
from harness.record.timeline_text import write_timeline_text
from harness.report.demo_picture import PicturedCall, draw_picture
from harness.report.mark_table import marks_table, summary_line


def timeline(marks: int, earliest_ms: float, latest_ms: float, seed: int = 1) -> Timeline:
    dice = random.Random(seed)
    offsets: list[int] = []
    after: list[float] = []
    for _ in range(marks):
        offsets.append((offsets[-1] if offsets else 0) + dice.randint(50, 700))
        after.append(dice.uniform(earliest_ms, latest_ms))
    return speech_call(offsets, after).timeline(end_ms=60_000, error_ns=25_000)


def verdict(marks: int, earliest_ms: float = 0.1, latest_ms: float = 0.9) -> CallVerdict:
    return judge(timeline(marks, earliest_ms, latest_ms))


def lines_of(console: Console, renderable: object) -> list[str]:
    with console.capture() as capture:
        console.print(renderable)
    return capture.get().splitlines()


def png_size(path: Path) -> tuple[int, int]:
    header = path.read_bytes()[:24]
    assert header.startswith(b"\x89PNG")
    return int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")


def test_two_calls_in_one_picture(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    calls = [PicturedCall("patched", verdict(40)), PicturedCall("stock", verdict(40, -19.6, -0.3))]
    draw_picture(path, calls)
    assert png_size(path) == (1600, 900)


@pytest.mark.parametrize("marks", [1, 300])
def test_one_call_short_or_long(tmp_path: Path, marks: int) -> None:
    draw_picture(tmp_path / "picture.png", [PicturedCall("patched", verdict(marks))])
    assert png_size(tmp_path / "picture.png") == (1600, 900)


def test_a_call_with_nothing_in_it_can_be_drawn(tmp_path: Path) -> None:
    empty = replace(timeline(1, 0, 0), rtp=(), messages=())
    draw_picture(tmp_path / "picture.svg", [PicturedCall("nothing", judge(empty))])
    assert "<svg" in (tmp_path / "picture.svg").read_text()


def test_the_table_has_a_row_a_mark_with_its_numbers() -> None:
    shown = lines_of(
        Console(width=140),
        marks_table(judge(speech_call([1000], [0.5]).timeline()), "patched", ["hello [b]"]),
    )
    row = next(line for line in shown if "m0" in line)
    assert row.split() == ["m0", "hello", "[b]", "1000", "0.1450", "0.1455", "+0.500", "PASS"]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("mark_id", ["m9", "x" * 64])
def test_the_table_fits_the_terminal_and_only_words_are_cut(width: int, mark_id: str) -> None:
    said = "what was said before this mark, at some length, until its end"
    call = Call()
    call.event(0, "MEDIA_START channel:x")
    call.send(123_400, 100_000)
    call.command(123_400, f"MARK id={mark_id}")
    # Listening ends at once: INCONCLUSIVE is the longest verdict.
    table = marks_table(judge(call.timeline(123_400)), "nothing played", [said])
    shown = lines_of(Console(width=width), table)
    assert all(len(line) <= width for line in shown)
    heading = ["offset", "audio end s", "answer s", "diff ms", "verdict"]
    assert shown[1].split() == ["mark", "after", *" ".join(heading).split()]
    (row,) = shown[3:]
    *words, offset, due, answer, difference, verdict = row.split()
    assert (offset, due, answer, difference) == ("100000", "123.4000", "-", "-")
    assert verdict == "INCONCLUSIVE"
    assert "what was" in " ".join(words)


def test_a_discarded_mark_has_no_difference() -> None:
    call = speech_call([1000], [0.5])
    call.json_command(300, command="SET_MEDIA_DIRECTION", direction="in")
    call.command(300, "MARK id=never")
    call.event(300, "MARK_DISCARDED id=never reason=direction")
    shown = lines_of(Console(width=80), marks_table(judge(call.timeline()), "call"))
    assert next(line for line in shown if "never" in line).split()[-2:] == ["discarded", "PASS"]


def test_the_summary_counts_several_calls_together() -> None:
    (line,) = lines_of(Console(width=200), summary_line([verdict(10), verdict(5, -15, -5)]))
    assert line.startswith("15 marks: 10 pass, 5 early, 0 late, 0 never, 0 twice; acknowledged")
    assert "median +0." in line


def test_the_text_has_all_events_in_order_and_tells_where_each_verdict_is(tmp_path: Path) -> None:
    path = tmp_path / "timeline.txt"
    call = timeline(3, 0.5, 0.5)
    numbers = write_timeline_text(path, call, judge(call))
    lines = path.read_text().splitlines()
    times = [float(line.split()[0]) for line in lines]
    assert times == sorted(times)
    assert all(f'mark "m{n}" PASS +0.500 ms' in lines[at - 1] for n, at in enumerate(numbers))
    assert sum(" RTP " in line for line in lines) == len(call.rtp)
    assert any(line.endswith("sequence 100: bytes 0..160") for line in lines)
    assert any(line.endswith("'MARK_PLAYED id=m1'") for line in lines)


def test_a_saved_timeline_is_the_same_when_loaded(tmp_path: Path) -> None:
    call = replace(timeline(5, 0, 1), ruler=Ruler("socket", 700_000, 0))
    save_timeline(tmp_path, call)
    assert load_timeline(tmp_path) == call


@pytest.mark.parametrize("content", [None, "{}", "no json"])
def test_a_folder_without_a_readable_call_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "timeline.json").write_text(content)
    with pytest.raises(InputFault, match="no saved call"):
        load_timeline(tmp_path)
