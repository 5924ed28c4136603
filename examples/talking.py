"""What the examples speak and listen with, instead of services that need a key.

A voice is espeak-ng, a brain is a script, and voice activity is energy.
"""

from __future__ import annotations

import io
import subprocess
import sys
import wave
from array import array
from dataclasses import dataclass

GREETING = "Good morning. The book you asked for has arrived. We keep it for you until Friday."
GOODBYE = "Goodbye, until Friday."

SPEECH_LEVEL = 500
"""mean of the samples' absolute values, of 32768"""
SPEECH_FRAMES = 3
SILENCE_FRAMES = 15
"""so many frames of 20 ms are somebody who speaks, or has spoken"""


def answer(heard: str) -> str:
    """To the caller who interrupted, by what he has heard."""
    words = heard.split()
    return f"I had got to: {' '.join(words[-3:])}" if words else "I had not begun."


@dataclass
class Word:
    """A word with its sound."""

    text: str
    begin_s: float
    end_s: float
    """from the beginning of what is said"""
    audio: bytes
    """16-bit linear samples"""


def speak(text: str, sample_rate: int) -> list[Word]:
    """Each word by itself, so that it is known to the sample when it ends. Blocks for a moment."""
    words, at_s = [], 0.0
    for text_of_word in text.split():
        command = ["espeak-ng", "-v", "en", "--stdout", "--", text_of_word]
        spoken = subprocess.run(command, check=True, capture_output=True).stdout
        with wave.open(io.BytesIO(spoken)) as sound:
            samples = array("h", sound.readframes(sound.getnframes()))
            audio = _resample(samples, sound.getframerate(), sample_rate)
        end_s = at_s + len(audio) / 2 / sample_rate
        words.append(Word(text_of_word, at_s, end_s, audio))
        at_s = end_s
    return words


class Ears:
    """Whether somebody speaks."""

    def __init__(self) -> None:
        self.speech = False
        self._loud = self._quiet = 0

    def hear(self, linear: bytes) -> bool:
        """20 ms more; True when somebody has just begun to speak."""
        samples = array("h", linear)
        loud = bool(samples) and sum(map(abs, samples)) / len(samples) > SPEECH_LEVEL
        self._loud = self._loud + 1 if loud else 0
        self._quiet = 0 if loud else self._quiet + 1
        began = not self.speech and self._loud >= SPEECH_FRAMES
        self.speech = began or (self.speech and self._quiet < SILENCE_FRAMES)
        return began


def _resample(samples: array[int], from_hz: int, to_hz: int) -> bytes:
    # Of neighbours, which is good enough for espeak-ng.
    if sys.byteorder == "big":
        samples.byteswap()
    result = array("h")
    for number in range(len(samples) * to_hz // from_hz):
        place, part = divmod(number * from_hz, to_hz)
        behind = samples[min(place + 1, len(samples) - 1)]
        result.append(samples[place] + (behind - samples[place]) * part // to_hz)
    return result.tobytes()
