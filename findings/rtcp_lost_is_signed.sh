#!/usr/bin/env bash
# "Minus three packets lost", as duplicates make it, is read as 16,777,213 lost, by two of three.
#
# A receiver's count of lost packets in RTCP is what it expected less what it got (RFC 3550, 6.4.1):
# a network that sends packets twice makes it negative, and its 24 bits are a signed number. Read as
# an unsigned one it is the most that can be lost, while `fraction lost` beside it is 0. A graph or an
# alarm of the lost packets of a call then shows a call without any loss as the worst one there is.
#
# And every RTCP datagram holds several packets (6.1: a report, then SDES). Scapy dissects the first
# and leaves the rest as `Raw`, so that who looks for SDES or BYE finds none.
#
# Seen of one datagram, a sender report with -3 lost and an SDES:
#
#   scapy 2.8.0        lost 16777213   packets: 1, and Raw
#   werift-rtp 0.8.9   lost 16777213   packets: 2
#   aiortc 1.16.0      lost -3         packets: 2
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check scapy==2.8.0 aiortc==1.16.0
npm install --silent --no-audit --no-fund --prefix "$folder" werift-rtp@0.8.9
cat >"$folder/werift.mjs" <<'JAVASCRIPT'
import werift from "werift-rtp";

const packets = werift.RtcpPacketConverter.deSerialize(Buffer.from(process.argv[2], "hex"));
console.log(packets[0].reports[0].packetsLost, packets.length);
JAVASCRIPT
FOLDER=$folder "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import os
import struct
import subprocess

from aiortc.rtp import RtcpPacket
from scapy.contrib.rtcp import RTCP
from scapy.packet import Raw

LOST = -3
report = struct.pack("!IIIIII", 2, LOST & 0xFFFFFF, 500, 20, 0, 0)
sender = struct.pack("!IQIII", 1, 3900000000 << 32, 16000, 100, 16000)
description = struct.pack("!IBB", 1, 1, 3) + b"a@b" + bytes(3)
datagram = b"".join(
    struct.pack("!BBH", 0x81, kind, len(body) // 4) + body
    for kind, body in ((200, sender + report), (202, description))
)

by_scapy = RTCP(datagram)
by_aiortc = RtcpPacket.parse(datagram)
script = [f"{os.environ['FOLDER']}/werift.mjs", datagram.hex()]
by_werift = subprocess.run(["node", *script], check=True, capture_output=True, text=True).stdout
seen = {
    "scapy": (by_scapy.report_blocks[0].cumulative_lost, 1, type(by_scapy.payload).__name__),
    "werift-rtp": tuple(map(int, by_werift.split())),
    "aiortc": (by_aiortc[0].reports[0].packets_lost, len(by_aiortc)),
}
for library, found in seen.items():
    print(f"{library}: {found}")
assert seen == {
    "scapy": (2**24 + LOST, 1, Raw.__name__),
    "werift-rtp": (2**24 + LOST, 2),
    "aiortc": (LOST, 2),
}
PYTHON
