"""Builds timelines by hand, in milliseconds since the call's first moment."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Literal

from harness.capture.timeline import (
    TELEPHONE_EVENT,
    ULAW,
    Measurement,
    Message,
    MessageKind,
    ReceptionReport,
    RtpPacket,
    Sender,
    Timeline,
    ntp_middle,
)
from harness.media.position_code import encode

MS = 1_000_000
START_NS = 1_800_000_000 * 1_000_000_000
FRAME = 160
"""bytes of a full ulaw frame of 20 ms"""


class Call:
    """One ulaw call; events may be added in any order."""

    def __init__(self, sequence: int = 100, timestamp: int = 5000) -> None:
        self.sent = 0
        self.packets: list[RtpPacket] = []
        self._reports: list[ReceptionReport] = []
        self._messages: list[Message] = []
        self._sequence = sequence
        self._timestamp = timestamp
        self.ssrc = 7

    def send(self, at_ms: float, length: int) -> None:
        """The application sends the next ``length`` position-coded bytes."""
        self.send_bytes(at_ms, encode(self.sent, length))

    def send_bytes(self, at_ms: float, data: bytes) -> None:
        self.sent += len(data)
        self._add(at_ms, "application", "binary", data)

    def command(self, at_ms: float, text: str) -> None:
        self._add(at_ms, "application", "text", text.encode())

    def event(self, at_ms: float, text: str) -> None:
        self._add(at_ms, "asterisk", "text", text.encode())

    def json_command(self, at_ms: float, **fields: object) -> None:
        self.command(at_ms, json.dumps(fields))

    def json_event(self, at_ms: float, **fields: object) -> None:
        self.event(at_ms, json.dumps(fields))

    def json_answer(self, at_ms: float, mark_id: object, offset: int, /, **changes: object) -> None:
        """MARK_PLAYED, or MARK_DISCARDED where a ``reason`` is given, with all of its fields.

        All media before the mark was played, but for what ``changes`` say; a field that is changed
        to None is left out.
        """
        fields = {"id": mark_id, "correlation_id": mark_id, "offset": offset}
        fields["at"] = _ns(at_ms) / MS
        if "reason" not in changes:
            fields |= {"played_ms": offset / 8, "dropped": 0}
        event = "MARK_DISCARDED" if "reason" in changes else "MARK_PLAYED"
        said = {name: value for name, value in (fields | changes).items() if value is not None}
        self.json_event(at_ms, event=event, **said)

    def play(
        self, at_ms: float, first: int, last: int, late_ms: dict[int, float] | None = None
    ) -> None:
        """Asterisk plays bytes ``first`` to ``last`` in full frames from ``at_ms`` on.

        The last frame is padded with silence; ``late_ms`` says of single frames (by their count
        in this call of play) how late they are sent.
        """
        for count, offset in enumerate(range(first, last, FRAME)):
            payload = encode(offset, min(FRAME, last - offset)).ljust(FRAME, b"\xff")
            self.packet(at_ms + 20 * count + (late_ms or {}).get(count, 0.0), payload)

    def gather(self, at_ms: float, data: bytes, ptime_ms: int, *, kept: bytes = b"") -> bytes:
        """Asterisk plays ``data``, a frame each 20 ms, and sends packets of ``ptime_ms`` of it.

        ``kept`` is what it had kept of what it played before; returned is what it keeps of this.
        """
        size = 8 * ptime_ms
        for count, begin in enumerate(range(0, len(data), FRAME)):
            kept += data[begin : begin + FRAME]
            while len(kept) >= size:
                self.packet(at_ms + 20 * count, kept[:size])
                kept = kept[size:]
        return kept

    def digit(self, at_ms: float, packets: int) -> None:
        """Asterisk sends the caller a digit (RFC 4733), a packet each 20 ms; audio is left out."""
        for count in range(packets):
            event = struct.pack("!BBH", 5, 10, 160 * (count + 1))
            self.packet(at_ms + 20 * count, event, payload_type=TELEPHONE_EVENT)
        self._timestamp += 160 * packets

    def report(self, at_ms: float, jitter_ms: int, rtt_ms: float | None = None) -> None:
        """The caller reports (RTCP); without ``rtt_ms`` it has got no sender report."""
        sr = 0 if rtt_ms is None else (ntp_middle(_ns(at_ms)) - round(rtt_ms * 65.536)) % 2**32
        self._reports.append(ReceptionReport(_ns(at_ms), 8 * jitter_ms, sr, 0))

    def packet(self, at_ms: float, payload: bytes, *, gap: int = 0, payload_type: int = 0) -> None:
        """One RTP packet; ``gap`` is added to its timestamp and to all that follow."""
        self._timestamp += gap
        self.packets.append(
            RtpPacket(
                _ns(at_ms),
                self._sequence % 2**16,
                self._timestamp % 2**32,
                payload_type,
                self.ssrc,
                payload,
            )
        )
        self._sequence += 1
        if not payload_type:
            self._timestamp += len(payload)

    def timeline(
        self,
        end_ms: float = 5000,
        *,
        uncertainty_ns: int = 0,
        dropped: int = 0,
        stalls_ms: Sequence[tuple[float, float]] = (),
        source: Literal["capture", "socket"] = "capture",
        ptime_ms: int = 0,
    ) -> Timeline:
        # Sorting is stable: messages added at the same moment keep their order.
        messages = sorted(self._messages, key=lambda message: message.time_ns)
        stalls = tuple((_ns(begin), _ns(end)) for begin, end in stalls_ms)
        measurement = Measurement(source, uncertainty_ns, dropped, stalls)
        return Timeline(
            *(ULAW, tuple(self.packets), tuple(messages), measurement, _ns(end_ms)),
            ptime_ms=ptime_ms,
            reports=tuple(self._reports),
        )

    def _add(self, at_ms: float, sender: Sender, kind: MessageKind, data: bytes) -> None:
        self._messages.append(Message(_ns(at_ms), sender, kind, data))


def speech_call(offsets: Sequence[int], answered_after_ms: Sequence[float]) -> Call:
    """A call whose marks stand at ``offsets``, answered so long after their audio ended."""
    call = Call()
    call.event(0, "MEDIA_START channel:x")
    for number, offset in enumerate(offsets):
        call.send(1, offset - call.sent)
        call.command(1, f"MARK id=m{number}")
    call.play(20, 0, offsets[-1])
    for number, (offset, after) in enumerate(zip(offsets, answered_after_ms, strict=True)):
        call.event(20 + offset / 8 + after, f"MARK_PLAYED id=m{number}")
    return call


def _ns(at_ms: float) -> int:
    return START_NS + round(at_ms * MS)
