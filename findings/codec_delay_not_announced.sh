#!/usr/bin/env bash
# Audio that went through FFmpeg's G.722 comes out 22 samples later, and nothing says so.
#
# A codec's delay is something a file's container tells (Opus: pre-skip). In RTP there is no
# container: what is encoded and decoded frame by frame with PyAV has as many samples as before, but
# shifted. Opus by 312 samples of 48 kHz (6.5 ms), G.722 by 22 of 16 kHz (1.375 ms: its two filters
# of 24 taps), G.711 not at all. PyAV's attribute `delay` is 0 for all three, on both sides. Who
# locates audio in a transcoded stream to a millisecond must subtract it; for Opus one packet more
# than was put in comes out at the end.
#
# Seen with PyAV 18.1.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.2.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from fractions import Fraction

import av
import numpy as np

FRAMES = 25  # of 20 ms


def round_trip(encoder: str, decoder: str, rate: int) -> tuple[int, int, int]:
    """By how many samples the audio comes out late, the packets, and what `delay` says."""
    frame = rate // 50
    noise = np.random.default_rng(1).standard_normal(FRAMES * frame)
    sent = np.convolve(noise, np.hanning(9), "same")
    sent = (sent / np.abs(sent).max() * 12000).astype(np.int16)
    source = av.CodecContext.create(encoder, "w")
    source.sample_rate, source.layout, source.format = rate, "mono", "s16"
    source.time_base = Fraction(1, rate)
    packets = []
    for begin in range(0, len(sent), frame):
        samples = sent[begin : begin + frame].reshape(1, -1)
        one = av.AudioFrame.from_ndarray(samples.copy(), format="s16", layout="mono")
        one.sample_rate, one.pts = rate, begin
        packets += source.encode(one)
    packets += source.encode(None)
    sink = av.CodecContext.create(decoder, "r")
    sink.sample_rate, sink.layout = rate, "mono"
    frames = [one for packet in packets for one in sink.decode(av.Packet(bytes(packet)))]
    heard = np.concatenate([one.to_ndarray().reshape(-1).astype(float) for one in frames])
    heard = heard[: len(sent)]
    spectrum = np.fft.rfft(heard, 2 * len(sent))
    match = np.fft.irfft(spectrum * np.conj(np.fft.rfft(sent.astype(float), 2 * len(sent))))
    return int(np.argmax(match[: rate // 10])), len(packets), source.delay + sink.delay


seen = {}
for encoder, decoder, rate in (
    ("pcm_mulaw", "pcm_mulaw", 8000),
    ("g722", "g722", 16000),
    ("libopus", "libopus", 48000),
):
    late, packets, announced = seen[encoder] = round_trip(encoder, decoder, rate)
    print(
        f"{encoder:9}: {late} samples late ({1000 * late / rate:g} ms), {packets} packets for "
        f"{FRAMES} frames, delay = {announced}"
    )
assert seen == {"pcm_mulaw": (0, 25, 0), "g722": (22, 25, 0), "libopus": (312, 26, 0)}, (
    "this has changed"
)
PYTHON
