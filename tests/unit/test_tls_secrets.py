"""TLS 1.3 is read out of a capture with the secrets of one side."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.capture.tls import Secrets, TlsConnection
from harness.certificates import Certificates, client_tls, note_secrets, server_tls

NAME = "127.0.0.1"


@dataclass
class Side:
    """One end of a TLS connection that goes through memory."""

    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO
    tls: ssl.SSLObject


class Wire:
    """Two ends and all that went between them, as (from_client, bytes)."""

    def __init__(self, folder: Path, secrets: Path) -> None:
        certificates = Certificates(folder, [NAME])
        client = client_tls(certificates.ca)
        note_secrets(client, secrets)
        server = server_tls(certificates.certificate(NAME))
        self.sides = {True: side(client, server=False), False: side(server, server=True)}
        self.seen: list[tuple[bool, bytes]] = []
        pending = {True, False}
        while pending:
            for from_client in (True, False):
                try:
                    self.sides[from_client].tls.do_handshake()
                    pending.discard(from_client)
                except ssl.SSLWantReadError:
                    pass
                self.carry(from_client)

    def send(self, from_client: bool, data: bytes) -> None:
        self.sides[from_client].tls.write(data)
        self.carry(from_client)
        assert self.sides[not from_client].tls.read() == data

    def carry(self, from_client: bool) -> None:
        data = self.sides[from_client].outgoing.read()
        if data:
            self.seen.append((from_client, data))
            self.sides[not from_client].incoming.write(data)


def side(context: ssl.SSLContext, *, server: bool) -> Side:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(
        incoming, outgoing, server_side=server, server_hostname=None if server else NAME
    )
    return Side(incoming, outgoing, tls)


@pytest.fixture
def wire(tmp_path: Path) -> Wire:
    wire = Wire(tmp_path / "tls", tmp_path / "secrets.txt")
    for number in range(3):
        wire.send(True, b"from the client " * (number + 1))
        wire.send(False, b"from the server " * (number + 1))
    return wire


def read(wire: Wire, secrets: Secrets, piece: int) -> dict[bool, bytes]:
    connection = TlsConnection(secrets)
    text = {True: b"", False: b""}
    for from_client, data in wire.seen:
        for begin in range(0, len(data), piece):
            text[from_client] += connection.feed(from_client, data[begin : begin + piece])
    return text


@pytest.mark.parametrize("piece", [1, 100, 100_000])
def test_both_directions_are_read_however_they_are_cut(
    wire: Wire, tmp_path: Path, piece: int
) -> None:
    text = read(wire, Secrets(tmp_path / "secrets.txt"), piece)
    assert text == {True: b"from the client " * 6, False: b"from the server " * 6}


def test_without_the_secrets_nothing_can_be_read(wire: Wire, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="secret is not in"):
        read(wire, Secrets(tmp_path / "none.txt"), 100)


def test_a_record_that_is_missing_is_noticed(wire: Wire, tmp_path: Path) -> None:
    from_client = [index for index, (client, _) in enumerate(wire.seen) if client]
    del wire.seen[from_client[-2]]
    with pytest.raises(ValueError, match="cannot be decrypted"):
        read(wire, Secrets(tmp_path / "secrets.txt"), 100)
