"""The tables and the progress of a run on the terminal."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from made_results import result, speech, summary
from rich.console import Console

from harness.report.run_table import outcome_line, run_progress, run_table, scenario_list
from harness.scenarios.choose import choose_scenarios
from harness.scenarios.result import Outcome, ScenarioResult
from harness.scenarios.run_many import Job
from harness.targets.names import TargetName


def console(width: int = 160, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)


def said(one: Console) -> str:
    assert isinstance(one.file, io.StringIO)
    return one.file.getvalue()


def test_a_row_a_scenario_with_its_numbers_and_its_reason(tmp_path: Path) -> None:
    early = result(
        Outcome.FAIL, failures=("m1 EARLY: acked\n  (more)",), calls=(speech(tmp_path, "c", [-3]),)
    )
    shown = console()
    shown.print(run_table(summary(early, result(Outcome.SKIP, reason="no opus", target="stock"))))
    lines = said(shown).splitlines()
    fail = next(line for line in lines if "FAIL" in line)
    skip = next(line for line in lines if "SKIP" in line)
    assert "text_to_speech[codec=ulaw, format=json]" in fail
    for text in ("patched", "0/1", "-3.00", "2.5"):
        assert text in fail
    for text in ("stock", "-"):
        assert text in skip
    assert "m1 EARLY: acked" in lines[lines.index(fail) + 1]
    assert "no opus" in lines[lines.index(skip) + 1]
    assert "(more)" not in said(shown)


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_fits_a_narrow_terminal(width: int) -> None:
    shown = console(width)
    shown.print(run_table(summary(result(Outcome.INCONCLUSIVE, reason="the host stalled " * 9))))
    assert all(len(line) <= width for line in said(shown).splitlines())
    assert "INCONCLUSIVE" in said(shown)


def test_the_last_line_counts_the_outcomes() -> None:
    line = outcome_line(summary(result(), result(Outcome.XFAIL), result(Outcome.XFAIL)))
    assert line.plain == "PASS  3 scenarios in 61 s: 1 PASS, 2 XFAIL"


def test_what_was_left_out_is_only_counted() -> None:
    run = summary(result(Outcome.FAIL), *[result(Outcome.NOT_RUN, scenario="left_out")] * 2)
    assert outcome_line(run).plain == (
        "FAIL  1 scenarios in 61 s: 1 FAIL; 2 not run (--keep-going runs them)"
    )
    shown = console()
    shown.print(run_table(run))
    assert "left_out" not in said(shown)


def test_scenarios_are_listed_with_why_they_cannot_run() -> None:
    scenarios = choose_scenarios(())
    shown = console(200)
    shown.print(scenario_list([(scenarios[0], ""), (scenarios[-1], "it has no codec opus")]))
    text = said(shown)
    assert scenarios[0].name in text
    assert text.count("not here:") == 1
    assert "not here: it has no codec opus" in text


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_leaves_a_line_for_each_that_is_done(terminal: bool) -> None:
    shown = console(60 if not terminal else 200, terminal)
    scenario = choose_scenarios(())[0]
    with run_progress(shown, 12) as progress:
        progress.started(Job(scenario, TargetName("patched"), 1))
        progress.finished(result(scenario=scenario.name, parameters=dict(scenario.parameters)))
        progress.finished(result(Outcome.FAIL, failures=("m1 EARLY: acked\n (more)",)))
    text = said(shown)
    assert "[ 1/12] PASS" in text
    assert "[ 2/12] FAIL" in text
    assert "m1 EARLY: acked\n" in text
    assert f"    run again: {result().rerun}\n" in text
    if not terminal:
        assert "\x1b" not in text
        assert len(text.splitlines()) == 3


@pytest.mark.parametrize("terminal", [False, True])
def test_whoever_looks_at_a_held_target_is_asked(terminal: bool) -> None:
    asked: list[str] = []

    async def ask(one: ScenarioResult, where: str) -> None:
        asked.append(f"{one.scenario} {where}")

    with run_progress(console(80, terminal), 1, ask) as progress:
        asyncio.run(progress.held(result(), "asterisk -rx"))
    assert asked == ["text_to_speech asterisk -rx"]
