"""The table of a call's marks and the line of their numbers, as a terminal shows them."""

from __future__ import annotations

import random

import pytest
from hand_made import Call, speech_call
from rich.console import Console

from harness.judge.call import JudgedCall, judge_call
from harness.report.mark_table import marks_table, summary_line


def verdict(marks: int, earliest_ms: float = 0.1, latest_ms: float = 0.9) -> JudgedCall:
    dice = random.Random(1)
    offsets = [300 * (number + 1) for number in range(marks)]
    after = [dice.uniform(earliest_ms, latest_ms) for _ in offsets]
    return judge_call(speech_call(offsets, after).timeline(60_000, uncertainty_ns=25_000))


def lines_of(console: Console, renderable: object) -> list[str]:
    with console.capture() as capture:
        console.print(renderable)
    return capture.get().splitlines()


def test_the_table_has_a_row_a_mark_with_its_numbers() -> None:
    shown = lines_of(
        Console(width=140),
        marks_table(judge_call(speech_call([1000], [0.5]).timeline()), "patched", ["hello [b]"]),
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
    table = marks_table(judge_call(call.timeline(123_400)), "nothing played", [said])
    shown = lines_of(Console(width=width), table)
    assert all(len(line) <= width for line in shown)
    heading = ["offset", "audio end s", "ack s", "diff ms", "verdict"]
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
    shown = lines_of(Console(width=80), marks_table(judge_call(call.timeline()), "call"))
    assert next(line for line in shown if "never" in line).split()[-2:] == ["discarded", "PASS"]


def test_the_summary_counts_several_calls_together() -> None:
    (line,) = lines_of(Console(width=200), summary_line([verdict(10), verdict(5, -15, -5)]))
    assert line.startswith("15 marks: 10 pass, 5 early, 0 late, 0 never, 0 twice; acknowledged")
    assert "median +0." in line
