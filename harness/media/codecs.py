"""The codecs whose calls can be judged, all that is known of each, and what becomes of an
application's bytes on the way. No other file lists them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.capture.timeline import ULAW, Codec
from harness.errors import InputFault

CodecName = Literal["ulaw", "alaw", "slin", "slin16", "g722", "opus", "gsm", "g726", "speex"]
"""Asterisk's names of them"""

OPUS_FRAME_BYTES = 80

PACKET_TIMES_MS = (10, 20, 30, 40, 60, 80, 120)
"""that a caller can ask for, in ms"""

_ALAW = Codec("alaw", bytes_per_second=8000, rtp_clock_hz=8000, ptime_ms=20, silence=0xD5)
_SLIN = Codec(
    "slin", bytes_per_second=16000, rtp_clock_hz=8000, ptime_ms=20, silence=0, swapped=True
)
_SLIN16 = Codec(
    "slin16",
    bytes_per_second=32000,
    rtp_clock_hz=16000,
    ptime_ms=20,
    silence=0,
    sample_rate_hz=16000,
    swapped=True,
)
_G722 = Codec(
    "g722",
    bytes_per_second=8000,
    rtp_clock_hz=8000,  # though it has 16000 samples a second: RFC 3551, 4.5.2
    ptime_ms=20,
    silence=0xFD,  # of all bytes the one that lets every decoder's sound die away soonest
    sample_rate_hz=16000,
)
_OPUS = Codec(
    "opus",
    bytes_per_second=50 * OPUS_FRAME_BYTES,
    rtp_clock_hz=48000,
    ptime_ms=20,
    silence=0,
    sample_rate_hz=48000,
)
# 33 bytes a frame, of which each half byte but the first is sound: nothing looks into them.
_GSM = Codec("gsm", bytes_per_second=1650, rtp_clock_hz=8000, ptime_ms=20, silence=0)
_G726 = Codec("g726", bytes_per_second=4000, rtp_clock_hz=8000, ptime_ms=20, silence=0)
_SPEEX = Codec("speex", bytes_per_second=1900, rtp_clock_hz=8000, ptime_ms=20, silence=0)
CODECS = {
    codec.name: codec for codec in (ULAW, _ALAW, _SLIN, _SLIN16, _G722, _OPUS, _GSM, _G726, _SPEEX)
}
"""What can be judged, by Asterisk's name. Opus and Speex only in frames of 20 ms that all have the
same size, so that bytes and times belong together as they do in G.711."""

FRAME_HEADERS = {
    # SILK and CELT together, full band, 20 ms, mono, one frame (RFC 6716, 3.1).
    "opus": bytes([15 << 3]),
    # Narrow band, submode 5: 300 bits, and four that are too few for another frame (RFC 5574).
    "speex": bytes([5 << 3]),
}
"""What a frame begins with that says itself how long it lasts; such a frame is a message"""


@dataclass(frozen=True)
class SdpCodec:
    """How a codec is offered in SDP (RFC 3551 and the codec's own RFC)."""

    payload_type: int
    rtpmap: str


SDP_CODECS: dict[str, SdpCodec] = {
    "ulaw": SdpCodec(0, "PCMU/8000"),
    "alaw": SdpCodec(8, "PCMA/8000"),
    "g722": SdpCodec(9, "G722/8000"),
    "slin": SdpCodec(96, "L16/8000"),
    "slin16": SdpCodec(97, "L16/16000"),
    "opus": SdpCodec(107, "opus/48000/2"),
    "gsm": SdpCodec(3, "GSM/8000"),
    "g726": SdpCodec(111, "G726-32/8000"),
    "speex": SdpCodec(110, "speex/8000"),
}
"""How the caller offers each of `CODECS`"""

_MIXED_UNCHANGED = frozenset({"ulaw", "alaw", "slin"})
"""of which a mixer makes the same bytes again. It works at 8000 Hz until it has seen that others
could have more, so that slin16 is resampled twice"""

_UNCHANGED_ONLY = {
    "opus": "Asterisk has no Opus codec of its own",
    "gsm": "it leaves too little of the sound that media is located by",
    "g726": "the harness cannot decode it",
    "speex": "codec_speex is not built",
}
"""Codecs of which only the very bytes can be located, with why"""

COUNTED = frozenset({"gsm", "g726"})
"""and to a caller that has them, without a mixer between, their packets can be counted: each holds
what follows on the one before it, if nothing is flushed or dropped"""


def codec_named(name: str) -> Codec:
    """The codec of Asterisk's name ``name``. Raises InputFault for one that cannot be judged."""
    if name not in CODECS:
        raise InputFault(
            f"calls with the codec {name!r} cannot be judged", f"Use one of {', '.join(CODECS)}."
        )
    return CODECS[name]


def recoded(codec: str, caller_codec: str, mixed: bool) -> Codec | None:
    """The caller's codec if Asterisk decodes the application's bytes and encodes them anew.

    None if RTP carries them unchanged: the codecs are the same, and between them there is no mixer
    (``mixed``) or one that gives back what it got. Raises InputFault for what cannot be judged.
    """
    _, caller = codec_named(codec), codec_named(caller_codec)
    if codec == caller_codec and (codec in _MIXED_UNCHANGED or not mixed):
        return None
    counted = caller_codec in COUNTED and codec not in _UNCHANGED_ONLY and not mixed
    for one in (codec, caller_codec):
        if one in _UNCHANGED_ONLY and not counted:
            raise InputFault(
                f"a call with {one} cannot be judged where {codec} becomes {caller_codec}"
                f"{' in a bridge that mixes' if mixed else ''}: {_UNCHANGED_ONLY[one]}",
                f"Use {one} on both sides, without a mixing bridge.",
            )
    return caller
