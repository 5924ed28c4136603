"""The position code tells the offset of any 16 bytes of the stream, and of nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.media.position_code import DECODABLE_BYTES, decode, encode

offsets = st.one_of(st.integers(0, 10_000), st.integers(0, 2**63), st.integers(2**32 - 64, 2**32))


@given(offsets, st.integers(DECODABLE_BYTES, 400))
def test_decode_tells_where_encode_began(offset: int, length: int) -> None:
    assert decode(encode(offset, length)) == offset


@given(offsets, st.lists(st.integers(0, 60), max_size=20))
def test_how_the_stream_is_chunked_does_not_matter(offset: int, lengths: list[int]) -> None:
    chunks = []
    position = offset
    for length in lengths:
        chunks.append(encode(position, length))
        position += length
    assert b"".join(chunks) == encode(offset, position - offset)


@given(st.binary(max_size=200))
def test_noise_has_no_offset(payload: bytes) -> None:
    assert decode(payload) is None


@given(offsets, st.integers(0, DECODABLE_BYTES - 1), st.integers(1, 255))
def test_one_changed_byte_is_noticed(offset: int, index: int, change: int) -> None:
    payload = bytearray(encode(offset, DECODABLE_BYTES))
    payload[index] ^= change
    assert decode(bytes(payload)) is None


def test_silence_and_short_payloads_have_no_offset() -> None:
    assert decode(b"\xff" * 160) is None
    assert decode(bytes(160)) is None
    assert decode(encode(800, DECODABLE_BYTES - 1)) is None
    assert decode(b"") is None


def test_the_code_is_pinned_so_that_saved_captures_stay_readable() -> None:
    # splitmix64 with seed 0 begins with this number (its published test vector).
    assert encode(0, 8) == (0xE220A8397B1DCDAF).to_bytes(8, "little")
    assert encode(0, 0) == b""


@pytest.mark.parametrize(("offset", "length"), [(-1, 10), (0, -1), (2**64 - 5, 10)])
def test_impossible_ranges_are_refused(offset: int, length: int) -> None:
    with pytest.raises(ValueError, match="64-bit stream"):
        encode(offset, length)
