#!/usr/bin/env bash
# Two G.711 encoders that everybody uses give different octets for the same samples.
#
# ITU-T G.711 gives decision values, so an encoder seems to be a table that all share. Encoding all
# 65,536 16-bit samples with FFmpeg (by PyAV) and with Python's own audioop gives other codes for
# 512 of them in mu-law and 964 in A-law. Neither is the one that is always nearer to the sample.
# Audio that was encoded by one and is looked for in packets made by the other must be compared with
# a tolerance of one step. All 256 codes of either law are decoded and encoded again to themselves
# by both, but one: mu-law 0x7F (minus zero) comes back as 0xFF (plus zero).
#
# Seen with PyAV 18.1.0. audioop is Python's own up to 3.12.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.2.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import audioop
from fractions import Fraction

import av
import numpy as np


def by_ffmpeg(law: str, samples: np.ndarray) -> np.ndarray:
    codec = av.CodecContext.create(f"pcm_{law}", "w")
    codec.sample_rate, codec.layout, codec.format = 8000, "mono", "s16"
    codec.time_base = Fraction(1, 8000)
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = 8000
    return np.frombuffer(b"".join(bytes(packet) for packet in codec.encode(frame)), np.uint8)


every = np.arange(-32768, 32768, dtype=np.int16)
seen = {}
for law, encode, decode in (
    ("mulaw", audioop.lin2ulaw, audioop.ulaw2lin),
    ("alaw", audioop.lin2alaw, audioop.alaw2lin),
):
    ours, theirs = by_ffmpeg(law, every), np.frombuffer(encode(every.tobytes(), 2), np.uint8)
    error = [
        np.abs(np.frombuffer(decode(codes.tobytes(), 2), np.int16).astype(int) - every)
        for codes in (ours, theirs)
    ]
    codes = np.arange(256, dtype=np.uint8)
    samples = np.frombuffer(decode(codes.tobytes(), 2), np.int16)
    changed = [
        codes[again != codes].tolist()
        for again in (
            by_ffmpeg(law, samples.copy()),
            np.frombuffer(encode(samples.tobytes(), 2), np.uint8),
        )
    ]
    nearer = int((error[0] < error[1]).sum()), int((error[1] < error[0]).sum())
    seen[law] = (int((ours != theirs).sum()), nearer, changed)
    print(
        f"{law}: {seen[law][0]} of 65536 samples have another code; FFmpeg is nearer for "
        f"{nearer[0]}, audioop for {nearer[1]}; codes that change in a round trip: {changed}"
    )
assert seen == {
    "mulaw": (512, (510, 1), [[0x7F], [0x7F]]),
    "alaw": (964, (480, 363), [[], []]),
}, "this has changed"
PYTHON
