#!/usr/bin/env bash
# A WAV file from ffmpeg's standard output says it has 2,147,483,647 frames, and Python believes it.
#
# What cannot seek cannot go back to write the length into the header, so ffmpeg leaves 0xFFFFFFFF
# there. Text-to-speech piped this way is what voice agents play. Readers differ in silence:
#
#   wave (Python's own)  getnframes() is 2147483647 for one second of audio: 3 days, not 1 s; only
#                        reading it to the end tells the length
#   scipy 1.15.3         reads the 8000 frames there are, and warns
#   soundfile 0.13.1     reads the 8000 frames there are, says nothing
#
# Seen with the ffmpeg 7.0.2 of imageio-ffmpeg 0.6.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    imageio-ffmpeg==0.6.0 soundfile==0.13.1 scipy==1.15.3 numpy==2.2.6
"$folder/venv/bin/python" - <<'PYTHON'
import io
import subprocess
import warnings
import wave

import imageio_ffmpeg
import soundfile
from scipy.io import wavfile

ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi"]
source = ["-i", "sine=440:sample_rate=8000:duration=1", "-f", "wav", "pipe:1"]
data = subprocess.run([*ffmpeg, *source], capture_output=True, check=True).stdout

with wave.open(io.BytesIO(data)) as file:
    claimed = file.getnframes()
    read = len(file.readframes(claimed)) // 2
by_soundfile = soundfile.info(io.BytesIO(data)).frames
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    by_scipy = len(wavfile.read(io.BytesIO(data))[1])
print(f"wave: {claimed} frames by its header, {claimed / 8000 / 3600:.0f} hours; {read} can be read")
print(f"soundfile: {by_soundfile} frames")
print(f"scipy: {by_scipy} frames, {len(warned)} warning")
assert (claimed, read, by_soundfile, by_scipy, len(warned)) == (2147483647, 8000, 8000, 8000, 1), (
    "this has changed"
)
PYTHON
