"""Position-coded audio for paths that decode and encode it: noise that nowhere repeats itself.

The endless stream is white noise, each sample a scrambling of its number, through a band-pass of
telephone speech, so that every codec and resampler on the way leaves it alone. Any few
milliseconds of it are found again by correlation, see `harness.judge.locate_audio`.
"""

from __future__ import annotations

import threading
from functools import cache

import numpy as np
import numpy.typing as npt

from harness.media.pcm import G722Encoder, Samples, encode
from harness.media.position_code import mix

LEVEL = 2500.0
"""root mean square of its samples, of 32768: its peaks are far from clipping"""
BAND_HZ = (300.0, 3300.0)

_TAPS_MS = 16
_TAPS_BITS = 16
"""of the taps' fixed point"""
_G722_BLOCK = 320 * 50
"""samples that are encoded at a time"""
_BYTES_A_SAMPLE = {"ulaw": 1, "alaw": 1, "slin": 2, "slin16": 2}


def samples(begin: int, count: int, rate_hz: int) -> Samples:
    """``count`` samples of the stream from sample ``begin`` on, as whole numbers."""
    taps = _band_pass(rate_hz)
    numbers = np.arange(begin, begin + count + len(taps) - 1, dtype=np.uint64)
    # 16 bits of each: their sums are exact, so how the stream is cut makes no difference.
    white = (mix(numbers) >> np.uint64(48)).astype(np.int64) - 2**15
    filtered = np.convolve(white, taps, "valid")
    stream: Samples = np.rint(filtered / 2**_TAPS_BITS).astype(np.float64)
    return stream


def coded(codec: str, offset: int, size: int) -> bytes:
    """The ``size`` bytes of the stream in ``codec`` that begin at byte ``offset``.

    Raises InputFault for a codec without an encoder.
    """
    if codec == "g722":
        return _G722_STREAM.part(offset, size)
    each = _BYTES_A_SAMPLE.get(codec, 1)
    first, last = offset // each, -(-(offset + size) // each)
    data = encode(codec, samples(first, last - first, 16000 if codec == "slin16" else 8000))
    skip = offset - first * each
    return data[skip : skip + size]


class _G722Stream:
    """The stream in G.722, encoded from its beginning as far as it was asked for."""

    def __init__(self) -> None:
        self._encoder = G722Encoder()
        self._coded = bytearray()
        self._lock = threading.Lock()

    def part(self, offset: int, size: int) -> bytes:
        with self._lock:
            while len(self._coded) < offset + size:
                begin = 2 * len(self._coded)
                self._coded += self._encoder.encode(samples(begin, _G722_BLOCK, 16000))
            return bytes(self._coded[offset : offset + size])


@cache
def _band_pass(rate_hz: int) -> npt.NDArray[np.int64]:
    """The filter that makes white noise of 16 bits the stream: a windowed sinc, fixed point."""
    reach = rate_hz * _TAPS_MS // 2000
    times = np.arange(-reach, reach + 1) / rate_hz
    low, high = BAND_HZ
    ideal = 2 * high * np.sinc(2 * high * times) - 2 * low * np.sinc(2 * low * times)
    taps = ideal * np.blackman(len(times))
    white_level = 2**16 / np.sqrt(12)  # of numbers spread evenly over 16 bits
    taps *= LEVEL / (white_level * np.sqrt(np.sum(taps**2)))
    fixed: npt.NDArray[np.int64] = np.rint(taps * 2**_TAPS_BITS).astype(np.int64)
    return fixed


_G722_STREAM = _G722Stream()
