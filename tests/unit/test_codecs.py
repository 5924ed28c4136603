"""Codecs: their numbers, their samples, and the media that calls with them are played."""

from __future__ import annotations

from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.capture.dissect import timeline_from_sockets
from harness.capture.timeline import ULAW, Message, RtpPacket
from harness.errors import InputFault
from harness.judge.call import judge_call
from harness.media import audio_code, pcm, position_code
from harness.media.codecs import CODECS, OPUS_FRAME_BYTES, SDP_CODECS, codec_named, recoded
from harness.media.probe_signal import probe_signal
from harness.record.capture_files import load_timeline, save_timeline

MS = 1_000_000
DECODED = ("ulaw", "alaw", "slin", "slin16", "g722")

# ---- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "frame_bytes", "timestamp_step", "samples"),
    [
        ("ulaw", 160, 160, 160),
        ("alaw", 160, 160, 160),
        ("slin", 320, 160, 160),
        ("slin16", 640, 320, 320),
        ("g722", 160, 160, 320),
        ("opus", 80, 960, 960),
        ("gsm", 33, 160, 160),
        ("g726", 80, 160, 160),
        ("speex", 38, 160, 160),
    ],
)
def test_a_frame_of_20_ms(name: str, frame_bytes: int, timestamp_step: int, samples: int) -> None:
    codec = codec_named(name)
    assert codec.ptime_ms == 20
    assert codec.frame_bytes == frame_bytes
    assert codec.duration_ns(frame_bytes) == 20_000_000
    assert codec.rtp_clock_hz // 50 == timestamp_step
    assert codec.sample_rate_hz // 50 == samples


def test_every_codec_can_be_offered_to_asterisk_with_its_clock() -> None:
    clocks = {name: int(sdp.rtpmap.split("/")[1]) for name, sdp in SDP_CODECS.items()}
    assert clocks == {name: codec.rtp_clock_hz for name, codec in CODECS.items()}


def test_an_unknown_codec_is_named_with_those_that_are_known() -> None:
    with pytest.raises(InputFault, match=r"'ilbc'.*\n.*ulaw, alaw, slin"):
        codec_named("ilbc")


@pytest.mark.parametrize(
    ("codec", "caller", "mixed", "expected"),
    [
        ("ulaw", "ulaw", True, None),
        ("slin", "slin", True, None),
        ("g722", "g722", False, None),
        ("opus", "opus", False, None),
        ("gsm", "gsm", False, None),
        ("g726", "g726", False, None),
        ("g722", "g722", True, "g722"),
        ("slin16", "slin16", True, "slin16"),
        ("slin16", "ulaw", False, "ulaw"),
        ("ulaw", "gsm", False, "gsm"),
        ("slin", "g726", False, "g726"),
    ],
)
def test_where_asterisk_encodes_anew(
    codec: str, caller: str, mixed: bool, expected: str | None
) -> None:
    found = recoded(codec, caller, mixed)
    assert (found.name if found else None) == expected


@pytest.mark.parametrize(
    ("codec", "caller", "mixed", "why"),
    [
        ("opus", "opus", True, "Asterisk has no Opus codec"),
        ("opus", "ulaw", False, "Asterisk has no Opus codec"),
        ("gsm", "gsm", True, "leaves too little of the sound"),
        ("ulaw", "g726", True, "cannot decode it"),
        ("gsm", "ulaw", False, "leaves too little of the sound"),
        ("opus", "gsm", False, "Asterisk has no Opus codec"),
    ],
)
def test_what_would_have_to_be_decoded_and_cannot_is_not_judged(
    codec: str, caller: str, mixed: bool, why: str
) -> None:
    with pytest.raises(InputFault, match=why):
        recoded(codec, caller, mixed)


# ---- byte order ----------------------------------------------------------------------------------


def test_l16_is_in_network_order_on_the_wire_and_not_on_the_websocket() -> None:
    assert CODECS["slin"].from_wire(b"\x12\x34\x56\x78") == b"\x34\x12\x78\x56"
    assert CODECS["slin16"].from_wire(b"\x12\x34\x56") == b"\x34\x12\x56"
    assert ULAW.from_wire(b"\x12\x34") == b"\x12\x34"


def test_a_call_in_slin_is_judged_by_the_bytes_the_application_sent(tmp_path: Path) -> None:
    sent = probe_signal("slin", 0, 1600)
    rtp = [
        RtpPacket(
            (20 * number + 20) * MS, number, 160 * number, 96, 7, CODECS["slin"].from_wire(frame)
        )
        for number, frame in enumerate(sent[at : at + 320] for at in range(0, 1600, 320))
    ]
    messages = [
        Message(MS, "application", "binary", sent),
        Message(MS, "application", "text", b"MARK id=a"),
        Message(121 * MS, "asterisk", "text", b"MARK_PLAYED id=a"),
    ]
    timeline = timeline_from_sockets(
        CODECS["slin"], rtp, messages, uncertainty_ns=0, end_ns=500 * MS, recoded=None
    )
    verdict = judge_call(timeline)
    assert verdict.marks_result == "PASS"
    assert [place.location.pieces[0].offset for place in verdict.located] == [
        0,
        320,
        640,
        960,
        1280,
    ]
    save_timeline(tmp_path, timeline)
    assert load_timeline(tmp_path) == timeline


def test_a_call_that_was_recoded_is_still_so_when_it_is_loaded(tmp_path: Path) -> None:
    timeline = timeline_from_sockets(
        CODECS["slin16"], [], [], uncertainty_ns=0, end_ns=1, recoded=CODECS["g722"]
    )
    save_timeline(tmp_path, timeline)
    assert load_timeline(tmp_path) == timeline
    assert load_timeline(tmp_path).wire == CODECS["g722"]


def test_what_was_saved_before_there_were_other_codecs_can_be_loaded(tmp_path: Path) -> None:
    timeline = timeline_from_sockets(ULAW, [], [], uncertainty_ns=0, end_ns=1)
    save_timeline(tmp_path, timeline)
    text = (tmp_path / "timeline.json").read_text()
    for part in (', "recoded": null', ', "sample_rate_hz": 8000', ', "swapped": false'):
        assert part in text
        text = text.replace(part, "")
    (tmp_path / "timeline.json").write_text(text)
    assert load_timeline(tmp_path) == timeline
    assert asdict(ULAW)["sample_rate_hz"] == 8000


# ---- samples -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "levels"),
    [
        # G.711, tables 1 and 2, times 4 and times 16.
        ("ulaw", {0xFF: 0, 0x7F: 0, 0xFE: 8, 0x80: 32124, 0x00: -32124, 0xEF: 132}),
        ("alaw", {0xD5: 8, 0x55: -8, 0xAA: 32256, 0x2A: -32256, 0xD4: 24}),
    ],
)
def test_levels_of_g711(codec: str, levels: dict[int, int]) -> None:
    assert list(pcm.decode(codec, bytes(levels))) == list(levels.values())


def decode_ulaw(byte: int) -> int:
    """ITU-T G.711, the standard's own expansion, scaled to 16 bits."""
    inverted = ~byte & 0xFF
    magnitude = (((inverted & 0x0F) << 3) + 132 << (inverted >> 4 & 0x07)) - 132
    return -magnitude if inverted & 0x80 else magnitude


@pytest.mark.parametrize(
    ("linear", "ulaw"),
    [(0, 0xFF), (32767, 0x80), (-32768, 0x00), (8, 0xFE), (-8, 0x7E), (32124, 0x80), (1000, 0xCE)],
)
def test_known_values_of_mu_law(linear: int, ulaw: int) -> None:
    assert pcm.encode("ulaw", [linear])[0] == ulaw


def test_the_nearest_of_the_256_levels_is_never_missed_by_more_than_half_a_step() -> None:
    linear = np.arange(-32635, 32636)
    decoded = np.array([decode_ulaw(code) for code in pcm.encode("ulaw", linear)])
    steps = 2.0 ** (np.floor(np.log2(np.abs(linear) + 132)) - 7 + 3)
    assert np.all(np.abs(decoded - linear) <= steps / 2)


@pytest.mark.parametrize("codec", ["ulaw", "alaw"])
def test_every_code_of_g711_comes_back(codec: str) -> None:
    codes = bytes(range(256))
    again = pcm.encode(codec, pcm.decode(codec, codes))
    assert CODECS[codec].canonical(again) == CODECS[codec].canonical(codes)


@given(st.lists(st.integers(-40000, 40000), max_size=20))
def test_slin_is_the_samples_themselves(samples: list[int]) -> None:
    decoded = pcm.decode("slin", pcm.encode("slin", samples) + b"x")
    assert list(decoded) == [max(-32768, min(32767, sample)) for sample in samples]


def test_g722_comes_back_22_samples_later() -> None:
    sent = audio_code.samples(0, 16000, 16000)
    heard = pcm.decode("g722", pcm.encode("g722", sent))
    alike = {delay: np.corrcoef(sent[:15000], heard[delay:][:15000])[0, 1] for delay in range(40)}
    assert max(alike, key=alike.__getitem__) == 22
    assert alike[22] > 0.999


def test_g722_of_any_length() -> None:
    whole = pcm.encode("g722", audio_code.samples(0, 640, 16000))
    assert pcm.encode("g722", audio_code.samples(0, 500, 16000)) == whole[:250]


@pytest.mark.parametrize("codec", DECODED)
def test_the_silence_byte_is_silence_after_sound_too(codec: str) -> None:
    sound = audio_code.coded(codec, 0, 3200)
    frame = CODECS[codec].frame_bytes
    rest = pcm.decode(codec, sound + bytes([CODECS[codec].silence]) * frame)[-100:]
    assert np.abs(rest).max() <= 25  # -62 dB


def test_what_cannot_be_decoded_says_so() -> None:
    for call in (lambda: pcm.decode("opus", b""), lambda: pcm.encode("opus", [])):
        with pytest.raises(InputFault, match="'opus' cannot be decoded"):
            call()


# ---- media ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", DECODED)
@settings(max_examples=25)
@given(cuts=st.lists(st.integers(0, 700), min_size=1, max_size=6), begin=st.integers(0, 5000))
def test_how_audio_code_is_cut_makes_no_difference(codec: str, cuts: list[int], begin: int) -> None:
    ends = [begin]
    for size in cuts:
        ends.append(ends[-1] + size)
    parts = [audio_code.coded(codec, first, last - first) for first, last in pairwise(ends)]
    assert b"".join(parts) == audio_code.coded(codec, begin, ends[-1] - begin)


@pytest.mark.parametrize("rate_hz", [8000, 16000])
def test_audio_code_is_loud_enough_and_within_the_telephone_band(rate_hz: int) -> None:
    samples = audio_code.samples(0, 10 * rate_hz, rate_hz)
    assert np.std(samples) == pytest.approx(audio_code.LEVEL, rel=0.05)
    assert np.abs(samples).max() < 16000
    power = np.abs(np.fft.rfft(samples)) ** 2
    frequencies = np.fft.rfftfreq(len(samples), 1 / rate_hz)
    outside = power[(frequencies < 150) | (frequencies > 3500)].sum()
    assert outside < power.sum() / 10_000


def test_a_call_is_played_what_survives_its_path() -> None:
    assert probe_signal("slin", 7, 99) == position_code.encode(7, 99)
    assert probe_signal("g722", 0, 160, caller_codec="g722") == position_code.encode(0, 160)
    assert probe_signal("g722", 0, 160, mixed=True) == audio_code.coded("g722", 0, 160)
    assert probe_signal("slin16", 3, 5, caller_codec="ulaw") == audio_code.coded("slin16", 3, 5)


def test_speex_says_that_each_frame_has_300_bits() -> None:
    frames = probe_signal("speex", 38, 2 * 38)
    # The first five bits, and then the position.
    assert [frames[0] >> 3, frames[38] >> 3] == [5, 5]
    assert position_code.decode(frames[1:]) == 38
    with pytest.raises(ValueError, match="not whole frames of speex"):
        probe_signal("speex", 0, 39)


def test_opus_comes_in_whole_frames() -> None:
    frames = probe_signal("opus", 160, 2 * OPUS_FRAME_BYTES)
    assert [frames[0], frames[OPUS_FRAME_BYTES]] == [0x78, 0x78]
    assert position_code.decode(frames[1:]) == 160
    assert position_code.decode(frames[OPUS_FRAME_BYTES + 1 :]) == 240
    with pytest.raises(ValueError, match="not whole frames"):
        probe_signal("opus", 0, 100)
