"""The caller's voice and digits: RTP (RFC 3550) towards Asterisk, a packet each 20 ms, silence
between words.

A real telephone never stops sending: so sequence numbers and timestamps go on through the silence,
and the next words begin on the clock of those before. While a digit is pressed, its
telephone-events (RFC 4733) are sent in place of audio.
"""

from __future__ import annotations

import secrets
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from harness.capture.timeline import TELEPHONE_EVENT
from harness.errors import HarnessFault, InputFault
from harness.media.codecs import codec_named
from harness.media.speech import PTIME_MS, silent_payload

DIGITS = "0123456789*#ABCD"
"""in the order of their event codes (RFC 4733, 3.2)"""

_STOP_TIMEOUT_S = 2.0
_EVENT_CLOCK_HZ = 8000
_VOLUME = 10
"""of a digit, in dB below full scale"""
_END_PACKETS = 3
"""so often the end of a digit is told, since one may not arrive (RFC 4733, 2.5.1.4)"""


@dataclass(frozen=True)
class RtpTarget:
    """Where a party wants RTP, and of which payload type, as its SDP says."""

    address: str
    port: int
    payload_type: int


def rtp_packet(
    sequence: int, timestamp: int, ssrc: int, payload_type: int, payload: bytes, marker: bool
) -> bytes:
    """An RTP packet without extension or padding. ``sequence`` and ``timestamp`` wrap."""
    second = payload_type | (0x80 if marker else 0)
    header = struct.pack("!BBHII", 0x80, second, sequence % 2**16, timestamp % 2**32, ssrc)
    return header + payload


def deadline_ns(start_ns: int, number: int) -> int:
    """When packet ``number``, counted from 0, is to be sent: never from the one before it."""
    return start_ns + number * PTIME_MS * 1_000_000


@dataclass(frozen=True)
class _Event:
    """A telephone-event packet."""

    payload: bytes
    begun: int
    """packets sent since its digit began: they all have the timestamp of its beginning"""


def digit_events(digit: str, duration_ms: int) -> list[bytes]:
    """The telephone-event payloads of a digit, a packet each 20 ms, those that end it among them.

    Raises InputFault for what is no digit.
    """
    if len(digit) != 1 or digit not in DIGITS:
        raise InputFault(f"{digit!r} is not a digit of a telephone", f"Use one of {DIGITS}.")
    step = _EVENT_CLOCK_HZ * PTIME_MS // 1000
    count = max(1, duration_ms // PTIME_MS)
    going = [(0, number * step) for number in range(1, count)]
    packets = [*going, *[(0x80, count * step)] * _END_PACKETS]
    code = DIGITS.index(digit)
    return [struct.pack("!BBH", code, end | _VOLUME, duration) for end, duration in packets]


class RtpSender:
    """One stream of RTP from ``rtp`` to ``target``, sent by a thread until `close`.

    Made by `RtpSocket.talk`. It begins with silence. The first packet alone has the marker bit:
    nothing is ever left out.
    """

    def __init__(self, rtp: socket.socket, target: RtpTarget, codec: str) -> None:
        self.ssrc = secrets.randbelow(2**32)
        self._rtp = rtp
        self._target = target
        self._silence = silent_payload(codec)
        self._clock_hz = codec_named(codec).rtp_clock_hz
        self._timestamp_step = self._clock_hz * PTIME_MS // 1000
        self._words: deque[bytes | _Event] = deque()
        self._sent = 0
        self._failure = ""
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="rtp-sender", daemon=True)
        self._thread.start()

    @property
    def sent(self) -> int:
        """Packets sent so far, those of silence among them."""
        with self._changed:
            return self._sent

    def speak(self, frames: Iterable[bytes]) -> None:
        """Send these payloads, 20 ms each, behind what is still to be spoken; then silence again.

        Returns at once. See `speech.rtp_payloads` for where to get them.
        """
        with self._changed:
            self._words.extend(frames)

    def press(self, digit: str, duration_ms: int) -> None:
        """Press a digit for so long, behind what is still to be spoken. Returns at once.

        Raises InputFault for what is no digit, and for a codec with another clock than 8000 Hz.
        """
        if self._clock_hz != _EVENT_CLOCK_HZ:
            raise InputFault(
                f"the caller cannot press digits in a codec with a clock of {self._clock_hz} Hz",
                "Use one such as ulaw.",
            )
        payloads = digit_events(digit, duration_ms)
        with self._changed:
            self._words.extend(_Event(payload, begun) for begun, payload in enumerate(payloads))

    def wait_spoken(self, timeout_s: float) -> None:
        """Until all has been spoken. HarnessFault when it takes longer or cannot be sent."""
        with self._changed:
            done = self._changed.wait_for(lambda: not self._words or self._failure, timeout_s)
            if self._failure:
                raise HarnessFault(f"the caller's RTP cannot be sent: {self._failure}")
            if not done:
                raise HarnessFault(
                    f"the caller still has {len(self._words)} packets to send after {timeout_s:g} s"
                )

    def close(self) -> None:
        """Send nothing any more. May be called again."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(_STOP_TIMEOUT_S)

    def _run(self) -> None:
        start_ns = time.monotonic_ns()
        first_sequence, first_timestamp = secrets.randbelow(2**16), secrets.randbelow(2**32)
        with self._changed:
            while not self._wait_until(deadline_ns(start_ns, self._sent)):
                word = self._words.popleft() if self._words else self._silence
                payload_type, begun, marker = self._target.payload_type, 0, self._sent == 0
                if isinstance(word, _Event):
                    payload_type, begun, marker = TELEPHONE_EVENT, word.begun, not word.begun
                    word = word.payload
                packet = rtp_packet(
                    first_sequence + self._sent,
                    first_timestamp + (self._sent - begun) * self._timestamp_step,
                    self.ssrc,
                    payload_type,
                    word,
                    marker,
                )
                try:
                    self._rtp.sendto(packet, (self._target.address, self._target.port))
                except BlockingIOError:
                    pass  # the kernel has no room: lost, as on any network
                except OSError as error:
                    # Asterisk may have closed its port already: nobody is there to hear.
                    self._failure = str(error)
                    self._stopping = True
                self._sent += 1
                self._changed.notify_all()

    def _wait_until(self, due_ns: int) -> bool:
        """True when it is time to stop instead."""
        while not self._stopping and (left_ns := due_ns - time.monotonic_ns()) > 0:
            self._changed.wait(left_ns / 1e9)
        return self._stopping
