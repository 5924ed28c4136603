"""SIP over TCP and TLS for programs that speak it over UDP, as the packaged SIPp does.

On a stream SIP's messages follow each other, and their Content-Length says where each ends (RFC
3261, 18.3). Nothing else differs but what Via and Contact say, which is the program's affair.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from harness.caller.sip_peer import SipPeer
from harness.errors import EnvironmentFault, HarnessFault

CONNECT_TIMEOUT_S = 5.0
_CONTENT_LENGTH = re.compile(rb"^(?:Content-Length|l)\s*:\s*(\d+)", re.IGNORECASE | re.MULTILINE)
_LARGEST_HEADER = 1 << 16

Address = tuple[str, int]


@dataclass(frozen=True)
class Relay:
    """A connection to the PBX, and the UDP port that stands for it."""

    udp: Address
    """what is sent here goes to the PBX; what the PBX sends goes to the last sender"""
    contact: Address
    """of this side of the connection: what Via and Contact must name"""


@asynccontextmanager
async def open_relay(peer: SipPeer) -> AsyncIterator[Relay]:
    """Connect to ``peer``, whose transport is tcp or tls, and relay until left."""
    reader, writer = await open_stream(peer)
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: _UdpSide(writer), local_addr=("127.0.0.1", 0)
    )
    task = asyncio.create_task(_forward(reader, transport, protocol))
    try:
        yield Relay(transport.get_extra_info("sockname"), writer.get_extra_info("sockname"))
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        transport.close()
        # Closing TLS in order would wait half a minute for a PBX that keeps the connection.
        writer.transport.abort()


async def open_stream(peer: SipPeer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to ``peer``. Raises EnvironmentFault when it cannot be made."""
    connecting = asyncio.open_connection(
        peer.address,
        peer.port,
        ssl=peer.tls if peer.transport == "tls" else None,
        local_addr=(peer.local_address, 0) if peer.local_address else None,
        limit=_LARGEST_HEADER,
    )
    try:
        return await asyncio.wait_for(connecting, CONNECT_TIMEOUT_S)
    except (OSError, asyncio.TimeoutError) as error:
        raise EnvironmentFault(
            f"no SIP connection to {peer}: {error or 'no answer'}",
            "Check address, port and transport, a firewall between, and for tls the certificate.",
        ) from error


async def read_message(reader: asyncio.StreamReader) -> bytes:
    """The next SIP message of a stream; empty when the stream has ended."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        # Empty lines between messages keep the connection alive (RFC 5626, 3.5.1).
        while not head.strip():
            head = await reader.readuntil(b"\r\n\r\n")
        length = _CONTENT_LENGTH.search(head)
        return head.lstrip() + await reader.readexactly(int(length[1]) if length else 0)
    except asyncio.IncompleteReadError:
        return b""
    except asyncio.LimitOverrunError as error:
        raise HarnessFault(
            f"what came on the SIP connection has no end of a header in {_LARGEST_HEADER} bytes",
            "Is it SIP that is spoken on this port?",
        ) from error


class _UdpSide(asyncio.DatagramProtocol):
    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.sender: Address | None = None

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self.sender = addr
        self._writer.write(data)


async def _forward(
    reader: asyncio.StreamReader, transport: asyncio.DatagramTransport, udp: _UdpSide
) -> None:
    with suppress(ConnectionError):
        while message := await read_message(reader):
            transport.sendto(message, udp.sender)
