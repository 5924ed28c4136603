"""The signal of a call, by which the judge can locate its audio: a position code, in its bytes or
in its sound."""

from __future__ import annotations

from harness.media import audio_code, position_code
from harness.media.codecs import FRAME_HEADERS, codec_named, recoded


def probe_signal(
    codec: str, offset: int, size: int, *, caller_codec: str = "", mixed: bool = False
) -> bytes:
    """The ``size`` bytes of a call's media from byte ``offset`` on, in the application's codec.

    ``caller_codec`` (empty: the same) and whether a bridge mixes decide what survives the way: a
    code in the bytes where they are carried unchanged, one in the sound where they are not.
    Opus and Speex come in whole frames, each to be sent as a message of its own.

    Raises InputFault for a call that cannot be judged, ValueError for a part of such a frame.
    """
    if recoded(codec, caller_codec or codec, mixed):
        return audio_code.coded(codec, offset, size)
    if codec not in FRAME_HEADERS:
        return position_code.encode(offset, size)
    header, frame_bytes = FRAME_HEADERS[codec], codec_named(codec).frame_bytes
    if offset % frame_bytes or size % frame_bytes:
        raise ValueError(f"{size} bytes from {offset} on are not whole frames of {codec}")
    payload = frame_bytes - len(header)
    frames = range(offset, offset + size, frame_bytes)
    return b"".join(header + position_code.encode(begin, payload) for begin in frames)
