"""Saved calls judged again: what the run's summary says of them counts, and changes show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hand_made import Call, speech_call
from made_results import result, summary

from harness.commands import cli
from harness.commands.command import EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_PASS, EXIT_USAGE
from harness.commands.judge import saved_calls
from harness.errors import InputFault
from harness.judge.call import judge_call
from harness.record.capture_files import save_timeline
from harness.record.verdict_files import VERDICT_FILE, write_call_files
from harness.scenarios.result import (
    SUMMARY_FILE,
    CallResult,
    Outcome,
    ScenarioResult,
    kept_of_call,
    save_summary,
)


def spoken(after_ms: float) -> Call:
    """A call with a mark, answered so long after its audio ended, all counters in order."""
    call = speech_call([1000], [after_ms])
    call.event(
        4000,
        "PLAYBACK received=1000 played=1000 queued=0 flushed=0 dropped=0 played_ms=125.000 "
        "queued_ms=0.000 marks=0 underruns=0 paused=0 at=0 final=1",
    )
    return call


def saved(run: Path, folder: str, after_ms: float = 0.5) -> CallResult:
    """A call of the run, judged and saved."""
    timeline = spoken(after_ms).timeline()
    judged = judge_call(timeline)
    (run / folder).mkdir(parents=True)
    save_timeline(run / folder, timeline)
    write_call_files(run / folder, timeline, judged)
    return kept_of_call(folder, judged)


def change(run: Path, folder: str, after_ms: float) -> None:
    """As if another judge had judged it: another answer in what is judged again."""
    save_timeline(run / folder, spoken(after_ms).timeline())


def known(call: CallResult, outcome: Outcome = Outcome.XFAIL) -> ScenarioResult:
    return result(outcome, reason="it acknowledges on the tick", calls=(call,))


def judged(capsys: pytest.CaptureFixture[str], folder: Path) -> tuple[int, str]:
    code = cli.main(["judge", str(folder)])
    return code, " ".join(capsys.readouterr().out.split())


def test_what_failed_as_it_is_known_to_does_not_fail_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = saved(tmp_path, "stock-1/early", -5.0), saved(tmp_path, "stock-1/good")
    save_summary(tmp_path, summary(known(calls[0]), result(calls=calls[1:])))
    code, said = judged(capsys, tmp_path)
    assert code == EXIT_PASS
    assert "It fails as expected (XFAIL): it acknowledges on the tick" in said
    assert "1 of 2 calls fail as expected (XFAIL)" in said
    assert said.endswith("PASS")
    # Of the call's own folder, too, the run is known.
    assert judged(capsys, tmp_path / "stock-1" / "early")[0] == EXIT_PASS


@pytest.mark.parametrize(
    ("outcome", "after_ms", "code"),
    [
        (Outcome.PASS, 0.5, EXIT_PASS),
        (Outcome.FAIL, -5.0, EXIT_FAIL),
        (Outcome.XPASS, 0.5, EXIT_FAIL),
    ],
)
def test_every_other_outcome_counts_as_it_did_in_the_run(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    outcome: Outcome,
    after_ms: float,
    code: int,
) -> None:
    save_summary(tmp_path, summary(known(saved(tmp_path, "patched/call", after_ms), outcome)))
    assert judged(capsys, tmp_path)[0] == code


@pytest.mark.parametrize(
    ("max_inconclusive", "code"), [(50.0, EXIT_PASS), (5.0, EXIT_INCONCLUSIVE)]
)
def test_what_was_inconclusive_counts_as_it_did_in_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], max_inconclusive: float, code: int
) -> None:
    results = [
        known(saved(tmp_path, f"patched/{outcome.value}"), outcome)
        for outcome in (Outcome.PASS, Outcome.INCONCLUSIVE)
    ]
    save_summary(tmp_path, replace(summary(*results), max_inconclusive=max_inconclusive))
    assert judged(capsys, tmp_path)[0] == code


@pytest.mark.parametrize("outcome", [Outcome.PASS, Outcome.XFAIL, None])
@pytest.mark.parametrize(("before_ms", "after_ms"), [(-5.0, 0.5), (0.5, 0.7), (-5.0, -6.0)])
def test_a_verdict_that_is_not_the_saved_one_fails(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    outcome: Outcome | None,
    before_ms: float,
    after_ms: float,
) -> None:
    """Whether it became better or worse, and with and without a run's summary."""
    call = saved(tmp_path, "patched/call", before_ms)
    if outcome:
        save_summary(tmp_path, summary(known(call, outcome)))
    change(tmp_path, "patched/call", after_ms)
    code, said = judged(capsys, tmp_path)
    assert code == EXIT_FAIL
    assert "The verdict is NOT the one that was saved" in said
    assert "1 of 1 verdicts are NOT the ones that were saved, which fails: the judge or" in said
    assert said.endswith("FAIL")


def test_attempts_that_were_given_up_do_not_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path, "patched/call", -5.0)
    last = saved(tmp_path, "patched/call-again-2")
    save_summary(tmp_path, summary(result(calls=(last,))))
    code, said = judged(capsys, tmp_path)
    assert code == EXIT_PASS
    assert said.count("It does not count: an attempt that was given up") == 1
    assert "1 early" in said
    # The user asks for just this one.
    assert judged(capsys, tmp_path / "patched" / "call")[0] == EXIT_FAIL


def test_a_call_that_no_scenario_was_judged_by_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = saved(tmp_path, "lab-office/call")
    saved(tmp_path, "lab-office/capabilities", -5.0)
    (tmp_path / "lab-office" / "capabilities" / VERDICT_FILE).unlink()
    save_summary(tmp_path, summary(result(calls=(call,))))
    code, said = judged(capsys, tmp_path)
    assert code == EXIT_PASS
    assert "capabilities: no scenario's call, not judged" in said
    assert "1 early" not in said


def test_nothing_that_counts_is_no_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(tmp_path, "patched/call")
    save_summary(tmp_path, summary(result(Outcome.ERROR)))
    assert cli.main(["judge", str(tmp_path)]) == EXIT_USAGE
    assert "none of these calls is in the summary" in " ".join(capsys.readouterr().err.split())


def test_without_a_summary_all_calls_count(tmp_path: Path) -> None:
    saved(tmp_path, "a/one")
    saved(tmp_path, "a/two")
    assert [one.standing for one in saved_calls(tmp_path)] == ["counts", "counts"]


def test_a_summary_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    saved(tmp_path, "patched/call")
    (tmp_path / SUMMARY_FILE).write_text("{")
    with pytest.raises(InputFault, match=r"summary\.json cannot be read"):
        saved_calls(tmp_path)
