"""Verdicts of hand-made calls. The audio of a call begins to play at 20 ms, 8 bytes a ms."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from hand_made import FRAME, MS, START_NS, Call, speech_call

import harness.judge
from harness.capture.timeline import Timeline
from harness.judge.call import JudgedCall, judge_call
from harness.judge.verdicts import Bounds, Verdict, statistics
from harness.media.codecs import codec_named
from harness.media.position_code import encode


def verdicts(call: Call | Timeline, bounds: Bounds | None = None) -> list[str]:
    timeline = call.timeline() if isinstance(call, Call) else call
    return [mark.verdict.value for mark in judge_call(timeline, bounds).marks]


def one_mark(answered_ms: float | None, *, offset: int = 1000, plays: int = 1600) -> Call:
    """A mark at ``offset`` of ``plays`` bytes; its audio ends at 20 + offset / 8 ms."""
    call = Call()
    call.event(0, "MEDIA_START channel:x")
    call.send(1, offset)
    call.command(1, "MARK id=a")
    call.send(2, plays - offset)
    call.play(20, 0, plays)
    if answered_ms is not None:
        call.event(answered_ms, "MARK_PLAYED id=a")
    return call


def closed(call: Call, at_ms: float) -> Call:
    call._add(at_ms, "asterisk", "close", b"")
    return call


# ---- time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answered_ms", "verdict"),
    [
        (145.0, "PASS"),
        (146.99, "PASS"),
        (147.01, "LATE"),
        (144.99, "EARLY"),
        (125.0, "EARLY"),
        (400.0, "LATE"),
        (None, "NEVER"),
    ],
)
def test_a_mark_inside_a_frame_is_due_that_far_into_the_frame(
    answered_ms: float | None, verdict: str
) -> None:
    assert verdicts(one_mark(answered_ms)) == [verdict]


def test_the_numbers_of_a_verdict() -> None:
    mark = judge_call(one_mark(145.3).timeline()).marks[0]
    assert (mark.id, mark.command, mark.offset, mark.outcome) == ("a", "MARK", 1000, "played")
    assert mark.sent_ns == START_NS + 1 * MS
    assert mark.due_ns == mark.audio_end_ns == mark.raw_wire_end_ns == START_NS + 145 * MS
    assert mark.difference_ns == 0.3 * MS
    assert mark.lateness_ns == 0


@pytest.mark.parametrize(("answered_ms", "verdict"), [(144.21, "PASS"), (144.19, "EARLY")])
def test_the_uncertainty_widens_the_early_side(answered_ms: float, verdict: str) -> None:
    assert verdicts(one_mark(answered_ms).timeline(uncertainty_ns=400_000)) == [verdict]


@pytest.mark.parametrize(("answered_ms", "verdict"), [(147.79, "PASS"), (147.81, "LATE")])
def test_the_uncertainty_widens_the_late_side(answered_ms: float, verdict: str) -> None:
    assert verdicts(one_mark(answered_ms).timeline(uncertainty_ns=400_000)) == [verdict]


@pytest.mark.parametrize(
    ("uncertainty_ns", "answered_ms", "verdict"),
    [
        (5_000_000, 145.0, "PASS"),
        (5_000_001, 145.0, "INCONCLUSIVE"),
        (6_000_000, 134.0, "INCONCLUSIVE"),
        # Too early or late even for such a measurement
        (6_000_000, 132.9, "EARLY"),
        (6_000_000, 159.1, "LATE"),
        (6_000_000, None, "NEVER"),
    ],
)
def test_a_ruler_too_coarse_passes_nothing(
    uncertainty_ns: int, answered_ms: float | None, verdict: str
) -> None:
    assert verdicts(one_mark(answered_ms).timeline(uncertainty_ns=uncertainty_ns)) == [verdict]


@pytest.mark.parametrize(
    ("source", "stall_ms", "verdict"),
    [
        ("socket", (320, 325), "INCONCLUSIVE"),
        ("socket", (100, 105), "PASS"),
        ("capture", (320, 325), "PASS"),
    ],
)
def test_an_answer_seen_late_by_the_harness_itself_is_no_pass(
    source: Literal["capture", "socket"], stall_ms: tuple[float, float], verdict: str
) -> None:
    # The audio ends at 320 ms; the kernel, which stamps a capture, was not late.
    call = speech_call([2400], [1.0])
    timeline = call.timeline(uncertainty_ns=MS, stalls_ms=[stall_ms], source=source)
    assert verdicts(timeline) == [verdict]


def test_many_marks_and_their_statistics() -> None:
    call = speech_call([333 * (number + 1) for number in range(20)], [0.1 * n for n in range(20)])
    verdict = judge_call(call.timeline())
    assert verdict.marks_result == "PASS"
    assert verdict.counts[Verdict.PASS] == 20
    numbers = statistics(verdict.marks)
    assert numbers == verdict.statistics
    assert numbers is not None
    assert (numbers.count, numbers.min_ns, numbers.max_ns) == (20, 0, 1_900_000)
    assert numbers.median_ns == 950_000


# ---- how often -----------------------------------------------------------------------------------


def test_twice() -> None:
    call = one_mark(145)
    call.event(150, "MARK_PLAYED id=a")
    assert verdicts(call) == ["TWICE"]


def test_played_and_discarded_is_twice_too() -> None:
    call = one_mark(145)
    call.event(150, "MARK_DISCARDED id=a reason=hangup")
    assert verdicts(call) == ["TWICE"]


def test_unasked() -> None:
    call = one_mark(145)
    call.event(150, "MARK_PLAYED id=b")
    verdict = judge_call(call.timeline())
    assert [mark.verdict for mark in verdict.marks] == [Verdict.PASS, Verdict.UNASKED]
    assert verdict.marks_result == "FAIL"


def test_an_answer_of_the_other_command_is_unasked() -> None:
    call = one_mark(None)
    call.event(145, "MEDIA_MARK_PROCESSED a")
    assert verdicts(call) == ["NEVER", "UNASKED"]


def test_an_id_that_is_used_again_is_answered_each_time_in_order() -> None:
    call = Call()
    for _ in range(3):
        call.send(1, 400)
        call.command(1, "MARK id=same")
    call.play(20, 0, 1200)
    for at_ms in (70.5, 120.5):
        call.event(at_ms, "MARK_PLAYED id=same")
    assert verdicts(call) == ["PASS", "PASS", "NEVER"]
    call.event(170.5, "MARK_PLAYED id=same")
    assert verdicts(call) == ["PASS", "PASS", "PASS"]


def test_answers_in_another_order_than_the_marks_are_wrong() -> None:
    call = Call()
    call.send(1, 400)
    for name in "abc":
        call.command(1, f"MARK id={name}")
    call.play(20, 0, 400)
    for name in "bac":
        call.event(70.5, f"MARK_PLAYED id={name}")
    assert verdicts(call) == ["WRONG", "PASS", "PASS"]


# ---- nothing left to play ------------------------------------------------------------------------


@pytest.mark.parametrize(("after_ms", "verdict"), [(0.3, "PASS"), (2.5, "LATE")])
def test_a_mark_before_any_media_is_answered_at_once(after_ms: float, verdict: str) -> None:
    call = Call()
    call.command(10, "MARK id=a")
    call.event(10 + after_ms, "MARK_PLAYED id=a")
    call.send(500, 800)
    call.play(520, 0, 800)
    assert verdicts(call) == [verdict]


@pytest.mark.parametrize(("after_ms", "verdict"), [(0.3, "PASS"), (2.5, "LATE")])
def test_a_mark_on_an_empty_queue_is_answered_at_once(after_ms: float, verdict: str) -> None:
    call = Call()
    call.send(1, 800)
    call.play(20, 0, 800)
    call.command(300, "MARK id=a")
    call.event(300 + after_ms, "MARK_PLAYED id=a")
    assert verdicts(call) == [verdict]


def test_a_mark_set_while_the_last_frame_plays_waits_for_its_end() -> None:
    call = Call()
    call.send(1, 800)
    call.play(20, 0, 800)
    call.command(110, "MARK id=a")
    call.event(110.3, "MARK_PLAYED id=a")
    assert verdicts(call) == ["EARLY"]


# ---- frames --------------------------------------------------------------------------------------


def test_a_padded_partial_frame_ends_with_its_last_byte_not_with_its_padding() -> None:
    assert verdicts(one_mark(145.5, offset=1000, plays=1000)) == ["PASS"]
    assert verdicts(one_mark(160.5, offset=1000, plays=1000)) == ["LATE"]


def test_a_partial_frame_sent_short() -> None:
    call = Call()
    call.send(1, 850)
    call.command(1, "MARK id=a")
    call.send(1, 800)
    call.command(1, "MARK id=b")
    payload = one_mark(None, plays=1650).packets
    whole = b"".join(packet.payload for packet in payload)
    for count in range(5):
        call.packet(20 + 20 * count, whole[FRAME * count : FRAME * (count + 1)])
    call.packet(120, whole[800:850])
    for count in range(5):
        call.packet(140 + 20 * count, whole[850 + FRAME * count : 850 + FRAME * (count + 1)])
    call.event(126.25 + 0.5, "MARK_PLAYED id=a")
    call.event(240 + 0.5, "MARK_PLAYED id=b")
    assert verdicts(call) == ["PASS", "PASS"]


def test_after_a_missed_tick_the_clock_goes_by_the_new_segment() -> None:
    call = Call()
    call.send(1, 3200)
    call.command(1, "MARK id=a")
    call.play(20, 0, 1600)
    call.play(240, 1600, 3200)
    call.event(440.5, "MARK_PLAYED id=a")
    assert verdicts(call) == ["PASS"]


# ---- wraps, reordering, loss ---------------------------------------------------------------------


@pytest.mark.parametrize(("answered_ms", "verdict"), [(145.5, "PASS"), (144.5, "EARLY")])
def test_sequence_and_timestamp_wrap(answered_ms: float, verdict: str) -> None:
    call = one_mark(answered_ms)
    packets, call.packets = call.packets, []
    wrapping = Call(sequence=2**16 - 3, timestamp=2**32 - 500)
    for packet in packets:
        wrapping.packet((packet.time_ns - START_NS) / MS, packet.payload)
    call.packets = wrapping.packets
    assert verdicts(call) == [verdict]


def test_reordered_and_duplicate_packets_change_no_verdict() -> None:
    call = one_mark(145.5)
    call.packets[3:6] = [call.packets[4], call.packets[3], call.packets[5], call.packets[5]]
    verdict = judge_call(call.timeline())
    assert verdict.marks_result == "PASS"
    assert verdict.notes == ("1 RTP packets came twice", "1 RTP packets came out of order")


def test_loss_where_the_audio_ends_is_inconclusive() -> None:
    call = one_mark(125.0)
    del call.packets[6]  # bytes 960 to 1120, the mark is at 1000
    verdict = judge_call(call.timeline())
    assert [mark.verdict for mark in verdict.marks] == [Verdict.INCONCLUSIVE]
    assert (verdict.missing_packets, verdict.marks_result) == (1, "INCONCLUSIVE")
    unanswered = one_mark(None)
    del unanswered.packets[6]
    assert verdicts(unanswered) == ["INCONCLUSIVE"]


def test_loss_elsewhere_since_the_mark_before_it_is_inconclusive() -> None:
    call = one_mark(145.5)
    del call.packets[2]
    assert verdicts(call) == ["INCONCLUSIVE"]


def test_loss_before_the_mark_before_it_does_not_matter() -> None:
    call = speech_call([400, 1400], [0.5, 0.5])
    del call.packets[1]
    assert verdicts(call) == ["INCONCLUSIVE", "PASS"]


# ---- an unreliable measurement -------------------------------------------------------------------


def test_the_slip_of_one_packet_does_not_move_the_end_of_its_audio() -> None:
    call = one_mark(145.5)
    late = Call()
    late.play(20, 0, 1600, late_ms={6: 5.0})
    call.packets = late.packets
    mark = judge_call(call.timeline()).marks[0]
    assert (mark.verdict, mark.difference_ns, mark.lateness_ns) == (Verdict.PASS, 500_000, 5 * MS)
    assert mark.raw_wire_end_ns == START_NS + 150 * MS


@pytest.mark.parametrize("late_ms", [{6: 12.0}, {count: 4.0 for count in range(10) if count != 2}])
@pytest.mark.parametrize("answered_ms", [130.0, 145.5, 160.0])
def test_a_large_slip_is_inconclusive_whatever_was_answered(
    late_ms: dict[int, float], answered_ms: float
) -> None:
    call = one_mark(answered_ms)
    late = Call()
    late.play(20, 0, 1600, late_ms=late_ms)
    call.packets = late.packets
    assert verdicts(call) == ["INCONCLUSIVE"]


@pytest.mark.parametrize(
    ("early_ms", "verdict"), [(0.0, "PASS"), (0.3, "INCONCLUSIVE"), (0.6, "EARLY")]
)
def test_a_clock_of_packets_that_differ_is_no_better_than_they_are(
    early_ms: float, verdict: str
) -> None:
    call = Call()
    call.send(1, 1600)
    call.command(1, "MARK id=a")
    # Some were sent at once, most 0.4 ms later.
    call.play(20, 0, 1600, {count: 0.4 for count in (5, 6, 8, 9)})
    call.event(220 - early_ms, "MARK_PLAYED id=a")
    assert verdicts(call) == [verdict]


@pytest.mark.parametrize(("slip_ms", "verdict"), [(11.0, "INCONCLUSIVE"), (9.0, "LATE")])
def test_what_is_late_together_with_its_media_is_inconclusive(slip_ms: float, verdict: str) -> None:
    call = Call()
    call.send(1, 3200)
    call.command(1, "MARK id=a")
    # The packet after the mark's last one is the late one: two threads had to wait.
    call.send(1, 1600)
    call.play(20, 0, 4800, {20: slip_ms})
    call.event(420 + 25, "MARK_PLAYED id=a")
    assert verdicts(call) == [verdict]


def test_a_slip_that_was_over_when_the_mark_was_set_does_not_matter() -> None:
    call = Call()
    call.send(1, 1600)
    call.play(20, 0, 1600, late_ms={9: 12.0})
    call.command(300, "MARK id=a")
    call.event(300.3, "MARK_PLAYED id=a")
    assert verdicts(call) == ["PASS"]


def test_silence_that_could_be_from_elsewhere_is_inconclusive() -> None:
    call = Call()
    call.send(1, 160)
    call.send_bytes(1, b"\xff" * 480)
    call.command(1, "MARK id=a")
    call.send(1, 800)
    call.play(20, 0, 160)
    for count in range(1, 4):
        call.packet(20 + 20 * count, b"\xff" * 160)
    call.play(100, 960, 1440)  # bytes 640 to 960 are missing: so much silence is not certain
    call.event(100.5, "MARK_PLAYED id=a")
    assert verdicts(call) == ["INCONCLUSIVE"]


def test_a_pause_before_the_last_frame_is_no_slip() -> None:
    call = Call()
    call.send(1, 960)
    call.command(1, "MARK id=a")
    call.play(20, 0, 800)
    call.command(110, "PAUSE_MEDIA")
    call.command(150, "CONTINUE_MEDIA")
    call.play(160, 800, 960)
    call.event(180.4, "MARK_PLAYED id=a")
    assert verdicts(call) == ["PASS"]


def test_nor_is_the_wait_of_a_partial_frame_for_its_mark() -> None:
    call = Call()
    call.send(1, 850)
    call.play(20, 0, 800)
    call.command(150, "MARK id=a")
    call.play(160, 800, 850)
    call.event(166.25 + 0.4, "MARK_PLAYED id=a")
    assert verdicts(call) == ["PASS"]


def test_capture_drops_make_all_inconclusive() -> None:
    call = speech_call([400, 1400], [0.5, -9])
    assert verdicts(call) == ["PASS", "EARLY"]
    verdict = judge_call(call.timeline(dropped=1))
    assert [mark.verdict.value for mark in verdict.marks] == ["INCONCLUSIVE"] * 2
    assert verdict.marks_result == "INCONCLUSIVE"


def test_a_capture_that_ends_too_early_is_inconclusive() -> None:
    assert verdicts(one_mark(None).timeline(end_ms=146.5)) == ["INCONCLUSIVE"]
    assert verdicts(one_mark(None).timeline(end_ms=250)) == ["NEVER"]
    cut = one_mark(None)
    cut.packets = cut.packets[:4]  # its audio was still to come
    assert verdicts(cut.timeline(end_ms=100)) == ["INCONCLUSIVE"]
    assert verdicts(cut.timeline(end_ms=2000)) == ["NEVER"]


def test_a_call_without_marks_proves_nothing() -> None:
    call = Call()
    call.send(1, 800)
    call.play(20, 0, 800)
    assert judge_call(call.timeline()).marks_result == "INCONCLUSIVE"


# ---- outcomes ------------------------------------------------------------------------------------


def test_played_though_its_bytes_never_left_is_wrong() -> None:
    call = Call()
    call.send(1, 48_000)
    call.command(1, "MARK id=a")
    call.play(20, 0, 1600)
    call.event(220.5, "MARK_PLAYED id=a")
    assert verdicts(call) == ["WRONG"]


def after_a_loss(told: str | None, dropped: int = 100) -> Call:
    call = Call()
    call.send(1, 1700)
    call.json_command(1, command="MARK", id="a")
    call.play(20, 0, 1600)
    call.json_answer(220.5, "a", 1700, played_ms=200, dropped=dropped)
    if told:
        call.event(300, told)
    return call


def test_unless_they_were_told_of_as_dropped() -> None:
    # It is told of at most ten times a second, so perhaps after the mark was answered.
    told = "MEDIA_DROPPED bytes=100 reason=partial offset=1600"
    assert verdicts(after_a_loss(told)) == ["PASS"]
    assert verdicts(after_a_loss(told.replace("100", "99"))) == ["WRONG"]
    assert verdicts(after_a_loss(None)) == ["WRONG"]


def test_what_the_answer_alone_says_was_dropped_excuses_nothing() -> None:
    assert verdicts(after_a_loss(None, dropped=99_999)) == ["WRONG"]


def test_a_loss_that_an_application_did_not_stay_to_be_told_of_is_inconclusive() -> None:
    call = after_a_loss(None)
    call._add(400, "application", "close", b"")
    assert verdicts(call) == ["INCONCLUSIVE"]
    call = after_a_loss(None)
    call._add(800, "application", "close", b"")
    assert verdicts(call) == ["WRONG"]


def test_a_loss_excuses_no_other_one() -> None:
    call = after_a_loss("MEDIA_DROPPED bytes=100 reason=overflow offset=1600")
    call.send(400, 1700)
    call.command(400, "MARK id=b")
    call.play(420, 1700, 3300)
    call.event(620.5, "MARK_PLAYED id=b")
    assert verdicts(call) == ["PASS", "WRONG"]
    call.event(630, "MEDIA_DROPPED bytes=100 reason=overflow offset=3300")
    assert verdicts(call) == ["PASS", "PASS"]


def test_one_loss_told_of_for_two_marks_is_used_up() -> None:
    def call(told: int) -> Call:
        call = Call()
        for name in "ab":
            call.send(1, 800)
            call.command(1, f"MARK id={name}")
        call.play(20, 0, 640)
        call.play(100, 800, 1440)
        call.event(100.5, "MARK_PLAYED id=a")
        call.event(180.5, "MARK_PLAYED id=b")
        call.event(181, f"MEDIA_DROPPED bytes={told} reason=overflow offset=640")
        return call

    assert verdicts(call(320)) == ["PASS", "PASS"]
    assert verdicts(call(319)) == ["PASS", "WRONG"]


def test_where_a_bridge_lost_something_is_not_known_for_sure() -> None:
    def call(reason: str) -> Call:
        call = Call()
        call.send(1, 1760)
        call.command(1, "MARK id=a")
        call.play(20, 0, 1440)
        call.play(200, 1600, 1760)
        call.event(210, f"MEDIA_DROPPED bytes=160 reason={reason} offset=1760")
        call.event(220.5, "MARK_PLAYED id=a")
        return call

    assert verdicts(call("bridge")) == ["PASS"]
    assert verdicts(call("overflow")) == ["WRONG"]


def test_a_mark_answered_as_played_accounts_for_one_that_was_not() -> None:
    call = Call()
    call.send(1, 800)
    call.command(1, "MARK id=a")
    call.send(1, 800)
    call.command(1, "MARK id=b")
    call.play(20, 800, 1600)
    call.event(120.5, "MARK_PLAYED id=b")
    assert verdicts(call) == ["NEVER", "WRONG"]


def flushed_call(answer: str | None, command: str = "MARK id=b") -> Call:
    """Two marks, at 800 bytes (ends at 120 ms) and at 4000; flushed at 130 ms, in frame 5."""
    call = Call()
    call.send(1, 800)
    call.command(1, "MARK id=a")
    call.send(1, 3200)
    call.command(1, command)
    call.play(20, 0, 960)
    call.event(120.5, "MARK_PLAYED id=a")
    call.command(130, "FLUSH_MEDIA")
    if answer is not None:
        call.event(130.4, answer)
    return call


def test_a_flushed_mark_is_discarded() -> None:
    assert verdicts(flushed_call("MARK_DISCARDED id=b reason=flush")) == ["PASS", "PASS"]
    assert verdicts(flushed_call("MARK_PLAYED id=b")) == ["PASS", "WRONG"]
    assert verdicts(flushed_call(None)) == ["PASS", "NEVER"]


def test_a_flushed_mark_media_stays_unanswered() -> None:
    assert verdicts(flushed_call(None, "MARK_MEDIA b")) == ["PASS", "PASS"]
    assert verdicts(flushed_call("MEDIA_MARK_PROCESSED b", "MARK_MEDIA b")) == ["PASS", "WRONG"]


def test_a_mark_behind_a_flush_is_answered_when_what_was_handed_over_has_ended() -> None:
    call = flushed_call("MARK_DISCARDED id=b reason=flush")
    call.command(131, "MARK id=fence")
    call.event(140.3, "MARK_PLAYED id=fence")
    assert verdicts(call) == ["PASS", "PASS", "PASS"]


def test_media_after_a_flush_is_found_behind_the_gap() -> None:
    call = flushed_call("MARK_DISCARDED id=b reason=flush")
    call.send(200, 800)
    call.command(200, "MARK id=c")
    call.play(220, 4000, 4800)
    call.event(320.5, "MARK_PLAYED id=c")
    assert verdicts(call) == ["PASS", "PASS", "PASS"]


@pytest.mark.parametrize(("left", "verdict"), [(0, "WRONG"), (7840, "WRONG"), (8000, "PASS")])
def test_media_lost_after_a_flush_is_not_excused_by_it(left: int, verdict: str) -> None:
    call = Call()
    call.send(1, 1600)
    call.play(20, 0, 320)
    call.command(50, "FLUSH_MEDIA")
    call.send(200, 8000)
    call.command(201, "MARK id=a")
    call.play(220, 1600, 1600 + left)
    call.event(max(201.3, 220 + left / 8 + 0.3), "MARK_PLAYED id=a")
    assert verdicts(call) == [verdict]


def test_discarded_though_all_was_played_is_wrong() -> None:
    call = one_mark(None)
    call.command(300, "FLUSH_MEDIA")
    call.event(300.4, "MARK_DISCARDED id=a reason=flush")
    assert verdicts(call) == ["WRONG"]
    late_hangup = one_mark(None)
    late_hangup.event(300.4, "MARK_DISCARDED id=a reason=hangup")
    assert verdicts(late_hangup) == ["WRONG"]


def test_discarded_at_hangup_before_its_end_or_for_a_good_reason() -> None:
    hung_up = one_mark(None)
    hung_up.packets = hung_up.packets[:7]
    hung_up.event(130, "MARK_DISCARDED id=a reason=hangup")
    assert verdicts(closed(hung_up, 131)) == ["PASS"]
    unheard = Call()
    unheard.json_command(1, command="SET_MEDIA_DIRECTION", direction="in")
    unheard.json_command(2, command="MARK", id="a")
    unheard.json_answer(2.2, "a", 0, reason="direction")
    assert verdicts(unheard) == ["PASS"]


@pytest.mark.parametrize(
    ("closed_ms", "verdict"), [(131, "PASS"), (1130, "PASS"), (1140, "WRONG"), (None, "WRONG")]
)
def test_discarded_as_hung_up_long_before_it_is(closed_ms: float | None, verdict: str) -> None:
    call = without(discarded(130, "hangup"), 7, 8, 9)
    if closed_ms:
        closed(call, closed_ms)
    assert verdicts(call) == [verdict]
    assert verdicts(without(discarded(130, "hangup"), 7, 8, 9).timeline(end_ms=500)) == [
        "INCONCLUSIVE"
    ]


def refused(kept: int, *others: tuple[float, str]) -> Call:
    """``kept`` marks that wait for their media, and one more that there is no room for."""
    call = Call()
    call.send(1, 8000)
    for number in range(kept):
        call.command(1, f"MARK id={number}")
    call.command(500, "MARK id=refused")
    call.event(500.3, "MARK_DISCARDED id=refused reason=limit")
    for at_ms, text in others:
        call.event(at_ms, text)
    call.play(20, 0, 8000)
    return call


def test_there_is_room_for_as_many_marks_as_there_were_before() -> None:
    def verdict(call: Call) -> str:
        return next(
            mark for mark in judge_call(call.timeline()).marks if mark.id == "refused"
        ).verdict

    assert verdict(refused(0)) == "WRONG"
    assert verdict(refused(1)) == "PASS"
    assert verdict(refused(5)) == "PASS"
    # One of five was answered: four were kept, and there was room for a fifth.
    assert verdict(refused(5, (400, "MARK_PLAYED id=0"))) == "WRONG"
    assert verdict(refused(1, (400, "MARK_PLAYED id=0"))) == "WRONG"
    # The answer to a flush waits in the same queue.
    flushing = refused(0)
    flushing.command(499, "FLUSH_MEDIA id=f")
    assert verdict(flushing) == "PASS"
    flushing.event(499.5, "MEDIA_FLUSHED id=f")
    assert verdict(flushing) == "WRONG"


@pytest.mark.parametrize(
    ("at_ms", "stalls_ms", "verdict"),
    [
        (130.4, [], "PASS"),
        (151.9, [], "PASS"),
        (152.1, [], "LATE"),
        (4000, [], "LATE"),
        (160, [(152, 158)], "INCONCLUSIVE"),
        (160, [(500, 505)], "INCONCLUSIVE"),
    ],
)
def test_a_flushed_mark_is_discarded_at_once(
    at_ms: float, stalls_ms: list[tuple[float, float]], verdict: str
) -> None:
    call = flushed_call(None)  # at 130 ms
    call.event(at_ms, "MARK_DISCARDED id=b reason=flush")
    assert verdicts(call.timeline(stalls_ms=stalls_ms)) == ["PASS", verdict]


@pytest.mark.parametrize(("every_ms", "verdict"), [(0.4, "PASS"), (21.9, "PASS"), (22.1, "LATE")])
def test_hundreds_of_flushed_marks_are_discarded_in_a_row(every_ms: float, verdict: str) -> None:
    call = flushed_call("MARK_DISCARDED id=b reason=flush")
    for number in range(100):
        call.command(120, f"MARK id={number}")
        call.event(130.4 + every_ms * (number + 1), f"MARK_DISCARDED id={number} reason=flush")
    assert verdicts(call)[-1] == verdict


def test_a_flushed_mark_waits_for_one_that_is_still_played() -> None:
    call = Call()
    call.send(1, 960)
    call.command(1, "MARK id=a")
    call.send(1, 3200)
    call.command(1, "MARK id=b")
    call.play(20, 0, 960)
    call.command(121, "FLUSH_MEDIA")
    call.event(150, "MARK_PLAYED id=a")
    call.event(150.1, "MARK_DISCARDED id=b reason=flush")
    # The first one is late; the other cannot come before it.
    assert verdicts(call) == ["LATE", "PASS"]


def test_a_reason_that_does_not_exist_and_a_flush_that_nobody_asked_for_are_wrong() -> None:
    for reason in ("boredom", "flush"):
        call = one_mark(None)
        call.event(130, f"MARK_DISCARDED id=a reason={reason}")
        assert verdicts(call) == ["WRONG"], reason


# ---- messages ------------------------------------------------------------------------------------


def test_json_and_its_offset() -> None:
    for offset, verdict in [(1000, "PASS"), (1001, "WRONG"), (960, "WRONG")]:
        call = Call()
        call.send(1, 1000)
        call.json_command(1, command="MARK", id=17)
        call.play(20, 0, 1000)
        call.json_answer(145.5, 17, offset, played_ms=125)
        assert verdicts(call) == [verdict]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, ""),
        ({"correlation_id": None}, "the acknowledgement says correlation_id None"),
        ({"correlation_id": "zzz"}, "the acknowledgement says correlation_id 'zzz'"),
        ({"correlation_id": "17"}, "the acknowledgement says correlation_id '17'"),
        ({"offset": None}, "the acknowledgement has no number as offset"),
        ({"played_ms": None, "at": "never"}, "the acknowledgement has no number as at, played_ms"),
        ({"dropped": None}, "the acknowledgement has no number as dropped"),
        ({"played_ms": 124.875}, ""),
        (
            {"played_ms": 125.126},
            "the acknowledgement says played_ms 125.126, but it should be 125.000",
        ),
        (
            {"played_ms": 99999},
            "the acknowledgement says played_ms 99999, but it should be 125.000",
        ),
        ({"dropped": 1}, "the acknowledgement says dropped 1, but MEDIA_DROPPED events reported 0"),
    ],
)
def test_what_an_answer_in_json_says_of_a_mark(changes: dict[str, object], says: str) -> None:
    call = Call()
    call.send(1, 1000)
    call.json_command(1, command="MARK", id=17)
    call.play(20, 0, 1000)
    call.json_answer(145.5, 17, 1000, **changes)
    mark = judge_call(call.timeline()).marks[0]
    assert (mark.verdict.value, mark.explanation) == ("WRONG" if says else "PASS", says)


def test_a_discarded_mark_says_where_and_when_it_was_too() -> None:
    for changes in ({}, {"at": None}, {"offset": None}, {"correlation_id": 1}):
        call = Call()
        call.send(1, 1600)
        call.json_command(1, command="MARK", id="a")
        call.play(20, 0, 800)
        call.json_answer(130, "a", 1600, reason="hangup", **changes)
        assert verdicts(closed(call, 131)) == ["WRONG" if changes else "PASS"]


@pytest.mark.parametrize(
    ("off_ms", "verdict"), [(0, "PASS"), (21, "PASS"), (-21, "PASS"), (23, "WRONG"), (-23, "WRONG")]
)
def test_when_a_mark_was_reached_is_held_against_the_other_answers(
    off_ms: float, verdict: str
) -> None:
    call = Call()
    ahead_ms = 3_600_000.0  # Asterisk's host need not have the capture's time
    for number in range(3):
        call.send(1, 800)
        call.json_command(1, command="MARK", id=number)
        at_ms = 120 + 100 * number
        stated_ms = START_NS / MS + at_ms + ahead_ms + (off_ms if number == 1 else 0)
        call.json_answer(at_ms, number, 800 * number + 800, at=stated_ms)
    call.play(20, 0, 2400)
    assert verdicts(call) == ["PASS", verdict, "PASS"]


def test_when_a_mark_was_reached_is_not_held_against_an_answer_that_took_long() -> None:
    call = Call()
    for number, took_ms in enumerate((60, 0)):
        call.send(1, 800)
        call.json_command(1, command="MARK", id=number)
        at_ms = 120 + 100 * number
        stated_ms = START_NS / MS + at_ms
        call.json_answer(at_ms + took_ms, number, 800 * number + 800, at=stated_ms)
    call.play(20, 0, 1600)
    assert verdicts(call) == ["LATE", "PASS"]


def test_an_id_that_comes_back_as_another_type_is_not_the_same() -> None:
    call = Call()
    call.json_command(1, command="MARK", id=17)
    call.json_event(1.1, event="MARK_PLAYED", id="17", offset=0)
    assert verdicts(call) == ["NEVER", "UNASKED"]


@pytest.mark.parametrize("form", ["plain", "json"])
def test_mark_media(form: str) -> None:
    call = Call()
    call.send(1, 1000)
    if form == "plain":
        call.command(1, "MARK_MEDIA some-id")
    else:
        call.json_command(1, command="MARK_MEDIA", correlation_id="some-id")
    call.play(20, 0, 1000)
    if form == "plain":
        call.event(125.5, "MEDIA_MARK_PROCESSED some-id")
    else:
        call.json_event(125.5, event="MEDIA_MARK_PROCESSED", correlation_id="some-id")
    mark = judge_call(call.timeline()).marks[0]
    assert (mark.verdict, mark.command, mark.id) == (Verdict.EARLY, "MARK_MEDIA", "some-id")


@pytest.mark.parametrize(
    ("stop", "go_on"),
    [
        ("PAUSE_MEDIA", "CONTINUE_MEDIA"),
        ("SET_MEDIA_DIRECTION direction=in", "SET_MEDIA_DIRECTION direction=both"),
    ],
)
@pytest.mark.parametrize(
    ("command", "event", "expected"),
    [
        ("MARK_MEDIA a", "MEDIA_MARK_PROCESSED a", "PASS"),
        ("MARK id=a", "MARK_PLAYED id=a", "LATE"),
    ],
)
def test_mark_media_passes_the_queue_itself(
    stop: str, go_on: str, command: str, event: str, expected: str
) -> None:
    call = Call()
    call.send(1, 1600)
    call.command(1, command)
    call.play(20, 0, 1600)
    for at_ms, text in ((221, stop), (900, go_on)):
        name, _, direction = text.partition(" direction=")
        if direction:
            call.json_command(at_ms, command=name, direction=direction)
        else:
            call.command(at_ms, name)
    call.event(915, event)
    assert verdicts(call) == [expected]


@pytest.mark.parametrize("command", ["MARK", "MARK x", "MARK id=", "MARK id=" + "x" * 65])
def test_a_malformed_mark_is_not_judged_but_noted(command: str) -> None:
    call = one_mark(145.5)
    call.command(150, command)
    verdict = judge_call(call.timeline())
    assert len(verdict.marks) == 1
    assert verdict.notes == (f"malformed MARK, not judged: {command!r}",)


# ---- texts ---------------------------------------------------------------------------------------


def failed(call: Call, uncertainty_ns: int = 200_000) -> JudgedCall:
    return judge_call(call.timeline(uncertainty_ns=uncertainty_ns))


def test_the_failure_text() -> None:
    verdict = failed(one_mark(124.808))
    text = verdict.mark_text(verdict.marks[0], "prompt.yaml:14", "out/timeline.txt:88")
    assert text == (
        'prompt.yaml:14: mark "a" EARLY: acknowledged at +0.124808 s, its audio ended at '
        "+0.145000 s\n"
        "  (-20.192 ms; allowed 0 .. +2.0 ms; uncertainty +-0.4 ms; 10 packets, 0 missing)"
        "   out/timeline.txt:88"
    )


def test_the_failure_text_says_how_long_was_listened() -> None:
    verdict = failed(one_mark(None))
    assert verdict.mark_text(verdict.marks[0]).startswith(
        'mark "a" NEVER: not acknowledged; listened until 4.855 s after its audio ended at '
        "+0.145000 s"
    )


def test_the_judge_knows_only_the_timeline_the_protocol_and_how_audio_is_decoded() -> None:
    pure = {"harness.capture.timeline", "harness.media.pcm"}
    for file in Path(str(harness.judge.__file__)).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("chan_websocket"):
                assert node.module == "chan_websocket.protocol", file
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("harness"):
                known = node.module in pure
                assert known or str(node.module).startswith("harness.judge"), file


def test_an_answer_with_limit_may_come_ahead_of_the_others() -> None:
    call = Call()
    call.send(1, 800)
    call.command(1, "MARK id=a")
    call.command(1, "MARK id=b")
    call.event(2, "MARK_DISCARDED id=b reason=limit")
    call.play(20, 0, 800)
    call.event(120.5, "MARK_PLAYED id=a")
    assert judge_call(call.timeline()).marks_result == "PASS"


# ---- each verdict, with its cause ----------------------------------------------------------------


def cause(timeline: Timeline, number: int = 0) -> tuple[str, str]:
    """Verdict and explanation of a mark, by default the first."""
    mark = judge_call(timeline).marks[number]
    return mark.verdict.value, mark.explanation


def without(call: Call, *numbers: int) -> Call:
    """The call with these RTP packets missing."""
    call.packets = [one for number, one in enumerate(call.packets) if number not in numbers]
    return call


def discarded(at_ms: float, reason: str) -> Call:
    call = one_mark(None)
    call.event(at_ms, f"MARK_DISCARDED id=a reason={reason}")
    return call


def paused_for_good() -> Call:
    call = Call()
    call.send(1, 1600)
    call.command(1, "MARK id=a")
    call.play(20, 0, 800)
    call.command(110, "PAUSE_MEDIA")
    call.command(120, "GET_STATUS")
    return call


def said_offset(offset: int) -> Call:
    call = one_mark(None)
    call.json_event(145.5, event="MARK_PLAYED", id="a", offset=offset)
    return call


def answered_twice() -> Call:
    call = one_mark(145)
    call.event(150, "MARK_PLAYED id=a")
    return call


def slipping(late_ms: dict[int, float]) -> Call:
    call, late = one_mark(145.5), Call()
    late.play(20, 0, 1600, late_ms=late_ms)
    call.packets = late.packets
    return call


def never_left() -> Call:
    call = Call()
    call.send(1, 3200)
    call.command(1, "MARK id=a")
    call.play(20, 0, 1600)
    call.event(220.5, "MARK_PLAYED id=a")
    return call


@pytest.mark.parametrize(
    ("timeline", "verdict", "says"),
    [
        (one_mark(145.5).timeline(), "PASS", ""),
        (closed(without(discarded(130, "hangup"), 7, 8, 9), 131).timeline(), "PASS", ""),
        (
            without(discarded(130, "hangup"), 7, 8, 9).timeline(),
            "WRONG",
            "but the connection was open until +5.000000 s",
        ),
        (discarded(130, "limit").timeline(), "WRONG", "but none was pending"),
        (
            one_mark(125).timeline(),
            "EARLY",
            "acknowledged at +0.125000 s, its audio ended at +0.145000 s",
        ),
        (
            one_mark(150).timeline(),
            "LATE",
            "acknowledged at +0.150000 s, its audio ended at +0.145000 s",
        ),
        (one_mark(None).timeline(), "NEVER", "after its audio ended at +0.145000 s"),
        (without(one_mark(None), 6, 7, 8, 9).timeline(), "NEVER", "of its audio that was seen at"),
        (answered_twice().timeline(), "TWICE", "played +0.145000 s, played +0.150000 s"),
        (said_offset(999).timeline(), "WRONG", "offset 999, but 1000 bytes were sent before it"),
        (discarded(130, "flush").timeline(), "WRONG", "nothing was flushed after it was set"),
        (discarded(300, "hangup").timeline(), "WRONG", "its audio had ended at +0.145000 s"),
        (discarded(130, "boredom").timeline(), "WRONG", "not a reason of the protocol"),
        (
            never_left().timeline(),
            "WRONG",
            "1600 of the 3200 bytes since the mark or flush before it were",
        ),
        (one_mark(145.5).timeline(dropped=3), "INCONCLUSIVE", "the capture missed 3 packets"),
        (without(one_mark(145.5), *range(1, 7)).timeline(), "INCONCLUSIVE", "where its audio ends"),
        (without(one_mark(145.5), 2).timeline(), "INCONCLUSIVE", "160 of its bytes were not seen"),
        (slipping({6: 12.0}).timeline(), "INCONCLUSIVE", "ends in was sent 12.0 ms late"),
        (
            slipping({number: 4.0 for number in range(10) if number != 2}).timeline(),
            "INCONCLUSIVE",
            "half of the packets around were sent more than 4.0 ms late",
        ),
        (paused_for_good().timeline(), "INCONCLUSIVE", "still paused when listening ended"),
        (
            without(one_mark(None), 4, 5, 6, 7, 8, 9).timeline(end_ms=150),
            "INCONCLUSIVE",
            "listening ended while its audio was still to come",
        ),
        (one_mark(None).timeline(end_ms=146), "INCONCLUSIVE", "which is too early"),
        (one_mark(145.5).timeline(uncertainty_ns=6 * MS), "INCONCLUSIVE", "wrong by 6.0 ms"),
        (
            one_mark(145.5).timeline(stalls_ms=[(145, 146)], source="socket"),
            "INCONCLUSIVE",
            "the harness itself was late to see the acknowledgement",
        ),
        (
            one_mark(140).timeline(stalls_ms=[(120, 135)]),
            "INCONCLUSIVE",
            "the host stalled for 15 ms when its last packet was due",
        ),
        (
            one_mark(150).timeline(stalls_ms=[(145, 149)]),
            "INCONCLUSIVE",
            "the host stalled for 4.0 ms of these",
        ),
    ],
)
def test_each_verdict_says_why(timeline: Timeline, verdict: str, says: str) -> None:
    found, explanation = cause(timeline)
    assert found == verdict
    assert says in explanation
    assert bool(explanation) == (verdict != "PASS")


@pytest.mark.parametrize(("gone", "mark"), [([0, 1, 5], 0), ([5, 13, 14], 1)])
def test_packets_lost_at_an_end_of_the_call_are_not_held_against_it(
    gone: list[int], mark: int
) -> None:
    """No gap in the numbers shows them, but others were lost; with no loss at all it is WRONG."""
    call = speech_call([800, 2400], [0.5, 0.5])
    verdict = judge_call(without(call, *gone).timeline())
    assert [one.verdict.value for one in verdict.marks][mark] == "INCONCLUSIVE"
    call = speech_call([800, 2400], [0.5, 0.5])
    verdict = judge_call(without(call, *(one for one in gone if one != 5)).timeline())
    assert [one.verdict.value for one in verdict.marks][mark] == "WRONG"


def test_lost_rtp_hides_all_of_a_marks_audio() -> None:
    call = Call()
    call.send(1, 160)
    call.command(1, "MARK id=a")
    call.send(1, 800)
    call.packet(0, b"\xff" * FRAME)
    call.play(20, 0, 960)
    call.event(40.5, "MARK_PLAYED id=a")
    assert cause(call.timeline()) == ("PASS", "")
    assert cause(without(call, 1).timeline()) == (
        "INCONCLUSIVE",
        "RTP is missing, and none of its audio was seen",
    )


def test_a_pause_that_ends_is_no_excuse() -> None:
    call = paused_for_good()
    call.command(150, "CONTINUE_MEDIA")
    found, explanation = cause(call.timeline())
    assert (found, "not acknowledged" in explanation) == ("NEVER", True)


def test_an_unanswered_mark_of_media_that_was_flushed_says_so() -> None:
    found, explanation = cause(flushed_call(None).timeline(), 1)
    assert found == "NEVER"
    assert "after it was flushed at" in explanation


def test_what_was_flushed_and_had_left_before_is_wrong() -> None:
    call = one_mark(None)
    call.command(300, "FLUSH_MEDIA")
    call.event(300.4, "MARK_DISCARDED id=a reason=flush")
    found, explanation = cause(call.timeline())
    assert (found, "but all of its audio was sent" in explanation) == ("WRONG", True)


def test_a_mark_with_nothing_left_to_play_that_is_late_says_so() -> None:
    call = Call()
    call.command(10, "MARK id=a")
    call.event(15, "MARK_PLAYED id=a")
    assert cause(call.timeline()) == (
        "LATE",
        "acknowledged at +0.005000 s, it was sent, with nothing left to play, at +0.000000 s",
    )
    unanswered = Call()
    unanswered.command(10, "MARK id=a")
    found, explanation = cause(unanswered.timeline())
    assert (found, "after it was sent at +0.000000 s" in explanation) == ("NEVER", True)


def test_the_wait_of_a_partial_frame_for_the_end_of_its_message_is_no_slip() -> None:
    call = Call()
    call.send(1, 850)
    call.play(20, 0, 800)
    call.command(150, "STOP_MEDIA_BUFFERING")
    call.play(160, 800, 850)
    call.command(161, "MARK id=a")
    call.event(166.25 + 0.4, "MARK_PLAYED id=a")
    assert cause(call.timeline()) == ("PASS", "")


def test_a_full_frame_waits_for_no_command() -> None:
    call = slipping({6: 12.0})
    call.command(151, "MARK id=b")
    found, explanation = cause(call.timeline())
    assert (found, "sent 12.0 ms late" in explanation) == ("INCONCLUSIVE", True)


def test_a_flush_with_an_id_is_no_mark() -> None:
    call = flushed_call("MARK_DISCARDED id=b reason=flush")
    call.command(130.1, "FLUSH_MEDIA id=f")
    call.event(130.5, "MEDIA_FLUSHED id=f")
    assert verdicts(call) == ["PASS", "PASS"]


def test_bytes_told_of_as_dropped_are_not_missed() -> None:
    def call(event: str) -> Call:
        call = Call()
        call.send(1, 1700)
        call.command(1, "MARK id=a")
        call.play(20, 0, 1600)
        call.event(2, event)
        call.event(220.5, "MARK_PLAYED id=a")
        return call

    assert verdicts(call("MEDIA_DROPPED bytes=100 reason=partial offset=1600")) == ["PASS"]
    assert verdicts(call("MEDIA_DROPPED bytes=99 reason=partial offset=1600")) == ["WRONG"]
    assert verdicts(call("SOMETHING_ELSE bytes=100")) == ["WRONG"]


def test_an_overtaken_mark_that_is_late_is_late() -> None:
    call = Call()
    call.send(1, 400)
    call.command(1, "MARK id=a")
    call.command(1, "MARK id=b")
    call.play(20, 0, 400)
    call.event(70.5, "MARK_PLAYED id=b")
    call.event(80, "MARK_PLAYED id=a")
    assert verdicts(call) == ["LATE", "PASS"]


def test_the_verdict_of_a_call_is_that_of_its_worst_mark() -> None:
    def verdict(first_after_ms: float, second_after_ms: float) -> str:
        # The second one is due at 620 ms: what is late by this stall is inconclusive.
        call = speech_call([2400, 4800], [first_after_ms, second_after_ms])
        return judge_call(call.timeline(stalls_ms=[(620, 628)])).marks_result

    assert verdict(0.5, 0.5) == "PASS"
    assert verdict(0.5, 8) == "INCONCLUSIVE"
    assert verdict(-9, 8) == "FAIL"
    assert verdict(0.5, 40) == "FAIL"


# ---- discarded without a reason, or not acknowledged at the end ----------------------------------


def test_discarded_as_hung_up_while_the_call_goes_on_is_wrong() -> None:
    found, explanation = cause(discarded(60, "hangup").timeline())
    assert found == "WRONG"
    assert "but audio was sent until +0.200000 s" in explanation
    # Frames may be on their way.
    hung_up = closed(without(discarded(130, "hangup"), 8, 9), 131)
    assert cause(hung_up.timeline()) == ("PASS", "")


@pytest.mark.parametrize(
    ("directions", "verdict"), [(["in"], "PASS"), ([], "WRONG"), (["in", "both"], "WRONG")]
)
def test_discarded_for_its_direction_needs_that_direction(
    directions: list[str], verdict: str
) -> None:
    call = Call()
    for direction in directions:
        call.json_command(1, command="SET_MEDIA_DIRECTION", direction=direction)
    call.json_command(3, command="MARK", id="a")
    call.json_answer(3.2, "a", 0, reason="direction")
    assert cause(call.timeline())[0] == verdict


@pytest.mark.parametrize(
    ("directions", "verdict"),
    [(["in"], "WRONG"), ([], "PASS"), (["in", "both"], "PASS"), (["in", "sideways"], "WRONG")],
)
def test_played_though_its_direction_was_in_is_wrong(directions: list[str], verdict: str) -> None:
    call = Call()
    for direction in directions:
        call.json_command(1, command="SET_MEDIA_DIRECTION", direction=direction)
    call.json_command(3, command="MARK", id="a")
    call.json_answer(3.2, "a", 0)
    assert cause(call.timeline())[0] == verdict


def test_the_reason_is_kept_with_the_mark_that_was_discarded() -> None:
    call = flushed_call("MARK_DISCARDED id=b reason=flush")
    call.event(140, "MARK_DISCARDED id=nobody reason=hangup")
    reasons = [(mark.outcome, mark.reason) for mark in judge_call(call.timeline()).marks]
    assert reasons == [("played", ""), ("discarded", "flush"), ("discarded", "hangup")]


@pytest.mark.parametrize(("closed_by", "verdict"), [("asterisk", "NEVER"), ("application", "PASS")])
def test_what_asterisk_owes_when_it_closes_never_came(
    closed_by: Literal["asterisk", "application"], verdict: str
) -> None:
    call = without(one_mark(None), 4, 5, 6, 7, 8, 9)
    call._add(110, closed_by, "close", b"")
    assert cause(call.timeline(end_ms=111))[0] == verdict


def test_no_bent_ruler_excuses_a_mark_that_was_not_answered_when_asterisk_closed() -> None:
    slipped = slipping({6: 12.0})
    slipped._messages = [one for one in slipped._messages if b"MARK_PLAYED" not in one.data]
    assert cause(slipped.timeline())[0] == "INCONCLUSIVE"
    assert cause(closed(slipped, 900).timeline())[0] == "NEVER"
    assert cause(closed(without(one_mark(None), 6), 900).timeline())[0] == "NEVER"
    # But where the capture lost packets the answer may be among them.
    assert cause(closed(one_mark(None), 900).timeline(dropped=1))[0] == "INCONCLUSIVE"


# ---- an application that closes ------------------------------------------------------------------


def left(call: Call, at_ms: float) -> Call:
    call._add(at_ms, "application", "close", b"")
    return call


@pytest.mark.parametrize(
    ("at_ms", "verdict"),
    [
        # Its audio ends at 145 ms.
        (100, "PASS"),
        (146.9, "PASS"),
        (147.1, "NEVER"),
        (900, "NEVER"),
    ],
)
def test_an_application_that_closes_is_owed_what_was_due(at_ms: float, verdict: str) -> None:
    assert verdicts(left(one_mark(None), at_ms)) == [verdict]


def test_an_application_that_closes_while_its_media_plays_is_owed_nothing() -> None:
    """However long is listened afterwards, and however early media ceases."""
    call = left(without(one_mark(None), 4, 5, 6, 7, 8, 9), 110)
    assert verdicts(call.timeline(end_ms=111)) == ["PASS"]
    assert verdicts(call.timeline(end_ms=5000)) == ["PASS"]
    assert verdicts(call.timeline(end_ms=5000, source="socket", uncertainty_ns=3 * MS)) == ["PASS"]
    assert judge_call(call.timeline()).marks_result == "PASS"


def test_nor_is_one_that_closes_as_soon_as_it_has_sent_its_media() -> None:
    call = Call()
    call.command(1, "MARK id=a")
    call.event(1.2, "MARK_PLAYED id=a")
    call.send(3000, 8000)
    call.command(3000, "MARK id=b")
    assert verdicts(left(call, 3001)) == ["PASS", "PASS"]


def test_but_what_had_ceased_to_play_long_before_it_closed_was_lost() -> None:
    call = left(without(one_mark(None), 4, 5, 6, 7, 8, 9), 900)
    found, explanation = cause(call.timeline())
    assert found == "NEVER"
    assert explanation.startswith(
        "not acknowledged; the application closed 0.800 s after the last of"
    )


@pytest.mark.parametrize(("at_ms", "verdict"), [(140, "PASS"), (170, "NEVER")])
def test_a_flushed_mark_is_owed_its_answer_soon(at_ms: float, verdict: str) -> None:
    call = left(flushed_call(None), at_ms)  # flushed at 130 ms, in the frame that ends at 140 ms
    assert verdicts(call) == ["PASS", verdict]


def test_nothing_is_owed_while_media_is_paused() -> None:
    assert verdicts(left(paused_for_good(), 3000)) == ["PASS"]


# ---- half a sample -------------------------------------------------------------------------------


def sixteen_bit(first_ms: float) -> Timeline:
    """A mark behind an odd byte of slin; its other half and more media come 100 ms later."""
    slin = codec_named("slin")
    stream = encode(0, 640)
    call = Call()
    call.command(0.5, "REPORT_PLAYBACK")
    call.send_bytes(1, stream[:321])
    call.command(1, "MARK id=a")
    call.event(first_ms, "MARK_PLAYED id=a")
    call.send_bytes(130, stream[321:])
    call.command(130, "MARK id=b")
    for at_ms, payload in ((20, stream[:320]), (140, stream[320:])):
        call.packet(at_ms, payload)
    call.event(160.5, "MARK_PLAYED id=b")
    first, second = call.packets
    # The timestamp counts samples, and went on while nothing was sent.
    packets = (first, replace(second, timestamp=first.timestamp + 120 * 8))
    return replace(call.timeline(400), codec=slin, rtp=packets)


def test_a_mark_in_the_middle_of_a_sample_does_not_wait_for_the_other_half() -> None:
    assert verdicts(sixteen_bit(40.5)) == ["PASS", "PASS"]
    assert verdicts(sixteen_bit(39)) == ["EARLY", "PASS"]


def test_what_is_shifted_by_a_byte_is_noise() -> None:
    right = sixteen_bit(40.5)
    first, second = right.rtp
    # All but the first half of the sample is there, in the halves of others.
    shifted = replace(second, payload=second.payload[1:] + b"\x00")
    assert verdicts(replace(right, rtp=(first, shifted))) == ["PASS", "WRONG"]
