#!/usr/bin/env bash
# WebRTC's voice activity detector calls digital silence speech for 60 to 160 ms behind speech.
#
# `Vad.is_speech(frame, rate)` reads like a question about one frame. It is one about all frames the
# object has seen: behind speech so many frames more are speech, whatever is in them. How many
# depends on the mode, on how long the speech was (less behind its first frames) and on the length of
# the frames. So a talkspurt of a caller ends that much late, a gap of 100 ms within it is not seen,
# and one object for two callers mixes them up. A new object says of the same silence that it is none.
#
# Seen with webrtcvad-wheels 2.0.14, in frames of 20 ms at 8 kHz, in ms behind one frame of a vowel
# and behind ten:
#
#   mode           0    1    2    3
#   behind one   100  100   80   60
#   behind ten   160  160  120  120
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check webrtcvad-wheels==2.0.14 numpy==2.2.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import webrtcvad

RATE, FRAME_MS = 8000, 20
FRAME = RATE * FRAME_MS // 1000
SILENCE = bytes(2 * FRAME)

times = np.arange(10 * FRAME) / RATE
vowel = sum(np.sin(2 * np.pi * 120 * harmonic * times) / harmonic for harmonic in range(1, 20))
vowel = (vowel / np.abs(vowel).max() * 8000).astype(np.int16).reshape(-1, FRAME)


def speech_behind_ms(mode: int, frames: int) -> int:
    """How long digital silence is called speech behind so many frames of a vowel."""
    vad = webrtcvad.Vad(mode)
    for frame in vowel[:frames]:
        assert vad.is_speech(frame.tobytes(), RATE)
    silent = 0
    while vad.is_speech(SILENCE, RATE):
        silent += 1
    return silent * FRAME_MS


for frames, expected in ((1, [100, 100, 80, 60]), (10, [160, 160, 120, 120])):
    seen = [speech_behind_ms(mode, frames) for mode in range(4)]
    print(f"behind {frames} frames of a vowel: {seen} ms in the modes 0 to 3")
    assert seen == expected
assert not any(webrtcvad.Vad(mode).is_speech(SILENCE, RATE) for mode in range(4))
print("a new object: silence is no speech, in any mode")
PYTHON
