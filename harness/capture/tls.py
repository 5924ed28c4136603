"""Reads TLS 1.3 out of a capture with the secrets that our own side of it wrote down.

So that calls over wss:// are measured by the same packets as all others. The secrets are in the
form of SSLKEYLOGFILE, with which Wireshark reads the capture, too. They are worth nothing once the
connection is closed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

SECRETS_FILE = "tls-secrets.txt"
"""beside the capture"""

_HANDSHAKE, _APPLICATION_DATA = 22, 23
_CLIENT_HELLO, _SERVER_HELLO = 1, 2
_RECORD_HEADER = 5
_NONCE_BYTES = 12
_LABELS = {True: "CLIENT_TRAFFIC_SECRET_0", False: "SERVER_TRAFFIC_SECRET_0"}
_Cipher = AESGCM | ChaCha20Poly1305
# RFC 8446, B.4: hash, bytes of the key, cipher.
_SUITES: dict[int, tuple[str, int, Callable[[bytes], _Cipher]]] = {
    0x1301: ("sha256", 16, AESGCM),
    0x1302: ("sha384", 32, AESGCM),
    0x1303: ("sha256", 32, ChaCha20Poly1305),
}


class Secrets:
    """What a file of secrets holds; nothing if there is none."""

    def __init__(self, path: Path) -> None:
        lines = path.read_text().splitlines() if path.exists() else []
        words = (line.split() for line in lines if not line.startswith("#"))
        self._secrets = {(w[0], w[1]): bytes.fromhex(w[2]) for w in words if len(w) == 3}

    def of(self, client_random: bytes, from_client: bool) -> bytes:
        """One direction's secret. Raises ValueError when it is not there."""
        secret = self._secrets.get((_LABELS[from_client], client_random.hex()))
        if secret is None:
            raise ValueError(f"the TLS connection's secret is not in {SECRETS_FILE}")
        return secret


class TlsConnection:
    """Both directions of one connection: bytes of TLS in, bytes of the application out."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._client_random = b""
        self._suite = 0
        self._directions = {True: _Direction(), False: _Direction()}

    def feed(self, from_client: bool, data: bytes) -> bytes:
        """What these bytes complete. Raises ValueError for what cannot be read."""
        direction = self._directions[from_client]
        return b"".join(
            self._read(direction, from_client, kind, header, body)
            for kind, header, body in direction.records(data)
        )

    def _read(
        self, direction: _Direction, from_client: bool, kind: int, header: bytes, body: bytes
    ) -> bytes:
        if kind == _HANDSHAKE:
            self._hello(body)
        if kind != _APPLICATION_DATA:
            return b""
        if direction.cipher is None:
            if self._suite not in _SUITES:
                raise ValueError(f"TLS with cipher suite {self._suite:#06x} is not TLS 1.3")
            hash_name, key_bytes, cipher = _SUITES[self._suite]
            secret = self._secrets.of(self._client_random, from_client)
            direction.cipher = cipher(_expand(secret, "key", key_bytes, hash_name))
            direction.iv = _expand(secret, "iv", _NONCE_BYTES, hash_name)
        return direction.decrypt(header, body)

    def _hello(self, body: bytes) -> None:
        # Type and length, version, random; the server then has the session's id and the suite.
        if body[0] == _CLIENT_HELLO:
            self._client_random = body[6:38]
        elif body[0] == _SERVER_HELLO:
            after_id = 39 + body[38]
            self._suite = int.from_bytes(body[after_id : after_id + 2], "big")


class _Direction:
    def __init__(self) -> None:
        self.cipher: _Cipher | None = None
        self.iv = b""
        self._number = 0
        self._waiting = b""

    def records(self, data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
        """Type, header and body of each record that is complete."""
        self._waiting += data
        while len(self._waiting) >= _RECORD_HEADER:
            end = _RECORD_HEADER + int.from_bytes(self._waiting[3:5], "big")
            if len(self._waiting) < end:
                return
            record, self._waiting = self._waiting[:end], self._waiting[end:]
            yield record[0], record[:_RECORD_HEADER], record[_RECORD_HEADER:]

    def decrypt(self, header: bytes, body: bytes) -> bytes:
        assert self.cipher is not None, "set before"
        number = self._number.to_bytes(_NONCE_BYTES, "big")
        nonce = bytes(one ^ other for one, other in zip(self.iv, number, strict=True))
        try:
            inner = self.cipher.decrypt(nonce, body, header).rstrip(b"\0")
        except InvalidTag:
            if self._number == 0:
                return b""  # the handshake's end, which has a secret of its own
            raise ValueError(f"TLS record {self._number} cannot be decrypted") from None
        self._number += 1
        # The last byte says what it is: session tickets and alerts are not for the application.
        return inner[:-1] if inner[-1:] == bytes([_APPLICATION_DATA]) else b""


def _expand(secret: bytes, label: str, size: int, hash_name: str) -> bytes:
    """HKDF-Expand-Label of RFC 8446, 7.1, for as many bytes as one hash has."""
    full = f"tls13 {label}".encode()
    info = size.to_bytes(2, "big") + bytes([len(full)]) + full + b"\0"
    digest = getattr(hashlib, hash_name)
    return hmac.new(secret, info + b"\1", digest).digest()[:size]
