"""Encrypted RTP is read with the sender's key, and DTLS agrees on that key."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pylibsrtp
import trustme
from OpenSSL import SSL

from harness.caller.dtls import DtlsCaller
from harness.caller.rtp_sender import rtp_packet
from harness.caller.sipp import SRTP_KEY_BYTES
from harness.capture.srtp import rtp_packets

KEY = bytes(range(SRTP_KEY_BYTES))
PLAIN = [rtp_packet(number, 160 * number, 7, 0, bytes([number]) * 160, False) for number in (1, 2)]


def encrypted(key: bytes) -> list[tuple[int, bytes]]:
    policy = pylibsrtp.Policy(key=key, ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
    session = pylibsrtp.Session(policy)
    return [(number, session.protect(packet)) for number, packet in enumerate(PLAIN)]


def test_packets_are_read_with_the_key_of_their_sender() -> None:
    assert rtp_packets(encrypted(KEY), KEY) == rtp_packets(enumerate(PLAIN))


def test_what_cannot_be_decrypted_stays_as_it_is() -> None:
    other = bytes(reversed(KEY))
    for datagrams, key in ((encrypted(other), KEY), (encrypted(KEY), b"")):
        packets = rtp_packets(datagrams, key)
        assert [one.sequence for one in packets] == [1, 2]
        assert all(one.payload[:160] not in b"".join(PLAIN) for one in packets)
    # Nor what was never encrypted.
    assert rtp_packets(enumerate(PLAIN), KEY) == rtp_packets(enumerate(PLAIN))


def test_what_is_no_rtp_is_left_out() -> None:
    assert rtp_packets([(1, b""), (2, b"\x16\xfe\xfd"), (3, bytes(20))], KEY) == []


def test_the_handshake_gives_the_key_of_what_asterisk_sends(tmp_path: Path) -> None:
    caller = DtlsCaller()
    issued = trustme.CA().issue_cert("asterisk")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_tlsext_use_srtp(b"SRTP_AES128_CM_SHA1_80")
    context.use_certificate_file(str(certificate))
    context.use_privatekey_file(str(key))
    context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    asterisk = SSL.Connection(context)
    asterisk.set_accept_state()
    datagrams = caller.begin()
    for _ in range(10):
        for datagram in datagrams:
            assert caller.is_meant(datagram)
            asterisk.bio_write(datagram)
        with suppress(SSL.WantReadError):
            asterisk.do_handshake()
        with suppress(SSL.WantReadError):
            datagrams = caller.received(asterisk.bio_read(65536))
    peer = asterisk.get_peer_certificate()
    assert peer is not None
    assert caller.fingerprint == f"SHA-256 {peer.digest('sha256').decode()}"
    material = asterisk.export_keying_material(b"EXTRACTOR-dtls_srtp", 60)
    assert caller.srtp_key == material[16:32] + material[46:60]
    assert not caller.is_meant(PLAIN[0])
