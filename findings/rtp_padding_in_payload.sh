#!/usr/bin/env bash
# Packet libraries leave RTP padding in the payload, and one of them the header extension, too.
#
# RFC 3550, section 5.1: with the P bit set the last octet of a packet counts the padding octets
# at its end, "which are not part of the payload"; with the X bit set an extension follows the fixed
# header, before the payload. A reader that counts payload octets to know how much audio was sent
# (8 octets are 1 ms of G.711) is wrong by them, with no error and no warning:
#
#   scapy 2.6.1  RTP().payload: padding stays in it; the extension is taken off
#   dpkt 1.9.8   rtp.RTP().data: padding and extension both stay in it
#
# Seen: payload of 160 octets of PCMU and 4 of padding: scapy 164, dpkt 164. Payload of 160 octets
# behind an extension of 8: scapy 160, dpkt 168.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check scapy==2.6.1 dpkt==1.9.8
"$folder/venv/bin/python" - <<'PYTHON'
import struct

import dpkt
from scapy.layers.rtp import RTP

AUDIO = b"\x55" * 160
PADDED = struct.pack("!BBHII", 0xA0, 0, 1, 160, 7) + AUDIO + b"\0\0\0\4"
# RFC 8285: one element of a byte, filled up to one 32-bit word
EXTENDED = struct.pack("!BBHIIHH", 0x90, 0, 1, 160, 7, 0xBEDE, 1) + b"\x10\x30\0\0" + AUDIO

seen = {
    (name, case): len(bytes(payload))
    for case, packet in (("padding", PADDED), ("extension", EXTENDED))
    for name, payload in (
        ("scapy", RTP(packet).lastlayer()),
        ("dpkt", dpkt.rtp.RTP(packet).data),
    )
}
for (name, case), octets in seen.items():
    print(f"{name:5} packet with {case:9}: {octets} octets of payload, {len(AUDIO)} are audio")
assert seen == {
    ("scapy", "padding"): 164,
    ("dpkt", "padding"): 164,
    ("scapy", "extension"): 160,
    ("dpkt", "extension"): 168,
}, "this has changed"
PYTHON
