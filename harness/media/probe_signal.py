"""The signal of a call, by which the judge can locate its audio: a position code, in its bytes or
in its sound."""

from __future__ import annotations

from harness.media import audio_code, position_code
from harness.media.codecs import OPUS_FRAME_BYTES, recoded

# SILK and CELT together, full band, 20 ms, mono, one frame (RFC 6716, 3.1).
_OPUS_HEADER = bytes([15 << 3])


def probe_signal(
    codec: str, offset: int, size: int, *, caller_codec: str = "", mixed: bool = False
) -> bytes:
    """The ``size`` bytes of a call's media from byte ``offset`` on, in the application's codec.

    ``caller_codec`` (empty: the same) and whether a bridge mixes decide what survives the way: a
    code in the bytes where they are carried unchanged, one in the sound where they are not.
    Opus comes in whole frames of `OPUS_FRAME_BYTES`, each to be sent as a message of its own.

    Raises InputFault for a call that cannot be judged, ValueError for a part of an Opus frame.
    """
    if recoded(codec, caller_codec or codec, mixed):
        return audio_code.coded(codec, offset, size)
    if codec != "opus":
        return position_code.encode(offset, size)
    if offset % OPUS_FRAME_BYTES or size % OPUS_FRAME_BYTES:
        raise ValueError(f"{size} bytes from {offset} on are not whole frames of Opus")
    payload = OPUS_FRAME_BYTES - len(_OPUS_HEADER)
    frames = range(offset, offset + size, OPUS_FRAME_BYTES)
    return b"".join(_OPUS_HEADER + position_code.encode(begin, payload) for begin in frames)
