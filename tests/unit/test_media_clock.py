"""The media clock ignores single late packets and follows a sender that really stood still."""

from __future__ import annotations

import pytest
from hand_made import FRAME, MS, START_NS, Call
from hypothesis import given
from hypothesis import strategies as st

from harness.capture.timeline import ULAW
from harness.judge.media_clock import Clocked, in_order, media_clock


def clocks(call: Call, ready_ms: dict[int, float] | None = None) -> list[Clocked]:
    ordered = in_order(call.packets)
    ready = [
        START_NS + round(ready_ms[index] * MS) if ready_ms and index in ready_ms else None
        for index in range(len(ordered.packets))
    ]
    return media_clock(ordered.packets, ULAW, ready)


def starts(found: list[Clocked]) -> list[float]:
    return [(clock.start_ns - START_NS) / MS for clock in found]


def slips(found: list[Clocked]) -> list[float]:
    return [clock.lateness_ns / MS for clock in found]


def test_one_late_packet_does_not_move_the_clock() -> None:
    call = Call()
    call.play(0, 0, 20 * FRAME, late_ms={7: 5.0, 12: 15.0})
    found = clocks(call)
    assert starts(found) == [20.0 * index for index in range(20)]
    assert [(i, slip) for i, slip in enumerate(slips(found)) if slip] == [(7, 5.0), (12, 15.0)]
    assert {clock.segment for clock in found} == {0}


def test_small_jitter_is_taken_off_by_the_lower_envelope() -> None:
    call = Call()
    call.play(0, 0, 20 * FRAME, late_ms={index: 0.3 * (index % 4) for index in range(20)})
    found = clocks(call)
    assert starts(found) == pytest.approx([20.0 * index for index in range(20)])


def test_a_stall_that_is_caught_up_is_a_slip_and_no_new_segment() -> None:
    call = Call()
    call.play(0, 0, 20 * FRAME, late_ms={8: 60, 9: 40, 10: 20})
    found = clocks(call)
    assert starts(found) == [20.0 * index for index in range(20)]
    assert {clock.segment for clock in found} == {0}


def test_missed_tick_with_contiguous_timestamps_begins_a_new_segment() -> None:
    call = Call()
    call.play(0, 0, 10 * FRAME)
    call.play(220, 10 * FRAME, 20 * FRAME)
    found = clocks(call)
    assert starts(found) == [20.0 * i for i in range(10)] + [220 + 20.0 * i for i in range(10)]
    assert [clock.segment for clock in found] == [0] * 10 + [1] * 10
    assert not any(slips(found))


def test_late_packets_before_a_missed_tick_keep_their_clock() -> None:
    """The last of them left nearer to its time than to that of those after the tick."""
    call = Call()
    call.play(0, 0, 10 * FRAME, late_ms={7: 9.1, 8: 11.8, 9: 5.4})
    call.play(220, 10 * FRAME, 20 * FRAME)
    found = clocks(call)
    assert starts(found) == [20.0 * i for i in range(10)] + [220 + 20.0 * i for i in range(10)]
    assert slips(found)[7:11] == [9.1, 11.8, 5.4, 0]


def test_the_last_packet_before_a_gap_keeps_its_clock_however_late_it_is() -> None:
    """Those behind the gap are later than it is; as the only one of a clock it shows none."""
    call = Call()
    call.play(0, 0, 10 * FRAME, late_ms={9: 11.1})
    call.play(240, 10 * FRAME, 20 * FRAME, late_ms={1: 7.3, 2: 1.6})
    found = clocks(call)
    assert starts(found) == [20.0 * i for i in range(10)] + [240 + 20.0 * i for i in range(10)]
    assert slips(found)[8:13] == [0, 11.1, 0, 7.3, 1.6]


def test_a_slow_reader_of_half_a_tick_is_a_new_stretch_too() -> None:
    call = Call()
    call.play(0, 0, 10 * FRAME)
    call.play(213.5, 10 * FRAME, 20 * FRAME)
    assert starts(clocks(call))[10:12] == [213.5, 233.5]


def test_a_late_packet_of_several_frames_before_a_missed_tick_is_just_late() -> None:
    """What follows is later, but not because that one was."""
    call = Call()
    for index in range(20):
        call.packet(40.0 * index + (20 if index > 10 else 2.5 * (index == 10)), b"x" * 2 * FRAME)
    found = media_clock(in_order(call.packets).packets, ULAW, [None] * 20, 40, 20)
    assert starts(found) == [40.0 * i for i in range(11)] + [20 + 40.0 * i for i in range(11, 20)]
    assert slips(found) == [0] * 10 + [2.5] + [0] * 9


def test_a_gap_in_the_timestamps_begins_a_new_segment() -> None:
    call = Call()
    call.play(0, 0, 5 * FRAME)
    call.packet(503, b"x" * FRAME, gap=3200)
    found = clocks(call)
    assert starts(found)[-1] == 503
    assert found[-1].segment == 1


def test_a_short_frame_takes_a_whole_tick() -> None:
    call = Call()
    call.play(0, 0, 5 * FRAME)
    call.packet(100, b"x" * 50)
    call.play(120, 1000, 1000 + 5 * FRAME)
    found = clocks(call)
    assert starts(found) == [20.0 * index for index in range(11)]
    assert {clock.segment for clock in found} == {0}


def test_asterisks_timestamp_of_a_short_frame_is_no_gap() -> None:
    # It adds the samples of the packet itself instead of those of the packet before.
    call = Call()
    call.play(0, 0, 5 * FRAME)
    call.packet(100, b"x" * 50, gap=50 - FRAME)
    call.packet(120, b"x" * FRAME, gap=FRAME - 50)
    call.packet(140, b"x" * FRAME)
    assert {clock.segment for clock in clocks(call)} == {0}


def test_a_last_packet_that_is_late_counts_as_slipped() -> None:
    call = Call()
    call.play(0, 0, 10 * FRAME, late_ms={9: 20})
    found = clocks(call)
    assert (starts(found)[-1], slips(found)[-1]) == (180, 20)


def test_unless_its_media_had_not_been_there_before() -> None:
    call = Call()
    call.play(0, 0, 10 * FRAME, late_ms={9: 20})
    found = clocks(call, ready_ms={9: 190})
    assert (starts(found)[-1], slips(found)[-1], found[-1].segment) == (200, 0, 1)


def test_all_packets_around_late_shows_in_the_median() -> None:
    call = Call()
    call.play(0, 0, 11 * FRAME, late_ms={index: 6 for index in range(11) if index != 5})
    assert [clock.around_lateness_ns / MS for clock in clocks(call)] == [6] * 11


def test_lost_packets_leave_the_clock_running() -> None:
    call = Call()
    call.play(0, 0, 10 * FRAME)
    del call.packets[4:6]
    ordered = in_order(call.packets)
    assert ordered.missing == 2
    assert [one.missing_before for one in ordered.packets] == [0, 0, 0, 0, 2, 0, 0, 0]
    found = clocks(call)
    assert starts(found)[4:] == [120, 140, 160, 180]
    assert {clock.segment for clock in found} == {0}


def test_duplicates_and_reordering() -> None:
    call = Call()
    call.play(0, 0, 6 * FRAME)
    packets = call.packets
    call.packets = [packets[0], packets[2], packets[1], packets[1], *packets[3:]]
    ordered = in_order(call.packets)
    assert [one.packet for one in ordered.packets] == packets
    assert (ordered.missing, ordered.duplicates, ordered.reordered) == (0, 1, 1)


def test_a_new_ssrc_is_a_new_segment() -> None:
    call = Call()
    call.play(0, 0, 3 * FRAME)
    call.ssrc = 8
    call.play(60, 3 * FRAME, 6 * FRAME)
    found = clocks(call)
    assert [clock.segment for clock in found] == [0, 0, 0, 1, 1, 1]
    assert in_order(call.packets).missing == 0


@given(st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1))
def test_wraps_of_sequence_and_timestamp_change_nothing(sequence: int, timestamp: int) -> None:
    call = Call(sequence, timestamp)
    call.play(0, 0, 8 * FRAME)
    found = clocks(call)
    assert starts(found) == [20.0 * index for index in range(8)]
    assert {clock.segment for clock in found} == {0}
    assert in_order(call.packets).missing == 0


@pytest.mark.parametrize("sequence", [65530, 65535])
def test_the_wrap_itself(sequence: int) -> None:
    call = Call(sequence, 2**32 - 300)
    call.play(0, 0, 20 * FRAME)
    assert starts(clocks(call)) == [20.0 * index for index in range(20)]
