"""Speech: the resampler against a tone it must keep, and how loud it is in each codec."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from harness.errors import EnvironmentFault
from harness.media import pcm, speech


def tone(hz: float, rate_hz: int) -> pcm.Samples:
    return 8000 * np.sin(2 * np.pi * hz * np.arange(rate_hz // 2) / rate_hz)


def test_resampling_keeps_speech_and_removes_what_8_khz_cannot_hold() -> None:
    kept = speech.resample(tone(1000, 22050), 22050)
    assert len(kept) == 4000
    np.testing.assert_allclose(kept[200:-200], tone(1000, 8000)[200:-200], atol=80)
    removed = speech.resample(tone(6000, 22050), 22050)
    assert np.max(np.abs(removed[200:-200])) < 80  # 40 dB down


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_speech_is_repeatable_and_nowhere_the_same_twice() -> None:
    first = speech.synthesise(["one", "one"])
    assert first == speech.synthesise(["one", "one"])
    assert [utterance.text for utterance in first] == ["one", "one"]
    stream = b"".join(utterance.ulaw for utterance in first)
    assert 0.4 < len(stream) / speech.SAMPLE_RATE_HZ < 3
    frames = [stream[begin : begin + 160] for begin in range(len(stream) - 159)]
    assert len(set(frames)) == len(frames)


def test_missing_espeak_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(EnvironmentFault) as raised:
        speech.synthesise(["hello"])
    assert "apt-get install espeak-ng" in raised.value.remedy


# ---- as RTP, and how loud ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "codec", "dbfs"),
    [
        (b"", "ulaw", -np.inf),
        (b"\xff\x7f" * 80, "ulaw", -np.inf),
        (b"\xd5\x55" * 80, "alaw", -72.25),
        (b"\x80\x00" * 80, "ulaw", -0.17),
        (b"\x00\x80" * 160, "slin", 0.0),
        (b"\x00\x40" * 160, "slin", -6.02),
        (b"\x00\x40\x00", "slin16", -6.02),
    ],
)
def test_energy(data: bytes, codec: str, dbfs: float) -> None:
    assert speech.energy_dbfs(data, codec) == pytest.approx(dbfs, abs=0.02)


@pytest.mark.parametrize("codec", ["ulaw", "alaw", "slin", "slin16", "g722"])
def test_a_tone_is_as_loud_in_each_codec(codec: str) -> None:
    tone = 8000 * np.sin(np.arange(1650) * 2 * np.pi * 440 / 8000)
    payloads = speech.rtp_payloads(pcm.encode("ulaw", tone), codec)
    assert len(payloads) == 11  # of 20 ms: the last one is filled up
    assert {len(payload) for payload in payloads} == {len(speech.silent_payload(codec))}
    # On the WebSocket linear samples have the low byte first.
    linear = codec in ("slin", "slin16")
    heard = [
        np.frombuffer(payload, ">i2").astype("<i2").tobytes() if linear else payload
        for payload in payloads
    ]
    loud = speech.energy_dbfs(b"".join(heard[:10]), codec)
    assert loud == pytest.approx(20 * np.log10(8000 / np.sqrt(2) / 32768), abs=0.3)


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_an_interruption_is_as_long_as_asked_for_and_loud() -> None:
    payloads = speech.interruption(5000)
    assert len(payloads) == 250
    assert max(speech.energy_dbfs(payload) for payload in payloads[:25]) > -20
