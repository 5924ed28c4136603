"""The PBX as a SIP peer: where it is, over which transport, and who calls it."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, field
from typing import Literal

from harness.errors import EnvironmentFault

Transport = Literal["udp", "tcp", "tls"]


@dataclass(frozen=True)
class SipPeer:
    """A PBX that can be called."""

    address: str
    """IPv4 address, or a name that has one"""
    port: int
    transport: Transport = "udp"
    user: str = "caller"
    """in the From header, and for the digest where it asks for one"""
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)
    """for the transport tls"""
    local_address: str = ""
    """to call from; by default the one from which the PBX is reached"""

    @property
    def authority(self) -> str:
        """``address:port``"""
        return f"{self.address}:{self.port}"

    def __str__(self) -> str:
        return f"{self.authority} ({self.transport})"


def local_address_towards(peer: SipPeer) -> str:
    """The address of this machine from which ``peer`` is reached, by the kernel's routes.

    Raises EnvironmentFault when there is no way there, or no such name.
    """
    if peer.local_address:
        return peer.local_address
    # Connecting a datagram socket sends nothing: it only asks for the route.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((peer.address, peer.port))
        except OSError as error:
            raise EnvironmentFault(
                f"there is no way from here to the PBX at {peer.address}: {error}",
                "Check the name or address, and this machine's routes.",
            ) from error
        address: str = probe.getsockname()[0]
        return address
