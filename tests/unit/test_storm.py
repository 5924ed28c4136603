"""The storm's own judgement: where media was interrupted and need not have been."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hand_made import FRAME, Call

from harness.judge.evidence import read_evidence
from harness.judge.verdicts import Bounds
from harness.media.position_code import encode
from harness.torture.storm import interruptions


def interrupted(call: Call, stalls_ms: Sequence[tuple[float, float]] = ()) -> list[str]:
    return interruptions(read_evidence(call.timeline(stalls_ms=stalls_ms), Bounds()))


def gap(sent_ms: float, goes_on_ms: float) -> Call:
    """Ten frames from 20 ms on, and ten more that were sent, and went on, then."""
    call = Call()
    call.send(1, 10 * FRAME)
    call.send(sent_ms, 10 * FRAME)
    call.play(20, 0, 10 * FRAME)
    call.play(goes_on_ms, 10 * FRAME, 20 * FRAME)
    return call


@pytest.mark.parametrize(
    ("sent_ms", "goes_on_ms", "count"),
    [(2, 220, 0), (2, 249, 0), (2, 251, 1), (300, 329, 0), (300, 331, 1)],
)
def test_media_goes_on_within_30_ms(sent_ms: float, goes_on_ms: float, count: int) -> None:
    assert len(interrupted(gap(sent_ms, goes_on_ms))) == count


def test_an_interruption_says_when_and_for_how_long() -> None:
    assert interrupted(gap(2, 300)) == ["the media went on 80.0 ms late at +0.299000 s"]


def test_the_host_may_have_stalled() -> None:
    assert interrupted(gap(2, 300), stalls_ms=((220, 298),)) == []


def test_the_application_may_have_halted_it() -> None:
    paused = gap(2, 300)
    paused.command(150, "PAUSE_MEDIA")
    paused.command(290, "CONTINUE_MEDIA")
    assert interrupted(paused) == []
    late = gap(2, 400)
    late.command(150, "PAUSE_MEDIA")
    late.command(290, "CONTINUE_MEDIA")
    assert len(interrupted(late)) == 1


def test_the_application_may_have_turned_the_direction() -> None:
    turned = gap(2, 300)
    turned.json_command(150, command="SET_MEDIA_DIRECTION", direction="in")
    turned.json_command(280, command="SET_MEDIA_DIRECTION", direction="both")
    assert interrupted(turned) == []


def test_a_partial_frame_waits_for_what_closes_it() -> None:
    call = Call()
    call.command(0, "START_MEDIA_BUFFERING")
    call.send(1, FRAME + 100)
    call.play(20, 0, FRAME)
    call.packet(300, encode(FRAME, 100).ljust(FRAME, b"\xff"), gap=240 * 8)
    assert len(interrupted(call)) == 1
    call.command(290, "MARK id=a")
    assert interrupted(call) == []
