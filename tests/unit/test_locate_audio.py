"""Recoded audio is found where it was in the stream: how exactly, and what is admitted not to be.

Here the way through Asterisk is played by a resampler of the test's own, as long as Asterisk's, and
the codecs of `harness.media.pcm`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.capture.timeline import Codec, Measurement, Message, RtpPacket, Timeline
from harness.judge.call import judge_call
from harness.judge.locate import Location
from harness.judge.locate_audio import ERROR_NS, Payload, locate_audio
from harness.media import audio_code
from harness.media.codecs import CODECS, recoded
from harness.media.pcm import Samples, decode, encode

PAIRS = (
    ("ulaw", "alaw"),
    ("slin", "ulaw"),
    ("slin16", "ulaw"),
    ("ulaw", "slin16"),
    ("alaw", "g722"),
    ("slin16", "g722"),
    ("g722", "slin16"),
    ("g722", "ulaw"),
)
every_pair = pytest.mark.parametrize(("application", "caller"), PAIRS)
MS = 1_000_000


def resampled(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    """8000 Hz made 16000 Hz or back, with the delay of a filter of 20 ms: 5 ms."""
    if from_hz == to_hz:
        return samples
    moments = np.arange(-80, 81) / 2
    taps = np.sinc(moments) * np.kaiser(161, 9) / 2
    if from_hz > to_hz:
        return np.asarray(np.convolve(samples, taps)[: len(samples)][::2])
    spread = np.zeros(2 * len(samples))
    spread[::2] = samples
    return np.asarray(2 * np.convolve(spread, taps)[: len(spread)])


class Run(NamedTuple):
    """Bytes of the stream that are heard one after the other."""

    place: int
    """in what is heard, in the application's bytes"""
    offset: int
    length: int


def joined(runs: Iterable[Run]) -> list[Run]:
    """Those made one that go on where the one before ends."""
    found: list[Run] = []
    for run in runs:
        last = found[-1] if found else None
        if (
            last
            and run.place == last.place + last.length
            and run.offset == last.offset + last.length
        ):
            found[-1] = last._replace(length=last.length + run.length)
        else:
            found.append(run)
    return found


@dataclass
class Path:
    """A path through Asterisk: frames of the application in, payloads for the caller out."""

    application: str
    caller: str
    position: int = 0
    """bytes of the stream that have been given out or left out"""
    frames: list[bytes] = field(default_factory=list)
    truth: list[tuple[int, int]] = field(default_factory=list)
    """offset and length of what is in each frame"""
    later: float = 0.0
    """by how many samples of the caller's the whole is shifted"""

    @property
    def codecs(self) -> tuple[Codec, Codec]:
        return CODECS[self.application], CODECS[self.caller]

    @property
    def frame_bytes(self) -> int:
        return CODECS[self.application].bytes_per_second // 50

    @property
    def resampled_bytes(self) -> int:
        """So much of each frame is heard with the next one."""
        application, caller = self.codecs
        differs = application.sample_rate_hz != caller.sample_rate_hz
        return application.bytes_per_second // 200 if differs else 0

    def play(self, size: int) -> None:
        """Give out the next bytes, the last frame filled up with silence."""
        codec = CODECS[self.application]
        for begin in range(0, size, self.frame_bytes):
            length = min(self.frame_bytes, size - begin)
            media = audio_code.coded(self.application, self.position, length)
            self.frames.append(media.ljust(self.frame_bytes, bytes([codec.silence])))
            self.truth.append((self.position, length))
            self.position += length

    def leave_out(self, size: int) -> None:
        """As a flush does."""
        self.position += size

    def silence(self, frames: int) -> None:
        self.frames += [bytes([CODECS[self.application].silence]) * self.frame_bytes] * frames
        self.truth += [(self.position, 0)] * frames

    def payloads(self, lost: Sequence[int] = ()) -> list[Payload]:
        application, caller = self.codecs
        heard = resampled(
            decode(application.name, b"".join(self.frames)),
            application.sample_rate_hz,
            caller.sample_rate_hz,
        )
        media = encode(caller.name, shifted(heard, self.later))
        size = caller.bytes_per_second // 50
        found, missing = [], 0
        for number in range(len(self.frames)):
            if number in lost:
                missing += 1
                continue
            data = media[number * size : (number + 1) * size]
            found.append(Payload(data, missing, self.position))
            missing = 0
        return found

    def located(self, lost: Sequence[int] = ()) -> list[Location]:
        stream = audio_code.coded(self.application, 0, self.position)
        return locate_audio(self.payloads(lost), stream, *self.codecs)

    def found(self, lost: Sequence[int] = ()) -> list[Run]:
        """Where it was located, that is what is to be tested."""
        numbers = [number for number in range(len(self.frames)) if number not in lost]
        return joined(
            Run(number * self.frame_bytes + piece.start, piece.offset, piece.length)
            for number, where in zip(numbers, self.located(lost), strict=True)
            for piece in where.pieces
        )

    def heard(self, lost: Sequence[int] = ()) -> list[Run]:
        """Where it is."""
        runs: list[Run] = []
        for number, (offset, length) in enumerate(self.truth):
            begin = number * self.frame_bytes + self.resampled_bytes
            for payload in {number, number + 1} - set(lost) - {len(self.frames)}:
                first = max(begin, payload * self.frame_bytes)
                last = min(begin + length, (payload + 1) * self.frame_bytes)
                runs += [Run(first, offset + first - begin, last - first)] * (first < last)
        return joined(sorted(runs))


def shifted(samples: Samples, later: float) -> Samples:
    """By a part of a sample, which is what another resampler may do."""
    if not later:
        return samples
    spectrum = np.fft.rfft(np.pad(samples, (0, 1000)))
    turns = np.exp(-2j * np.pi * np.fft.rfftfreq(len(samples) + 1000) * later)
    return np.asarray(np.fft.irfft(spectrum * turns)[: len(samples)])


def largest_error(found: Sequence[Run], truth: Sequence[Run]) -> int:
    """Of where a run begins or ends, in bytes."""
    assert len(found) == len(truth), (found, truth)
    return max(
        max(
            abs(run.place - true.place),
            abs(run.offset - true.offset),
            abs(run.offset + run.length - true.offset - true.length),
        )
        for run, true in zip(found, truth, strict=True)
    )


def error_bytes(path: Path, lost: Sequence[int] = ()) -> int:
    """The same of what was found of a path."""
    return largest_error(path.found(lost), path.heard(lost))


def allowed_bytes(application: str) -> int:
    return ERROR_NS * CODECS[application].bytes_per_second // 1_000_000_000


# ---- accuracy ------------------------------------------------------------------------------------


@every_pair
def test_media_that_goes_on_is_located_to_the_byte(application: str, caller: str) -> None:
    path = Path(application, caller)
    path.play(60 * path.frame_bytes)
    found = path.located()
    assert error_bytes(path) == 0
    assert all(where.certain and not where.foreign for where in found)
    assert not any(where.padding for where in found[1:])


@pytest.mark.parametrize(("application", "caller"), [one for one in PAIRS if one[0] != "g722"])
@pytest.mark.parametrize("tail", [0.25, 0.5, 0.6, 0.97])
def test_a_tail_filled_up_with_silence_and_what_follows_are_located_to_the_byte(
    application: str, caller: str, tail: float
) -> None:
    path = Path(application, caller)
    size = int((10 + tail) * path.frame_bytes) // 4 * 4
    for _ in range(3):
        path.play(size)
        path.silence(2)
    assert error_bytes(path) == 0
    heard = sum(run.length for run in path.heard())
    padding = sum(where.padding for where in path.located())
    assert padding == len(path.frames) * path.frame_bytes - heard


@every_pair
def test_a_jump_as_a_flush_makes_it_is_located(application: str, caller: str) -> None:
    path = Path(application, caller)
    for skipped in (1000, 12, 40_000, 0):
        path.play(7 * path.frame_bytes)
        path.leave_out(skipped)
    assert error_bytes(path) <= allowed_bytes(application)


@every_pair
def test_lost_packets(application: str, caller: str) -> None:
    path = Path(application, caller)
    path.play(30 * path.frame_bytes)
    lost = [3, 11, 12, 29]
    assert error_bytes(path, lost) <= allowed_bytes(application)


RESAMPLED = [("slin16", "ulaw"), ("ulaw", "slin16")]


def anew(application: str, caller: str, others: Sequence[bytes] = ()) -> tuple[list[Run], int]:
    """Where 20 frames are found of which the latter 10 went through another resampler, after the
    payloads of others; and how long a frame is."""
    paths = [Path(application, caller), Path(application, caller)]
    paths[1].position = 10 * paths[0].frame_bytes
    payloads = []
    for path in paths:
        path.play(10 * path.frame_bytes)
        payloads.append(path.payloads())
    between = [Payload(data, 0, paths[1].position) for data in others]
    stream = audio_code.coded(application, 0, paths[1].position)
    found = locate_audio([*payloads[0], *between, *payloads[1]], stream, *path.codecs)
    frame = path.frame_bytes
    runs = joined(
        Run(number * frame + piece.start, piece.offset, piece.length)
        for number, where in enumerate(found)
        for piece in where.pieces
    )
    return runs, frame


def end_lost(application: str, frame: int, others: int) -> list[Run]:
    """What is to be found there: of the first half not its end, which was in the first one."""
    kept = CODECS[application].bytes_per_second // 200
    length = 10 * frame - kept
    return [Run(kept, 0, length), Run((10 + others) * frame + kept, 10 * frame, length)]


@pytest.mark.parametrize(("application", "caller"), RESAMPLED)
def test_what_a_resampler_held_that_was_replaced_is_not_heard(
    application: str, caller: str
) -> None:
    """Silence of the same length is in its place, so that nothing is moved."""
    found, frame = anew(application, caller)
    assert largest_error(found, end_lost(application, frame, 0)) <= allowed_bytes(application)


# Of 150 such places those at which by chance theirs fitted ours better than silence.
@pytest.mark.parametrize("place", [11, 14, 36, 43, 60, 132])
@pytest.mark.parametrize(("application", "caller"), RESAMPLED)
def test_the_sound_of_others_right_beside_it_is_not_taken_for_ours(
    application: str, caller: str, place: int
) -> None:
    codec = CODECS[caller]
    samples = codec.sample_rate_hz // 50
    others = audio_code.samples(10**9 + 12_345 * place, 5 * samples, codec.sample_rate_hz)
    data = encode(caller, others)
    size = len(data) // 5
    found, frame = anew(
        application, caller, [data[at : at + size] for at in range(0, len(data), size)]
    )
    assert largest_error(found, end_lost(application, frame, 5)) <= allowed_bytes(application)


@every_pair
@pytest.mark.parametrize("later", [-0.75, -0.4, 0.25, 0.5, 0.9])
def test_a_shift_by_parts_of_a_sample(application: str, caller: str, later: float) -> None:
    path = Path(application, caller, later=later)
    path.play(20 * path.frame_bytes)
    path.leave_out(4000)
    path.play(20 * path.frame_bytes)
    # A whole sample of 8000 Hz at most.
    one_sample = CODECS[application].bytes_per_second // 8000
    assert error_bytes(path) <= one_sample


@settings(max_examples=50, deadline=None)
@given(
    pair=st.sampled_from([pair for pair in PAIRS if pair[0] != "g722"]),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["play", "leave out", "silence"]),
            st.integers(400, 3000),
        ),
        max_size=8,
    ),
)
@example(
    # A tail of the resampler was taken for the end of the stream, by chance.
    pair=("slin16", "ulaw"),
    steps=[("leave out", 489)] + [("play", size) for size in (759, 400, 2187, 2560, 2773, 2856)],
)
def test_any_course_of_a_call_is_located_within_the_error_that_is_stated(
    pair: tuple[str, str], steps: list[tuple[str, int]]
) -> None:
    path = Path(*pair)
    scale = path.frame_bytes // 160
    path.play(3200 * scale)
    for what, size in steps:
        if what == "play":
            # In pieces that end with a frame or some milliseconds before or after that, as the
            # least that is told apart from nothing.
            rest = size % 160
            path.play((size if 24 <= rest <= 136 else size - rest) * scale)
        elif what == "leave out":
            path.leave_out(size * scale)
        else:
            path.silence(size // 1000)
    path.play(3200 * scale)
    assert error_bytes(path) <= allowed_bytes(pair[0])


# ---- what is not ours ----------------------------------------------------------------------------


def test_silence_and_the_sound_of_others_are_not_from_the_stream() -> None:
    path = Path("slin16", "ulaw")
    path.play(6400)
    payloads = path.payloads()
    others = encode("ulaw", audio_code.samples(10**9, 1600, 8000))
    payloads += [Payload(b"\xff" * 160, 0, 6400)] * 2
    payloads += [Payload(others[at : at + 160], 0, 6400) for at in range(0, 1600, 160)]
    stream = audio_code.coded("slin16", 0, 6400)
    found = locate_audio(payloads, stream, *path.codecs)
    assert [bool(where.pieces) for where in found] == [True] * 10 + [False] * 12
    assert all(where.padding == 640 for where in found[10:12])
    assert all(where.foreign == 640 for where in found[12:])


def test_nothing_was_sent_and_nothing_came() -> None:
    codecs = CODECS["slin16"], CODECS["g722"]
    assert locate_audio([], b"", *codecs) == []
    [where] = locate_audio([Payload(b"\xfa" * 160, 0, 0)], b"", *codecs)
    assert where.pieces == ()


def test_what_was_not_sent_yet_is_not_looked_for() -> None:
    path = Path("slin16", "ulaw")
    path.play(12800)
    payloads = [Payload(one.data, one.missing_before, 6400) for one in path.payloads()]
    found = locate_audio(payloads, audio_code.coded("slin16", 0, 12800), *path.codecs)
    ends = [piece.end for where in found for piece in where.pieces]
    assert max(ends) <= 6400


def test_a_sentence_that_is_said_twice_is_in_doubt_after_a_jump() -> None:
    said = [audio_code.coded("ulaw", at, 3200) for at in (0, 50_000, 90_000)]
    stream = said[0] + said[1] + said[2] + said[1]
    path = Path("ulaw", "alaw", position=len(stream))
    path.frames = [part[at : at + 160] for part in (said[0], said[1]) for at in range(0, 3200, 160)]
    payloads = path.payloads()
    assert all(where.certain for where in locate_audio(payloads, stream, *path.codecs))
    found = locate_audio(payloads[20:], stream, *path.codecs)
    assert all(where.pieces and not where.certain for where in found)


# ---- in a call -----------------------------------------------------------------------------------


def call(answered_after_ms: float) -> Timeline:
    """Speech of 410 ms in slin16 for a caller with G.722, a mark behind it."""
    path = Path("slin16", "g722")
    path.play(13_120)
    rtp = tuple(
        RtpPacket((20 + 20 * number) * MS, number, 160 * number, 9, 7, payload.data)
        for number, payload in enumerate(path.payloads())
    )
    end_ms = 20 + 410
    messages = (
        Message(MS, "application", "binary", audio_code.coded("slin16", 0, 13_120)),
        Message(2 * MS, "application", "text", b"MARK id=a"),
        Message(int((end_ms + answered_after_ms) * MS), "asterisk", "text", b"MARK_PLAYED id=a"),
    )
    return Timeline(
        codec=CODECS["slin16"],
        rtp=rtp,
        messages=messages,
        measurement=Measurement("capture", 0),
        end_ns=2000 * MS,
        recoded=recoded("slin16", "g722", False),
    )


@pytest.mark.parametrize(
    ("after_ms", "verdict"), [(0.0, "PASS"), (1.5, "PASS"), (-1.5, "EARLY"), (3.5, "LATE")]
)
def test_a_mark_is_judged_with_the_error_that_is_stated(after_ms: float, verdict: str) -> None:
    found = judge_call(call(after_ms))
    assert [mark.verdict.value for mark in found.marks] == [verdict]
    assert found.marks[0].difference_ns == pytest.approx(after_ms * MS, abs=ERROR_NS / 2)
    assert found.notes == ("slin16 became g722: located by its sound, to 1 ms",)
    if verdict == "EARLY":
        assert "uncertainty +-1 ms" in found.mark_text(found.marks[0])


# ---- packets that are counted --------------------------------------------------------------------


def counted(answered_after_ms: float, *, packets: int = 21, flushed: bool = False) -> Timeline:
    """Speech of 410 ms in mu-law for a caller with GSM, which the judge cannot hear."""
    rtp = tuple(
        RtpPacket((20 + 20 * number) * MS, number, 160 * number, 3, 7, bytes(33))
        for number in range(packets)
    )
    messages = [
        Message(MS, "application", "binary", audio_code.coded("ulaw", 0, 3280)),
        Message(2 * MS, "application", "text", b"MARK id=a"),
        Message(int((430 + answered_after_ms) * MS), "asterisk", "text", b"MARK_PLAYED id=a"),
    ]
    if flushed:
        messages.append(Message(900 * MS, "application", "text", b"FLUSH_MEDIA"))
    return Timeline(
        codec=CODECS["ulaw"],
        rtp=rtp,
        messages=tuple(messages),
        measurement=Measurement("capture", 0),
        end_ns=2000 * MS,
        recoded=recoded("ulaw", "gsm", False),
    )


@pytest.mark.parametrize(
    ("after_ms", "verdict"), [(0.0, "PASS"), (1.5, "PASS"), (-0.1, "EARLY"), (3.5, "LATE")]
)
def test_a_mark_is_judged_by_the_count_of_packets(after_ms: float, verdict: str) -> None:
    found = judge_call(counted(after_ms))
    assert [mark.verdict.value for mark in found.marks] == [verdict]
    assert found.marks[0].difference_ns == pytest.approx(after_ms * MS, abs=1)
    assert found.notes == ("ulaw became gsm: located by counting its packets",)


def test_a_packet_that_never_came_is_missed() -> None:
    [mark] = judge_call(counted(0.0, packets=20)).marks
    assert (mark.verdict.value, "80 of the 3280 bytes" in mark.explanation) == ("WRONG", True)


def test_packets_cannot_be_counted_where_media_was_flushed() -> None:
    [mark] = judge_call(counted(0.0, flushed=True)).marks
    assert mark.verdict.value == "INCONCLUSIVE"
