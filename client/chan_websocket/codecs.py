"""The audio of a call as 16-bit linear samples (little endian, one channel), and back.

G.711 and signed linear, which need no library. With ``c(slin16)`` in Asterisk's dial string the
audio is linear already, at 16 kHz, and Asterisk transcodes.
"""

from __future__ import annotations

import sys
from array import array
from functools import cache

_RATES_HZ = {
    "ulaw": 8000,
    "alaw": 8000,
    "slin": 8000,
    "slin12": 12000,
    "slin16": 16000,
    "slin24": 24000,
    "slin32": 32000,
    "slin44": 44100,
    "slin48": 48000,
    "slin96": 96000,
    "slin192": 192000,
}


class Codec:
    """An audio format of Asterisk, by its name there. Raises ValueError for others than these."""

    def __init__(self, name: str) -> None:
        if name not in _RATES_HZ:
            raise ValueError(
                f"the call's audio is {name}, which is not decoded here: have Asterisk transcode,"
                " with c(slin16) or c(ulaw) in the dial string"
            )
        self.name = name
        self.sample_rate = _RATES_HZ[name]
        """in Hz"""
        self.sample_bytes = 2 if name.startswith("slin") else 1

    def decode(self, data: bytes) -> bytes:
        """The call's audio as linear samples."""
        if self.sample_bytes == 2:
            return data
        return _little_endian(array("h", map(_decoding(self.name).__getitem__, data)))

    def encode(self, linear: bytes) -> bytes:
        """Linear samples as the call's audio; half a sample at the end is left out."""
        linear = linear[: len(linear) // 2 * 2]
        if self.sample_bytes == 2:
            return linear
        samples = array("H", linear)
        if sys.byteorder == "big":
            samples.byteswap()
        return bytes(map(_encoding(self.name).__getitem__, samples))


def _little_endian(samples: array[int]) -> bytes:
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


@cache
def _decoding(name: str) -> list[int]:
    sample_of = _ulaw_sample if name == "ulaw" else _alaw_sample
    return [sample_of(code) for code in range(256)]


@cache
def _encoding(name: str) -> bytes:
    """The code of each sample, which is read as unsigned: the nearest one."""
    codes = sorted(range(256), key=_decoding(name).__getitem__)
    values = [_decoding(name)[code] for code in codes]
    table = bytearray(65536)
    nearest = 0
    for sample in range(-32768, 32768):
        while nearest < 255 and (
            abs(values[nearest + 1] - sample) <= abs(values[nearest] - sample)
        ):
            nearest += 1
        table[sample & 0xFFFF] = codes[nearest]
    return bytes(table)


def _ulaw_sample(code: int) -> int:
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 0x07)) - 0x84
    return -magnitude if code & 0x80 else magnitude


def _alaw_sample(code: int) -> int:
    code ^= 0x55
    exponent = code >> 4 & 0x07
    magnitude = (code & 0x0F) << 4
    magnitude = magnitude + 8 if exponent == 0 else magnitude + 0x108 << exponent - 1
    return magnitude if code & 0x80 else -magnitude
