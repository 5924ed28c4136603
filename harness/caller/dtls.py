"""The caller's end of DTLS-SRTP (RFC 5764), without I/O: it opens the handshake, as a client.

caller = DtlsCaller()
send(caller.begin())
while not caller.srtp_key:
    for reply in caller.received(datagram):
        send(reply)
"""

from __future__ import annotations

import trustme
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import load_pem_x509_certificate
from OpenSSL import SSL

from harness.caller.sipp import SRTP_KEY_BYTES

_PROFILE = b"SRTP_AES128_CM_SHA1_80"
_EXPORTER = b"EXTRACTOR-dtls_srtp"
_KEY_BYTES = 16
"""of a master key; the rest is its salt"""
_LARGEST = 1 << 16


class DtlsCaller:
    """A certificate of its own, and a handshake with it."""

    def __init__(self) -> None:
        issued = trustme.CA().issue_cert("caller")
        certificate = load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_tlsext_use_srtp(_PROFILE)
        context.use_certificate(certificate)
        context.use_privatekey(key)
        # Who Asterisk is stands in its SDP, and does not matter here.
        context.set_verify(SSL.VERIFY_NONE, lambda *_: True)
        self._connection = SSL.Connection(context)
        self._connection.set_connect_state()
        digest = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
        self.fingerprint = f"SHA-256 {digest}"
        """as SDP has it (RFC 8122)"""
        self.srtp_key = b""
        """master key and salt of what Asterisk sends, once the two have agreed on it"""

    def begin(self) -> list[bytes]:
        """The datagrams that open the handshake."""
        return self._go_on()

    def received(self, datagram: bytes) -> list[bytes]:
        """Take a datagram of Asterisk's; those that answer it."""
        self._connection.bio_write(datagram)
        return self._go_on()

    @staticmethod
    def is_meant(datagram: bytes) -> bool:
        """Whether a datagram at the RTP port is one of DTLS (RFC 5764, 5.1.2)."""
        return bool(datagram) and 20 <= datagram[0] <= 63

    def _go_on(self) -> list[bytes]:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            pass  # it waits for Asterisk
        else:
            # Of client and server the keys, then the salts (RFC 5764, 4.2). We are the client.
            material = self._connection.export_keying_material(_EXPORTER, 2 * SRTP_KEY_BYTES)
            keys, salts = material[: 2 * _KEY_BYTES], material[2 * _KEY_BYTES :]
            self.srtp_key = keys[_KEY_BYTES:] + salts[len(salts) // 2 :]
        try:
            return [self._connection.bio_read(_LARGEST)]
        except SSL.WantReadError:
            return []
