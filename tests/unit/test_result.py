"""What became of a run: counted, saved and loaded."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hand_made import speech_call
from made_results import placed, result, speech, summary

from harness.errors import InputFault
from harness.judge.verdicts import Bounds
from harness.record.verdict_files import load_call, write_call_files
from harness.scenarios.result import (
    SUMMARY_FILE,
    WORST_FIRST,
    Outcome,
    load_summary,
    save_summary,
)


def test_a_saved_summary_is_the_same_when_loaded(tmp_path: Path) -> None:
    flushed = speech_call([2000, 4000], [0.5, 0.7])
    flushed.command(300, "FLUSH_MEDIA id=f")
    calls = (speech(tmp_path, "a/b", [0.5, -3.0]), placed(tmp_path, "c", flushed))
    run = summary(
        result(calls=calls), result(Outcome.FAIL, failures=("m1 EARLY\n  (\u2026)",), reason="why")
    )
    save_summary(tmp_path, run)
    assert load_summary(tmp_path) == run


def test_a_summary_of_before_left_out_scenarios_were_named_can_be_loaded(tmp_path: Path) -> None:
    save_summary(tmp_path, summary(result()))
    saved = json.loads((tmp_path / SUMMARY_FILE).read_text())
    (tmp_path / SUMMARY_FILE).write_text(json.dumps({**saved, "not_run": 3}))
    assert load_summary(tmp_path) == summary(result())


def test_the_order_of_outcomes_has_all_of_them() -> None:
    assert sorted(WORST_FIRST) == sorted(Outcome)


def test_what_did_not_run_is_not_counted_with_what_did() -> None:
    run = summary(result(Outcome.FAIL), result(Outcome.NOT_RUN), result(Outcome.NOT_RUN))
    assert (len(run.ran), run.not_run) == (1, 2)


@pytest.mark.parametrize("content", [None, "no json", "{}", '{"results": [{}]}', "[]"])
def test_a_folder_without_a_readable_run_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / SUMMARY_FILE).write_text(content)
    with pytest.raises(InputFault, match=r"summary\.json cannot be read"):
        load_summary(tmp_path)


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([], Outcome.SKIP),
        ([Outcome.SKIP], Outcome.SKIP),
        ([Outcome.SKIP, Outcome.PASS], Outcome.PASS),
        ([Outcome.XFAIL], Outcome.PASS),
        ([Outcome.PASS, Outcome.INCONCLUSIVE], Outcome.INCONCLUSIVE),
        ([Outcome.INCONCLUSIVE, Outcome.FAIL], Outcome.FAIL),
        ([Outcome.PASS, Outcome.XPASS], Outcome.FAIL),
        ([Outcome.FAIL, Outcome.ERROR], Outcome.ERROR),
        ([Outcome.FAIL, Outcome.NOT_RUN], Outcome.FAIL),
    ],
)
def test_the_worst_result_is_that_of_the_run(outcomes: list[Outcome], expected: Outcome) -> None:
    assert summary(*(result(outcome) for outcome in outcomes)).outcome is expected


def test_what_is_kept_of_a_call(tmp_path: Path) -> None:
    call = placed(tmp_path, "call", speech_call([500, 1000], [0.5, -3.0]), Bounds(late_ns=5))
    assert call.verdict == "FAIL"
    assert call.counts == {"EARLY": 1, "LATE": 1}
    assert call.differences_ns == (500_000, -3_000_000)
    assert (call.packets, call.missing_packets, call.source) == (7, 0, "capture")
    assert (call.uncertainty_ns, call.late_ns) == (25_000, 5)


def test_what_is_kept_of_flushes_has_no_number_where_none_was_told(tmp_path: Path) -> None:
    call = speech_call([2000, 4000], [0.5, 0.7])
    call.command(910, "FLUSH_MEDIA id=never")
    call.command(911, "FLUSH_MEDIA id=told")
    call.event(
        912,
        "MEDIA_FLUSHED id=told played=4000 flushed=0 played_ms=500.000 flushed_ms=0.000 "
        "last_mark=m2 since_mark_ms=0.000",
    )
    call.event(913, "MEDIA_FLUSHED id=unasked played=9 flushed=0")
    assert placed(tmp_path, "call", call).flushes == ((None, None), (0, 0.0))


def test_a_judged_call_is_the_same_when_its_files_are_loaded(tmp_path: Path) -> None:
    call = speech_call([500, 1300], [0.5, 0.7])
    call.json_command(5, command="MARK", id=7)
    call.command(6, "FLUSH_MEDIA")
    call.play(500, 500, 700, late_ms={1: 3.0})
    placed(tmp_path, "call", call)
    saved = load_call(tmp_path / "call")
    again = tmp_path / "again"
    again.mkdir()
    timeline = call.timeline(60_000, uncertainty_ns=25_000)
    write_call_files(again, timeline, saved.judged)
    for name in ("verdict.json", "packets.jsonl", "timeline.txt", "ws.jsonl"):
        assert (again / name).read_bytes() == (tmp_path / "call" / name).read_bytes()
    assert [message.time_ns for message in saved.messages] == [
        message.time_ns for message in timeline.messages
    ]
    assert (saved.judged.ptime_ms, saved.judged.end_ns) == (20, timeline.end_ns)


def test_a_folder_without_a_judged_call_is_refused(tmp_path: Path) -> None:
    speech(tmp_path, "call", [0.5])
    (tmp_path / "call" / "packets.jsonl").unlink()
    with pytest.raises(InputFault, match="no judged call"):
        load_call(tmp_path / "call")


def test_the_summary_is_plain_values(tmp_path: Path) -> None:
    run = summary(result(calls=(speech(tmp_path, "call", [0.5]),)))
    save_summary(tmp_path, run)
    saved = json.loads((tmp_path / SUMMARY_FILE).read_text())
    assert saved == json.loads(json.dumps(asdict(run)))
    assert saved["results"][0]["outcome"] == "PASS"


def several(
    outcomes: str, max_inconclusive: float = 5.0, codecs: Sequence[str] = ("ulaw",)
) -> Outcome:
    """The outcome of a run of one scenario: P(ASS), X(FAIL), I(NCONCLUSIVE), F(AIL), S(KIP)."""
    names = {"P": Outcome.PASS, "X": Outcome.XFAIL, "I": Outcome.INCONCLUSIVE, "F": Outcome.FAIL}
    results = [
        result(names.get(letter, Outcome.SKIP), parameters={"codec": codec})
        for letter, codec in zip(outcomes, itertools.cycle(codecs), strict=False)
    ]
    return replace(summary(*results), max_inconclusive=max_inconclusive).outcome


@pytest.mark.parametrize(
    ("outcomes", "max_inconclusive", "expected"),
    [
        ("P" * 19 + "I", 5.0, Outcome.PASS),
        ("P" * 18 + "I", 5.0, Outcome.INCONCLUSIVE),
        ("P" * 9 + "X" * 10 + "I", 5.0, Outcome.PASS),
        # What did not run proves nothing.
        ("P" * 18 + "S" * 20 + "I", 5.0, Outcome.INCONCLUSIVE),
        ("P" * 99 + "I", 0.0, Outcome.INCONCLUSIVE),
        ("PI", 50.0, Outcome.PASS),
        ("PII", 50.0, Outcome.INCONCLUSIVE),
        ("I", 100.0, Outcome.INCONCLUSIVE),
        ("P" * 98 + "IF", 5.0, Outcome.FAIL),
    ],
)
def test_a_run_passes_with_few_scenarios_that_could_not_be_judged(
    outcomes: str, max_inconclusive: float, expected: Outcome
) -> None:
    assert several(outcomes, max_inconclusive) is expected


def test_not_with_one_of_which_nothing_was_judged() -> None:
    seen = [result(seed=seed) for seed in range(99)]
    unseen = Outcome.INCONCLUSIVE

    def outcome(**changes: object) -> Outcome:
        run = summary(*seen, result(unseen, **changes))
        return replace(run, max_inconclusive=5.0).outcome

    assert outcome() is Outcome.PASS
    assert outcome(scenario="hang_up") is unseen
    assert outcome(target="stock") is unseen
    assert outcome(parameters={"codec": "alaw", "format": "json"}) is unseen
    assert several("PPI" + "P" * 97, codecs=("ulaw", "alaw", "slin")) is Outcome.PASS
    assert several("PPI" + "PPS" * 32, codecs=("ulaw", "alaw", "slin")) is unseen
