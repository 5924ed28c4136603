"""The call's audio as linear samples and back, and the arithmetic of what was played."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chan_websocket.codecs import Codec
from chan_websocket.estimate import FRAME_S, Estimate
from chan_websocket.playback import cut_at, heard_text, last_played
from harness.media import pcm

BYTES = bytes(range(256))


@pytest.mark.parametrize("name", ["ulaw", "alaw"])
def test_g711_is_that_of_the_harness(name: str) -> None:
    """Which has it from elsewhere (ITU-T G.711's tables by numpy)."""
    samples = array("h", Codec(name).decode(BYTES))
    assert list(samples) == [int(sample) for sample in pcm.decode(name, BYTES)]


@pytest.mark.parametrize("name", ["ulaw", "alaw"])
def test_each_code_comes_back(name: str) -> None:
    """But mu-law's negative zero, which is zero."""
    codec = Codec(name)
    codes = BYTES.replace(b"\x7f", b"\xff") if name == "ulaw" else BYTES
    assert codec.encode(codec.decode(BYTES)) == codes


@given(st.binary(max_size=64))
def test_linear_audio_is_left_as_it_is(data: bytes) -> None:
    codec = Codec("slin16")
    assert codec.sample_rate == 16000
    assert codec.decode(data) == data
    assert codec.encode(data) == data[: len(data) // 2 * 2]


def test_a_codec_that_is_not_known_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"the call's audio is opus.*c\(slin16\)"):
        Codec("opus")


@given(st.integers(0, 400), st.lists(st.booleans(), min_size=1, max_size=60))
def test_a_flush_cuts_off_behind_what_was_not_flushed(flushed: int, lost: list[bool]) -> None:
    """Ten bytes each, lost or not: the cut is where as many are left as were flushed."""
    end = 10 * len(lost)
    ranges = [(10 * n, 10 * n + 10) for n, gone in enumerate(lost) if gone]
    there = sum(10 for gone in lost if not gone)
    flushed = min(flushed, there)
    cut = cut_at(end, flushed, ranges)
    gone = sum(min(behind, end) - max(first, cut) for first, behind in ranges if behind > cut)
    assert end - cut - gone == flushed
    before = last_played(cut, ranges)
    assert before <= cut
    assert before == 0 or not any(first < before <= behind for first, behind in ranges)


def test_a_word_of_which_the_most_was_lost_was_not_heard() -> None:
    pieces = [(100, "a"), (200, "b"), (300, "c")]
    assert heard_text(pieces, 0, 300, []) == "abc"
    assert heard_text(pieces, 0, 299, []) == "ab"
    assert heard_text(pieces, 0, 300, [(140, 200)]) == "ac"
    assert heard_text(pieces, 0, 300, [(160, 200)]) == "abc"


def test_an_estimate_plays_in_real_time_and_is_never_ahead_of_an_acknowledgement() -> None:
    estimate = Estimate(8000)
    estimate.on_sent(16000, 10.0)
    assert estimate.position(10.0 + FRAME_S) == pytest.approx(0, abs=1)
    assert estimate.position(11.0 + FRAME_S) == pytest.approx(8000, abs=1)
    assert estimate.position(99.0) == pytest.approx(16000, abs=1)
    estimate.on_acknowledged(4000, 11.0)
    assert estimate.position(11.0 + FRAME_S) == pytest.approx(4000, abs=1)
    estimate.on_paused(11.0 + FRAME_S)
    assert estimate.position(20.0) == pytest.approx(4000, abs=1)
    estimate.on_continued(20.0)
    assert estimate.position(20.5) == pytest.approx(8000, abs=1)
    estimate.on_flushed(20.5)
    assert estimate.position(30.0) == pytest.approx(16000, abs=1)
    estimate.on_sent(800, 30.0)
    assert estimate.position(estimate.time_of(16800)) == pytest.approx(16800, abs=1)
