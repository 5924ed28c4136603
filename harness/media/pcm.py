"""Coded audio to samples and back: G.711 by table, G.722 by FFmpeg, slin as it is.

Samples are floating point numbers in the range of 16 bits, at the codec's sample rate.
"""

from __future__ import annotations

import av
import numpy as np
import numpy.typing as npt

from harness.errors import InputFault

Samples = npt.NDArray[np.float64]

DECODED = ("ulaw", "alaw", "slin", "slin16", "g722")
"""The codecs that are known, by Asterisk's names"""

_G722_RATE_HZ = 16000
_G722_FRAME_SAMPLES = 320
_INT16 = np.iinfo(np.int16)


def decode(codec: str, data: bytes) -> Samples:
    """The samples of ``data``, which is in a codec of Asterisk's name ``codec``.

    An odd byte at the end of slin is ignored. Raises InputFault for a codec that is not known.
    """
    if codec in _LEVELS:
        return _LEVELS[codec][np.frombuffer(data, np.uint8)]
    if codec in ("slin", "slin16"):
        return np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float64)
    if codec == "g722":
        return _decode_g722(data)
    raise _unknown(codec)


def encode(codec: str, samples: npt.ArrayLike) -> bytes:
    """Samples in ``codec``, each as the nearest level; G.722 from its beginning.

    Raises InputFault for a codec that is not known.
    """
    linear = np.clip(np.rint(np.asarray(samples, np.float64)), _INT16.min, _INT16.max)
    if codec in _LEVELS:
        return _encode_g711(_LEVELS[codec], linear)
    if codec in ("slin", "slin16"):
        return linear.astype("<i2").tobytes()
    if codec == "g722":
        encoder = G722Encoder()
        whole = encoder.encode(np.pad(linear, (0, -len(linear) % _G722_FRAME_SAMPLES)))
        return whole[: len(linear) // 2]
    raise _unknown(codec)


class G722Encoder:
    """Encodes one stream, of which each sample's code depends on all before it."""

    def __init__(self) -> None:
        self._context = av.CodecContext.create("g722", "w")
        assert isinstance(self._context, av.AudioCodecContext)
        self._context.sample_rate = _G722_RATE_HZ
        self._context.layout = "mono"
        self._context.format = av.AudioFormat("s16")

    def encode(self, samples: npt.ArrayLike) -> bytes:
        """The bytes of the stream's next samples, of which there are to be 320 or a multiple."""
        linear = np.asarray(samples).astype(np.int16).reshape(-1, 1, _G722_FRAME_SAMPLES)
        coded = bytearray()
        for block in linear:
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.sample_rate = _G722_RATE_HZ
            for packet in self._context.encode(frame):
                coded += bytes(packet)
        return bytes(coded)


def _decode_g722(data: bytes) -> Samples:
    context = av.CodecContext.create("g722", "r")
    assert isinstance(context, av.AudioCodecContext)
    context.sample_rate = _G722_RATE_HZ
    context.layout = "mono"
    frames = [frame.to_ndarray().ravel() for frame in context.decode(av.Packet(data))]
    return np.concatenate([np.empty(0), *frames])


def _encode_g711(levels: Samples, linear: Samples) -> bytes:
    order = np.argsort(levels, kind="stable")
    middles = (levels[order][1:] + levels[order][:-1]) / 2
    # Of the two codes of zero that is the one with the higher number, mu-law's positive one.
    return order[np.searchsorted(middles, linear, side="right")].astype(np.uint8).tobytes()


def _ulaw_levels() -> Samples:
    """The 256 levels of mu-law (G.711), in 16 bits."""
    code = ~np.arange(256) & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.float64)


def _alaw_levels() -> Samples:
    """The 256 levels of A-law (G.711), in 16 bits."""
    code = np.arange(256) ^ 0x55
    segment = code >> 4 & 7
    step = ((code & 0x0F) << 4) + 8
    magnitude = np.where(segment, step + 0x100 << np.maximum(segment - 1, 0), step)
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.float64)


def _unknown(codec: str) -> InputFault:
    return InputFault(
        f"audio in the codec {codec!r} cannot be decoded or encoded",
        f"Use one of {', '.join(DECODED)}.",
    )


_LEVELS = {"ulaw": _ulaw_levels(), "alaw": _alaw_levels()}
