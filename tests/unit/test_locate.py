"""Each payload is found in the stream, what was never played is left out, doubt is admitted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.judge.locate import Location, Piece, locate
from harness.media.position_code import encode

SILENCE = 0xFF
STREAM = encode(0, 20_000)


def at(offset: int, length: int = 160) -> bytes:
    return STREAM[offset : offset + length]


def offsets_of(locations: list[Location]) -> list[list[tuple[int, int]]]:
    return [[(piece.offset, piece.length) for piece in where.pieces] for where in locations]


def test_packets_that_follow_each_other() -> None:
    found = locate([at(0), at(160), at(320)], STREAM, SILENCE)
    assert offsets_of(found) == [[(0, 160)], [(160, 160)], [(320, 160)]]
    assert all(where.certain and not where.padding and not where.foreign for where in found)


def test_bytes_that_never_came_leave_a_gap() -> None:
    found = locate([at(0), at(1003), at(1163)], STREAM, SILENCE)
    assert offsets_of(found) == [[(0, 160)], [(1003, 160)], [(1163, 160)]]
    assert all(where.certain for where in found)


def test_a_tail_padded_with_silence_and_one_sent_short() -> None:
    padded = at(160, 50) + b"\xff" * 110
    found = locate([at(0), padded, at(210, 50), at(260)], STREAM, SILENCE)
    assert offsets_of(found) == [[(0, 160)], [(160, 50)], [(210, 50)], [(260, 160)]]
    assert [where.padding for where in found] == [0, 110, 0, 0]


def test_padding_is_not_taken_for_a_silence_byte_of_the_stream() -> None:
    stream = at(0, 200) + b"\xff\xff" + at(1000, 400)
    payloads = [stream[:160], stream[160:200] + b"\xff" * 120, stream[200:360], stream[360:520]]
    found = locate(payloads, stream, SILENCE)
    assert offsets_of(found) == [[(0, 160)], [(160, 40)], [(200, 160)], [(360, 160)]]
    assert found[1].padding == 120


def test_few_bytes_and_the_silence_that_fills_their_frame_in_a_long_packet() -> None:
    for few in (1, 13):
        packet = at(160, few) + b"\xff" * (160 - few) + at(160 + few, 320)
        found = locate([at(0), packet, at(480 + few)], STREAM, SILENCE, 160)
        assert offsets_of(found) == [[(0, 160)], [(160, few), (160 + few, 320)], [(480 + few, 160)]]
        assert (found[1].padding, found[1].foreign) == (160 - few, 0)
    others = b"\x01" * 13 + b"\xff" * 147 + at(160, 320)
    found = locate([at(0), others, at(480)], STREAM, SILENCE, 160)
    assert offsets_of(found) == [[(0, 160)], [(160, 320)], [(480, 160)]]


@pytest.mark.parametrize("silent", [0, 1, 40, 79, 80])
def test_a_frame_amid_a_packet_may_have_a_byte_of_silence(silent: int) -> None:
    """What comes behind a flush: the rest of a frame of silence, and one from where it goes on."""
    frame = bytearray(byte ^ (byte == SILENCE) for byte in at(5000))
    if silent < 80:
        frame[silent] = SILENCE
    stream = at(0, 5000) + bytes(frame) + at(5160, 2000)
    packets = [stream[:240], b"\xff" * 80 + stream[5000:5160], stream[5160:5400]]
    found = locate(packets, stream, SILENCE, 160, resumed_at={5000})
    assert offsets_of(found) == [[(0, 240)], [(5000, 160)], [(5160, 240)]]
    assert found[1].foreign == 0


def test_pure_silence_and_foreign_packets_are_not_from_the_stream() -> None:
    foreign = encode(10**9, 160)
    found = locate([at(0), b"\xff" * 160, foreign, at(160)], STREAM, SILENCE)
    assert offsets_of(found) == [[(0, 160)], [], [], [(160, 160)]]
    assert (found[1].padding, found[1].foreign) == (160, 0)
    assert (found[2].padding, found[2].foreign) == (0, 160)


def test_a_few_bytes_that_are_alike_by_chance_do_not_make_a_packet_ours() -> None:
    foreign = at(160, 2) + encode(10**9, 158)
    found = locate([at(0), foreign, at(160)], STREAM, SILENCE)
    assert offsets_of(found) == [[(0, 160)], [], [(160, 160)]]


def test_a_frame_made_of_two_distant_pieces() -> None:
    found = locate([at(0), at(160, 10) + at(5000, 150), at(5150)], STREAM, SILENCE)
    assert found[1].pieces == (Piece(0, 160, 10), Piece(10, 5000, 150))
    assert found[1].foreign == 0


@pytest.mark.parametrize("few", [1, 3, 15])
def test_a_frame_that_ends_in_few_bytes_from_where_the_stream_is_said_to_go_on(few: int) -> None:
    """They are too few to be searched for; they are not believed if they are others."""
    stream = at(0, 1000)
    frame = stream[: 160 - few]
    resumed_at = {100, 600, 700}
    for goes_on, following in ((600 + few, [(600 + few, 160)]), (760, [(760, 160)])):
        payloads = [frame + stream[600 : 600 + few], stream[goes_on : goes_on + 160]]
        found = locate(payloads, stream, SILENCE, 160, resumed_at)
        assert offsets_of(found) == [[(0, 160 - few), (600, few)], following]
        assert found[0].foreign == 0
    others = bytes(byte ^ 1 for byte in stream[600 : 600 + few])
    found = locate([frame + others, stream[760:920]], stream, SILENCE, 160, resumed_at)
    assert offsets_of(found) == [[(0, 160 - few)], [(760, 160)]]
    assert found[0].foreign == few


@pytest.mark.parametrize("resumed_at", [(), (1003,)])
@pytest.mark.parametrize("few", [1, 2, 40])
def test_a_jump_behind_the_end_of_a_frame_of_silence(few: int, resumed_at: tuple[int, ...]) -> None:
    """Packets of a mixer need not begin with a frame; nor does what comes behind a flush."""
    packet = b"\xff" * few + at(1003, 160 - few)
    found = locate([at(0), packet, at(1163 - few)], STREAM, SILENCE, 160, resumed_at)
    assert offsets_of(found) == [[(0, 160)], [(1003, 160 - few)], [(1163 - few, 160)]]
    assert (found[1].padding, found[1].foreign) == (few, 0)


def test_a_jump_behind_the_end_of_a_frame_of_others() -> None:
    packet = b"\x01\x02" + at(1003, 158)
    found = locate([at(0), packet, at(1161)], STREAM, SILENCE, 160, {1003})
    assert offsets_of(found) == [[(0, 160)], [(1003, 158)], [(1161, 160)]]
    assert (found[1].padding, found[1].foreign) == (0, 2)


def test_silence_within_speech_is_confirmed_by_what_follows() -> None:
    stream = at(0, 160) + b"\xff" * 480 + at(160, 160)
    found = locate([stream[begin : begin + 160] for begin in range(0, 800, 160)], stream, SILENCE)
    assert offsets_of(found) == [[(begin, 160)] for begin in range(0, 800, 160)]
    assert all(where.certain for where in found)


def test_silence_that_a_jump_follows_stays_uncertain() -> None:
    stream = at(0, 160) + b"\xff" * 480 + at(160, 1600)
    found = locate([stream[:160], b"\xff" * 160, stream[1200:1360]], stream, SILENCE)
    assert [where.certain for where in found] == [True, False, True]


def test_inserted_silence_before_the_streams_own_is_not_believed() -> None:
    stream = at(0, 160) + b"\xff" * 320 + at(160, 160)
    inserted = [b"\xff" * 160] * 3
    payloads = [stream[:160], *inserted, stream[160:320], stream[320:480], stream[480:]]
    found = locate(payloads, stream, SILENCE)
    assert offsets_of(found)[-1] == [(480, 160)]
    # Which of the five silent packets were the stream's two cannot be told.
    pieces = [where for where in found[1:-1] if where.pieces]
    assert len(pieces) == 2


def test_a_repeated_sentence_after_a_jump_is_in_doubt_until_something_unique_comes() -> None:
    sentence, other = at(0, 480), at(8000, 480)
    stream = at(4000, 160) + other + sentence + other + sentence + at(9000, 160)
    payloads = [stream[:160], sentence[:160], sentence[160:320]]
    found = locate(payloads, stream, SILENCE)
    assert [where.certain for where in found] == [True, False, False]


def test_silence_at_the_very_end_is_certain() -> None:
    stream = at(0, 160) + b"\xff" * 160
    assert locate([stream[:160], stream[160:]], stream, SILENCE)[1].certain


def test_nothing_sent() -> None:
    assert offsets_of(locate([at(0), b""], b"", SILENCE)) == [[], []]


@given(
    st.lists(st.tuples(st.integers(1, 320), st.booleans()), min_size=1, max_size=40),
    st.integers(0, 2**40),
)
def test_any_cut_of_position_coded_media_is_located(
    cuts: list[tuple[int, bool]], begin: int
) -> None:
    """Frames of any size of which some never leave; those of 16 bytes and more are all found."""
    stream = encode(begin, sum(length for length, _ in cuts))
    payloads, wanted = [], []
    position = 0
    for length, leaves in cuts:
        if leaves and length >= 24:
            payloads.append(stream[position : position + length])
            wanted.append([(position, length)])
        position += length
    found = locate(payloads, stream, SILENCE)
    assert offsets_of(found) == wanted
