"""The table of what became of marks: a row a scenario and target, each with its worst outcome."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from made_results import result, speech, summary
from rich.console import Console

from harness.report.dispositions_table import (
    LEGEND,
    TABLE_WIDTH,
    dispositions_markdown,
    dispositions_notes,
    dispositions_table,
)
from harness.scenarios.result import CallResult, Outcome, RunSummary, ScenarioResult


def rows(run: RunSummary) -> list[list[str]]:
    """Of the Markdown, without its headings: scenario, target, calls, marks, ..., verdict."""
    lines = dispositions_markdown(run, ()).splitlines()[2:]
    return [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in lines if line]


def outcomes(*results: ScenarioResult) -> list[tuple[str, str, str]]:
    return [(row[0], row[1], row[-1]) for row in rows(summary(*results))]


def one(outcome: Outcome, scenario: str = "flush", **changes: object) -> ScenarioResult:
    return result(outcome, scenario=scenario, parameters={}, **changes)


def flushed(call: CallResult, *flushes: tuple[int | None, float | None]) -> ScenarioResult:
    return result(calls=(replace(call, flushes=flushes),))


def test_what_fails_as_known_is_not_shown_as_a_pass() -> None:
    assert outcomes(one(Outcome.PASS), one(Outcome.XFAIL, seed=8), one(Outcome.PASS, "burst")) == [
        ("burst", "patched", "PASS"),
        ("flush", "patched", "XFAIL"),
        ("all", "patched", "XFAIL"),
    ]


def test_what_did_not_fail_as_known_is_named() -> None:
    assert outcomes(one(Outcome.XPASS), one(Outcome.XFAIL, seed=8))[0][-1] == "XPASS"


def test_each_target_has_its_rows_and_its_sum(tmp_path: Path) -> None:
    calls = (speech(tmp_path, "patched", [0.5]), speech(tmp_path, "stock", [-9.0, -8.0]))
    found = rows(
        summary(
            one(Outcome.PASS, calls=calls[:1]),
            one(Outcome.PASS, "burst"),
            one(Outcome.XFAIL, target="stock", calls=calls[1:]),
        )
    )
    # scenario, target, marks, early, verdict
    assert [[row[at] for at in (0, 1, 3, 8, -1)] for row in found] == [
        ["burst", "patched", "0", "0", "PASS"],
        ["flush", "patched", "1", "0", "PASS"],
        ["flush", "stock", "2", "2", "XFAIL"],
        ["all", "patched", "1", "0", "PASS"],
        ["all", "stock", "2", "2", "XFAIL"],
    ]


def test_what_was_left_out_has_no_row() -> None:
    found = outcomes(one(Outcome.FAIL), one(Outcome.NOT_RUN, "burst"))
    assert found == [("flush", "patched", "FAIL"), ("all", "patched", "FAIL")]
    assert outcomes(one(Outcome.NOT_RUN)) == []


def test_the_terminal_shows_parameters_and_each_target() -> None:
    shown = Console(file=io.StringIO(), width=TABLE_WIDTH, color_system=None)
    run = summary(result(), result(Outcome.XFAIL, target="container-packaged"))
    shown.print(dispositions_table(run, "What became of the marks"))
    assert isinstance(shown.file, io.StringIO)
    lines = [line.split() for line in shown.file.getvalue().splitlines()]
    ends = [(line[0], line[1], line[-1]) for line in lines if "PASS" in line or "XFAIL" in line]
    assert ends == [
        (result().name, "patched", "PASS"),
        (result().name, "container-packaged", "XFAIL"),
        ("all", "patched", "PASS"),
        ("all", "container-packaged", "XFAIL"),
    ]


def notes(*results: ScenarioResult) -> Sequence[str]:
    first, *others = dispositions_notes(summary(*results))
    assert first == LEGEND
    return others


def test_a_flush_that_was_not_answered_is_no_difference_of_zero(tmp_path: Path) -> None:
    call = speech(tmp_path, "call", [0.5])
    assert notes(flushed(call)) == []
    assert notes(flushed(call, (None, None))) == [
        "1 interruption at random moments, 1 without a correct MEDIA_FLUSHED"
    ]
    assert notes(flushed(call, (None, None), (-160, None), (3, -1.5))) == [
        "3 interruptions at random moments, 1 without a correct MEDIA_FLUSHED: "
        "MEDIA_FLUSHED.played and the bytes on the wire differ by at most 160 bytes, "
        "since_mark_ms by at most 1.500 ms"
    ]


def test_interruptions_are_counted_target_by_target(tmp_path: Path) -> None:
    call = speech(tmp_path, "call", [0.5])
    told = notes(flushed(call, (0, 0.0)), replace(flushed(call, (9, 0.0)), target="lab:a.yaml"))
    assert [note.partition(" interruption")[0] for note in told] == ["patched: 1", "lab:a.yaml: 1"]
