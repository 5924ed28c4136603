"""Loopback addresses and ports that no two running Asterisks can share."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from harness.errors import EnvironmentFault


@contextmanager
def reserved_address() -> Iterator[str]:
    """A loopback address that no other run of the harness has, for as long as the context lasts."""
    while True:
        # Not 127.0.x.x: machines have services of their own there, such as 127.0.0.53.
        address = ".".join(["127", *(str(random.randint(1, 254)) for _ in range(3))])
        reservation = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with reservation:
            try:
                # The leading zero makes the name abstract: no file, and gone with the process.
                reservation.bind(f"\0playback-marks-harness/{address}")
            except OSError:
                continue
            yield address
            return


def free_port(address: str, kind: socket.SocketKind) -> int:
    """A port that is free on the address now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            raise EnvironmentFault(
                f"cannot bind a port on the loopback address {address}: {error}",
                "The harness needs the whole of 127.0.0.0/8, as the loopback interface has it"
                " on Linux by default.",
            ) from error
        port: int = probe.getsockname()[1]
        return port
