#!/usr/bin/env bash
# FFmpeg sends G.711 in RTP packets of 64 ms, the first nine at once, and its SDP has no ptime.
#
# RFC 3551 has 20 ms as the default, and a receiver that finds no a=ptime counts on that. FFmpeg's
# muxer makes a packet of whatever its encoder gives it: 512 bytes. Also with -re, which is to keep
# real time, it is half a second ahead from the first packet on. Who plays a file to a phone like
# that is half a second ahead of what is heard for the whole call, or loses its beginning in a jitter
# buffer that is shorter.
#
# Seen with the FFmpeg of imageio-ffmpeg 0.8.1, two seconds from a WAV file to the loopback device.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check imageio-ffmpeg==0.8.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import socket
import subprocess
import time
import wave

import imageio_ffmpeg

SECONDS, RATE, HEADER = 2, 8000, 12

with wave.open("silence.wav", "wb") as file:
    file.setparams((1, 2, RATE, 0, "NONE", ""))
    file.writeframes(bytes(2 * RATE * SECONDS))
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("127.0.0.1", 0))
receiver.settimeout(10)
sender = subprocess.Popen(
    [
        imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-re", "-i", "silence.wav",
        "-c:a", "pcm_mulaw", "-f", "rtp", f"rtp://127.0.0.1:{receiver.getsockname()[1]}",
    ],
    stdout=subprocess.PIPE,
    text=True,
)
sizes, times = [], []
while sum(sizes) < SECONDS * RATE:
    sizes.append(len(receiver.recv(4096)) - HEADER)
    times.append(time.monotonic())
sdp = sender.communicate()[0]
# In real time it would be two more in that time.
at_once = sum(at - times[0] < 0.15 for at in times)
print(sdp)
print(f"packets of {sorted(set(sizes))} bytes; {at_once} within 150 ms of the first")
assert set(sizes[:-1]) == {512}
assert "RTP/AVP 0" in sdp and "ptime" not in sdp
assert at_once >= 9
PYTHON
