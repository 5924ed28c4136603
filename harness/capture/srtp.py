"""RTP out of datagrams, decrypted where it is SRTP (RFC 3711)."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import pylibsrtp

from harness.capture.rtp import parse_rtp
from harness.capture.timeline import RtpPacket


def rtp_packets(datagrams: Iterable[tuple[int, bytes]], srtp_key: bytes = b"") -> list[RtpPacket]:
    """The RTP packets among datagrams, each given with its time, in their order.

    ``srtp_key`` is the sender's master key and salt; empty for plain RTP. With it, a packet that
    cannot be decrypted with it is given as it is: what it holds is found nowhere in what was sent.
    """
    session = None
    if srtp_key:
        policy = pylibsrtp.Policy(key=srtp_key, ssrc_type=pylibsrtp.Policy.SSRC_ANY_INBOUND)
        session = pylibsrtp.Session(policy)
    packets = []
    for time_ns, datagram in datagrams:
        packet = parse_rtp(time_ns, datagram)
        if packet is None:
            continue
        if session is not None:
            with suppress(pylibsrtp.Error):
                packet = parse_rtp(time_ns, session.unprotect(datagram)) or packet
        packets.append(packet)
    return packets
