"""The table of what marks claimed and what was sent: a row a set-up, the targets beside each
other."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from hand_made import FRAME, Call
from made_results import placed, result, speech, summary
from rich.console import Console

from harness.report.wire_table import wire_markdown, wire_table
from harness.scenarios.result import Outcome, RunSummary

NAME = "text_to_speech[codec=ulaw,format=json]"


def run(folder: Path) -> RunSummary:
    """The one target in time; the other early, and with a mark whose audio was not sent."""
    unsent = Call()
    unsent.event(0, "MEDIA_START channel:x")
    unsent.send(1, 20 * FRAME)
    unsent.command(1, "MARK id=a")
    unsent.play(20, 0, 15 * FRAME)
    unsent.event(420.4, "MARK_PLAYED id=a")
    early = speech(folder, "early", [-20.0, -19.0, -10.0])
    stock = replace(result(Outcome.XFAIL), target="stock")
    return summary(
        result(calls=(speech(folder, "right", [0.25, 0.5]),)),
        replace(stock, calls=(early,)),
        replace(stock, seed=8, calls=(placed(folder, "unsent", unsent),)),
    )


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_a_row_has_times_and_bytes_of_all_seeds(tmp_path: Path) -> None:
    headings, line, row, total = map(cells, wire_markdown(run(tmp_path)).splitlines()[:4])
    of_patched = ["2", "+0.25 +0.38 +0.50", "0", "0", "-", "PASS"]
    of_stock = ["4", "-20.00 -19.00 -10.00", "3", "800", "-", "XFAIL"]
    assert row == [NAME, *of_patched, *of_stock]
    assert total == [f"**{cell}**" for cell in ["all", *of_patched, *of_stock]]
    assert len(headings) == len(line) == len(row)
    assert headings[:3] == ["set-up", "patched marks", "patched ms"]


def test_all_is_the_sum_of_its_rows(tmp_path: Path) -> None:
    calls = (speech(tmp_path, "right", [0.25, 0.5]),)
    two = summary(result(calls=calls), result(calls=calls, scenario="other"))
    *_, total, _, _ = wire_markdown(two).splitlines()
    assert cells(total)[:3] == ["**all**", "**4**", "**+0.25 +0.38 +0.50**"]


def test_the_terminal_has_the_same(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=168)
    console.print(wire_table(run(tmp_path)))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert NAME in text
    assert "-20.00 -19.00 -10.00" in text and "800" in text


def test_a_set_up_in_which_nothing_was_timed_has_no_times() -> None:
    other = replace(result(Outcome.ERROR, scenario="other"), target="stock")
    lines = wire_markdown(summary(result(Outcome.ERROR), other)).splitlines()
    assert cells(lines[2])[1:] == [*"------", *"-----", "ERROR"]
    assert cells(lines[3])[1:] == [*"-----", "ERROR", *"------"]
