#!/usr/bin/env bash
# audioop.ratecv() halves a rate by leaving out samples: what is above 4 kHz comes back as a tone.
#
# It is what telephony code in Python converts speech of 16 or 24 kHz to a phone's 8 kHz with; its
# manual speaks of a simple filter, by weights, which are (1, 0) unless given: none. A tone of
# 7 kHz then comes out as 1 kHz, and one of 5 kHz as 3 kHz, as loud as they went in: the s and f of
# a voice end up amid its vowels. Up from 8 to 16 kHz a tone of 3 kHz has an image at 5 kHz, only
# 11 dB below what went in. soxr, the same conversions: nothing is left of the first, and no image.
#
# Seen with CPython 3.11 and soxr 1.1.0. From Python 3.13 on audioop is the package audioop-lts.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    soxr==1.1.0 numpy==2.2.6 'audioop-lts==0.2.2; python_version >= "3.13"'
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import audioop

import numpy
import soxr


def tone(hertz, rate):
    return (10000 * numpy.sin(2 * numpy.pi * hertz * numpy.arange(rate) / rate)).astype(numpy.int16)


def by_audioop(samples, rate_in, rate_out):
    data, _ = audioop.ratecv(samples.tobytes(), 2, 1, rate_in, rate_out, None)
    return numpy.frombuffer(data, numpy.int16)


def level(samples, rate, hertz):
    """dB, against a tone of the level that went in."""
    window = numpy.hanning(len(samples))
    spectrum = numpy.abs(numpy.fft.rfft(samples * window)) / (window.sum() / 2)
    near = round(hertz * len(samples) / rate)
    return 20 * numpy.log10(max(spectrum[near - 3 : near + 4].max(), 1e-3) / 10000)


for convert in (by_audioop, soxr.resample):
    low = {hz: round(level(convert(tone(hz, 16000), 16000, 8000), 8000, 8000 - hz)) for hz in (5000, 7000)}
    high = round(level(convert(tone(3000, 8000), 8000, 16000), 16000, 5000))
    print(f"{convert.__name__}: 5 kHz comes out at 3 kHz with {low[5000]} dB, 7 kHz at 1 kHz with"
          f" {low[7000]} dB; image of 3 kHz at 5 kHz: {high} dB")
    if convert is by_audioop:
        assert (low, high) == ({5000: 0, 7000: 0}, -11), f"this has changed: {low}, {high}"
    else:
        assert max(*low.values(), high) < -60, f"this has changed: {low}, {high}"
PYTHON
