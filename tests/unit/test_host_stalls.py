"""The notes of stalled moments, and what the judge makes of them."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from hand_made import Call, speech_call
from test_judge import one_mark
from test_network_impairment import children

from harness.capture.host_stalls import HostStallWatch, watch_host_stalls
from harness.judge.call import judge_call


def verdict_of(call: Call, stalls_ms: list[tuple[float, float]]) -> tuple[str, str]:
    (mark,) = judge_call(call.timeline(stalls_ms=stalls_ms)).marks
    return mark.verdict.value, mark.explanation


@pytest.mark.parametrize(
    ("stalls_ms", "verdict", "why"),
    [
        ([(145.5, 149.0)], "INCONCLUSIVE", "the host stalled for 3.5 ms of these"),
        # 5 ms late: 3 must be explained, for 2 are allowed.
        ([(140.0, 148.1)], "INCONCLUSIVE", "the host stalled for 3.1 ms of these"),
        ([(145.1, 146.5), (147.0, 148.4), (148.5, 149.0)], "INCONCLUSIVE", "the host stalled"),
        # Both processors at the same time: it is the same time only once.
        ([(145.1, 146.5), (145.2, 146.6)], "LATE", ""),
        # One of half the length, at another time: Asterisk can have met one that nobody saw.
        ([(10.0, 11.5)], "INCONCLUSIVE", "kept others waiting, too, for up to 1.5 ms"),
        ([(10.0, 11.4), (20.0, 21.4)], "LATE", ""),
        ([], "LATE", ""),
    ],
)
def test_a_late_answer_is_excused_by_what_the_host_did_in_that_call(
    stalls_ms: list[tuple[float, float]], verdict: str, why: str
) -> None:
    found, explanation = verdict_of(one_mark(150.0), stalls_ms)
    assert found == verdict
    assert why in explanation


@pytest.mark.parametrize(
    ("late", "of", "stalls", "verdict"),
    [
        (10, 10, 10, "LATE"),
        (6, 10, 6, "LATE"),
        # Half of them can be chance on a busy host, but then more is seen of it.
        (5, 10, 5, "INCONCLUSIVE"),
        (5, 10, 4, "LATE"),
        (20, 40, 1, "LATE"),
        # So can all of a few.
        (4, 4, 1, "INCONCLUSIVE"),
        (4, 4, 0, "LATE"),
    ],
)
def test_what_is_late_in_most_of_a_calls_moments_is_not_late_by_chance(
    late: int, of: int, stalls: int, verdict: str
) -> None:
    after_ms = [5.0 if number < late else 0.5 for number in range(of)]
    call = speech_call([160 * number + 100 for number in range(of)], after_ms)
    # Not while anything is due, and some that are too short to count
    stalls_ms = [(2000.0 + 10 * number, 2003.0 + 10 * number) for number in range(stalls)]
    stalls_ms += [(3000.0 + 10 * number, 3000.9 + 10 * number) for number in range(50)]
    marks = judge_call(call.timeline(stalls_ms=stalls_ms)).marks
    assert [mark.verdict.value for mark in marks] == [verdict] * late + ["PASS"] * (of - late)


def test_one_long_stall_can_make_the_marks_of_many_frames_late() -> None:
    # All that is due within 200 ms is answered at the end of them.
    late = [140.0 - 20 * number for number in range(7)]
    call = speech_call([160 * number + 100 for number in range(30)], late + [0.5] * 23)
    marks = judge_call(call.timeline(stalls_ms=[(2000.0, 2100.0)])).marks
    assert [mark.verdict.value for mark in marks] == ["INCONCLUSIVE"] * 7 + ["PASS"] * 23


def test_many_marks_of_one_moment_can_all_be_late_by_chance() -> None:
    call = speech_call([100 + number for number in range(20)], [5.0] * 20)
    assert {
        mark.verdict.value for mark in judge_call(call.timeline(stalls_ms=[(1.0, 4.0)])).marks
    } == {"INCONCLUSIVE"}


@pytest.mark.parametrize(
    ("stalls_ms", "verdict"),
    [
        # Audio ends at 145 ms. What can hold back the packets around measures nothing ...
        ([(120.0, 135.0)], "INCONCLUSIVE"),
        # ... but not a slip, nor a stall that was over before.
        ([(130.0, 139.0)], "EARLY"),
        ([(50.0, 100.0)], "EARLY"),
        ([], "EARLY"),
    ],
)
def test_only_a_long_stall_at_its_packet_makes_an_early_answer_inconclusive(
    stalls_ms: list[tuple[float, float]], verdict: str
) -> None:
    assert verdict_of(one_mark(140.0), stalls_ms)[0] == verdict


def test_a_stall_shorter_than_half_the_error_excuses_nothing() -> None:
    assert verdict_of(one_mark(114.9), [(120.0, 135.0)])[0] == "EARLY"


def test_what_a_host_that_was_stalled_for_a_third_of_the_time_did_late_is_inconclusive() -> None:
    stalls = [(146.0 + number * 3, 147.1 + number * 3) for number in range(10)]
    assert verdict_of(one_mark(176.0), stalls)[0] == "INCONCLUSIVE"
    assert verdict_of(one_mark(180.0), stalls)[0] == "LATE"


def test_an_answer_in_time_passes_whatever_stalled() -> None:
    assert verdict_of(one_mark(145.2), [(0.0, 400.0)])[0] == "PASS"


def test_the_stalls_of_a_span_are_those_that_overlap_it(tmp_path: Path) -> None:
    first, second = tmp_path / "host_stalls-0.txt", tmp_path / "host_stalls-1.txt"
    first.write_text("100 200\n300 400\n900 950\n10")  # the last line is being written
    second.write_text("150 250\n500 600\n700 800\n")
    watch = HostStallWatch([first, second])
    assert watch.between(200, 700) == [(150, 250), (300, 400), (500, 600)]
    assert watch.between(0, 100) == []
    assert watch.between(0, 10**9) == [
        (100, 200),
        (150, 250),
        (300, 400),
        (500, 600),
        (700, 800),
        (900, 950),
    ]


def test_the_watch_notes_in_its_folder_and_ends(tmp_path: Path) -> None:
    begin_ns = time.time_ns()
    with watch_host_stalls(tmp_path) as watch:
        stalls = watch.between(begin_ns, time.time_ns())
    assert stalls == sorted(stalls)
    assert list(tmp_path.glob("host_stalls-*.txt"))


def test_those_who_watch_are_run_as_the_process_they_watch_for(tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        batch = (os.SCHED_BATCH, 0)  # needs no privilege, as a real-time policy does
        os.sched_setscheduler(process.pid, batch[0], os.sched_param(batch[1]))
        before = children()
        with watch_host_stalls(tmp_path, process.pid) as watch:
            watching = children() - before
            assert len(watching) == len(os.sched_getaffinity(0))
            begin_ns = time.time_ns()
            while {os.sched_getscheduler(pid) for pid in watching} != {batch[0]}:
                assert time.time_ns() - begin_ns < 10 * 1_000_000_000
            assert watch.between(0, 1) == []
    finally:
        process.kill()
        process.wait()


def test_several_watches_of_a_process_share_those_who_watch(tmp_path: Path) -> None:
    before = children()
    with watch_host_stalls(tmp_path):
        one = children() - before
        with watch_host_stalls(tmp_path):
            assert children() - before == one
        assert children() - before == one
    assert children() == before
