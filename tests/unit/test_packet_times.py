"""Packets that are longer or shorter than the frames they are made of: when their audio plays,
which bytes they hold, and what the judge says of a driver that does not look at them."""

from __future__ import annotations

import pytest
from hand_made import FRAME, MS, START_NS, Call

from harness.capture.timeline import ULAW
from harness.judge.call import JudgedCall, judge_call
from harness.judge.locate import Piece, locate
from harness.judge.media_clock import in_order, media_clock
from harness.judge.verdicts import Verdict
from harness.media.codecs import PACKET_TIMES_MS
from harness.media.position_code import encode

AHEAD_MS = {10: 0, 20: 0, 30: 10, 40: 20, 60: 40, 80: 60, 120: 100}
"""how much later than the core's frames the audio of these packets plays"""


def test_every_packet_time_is_tried() -> None:
    assert tuple(AHEAD_MS) == PACKET_TIMES_MS


# ---- the clock -----------------------------------------------------------------------------------


def starts(call: Call, ptime_ms: int) -> list[float]:
    packets = in_order(call.packets).packets
    clocks = media_clock(packets, ULAW, [None] * len(packets), ptime_ms)
    assert {clock.segment for clock in clocks} == {0}
    assert {(clock.lateness_ns, clock.around_lateness_ns) for clock in clocks} == {(0, 0)}
    return [(clock.start_ns - START_NS) / MS for clock in clocks]


@pytest.mark.parametrize(("ptime_ms", "ahead_ms"), AHEAD_MS.items())
def test_packets_that_keep_their_rhythm_are_not_late(ptime_ms: int, ahead_ms: int) -> None:
    call = Call()
    call.gather(0, encode(0, 120 * FRAME), ptime_ms)
    found = starts(call, ptime_ms)
    assert found == [ahead_ms + ptime_ms * number for number in range(len(found))]


@pytest.mark.parametrize(("ptime_ms", "ahead_ms"), [(20, 0), (40, 0), (60, 20)])
def test_a_mixer_s_frames_have_a_rhythm_of_their_own(ptime_ms: int, ahead_ms: int) -> None:
    """A mixing interval of 40 ms."""
    call = Call()
    kept = b""
    for number in range(60):
        kept += encode(number * 320, 320)
        while len(kept) >= 8 * ptime_ms:
            call.packet(40 * number, kept[: 8 * ptime_ms])
            kept = kept[8 * ptime_ms :]
    packets = in_order(call.packets).packets
    clocks = media_clock(packets, ULAW, [None] * len(packets), ptime_ms, 40)
    assert {(clock.lateness_ns, clock.segment) for clock in clocks} == {(0, 0)}
    found = [(clock.start_ns - START_NS) / MS for clock in clocks]
    assert found == [ahead_ms + ptime_ms * number for number in range(len(found))]


def test_a_late_packet_is_late_by_what_its_place_in_the_rhythm_says() -> None:
    call = Call()
    call.gather(0, encode(0, 120 * FRAME), 30)
    late = call.packets[7]
    call.packets[7] = type(late)(**{**vars(late), "time_ns": late.time_ns + 7 * MS})
    packets = in_order(call.packets).packets
    clocks = media_clock(packets, ULAW, [None] * len(packets), 30)
    assert [(n, one.lateness_ns) for n, one in enumerate(clocks) if one.lateness_ns] == [
        (7, 7 * MS)
    ]
    assert clocks[7].start_ns == START_NS + (10 + 7 * 30) * MS


def test_a_short_frame_makes_what_follows_later() -> None:
    """Frames of any length take a tick each, and the packets are full all the same."""
    call = Call()
    kept = call.gather(0, encode(0, 10 * FRAME), 40)
    kept = call.gather(200, encode(10 * FRAME, 40), 40, kept=kept)
    call.gather(220, encode(10 * FRAME + 40, 20 * FRAME), 40, kept=kept)
    packets = in_order(call.packets).packets
    clocks = media_clock(packets, ULAW, [None] * len(packets), 40)
    # The 5 packets before are on time. Then 160 bytes and more are together 15 ms later.
    assert [(one.start_ns - START_NS) / MS for one in clocks[:6]] == [20, 60, 100, 140, 180, 240]
    assert [one.segment for one in clocks] == [0] * 5 + [1] * (len(clocks) - 5)


# ---- the bytes -----------------------------------------------------------------------------------

STREAM = encode(0, 8000)
SILENCE = b"\xff"


def pieces(*payloads: bytes) -> list[list[tuple[int, int, int]]]:
    found = locate(payloads, STREAM, SILENCE[0], FRAME)
    return [[(one.start, one.offset, one.length) for one in where.pieces] for where in found]


def test_a_packet_of_several_frames_goes_on_where_the_one_before_ended() -> None:
    assert pieces(STREAM[:320], STREAM[320:640]) == [[(0, 0, 320)], [(0, 320, 320)]]


def test_a_frame_that_is_not_ours_is_left_out_of_a_packet() -> None:
    other = b"\x12\x34" * 80
    assert pieces(STREAM[:160] + other, other + STREAM[160:320]) == [
        [(0, 0, 160)],
        [(160, 160, 160)],
    ]
    first, second = locate([STREAM[:160] + other, other + STREAM[160:320]], STREAM, 0xFF, FRAME)
    assert (first.foreign, second.foreign) == (160, 160)


def test_our_frame_is_found_whole_where_packets_do_not_begin_with_frames() -> None:
    other = b"\x56\x34" * 120
    sent = STREAM[:320] + other[:160] + STREAM[480:960]
    assert pieces(*(sent[begin : begin + 240] for begin in range(0, 960, 240))) == [
        [(0, 0, 240)],
        [(0, 240, 80)],
        [(0, 480, 240)],
        [(0, 720, 240)],
    ]


@pytest.mark.parametrize("offset", [160, STREAM.index(SILENCE, 100)])
def test_silence_in_a_packet_is_not_the_stream_s(offset: int) -> None:
    """The rest of an utterance that was filled up, and what comes behind it."""
    payload = STREAM[offset - 100 : offset] + SILENCE * 60 + STREAM[offset : offset + 160]
    [before, found] = locate([STREAM[: offset - 100], payload], STREAM, SILENCE[0], FRAME)
    assert before.pieces == (Piece(0, 0, offset - 100),)
    [ended, begun] = found.pieces
    assert (ended.offset, begun.end, begun.start + begun.length) == (
        offset - 100,
        offset + 160,
        320,
    )
    # If the stream's next byte is one of silence, it may be any of these.
    assert offset <= ended.end == begun.offset <= offset + 1
    assert (found.padding, found.foreign, found.certain) == (60, 0, True)


def test_silence_stands_before_the_stream() -> None:
    [found] = locate([SILENCE * 80 + STREAM[:240]], STREAM, SILENCE[0], FRAME)
    assert (found.pieces, found.padding) == ((Piece(80, 0, 240),), 80)


# ---- the verdicts --------------------------------------------------------------------------------


def played(ptime_ms: int, acked_ms: float) -> JudgedCall:
    """A call with a mark in each 20 ms but for the last, which keep the smoother from the rest.

    Each is acknowledged ``acked_ms`` after its audio ended by the frames of Asterisk's core.
    """
    call = Call()
    call.event(0, "MEDIA_START channel:x")
    marks = range(100, 96 * FRAME, FRAME)
    for number, offset in enumerate(marks):
        call.send(1, offset - call.sent)
        call.command(1, f"MARK id=m{number}")
        call.event(20 + offset / 8 + acked_ms, f"MARK_PLAYED id=m{number}")
    call.send(2, 120 * FRAME - call.sent)
    call.gather(20, encode(0, 120 * FRAME), ptime_ms)
    return judge_call(call.timeline(ptime_ms=ptime_ms))


@pytest.mark.parametrize("ptime_ms", [30, 40, 60, 80, 120])
def test_a_driver_that_goes_by_the_core_is_early(ptime_ms: int) -> None:
    judged = played(ptime_ms, 0.4)
    assert {mark.verdict for mark in judged.marks} == {Verdict.EARLY}
    late_ms = {round((mark.difference_ns or 0) / MS, 3) for mark in judged.marks}
    assert max(late_ms) == pytest.approx(0.4 - AHEAD_MS[ptime_ms])


@pytest.mark.parametrize(("ptime_ms", "ahead_ms"), AHEAD_MS.items())
def test_a_driver_that_goes_by_the_packets_is_right(ptime_ms: int, ahead_ms: int) -> None:
    # Where packets do not begin with frames some bytes leave after they were due by the clock.
    after_ms = ahead_ms + (10 if ptime_ms == 30 else 0)
    judged = played(ptime_ms, after_ms + 0.3)
    assert judged.counts[Verdict.PASS] == len(judged.marks)


@pytest.mark.parametrize(("ptime_ms", "ahead_ms"), AHEAD_MS.items())
def test_a_driver_that_waits_too_long_is_late(ptime_ms: int, ahead_ms: int) -> None:
    # A packet of 30 ms may have to wait 10 ms more for its last frame.
    judged = played(ptime_ms, ahead_ms + (20 if ptime_ms == 30 else 0) + 2.1)
    assert {mark.verdict for mark in judged.marks} == {Verdict.LATE}


def test_an_acknowledgement_before_its_packet_has_left_is_early() -> None:
    """Even if its audio is due by the clock: nothing is played that was not sent."""

    def verdict(stage: str) -> Verdict:
        call = Call()
        call.json_event(0, event="MEDIA_START", playback_marks=2)
        call.send(1, 10 * FRAME + 8)
        call.json_command(1, command="MARK", id="a")
        call.send(1, 10 * FRAME - 8)
        call.play(20, 0, 20 * FRAME, late_ms={10: 3.0})
        call.json_answer(221.2, "a", 10 * FRAME + 8, stage=stage, dropped_ms=0)
        return judge_call(call.timeline()).marks[0].verdict

    assert verdict("delivered") is Verdict.PASS
    assert verdict("sent") is Verdict.EARLY


def test_what_stays_in_the_smoother_was_not_played() -> None:
    """An utterance of an odd number of frames, and nothing behind it."""
    call = Call()
    call.event(0, "MEDIA_START channel:x")
    call.send(1, 11 * FRAME)
    call.command(1, "MARK id=a")
    kept = call.gather(20, encode(0, 11 * FRAME), 40)
    call.event(240.4, "MARK_PLAYED id=a")
    assert len(kept) == FRAME
    [mark] = judge_call(call.timeline(ptime_ms=40)).marks
    assert mark.verdict is Verdict.WRONG
    assert "160 of the 1760 bytes" in mark.explanation


def test_the_rest_leaves_in_front_of_the_next_utterance() -> None:
    call = Call()
    call.event(0, "MEDIA_START channel:x")
    call.send(1, 11 * FRAME)
    call.command(1, "MARK id=a")
    kept = call.gather(20, encode(0, 11 * FRAME), 40)
    call.event(240.4, "MARK_PLAYED id=a")
    call.send(1001, 11 * FRAME)
    call._timestamp += 8 * 780
    assert not call.gather(1020, encode(11 * FRAME, 11 * FRAME), 40, kept=kept)
    [mark] = judge_call(call.timeline(ptime_ms=40)).marks
    assert mark.verdict is Verdict.EARLY
    assert mark.difference_ns == -round((1040 - 240.4) * MS)


@pytest.mark.parametrize(("claimed", "verdict"), [(True, Verdict.WRONG), (False, Verdict.PASS)])
def test_audio_that_gave_way_to_a_digit_was_not_played(claimed: bool, verdict: Verdict) -> None:
    """2 s of audio; a digit of 200 ms takes the place of 10 of its frames."""
    call = Call()
    call.event(0, "MEDIA_START channel:x")
    call.json_command(1, command="MARK", id="first")
    call.send(1, 100 * FRAME)
    call.command(1, "MARK id=a")
    call.play(20, 0, 50 * FRAME)
    call.digit(1020, 10)
    call.play(1220, 60 * FRAME, 100 * FRAME)
    call.json_answer(2, "first", 0)
    if not claimed:
        gone = {"offset": 50 * FRAME, "bytes": 10 * FRAME, "reason": "unsent"}
        call.json_event(1230, event="MEDIA_DROPPED", **gone)
    call.event(2020.3, "MARK_PLAYED id=a")
    judged = judge_call(call.timeline())
    assert judged.missing_packets == 0
    assert judged.marks[1].verdict is verdict
    if claimed:
        assert "1600 of the 16000 bytes" in judged.marks[1].explanation


def test_a_packet_that_is_missing_before_a_digit_is_missing() -> None:
    call = Call()
    call.play(20, 0, 10 * FRAME)
    call._sequence += 2
    call.digit(260, 5)
    call.play(360, 12 * FRAME, 20 * FRAME)
    found = in_order(call.packets)
    assert found.missing == 2
    assert [n for n, one in enumerate(found.packets) if one.missing_before] == [10]
    assert len(found.packets) == 18


def test_what_was_claimed_in_a_hold_was_not_played() -> None:
    """Marks each 200 ms; no packet leaves from 1 to 3 s."""
    call = Call()
    call.event(0, "MEDIA_START channel:x")
    for number in range(25):
        call.send(1, 10 * FRAME)
        call.command(1, f"MARK id=m{number}")
        call.event(20 + 200 * (number + 1) + 0.4, f"MARK_PLAYED id=m{number}")
    call.play(20, 0, 50 * FRAME)
    call.ssrc = 8
    call.play(3020, 150 * FRAME, 250 * FRAME)
    judged = judge_call(call.timeline(end_ms=7000))
    wrong = [mark.id for mark in judged.marks if mark.verdict is Verdict.WRONG]
    assert wrong == [f"m{number}" for number in range(5, 15)]
    assert "16000 of 40000 bytes were never sent" in judged.notes
