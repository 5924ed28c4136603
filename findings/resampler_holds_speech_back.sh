#!/usr/bin/env bash
# A streaming resampler turns frames of 20 ms into lumps of 100 ms, and keeps an utterance's end.
#
# Speech of 16 kHz comes from an engine frame by frame and goes to a phone at 8 kHz. One expects
# half as many samples out of each frame, or at worst a filter's delay of a millisecond or two.
# ResampleStream of python-soxr gives nothing for five frames at its default quality (HQ), then 830
# samples, 103.75 ms, at once, and so on; of one second 530 samples, 66 ms, are still in it when the
# last frame has been given. LiveKit's AudioResampler is the same library, with other defaults: 866
# samples at once, 206 kept. Only the quality QQ (QUICK) is frame by frame. So
#
#   - a mark, or an "end of speech", that is sent behind the last frame is ahead of the last word,
#     unless the resampler is flushed first (last=True, flush());
#   - what is buffered at an interruption is not what has been given; delay() tells the difference.
#
# Seen with soxr 1.1.0 and livekit 1.2.1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    soxr==1.1.0 livekit==1.2.1 numpy==2.2.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy
import soxr
from livekit import rtc

frame = numpy.full(320, 1000, numpy.int16)


def by_soxr(quality):
    stream = soxr.ResampleStream(16000, 8000, 1, dtype="int16", quality=quality)
    out = [len(stream.resample_chunk(frame)) for _ in range(50)]
    held = round(stream.delay())
    return out, held, len(stream.resample_chunk(frame[:0], last=True))


def by_livekit():
    resampler = rtc.AudioResampler(16000, 8000)
    given = rtc.AudioFrame(frame.tobytes(), 16000, 1, 320)
    out = [sum(part.samples_per_channel for part in resampler.push(given)) for _ in range(50)]
    return out, sum(part.samples_per_channel for part in resampler.flush())


seen = {}
for quality in ("QQ", "LQ", "MQ", "HQ", "VHQ"):
    out, held, kept = by_soxr(quality)
    seen[quality] = max(out), next(i for i, n in enumerate(out) if n), kept
    print(f"soxr {quality}: samples out of each frame of 320: {out[:12]} ...; kept: {kept} of 8000")
    assert held == kept, "this has changed"
out, kept = by_livekit()
seen["LiveKit"] = max(out), next(i for i, n in enumerate(out) if n), kept
print(f"LiveKit: samples out of each frame of 320: {out[:12]} ...; kept: {kept} of 8000")
assert seen == {
    "QQ": (160, 0, 1),
    "LQ": (470, 3, 480),
    "MQ": (866, 5, 206),
    "HQ": (830, 5, 530),
    "VHQ": (758, 5, 420),
    "LiveKit": (866, 5, 206),
}, f"this has changed: {seen}"
PYTHON
