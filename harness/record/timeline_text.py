"""A call as text, one line per event, in seconds since the first one."""

from __future__ import annotations

from pathlib import Path

from harness.capture.timeline import Message, Timeline
from harness.judge.call import JudgedCall
from harness.judge.verdicts import LocatedPacket, MarkVerdict

_LONGEST_TEXT = 200


def write_timeline_text(path: Path, timeline: Timeline, judged: JudgedCall) -> list[int]:
    """Write the events to ``path``; the line number of each mark's verdict, in their order."""
    # The second key keeps what happens at the same moment in the order of cause and effect.
    lines: list[tuple[int, int, str, int | None]] = []
    received = 0
    for message in timeline.messages:
        lines.append((message.time_ns, 0, _message(message, received), None))
        if message.kind == "binary" and message.sender == "application":
            received += len(message.data)
    lines += [(packet.time_ns, 1, _packet(packet), None) for packet in judged.located]
    for index, mark in enumerate(judged.marks):
        if mark.audio_end_ns is not None:
            text = f'clock        audio before mark "{mark.id}" ended (offset {mark.offset})'
            lines.append((mark.audio_end_ns, 2, text, None))
        when_ns = mark.acked_ns if mark.acked_ns is not None else timeline.end_ns
        lines.append((when_ns, 3, _verdict(mark), index))
    lines.append((timeline.end_ns, 4, "end          of listening", None))
    lines.sort(key=lambda line: line[:2])
    path.write_text(
        "".join(f"{judged.relative_s(time_ns):+.6f} {text}\n" for time_ns, _, text, _ in lines)
    )
    numbers = {line[3]: number for number, line in enumerate(lines, start=1)}
    return [numbers[index] for index in range(len(judged.marks))]


def _message(message: Message, received: int) -> str:
    who = f"{message.sender:<12}"
    if message.kind == "text":
        text = message.text
        cut = text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "..."
        return f"{who} {cut!r}"
    if message.kind == "binary" and message.sender == "application":
        return f"{who} media, bytes {received}..{received + len(message.data)}"
    return f"{who} {message.kind}, {len(message.data)} bytes"


def _packet(packet: LocatedPacket) -> str:
    parts = [f"bytes {piece.offset}..{piece.end}" for piece in packet.location.pieces]
    if packet.location.padding:
        parts.append(f"{packet.location.padding} of silence")
    if packet.location.foreign:
        parts.append(f"{packet.location.foreign} not of the stream")
    if not packet.location.certain:
        parts.append("not certain")
    if packet.clock.lateness_ns >= 100_000:
        parts.append(f"sent {packet.clock.lateness_ns / 1e6:.1f} ms late")
    return f"RTP          sequence {packet.sequence}: {', '.join(parts) or 'empty'}"


def _verdict(mark: MarkVerdict) -> str:
    difference = f" {mark.difference_ns / 1e6:+.3f} ms" if mark.difference_ns is not None else ""
    why = f": {mark.explanation}" if mark.explanation else ""
    return f'verdict      mark "{mark.id}" {mark.verdict.value}{difference}{why}'
