"""RTP packets (RFC 3550) as they stand in datagrams."""

from __future__ import annotations

import struct

from harness.capture.timeline import RtpPacket


def parse_rtp(time_ns: int, datagram: bytes) -> RtpPacket | None:
    """The RTP packet in ``datagram`` (RFC 3550); None when it is RTCP or anything else."""
    if len(datagram) < 12 or datagram[0] >> 6 != 2:
        return None
    first, second, sequence, timestamp, ssrc = struct.unpack_from("!BBHII", datagram)
    if 192 <= second <= 223:  # RTCP's packet types (RFC 5761)
        return None
    begin = 12 + 4 * (first & 0x0F)
    if first & 0x10:  # header extension: a 16-bit profile, then its length in words
        if len(datagram) < begin + 4:
            return None
        begin += 4 + 4 * int.from_bytes(datagram[begin + 2 : begin + 4], "big")
    end = len(datagram) - (datagram[-1] if first & 0x20 else 0)
    if begin > end:
        return None
    return RtpPacket(time_ns, sequence, timestamp, second & 0x7F, ssrc, datagram[begin:end])
