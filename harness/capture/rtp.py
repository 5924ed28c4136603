"""RTP packets and RTCP reports (RFC 3550) as they stand in datagrams."""

from __future__ import annotations

import struct

from scapy.contrib.rtcp import RTCP
from scapy.contrib.rtcp import ReceptionReport as ReportBlock

from harness.capture.timeline import ReceptionReport, RtpPacket

_RECEIVER_REPORT = 201


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


def parse_report(time_ns: int, datagram: bytes) -> ReceptionReport | None:
    """The reception report in ``datagram``, of RTCP; None without one. Of several the first."""
    report = RTCP(datagram)
    if not report.report_blocks:
        return None
    block = report.report_blocks[0]
    return ReceptionReport(
        time_ns, block.interarrival_jitter, block.last_SR_timestamp, block.delay_since_last_SR
    )


def receiver_report(report: ReceptionReport, ssrc: int) -> bytes:
    """An RTCP receiver report that says so and nothing else, from the sender of ``ssrc``."""
    block = ReportBlock(
        sourcesync=0,
        fraction_lost=0,
        cumulative_lost=0,
        highest_seqnum_recv=0,
        interarrival_jitter=report.jitter,
        last_SR_timestamp=report.last_sr,
        delay_since_last_SR=report.delay,
    )
    return bytes(
        RTCP(packet_type=_RECEIVER_REPORT, count=1, sourcesync=ssrc, report_blocks=[block])
    )
