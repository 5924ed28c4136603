"""The acknowledgements of many calls, judged with numpy: by the judge's own rules and clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hand_made import FRAME, MS, START_NS, Call

from chan_websocket.protocol import parse_event
from harness.capture.timeline import ULAW, BulkRtp, Ints, Measurement, RtpPacket
from harness.judge.call import judge_call
from harness.judge.many import (
    CALL_BYTES,
    Acks,
    ManyJudged,
    Spoken,
    clock,
    judge_many,
    unwrapped,
)
from harness.judge.media_clock import in_order, media_clock
from harness.judge.verdicts import Verdict
from harness.media.position_code import encode, offsets_of

ALWAYS = (0, 2**62)
NUMBER = 3
"""of the call"""


def bulk(packets: list[RtpPacket], port: int = 10000) -> BulkRtp:
    """Packets as a capture of many calls has them."""

    def ints(values: list[int]) -> Ints:
        return np.array(values, np.int64)

    heads = [list(one.payload[:16].ljust(16, b"\0")) for one in packets]
    return BulkRtp(
        ints([one.time_ns for one in packets]),
        ints([port] * len(packets)),
        ints([one.sequence for one in packets]),
        ints([one.timestamp for one in packets]),
        ints([one.ssrc for one in packets]),
        ints([one.payload_type for one in packets]),
        ints([len(one.payload) for one in packets]),
        np.array(heads, np.uint8).reshape(-1, 16),
    )


class Loaded(Call):
    """A call as load makes it: its media is coded from a place of its own."""

    def play(
        self, at_ms: float, first: int, last: int, late_ms: dict[int, float] | None = None
    ) -> None:
        for count, offset in enumerate(range(first, last, FRAME)):
            late = (late_ms or {}).get(count, 0.0)
            self.packet(at_ms + 20 * count + late, encode(NUMBER * CALL_BYTES + offset, FRAME))


def judged(
    call: Call,
    offsets: list[int],
    acks: Sequence[tuple[float, str]],
    window: tuple[int, int] = ALWAYS,
    measurement: Measurement | None = None,
    sent: int = 0,
    owed: int | None = None,
) -> ManyJudged:
    found = Acks()
    for at_ms, text in acks:
        found.add(START_NS + round(at_ms * MS), parse_event(text))
    sent = sent or FRAME * len(call.packets)
    spoken = Spoken(NUMBER, np.array(offsets, np.int64), sent, owed)
    measurement = measurement or Measurement("capture", 30_000)
    rtp = bulk(call.packets)
    return judge_many(rtp, offsets_of(rtp.heads), {NUMBER: found}, [spoken], measurement, window)


def ack(number: int) -> str:
    return f"MARK_PLAYED id=m{number}"


@pytest.mark.parametrize("seed", range(40))
def test_the_clock_is_the_judges(seed: int) -> None:
    random = Random(seed)
    call = Call(sequence=65500, timestamp=2**32 - 8000)
    at = 0.0
    for count in range(150):
        at += 20.0
        if random.random() < 0.04:
            at += random.choice((3.0, 9.0, 11.0, 20.0, 45.0))  # it goes on late
        gap = 160 * random.randint(1, 5) if random.random() < 0.03 else 0
        if random.random() < 0.03:
            call._sequence += 1  # one is lost
            call._timestamp += 160
            at += 20.0
        if random.random() < 0.02:
            call.ssrc += 1
        late = random.choice((0.0, 0.0, 0.0, 0.3, 4.0, 12.0, 30.0))
        call.packet(at + late, encode(count * FRAME, FRAME), gap=gap)
    numbered = in_order(call.packets).packets
    expected = media_clock(numbered, ULAW, [None] * len(numbered))
    found = clock(
        np.array([one.packet.time_ns for one in numbered], np.int64),
        np.array([one.source for one in numbered], np.int64),
        np.array([one.number for one in numbered], np.int64),
        np.array([one.timestamp for one in numbered], np.int64),
        np.full(len(numbered), FRAME, np.int64),
        ULAW,
    )
    assert found.start_ns.tolist() == [one.start_ns for one in expected]
    assert found.lateness_ns.tolist() == [one.lateness_ns for one in expected]
    assert found.segment.tolist() == [one.segment for one in expected]
    assert [found.around_lateness_ns(index) for index in range(len(expected))] == [
        one.around_lateness_ns for one in expected
    ]


@pytest.mark.parametrize("seed", range(20))
def test_differences_and_early_marks_are_the_judges(seed: int) -> None:
    random = Random(seed)
    offsets = sorted(random.sample(range(1, 60 * FRAME), 25))
    late_ms = {count: random.choice((0.0, 0.2, 5.0)) for count in range(60)}
    at = [20 + one / 8 + random.choice((-15.0, -0.5, 0.1, 0.4, 3.0)) for one in offsets]
    theirs, ours = Call(), Loaded()
    theirs.event(0, "MEDIA_START channel:x playback_marks:2")
    for number, offset in enumerate(offsets):
        theirs.send(1, offset - theirs.sent)
        theirs.command(1, f"MARK id=m{number}")
    theirs.send(1, 60 * FRAME - theirs.sent)
    for number, time_ms in enumerate(at):
        theirs.event(time_ms, ack(number))
    for call in (theirs, ours):
        call.play(20, 0, 60 * FRAME, late_ms)
    expected = judge_call(theirs.timeline(uncertainty_ns=30_000)).marks
    found = judged(ours, offsets, [(time, ack(number)) for number, time in enumerate(at)])
    assert found.differences_ns.tolist() == [one.difference_ns for one in expected]
    # What the judge can say nothing of (packets sent too late) it does not call early.
    early = sum(one.verdict is Verdict.EARLY for one in expected)
    doubtful = sum(
        one.verdict is Verdict.INCONCLUSIVE and (one.difference_ns or 0) < -60_000
        for one in expected
    )
    assert early <= found.early <= early + doubtful
    assert found.marks == len(offsets)
    assert found.lost_bytes == found.missing == found.twice == found.unasked == 0


def test_the_spread_is_of_times_less_places_less_the_least() -> None:
    call = Loaded()
    call.play(20, 0, 10 * FRAME)
    offsets = [160, 320, 480, 1600]
    acks = [
        (20 + one / 8 + after, ack(n))
        for n, (one, after) in enumerate(zip(offsets, (0.5, 0.2, 1.2, 7.2), strict=True))
    ]
    found = judged(call, offsets, acks)
    assert found.spreads_ns.tolist() == [300_000, 0, 1_000_000, 7_000_000]
    # What came before or after the time that was looked at does not count, nor as the least.
    window = (START_NS + 70 * MS, START_NS + 220 * MS)
    assert judged(call, offsets, acks, window).spreads_ns.tolist() == [0]
    assert judged(call, offsets, acks, window).missing == 0


def test_missing_twice_unasked_and_discarded_are_counted() -> None:
    call = Loaded()
    call.play(20, 0, 10 * FRAME)
    acks = [(41, ack(0)), (61, ack(1)), (62, ack(1)), (63, ack(17))]
    acks += [(64, "MARK_DISCARDED id=m2 reason=hangup")]
    found = judged(call, [160, 320, 480, 640], acks)
    assert (found.missing, found.twice, found.unasked, found.discarded) == (2, 1, 1, 1)
    assert found.faults == [
        'call 3, mark "m1": acknowledged 2 times',
        'call 3, mark "m2": not acknowledged as played',
        'call 3, mark "m3": not acknowledged as played',
    ]


def test_in_a_call_that_was_disturbed_a_mark_may_be_discarded_but_once() -> None:
    call = Loaded()
    call.play(20, 0, 10 * FRAME)
    acks = [(41, ack(0)), (42, "MARK_DISCARDED id=m0 reason=flush")]
    acks += [(64, "MARK_DISCARDED id=m1 reason=hangup")]
    found = judged(call, [160, 320, 480], acks, sent=20 * FRAME, owed=3)
    assert (found.missing, found.twice, found.discarded, found.lost_bytes) == (1, 1, 2, 0)
    # The last one may have crossed the hang-up.
    assert judged(call, [160, 320, 480], acks, owed=2).missing == 0
    assert judged(call, [160, 320, 480], acks).missing == 2


def test_a_host_stall_excuses_what_seems_early() -> None:
    call = Loaded()
    call.play(20, 0, 10 * FRAME, {count: 12.0 for count in range(5, 10)})
    acks = [(20 + 1000 / 8, ack(0))]
    assert judged(call, [1000], acks).early == 1
    stalls = ((START_NS + 120 * MS, START_NS + 132 * MS),)
    stalled = Measurement("capture", 30_000, 0, stalls)
    assert judged(call, [1000], acks, measurement=stalled).early == 0


def test_an_acknowledgement_that_says_sent_is_not_due_before_its_packet_has_left() -> None:
    call = Loaded()
    call.play(20, 0, 10 * FRAME, {5: 30.0})
    text = '{"event":"MARK_PLAYED","id":"m0","stage":"sent"}'
    # Its audio ended at 20 + 110 ms, and its packet was sent at 20 + 100 + 30 ms.
    found = judged(call, [880], [(151, text)])
    assert found.differences_ns.tolist() == [1_000_000]
    assert judged(call, [880], [(151, ack(0))]).differences_ns.tolist() == [21_000_000]


def test_gaps_and_lost_media_are_counted() -> None:
    call = Loaded()
    call.play(20, 0, 5 * FRAME)
    call.play(20 + 5 * 20 + 31, 5 * FRAME, 7 * FRAME)
    call.play(20 + 7 * 20 + 31, 8 * FRAME, 10 * FRAME)  # a frame is left out
    found = judged(call, [], [], sent=10 * FRAME)
    assert (found.gaps, found.longest_gap_ns) == (1, 31 * MS)
    assert found.lost_bytes == FRAME
    assert found.faults == ["call 3: 160 bytes of its media are in no packet"]
    call.packet(300, b"\xff" * FRAME)
    assert judged(call, [], [], sent=10 * FRAME).foreign == 1


def test_calls_are_told_apart_by_their_media() -> None:
    rtp = bulk(
        [
            RtpPacket(START_NS + count * 20 * MS, count, count * 160, 0, 7, encode(begin, FRAME))
            for count in range(10)
            for begin in [(count % 2) * CALL_BYTES + (count // 2) * FRAME]
        ]
    )
    rtp = replace(rtp, ssrc=np.arange(10) % 2)
    spoken = [Spoken(number, np.array([], np.int64), 5 * FRAME) for number in (0, 1)]
    found = judge_many(rtp, offsets_of(rtp.heads), {}, spoken, Measurement("capture", 0), ALWAYS)
    assert (found.lost_bytes, found.packets) == (0, 10)


def test_numbers_lose_their_wraps() -> None:
    assert unwrapped(np.array([65534, 65535, 1, 0], np.int64), 16).tolist() == [
        65534,
        65535,
        65537,
        65536,
    ]
    assert unwrapped(np.array([], np.int64), 16).tolist() == []
