"""What Asterisk says of the far end against what the caller reported, on timelines made by hand."""

from __future__ import annotations

import pytest
from hand_made import Call

from harness.judge.call import judge_call
from harness.judge.verdicts import Verdict


def verdict_of(
    call: Call,
    at_ms: float,
    said: dict[str, float],
    stage: str = "sent",
    stalls_ms: tuple[tuple[float, float], ...] = (),
) -> Verdict:
    """Of a PLAYBACK that says so."""
    call.event(0, "MEDIA_START channel:x playback_marks:2")
    call.json_command(1, command="REPORT_PLAYBACK", interval_ms=20)
    counts = dict.fromkeys(("received", "played", "queued", "flushed", "dropped"), 0)
    times = {"played_ms": 0.0, "queued_ms": 0.0, "at": 1.0}
    rest = {"marks": 0, "underruns": 0, "paused": False, "stage": stage}
    call.json_event(at_ms, event="PLAYBACK", **counts, **times, **rest, **said)
    (found,) = judge_call(call.timeline(60_000, stalls_ms=stalls_ms)).counters[:1]
    assert found.name == "PLAYBACK"
    return found.verdict


REPORTED = ((1000.0, 3, 80.0), (6000.0, 12, 45.0), (11_000.0, 5, None))
"""when, jitter and round trip"""


@pytest.mark.parametrize(
    ("at_ms", "said", "verdict"),
    [
        (500, {}, Verdict.PASS),
        (500, {"jitter_ms": 3.0}, Verdict.WRONG),
        (1500, {"rtt_ms": 80.3, "jitter_ms": 3.0}, Verdict.PASS),
        (1500, {"rtt_ms": 79.0, "jitter_ms": 3.0}, Verdict.WRONG),
        (1500, {"rtt_ms": 80.3, "jitter_ms": 24.0}, Verdict.WRONG),
        (1500, {"jitter_ms": 3.0}, Verdict.WRONG),
        (1500, {"rtt_ms": 80.0}, Verdict.WRONG),
        # Just behind a report that may be known or not.
        (6010, {"rtt_ms": 80.0, "jitter_ms": 3.0}, Verdict.PASS),
        (6010, {"rtt_ms": 45.0, "jitter_ms": 12.0}, Verdict.PASS),
        (7000, {"rtt_ms": 80.0, "jitter_ms": 3.0}, Verdict.WRONG),
        # The latest one has no round trip, so that of the one before still stands: for 15 s.
        (12_000, {"rtt_ms": 45.0, "jitter_ms": 5.0}, Verdict.PASS),
        (20_000, {"rtt_ms": 45.0, "jitter_ms": 5.0}, Verdict.PASS),
        (22_000, {"rtt_ms": 45.0, "jitter_ms": 5.0}, Verdict.WRONG),
        (22_000, {"jitter_ms": 5.0}, Verdict.PASS),
        (27_000, {"jitter_ms": 5.0}, Verdict.WRONG),
        (27_000, {}, Verdict.PASS),
    ],
)
def test_what_was_reported_is_told_as_long_as_it_stands(
    at_ms: float, said: dict[str, float], verdict: Verdict
) -> None:
    call = Call()
    for when, jitter_ms, rtt_ms in REPORTED:
        call.report(when, jitter_ms, rtt_ms)
    assert verdict_of(call, at_ms, said) is verdict


def test_a_report_that_a_host_stall_kept_unread_took_a_longer_round_trip() -> None:
    for stalls_ms, verdict in (((), Verdict.WRONG), (((999.0, 1008.0),), Verdict.PASS)):
        call = Call()
        call.report(1000, 3, 80.0)
        said = {"rtt_ms": 88.0, "jitter_ms": 3.0}
        assert verdict_of(call, 2000, said, stalls_ms=stalls_ms) is verdict


def test_no_round_trip_is_less_than_none() -> None:
    for said, verdict in (
        ({"jitter_ms": 3.0}, Verdict.PASS),
        ({"rtt_ms": 65535999.8, "jitter_ms": 3.0}, Verdict.WRONG),
        ({"rtt_ms": 80.0, "jitter_ms": 3.0}, Verdict.WRONG),
    ):
        call = Call()
        call.report(1000, 2, 80.0)
        call.report(2000, 3, -100.0)
        assert verdict_of(call, 3000, said) is verdict


def test_nothing_is_owed_where_it_cannot_be_seen() -> None:
    call = Call()
    call.report(1000, 3, 80.0)
    assert verdict_of(call, 2000, {}, "mixed") is Verdict.PASS
    # Nor of a report that changes no figure, or that came before somebody had to look.
    call = Call()
    for at_ms in (2, 2000, 5000):
        call.report(at_ms, 3)
    assert verdict_of(call, 6000, {}) is Verdict.PASS


def test_plain_text_says_nothing_of_it() -> None:
    call = Call()
    call.event(0, "MEDIA_START channel:x playback_marks:2")
    call.report(100, 3, 80.0)
    call.command(1, "REPORT_PLAYBACK")
    call.event(
        2,
        "PLAYBACK received=0 played=0 queued=0 flushed=0 dropped=0 played_ms=0.000 queued_ms=0.000 "
        "marks=0 underruns=0 paused=0 stage=sent at=1.000 rtt_ms=80.000",
    )
    (found,) = judge_call(call.timeline()).counters[:1]
    assert (found.verdict, found.explanation) == (Verdict.WRONG, "rtt_ms is in plain text")
