"""Checks that a SIP peer is there (OPTIONS, RFC 3261, 11), before anything is called."""

from __future__ import annotations

import asyncio
import secrets
import socket

from harness.caller.sip_peer import SipPeer, local_address_towards
from harness.caller.sip_stream import open_stream, read_message
from harness.errors import EnvironmentFault

ATTEMPTS = 3
RESPONSE_TIMEOUT_S = 1.0
"""for each attempt: a datagram may be lost"""


async def ask_options(peer: SipPeer) -> str:
    """The status line of the response. Any will do: even a refusal comes from a SIP server.

    Raises EnvironmentFault when nothing responds.
    """
    if peer.transport != "udp":
        reader, writer = await open_stream(peer)
        try:
            address, port = writer.get_extra_info("sockname")
            writer.write(_request(peer, address, port))
            response = await asyncio.wait_for(read_message(reader), ATTEMPTS * RESPONSE_TIMEOUT_S)
        except asyncio.TimeoutError:
            response = b""
        finally:
            writer.transport.abort()
        if not response:
            raise _silent(peer)
        return _status_line(response)
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((local_address_towards(peer), 0))
        udp.connect((peer.address, peer.port))
        udp.setblocking(False)
        request = _request(peer, *udp.getsockname())
        for _ in range(ATTEMPTS):
            try:
                await loop.sock_sendall(udp, request)
                response = await asyncio.wait_for(loop.sock_recv(udp, 65535), RESPONSE_TIMEOUT_S)
                return _status_line(response)
            except asyncio.TimeoutError:
                continue
            except OSError as error:  # what an ICMP message says: nobody listens there
                raise _silent(peer, f" ({error.strerror})") from error
    raise _silent(peer)


def _silent(peer: SipPeer, why: str = "") -> EnvironmentFault:
    return EnvironmentFault(
        f"nothing at {peer} answers SIP{why}",
        "Check address, port and transport of the lab file against 'pjsip show transports' on"
        " the PBX, and a firewall between.",
    )


def _status_line(response: bytes) -> str:
    return response.split(b"\r\n", 1)[0].decode(errors="replace")


def _request(peer: SipPeer, address: str, port: int) -> bytes:
    token = secrets.token_hex(8)
    return (
        f"OPTIONS sip:{peer.authority} SIP/2.0\r\n"
        f"Via: SIP/2.0/{peer.transport.upper()} {address}:{port};rport;branch=z9hG4bK-{token}\r\n"
        f"From: <sip:{peer.user}@{address}>;tag={token}\r\n"
        f"To: <sip:{peer.authority}>\r\n"
        f"Call-ID: {token}\r\n"
        "CSeq: 1 OPTIONS\r\n"
        f"Contact: <sip:{peer.user}@{address}:{port};transport={peer.transport}>\r\n"
        "Max-Forwards: 70\r\n"
        "Content-Length: 0\r\n"
        "\r\n"
    ).encode()
