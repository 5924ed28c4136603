"""What was on the wire of one call, on one clock: the judge's only input.

All times are integers in nanoseconds of the capture's clock (the kernel's time stamps), so no
precision is lost in a float of Unix time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

Sender = Literal["application", "asterisk"]
MessageKind = Literal["text", "binary", "ping", "pong", "close"]

TELEPHONE_EVENT = 101
"""payload type of digits (RFC 4733) in the calls of the harness, in both directions"""

_NTP_OF_UNIX_S = 2_208_988_800
"""from the beginning of NTP time, 1900, to that of Unix time"""


@dataclass(frozen=True)
class RtpPacket:
    """One RTP packet from Asterisk to the caller (RFC 3550), as it was seen.

    On a timeline its payload is in the byte order of the WebSocket, see `Codec.from_wire`.
    """

    time_ns: int
    sequence: int
    """16 bit, as on the wire"""
    timestamp: int
    """32 bit, in units of the RTP clock, as on the wire"""
    payload_type: int
    ssrc: int
    payload: bytes


@dataclass(frozen=True)
class BulkRtp:
    """The RTP packets of many calls in order of arrival: an entry, or a row, for each."""

    time_ns: Ints
    source_port: Ints
    sequence: Ints
    timestamp: Ints
    ssrc: Ints
    payload_type: Ints
    payload_bytes: Ints
    heads: npt.NDArray[np.uint8]
    """the first 16 bytes of each payload, zeros behind a shorter one: a row each"""


@dataclass(frozen=True)
class ReceptionReport:
    """What the caller said of the RTP that he receives, in RTCP to Asterisk (RFC 3550, 6.4.2)."""

    time_ns: int
    jitter: int
    """interarrival jitter, in units of the RTP clock"""
    last_sr: int
    """the middle 32 bits of the NTP time in the latest sender report that he had got; 0: none"""
    delay: int
    """since that had come, in 1/65536 s"""

    @property
    def rtt_ms(self) -> float | None:
        """The round trip time of a report that Asterisk reads at once, negative where a clock is
        wrong; None where it had got no sender report."""
        if not self.last_sr:
            return None
        units = (ntp_middle(self.time_ns) - self.last_sr - self.delay) % 2**32
        return (units - 2**32 if units >= 2**31 else units) * 1000 / 65536


def ntp_middle(time_ns: int) -> int:
    """The middle 32 bits of a Unix time as NTP has it, which RTCP takes for a time."""
    return (time_ns * 65536 // 1_000_000_000 + _NTP_OF_UNIX_S * 65536) % 2**32


@dataclass(frozen=True)
class Message:
    """One complete WebSocket message (RFC 6455), at the time its last byte was seen."""

    time_ns: int
    sender: Sender
    kind: MessageKind
    data: bytes

    @property
    def text(self) -> str:
        """The text of a text message; what is not valid UTF-8 in it is shown with backslashes."""
        return self.data.decode("utf-8", "backslashreplace")


@dataclass(frozen=True)
class Measurement:
    """How well this timeline could be measured."""

    source: Literal["capture", "socket"]
    """capture: kernel time stamps of one packet capture for both legs; socket: the RTP socket's
    kernel time stamps and the client's receive time."""
    uncertainty_ns: int
    """bound of a single time's error, from what the source is and what this run measured"""
    capture_drops: int = 0
    """packets the capture says it missed"""
    host_stalls: tuple[tuple[int, int], ...] = ()
    """begin and end of each moment in which the host did not run what was due"""
    location_ns: int = 0
    """how far audio may be from where the judge finds it: 0 where RTP carries the very bytes"""


@dataclass(frozen=True)
class Codec:
    """How media bytes, samples and RTP time belong together in this call."""

    name: str
    bytes_per_second: int
    rtp_clock_hz: int
    """units of the RTP timestamp a second"""
    ptime_ms: int
    silence: int
    """the byte that pads a partial frame"""
    same: tuple[tuple[int, int], ...] = ()
    """pairs of bytes that are the same sample: decoding and encoding turns one into the other"""
    sample_rate_hz: int = 8000
    """of the audio when it is decoded"""
    swapped: bool = False
    """whether RTP carries the two bytes of a sample the other way round than the WebSocket: L16 is
    in network order (RFC 3551), Asterisk's slin in that of its host, here little-endian"""

    @property
    def frame_bytes(self) -> int:
        """Bytes of a full frame of media, which lasts ``ptime_ms``."""
        return self.bytes_per_second * self.ptime_ms // 1000

    def duration_ns(self, size: int) -> int:
        """How long ``size`` bytes of media last, rounded down to the nanosecond."""
        return size * 1_000_000_000 // self.bytes_per_second

    @property
    def sample_bytes(self) -> int:
        """What media has to be a multiple of wherever a frame may be filled up or flushed behind
        it: the rest would be sound cut in the middle of samples."""
        return 2 if self.swapped else 1

    def from_wire(self, payload: bytes) -> bytes:
        """An RTP payload in the byte order of the WebSocket."""
        if not self.swapped:
            return payload
        even = len(payload) // 2 * 2
        swapped = bytearray(payload)
        swapped[0:even:2], swapped[1:even:2] = payload[1:even:2], payload[0:even:2]
        return bytes(swapped)

    def canonical(self, data: bytes) -> bytes:
        """``data`` with only the second byte of each pair that is the same."""
        first = bytes(pair[0] for pair in self.same)
        second = bytes(pair[1] for pair in self.same)
        return data.translate(bytes.maketrans(first, second))


ULAW = Codec(
    "ulaw",
    bytes_per_second=8000,
    rtp_clock_hz=8000,
    ptime_ms=20,
    silence=0xFF,
    same=((0x7F, 0xFF),),  # mu-law has two zeros (G.711)
)


@dataclass(frozen=True)
class Timeline:
    """One call: its RTP towards the caller, its WebSocket messages, how well they were measured."""

    codec: Codec
    """the application's"""
    rtp: tuple[RtpPacket, ...]
    messages: tuple[Message, ...]
    measurement: Measurement
    end_ns: int
    """until when was listened"""
    recoded: Codec | None = None
    """the caller's codec where Asterisk decodes the application's bytes and encodes them anew (see
    `harness.media.codecs.recoded`); None where RTP carries the bytes that the application sent"""
    ptime_ms: int = 0
    """of the RTP packets, where Asterisk gathers frames until a packet of this length is full; 0
    where each frame is a packet of its own"""
    frame_ms: int = 0
    """of the frames that packets are gathered from, where that is not the codec's: a mixer's"""
    reports: tuple[ReceptionReport, ...] = ()
    """of the caller, in order"""

    @cached_property
    def start_ns(self) -> int:
        """The first thing that was seen."""
        times = [message.time_ns for message in self.messages]
        times += [packet.time_ns for packet in self.rtp]
        return min(times, default=self.end_ns)

    @property
    def wire(self) -> Codec:
        """The codec of the RTP payloads."""
        return self.recoded or self.codec

    @property
    def packet_ms(self) -> int:
        """How long a full RTP packet lasts."""
        return self.ptime_ms or self.wire.ptime_ms
