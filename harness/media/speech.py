"""Real speech, espeak-ng's voice as 8 kHz G.711 mu-law; as RTP of any codec; how loud audio is."""

from __future__ import annotations

import math
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from harness.errors import EnvironmentFault, HarnessFault
from harness.media import pcm
from harness.media.codecs import codec_named
from harness.media.pcm import Samples

SAMPLE_RATE_HZ = 8000
PTIME_MS = 20
_TIMEOUT_S = 30
_TONE_LEVEL = 3000
"""amplitude of a tone, of 32768"""
_ROOM_NOISE = 24
"""amplitude of the noise under the speech, of 32768: 63 dB below full scale, not audible"""


@dataclass(frozen=True)
class Utterance:
    """A spoken text; ``ulaw`` is one byte a sample, 8000 a second."""

    text: str
    ulaw: bytes


def synthesise(sentences: Sequence[str]) -> list[Utterance]:
    """Each of ``sentences`` (or words) spoken on its own.

    A faint noise lies under the speech, always the same for the same sentences: pure silence could
    not be told from padding on the wire, nor a word from its repetition.

    Raises EnvironmentFault when espeak-ng is missing or fails.
    """
    program = shutil.which("espeak-ng")
    if program is None:
        raise EnvironmentFault(
            "espeak-ng, which speaks the demonstration's text, is not installed",
            "install it: apt-get install espeak-ng",
        )
    with tempfile.TemporaryDirectory(prefix="speech-") as folder:
        return [
            Utterance(text, _speak(program, text, Path(folder), np.random.default_rng(number)))
            for number, text in enumerate(sentences)
        ]


def rtp_payloads(ulaw: bytes, codec: str = "ulaw") -> list[bytes]:
    """Speech as the payloads of RTP packets of 20 ms; the last one is filled up with silence.

    Raises InputFault for a codec that there is no encoder for (Opus).
    """
    wire = codec_named(codec)
    samples = resample(pcm.decode("ulaw", ulaw), SAMPLE_RATE_HZ, wire.sample_rate_hz)
    missing = -len(samples) % (wire.sample_rate_hz * PTIME_MS // 1000)
    data = _in_rtp(codec, np.pad(samples, (0, missing)))
    size = wire.frame_bytes
    return [data[begin : begin + size] for begin in range(0, len(data), size)]


def tone(duration_ms: int) -> bytes:
    """A tone of 400 Hz as 8 kHz mu-law."""
    samples = np.arange(SAMPLE_RATE_HZ * duration_ms // 1000)
    return pcm.encode("ulaw", _TONE_LEVEL * np.sin(2 * np.pi * 400 / SAMPLE_RATE_HZ * samples))


def silent_payload(codec: str) -> bytes:
    """The payload of an RTP packet of 20 ms of silence."""
    return _in_rtp(codec, np.zeros(codec_named(codec).sample_rate_hz * PTIME_MS // 1000))


def interruption(duration_ms: int, codec: str = "ulaw") -> list[bytes]:
    """Somebody who interrupts and talks for so long, as `rtp_payloads`.

    The first time in a process it takes espeak-ng's while.
    """
    spoken = _interruption()
    size = SAMPLE_RATE_HZ * duration_ms // 1000
    return rtp_payloads((spoken * (size // len(spoken) + 1))[:size], codec)


@cache
def _interruption() -> bytes:
    [spoken] = synthesise(["Excuse me, I have to interrupt you, that is not what I asked for."])
    return spoken.ulaw


def energy_dbfs(data: bytes, codec: str = "ulaw") -> float:
    """How loud audio is, in dB below a square wave of full scale; minus infinity for nothing.

    ``data`` is as chan_websocket has it: linear samples have the low byte first. Speech is
    around -20, line noise below -60.
    """
    samples = pcm.decode(codec, data)
    power = float(np.mean(np.square(samples))) if len(samples) else 0.0
    return 10 * math.log10(power / 32768**2) if power else -math.inf


def resample(samples: Samples, from_hz: int, to_hz: int = SAMPLE_RATE_HZ) -> Samples:
    """``samples`` at another rate, low-passed below half of the lower one (windowed sinc)."""
    if from_hz == to_hz:
        return samples
    cutoff = min(1.0, to_hz / from_hz) * 0.95  # of half the source's rate; the rest is roll-off
    reach = int(np.ceil(16 / cutoff))  # source samples on each side of the wanted moment
    count = len(samples) * to_hz // from_hz
    moments = np.arange(count) * (from_hz / to_hz)
    nearest = np.floor(moments).astype(np.int64)
    padded = np.concatenate([np.zeros(reach), samples, np.zeros(reach + 1)])
    result = np.zeros(count)
    for tap in range(-reach, reach + 1):
        distance = moments - (nearest + tap)
        window = np.where(
            np.abs(distance) < reach, 0.5 + 0.5 * np.cos(np.pi * distance / reach), 0.0
        )
        result += padded[nearest + tap + reach] * cutoff * np.sinc(cutoff * distance) * window
    return result


def _in_rtp(codec: str, samples: Samples) -> bytes:
    # The way there swaps the same bytes as the way back.
    return codec_named(codec).from_wire(pcm.encode(codec, samples))


def _speak(program: str, text: str, folder: Path, noise: np.random.Generator) -> bytes:
    file = folder / "spoken.wav"
    # "--" because a text may begin with a dash.
    command = [program, "-v", "en", "-w", str(file), "--", text]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_TIMEOUT_S)
    except (subprocess.SubprocessError, OSError) as error:
        raise EnvironmentFault(
            f"espeak-ng could not speak {text!r}: {error}",
            "try it by hand: espeak-ng -v en hello; its voices are in the package espeak-ng-data",
        ) from error
    with wave.open(str(file), "rb") as sound:
        if sound.getsampwidth() != 2 or sound.getnchannels() != 1:
            raise HarnessFault(f"espeak-ng's sound for {text!r} is not 16-bit mono")
        rate_hz = sound.getframerate()
        samples = np.frombuffer(sound.readframes(sound.getnframes()), dtype="<i2")
    speech = resample(samples.astype(np.float64), rate_hz)
    room = noise.uniform(-_ROOM_NOISE, _ROOM_NOISE, len(speech))
    return pcm.encode("ulaw", speech + room)
