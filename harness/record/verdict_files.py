"""The files that say what happened in a call and what the judge made of it.

Reports are made from these files alone, so that they can be made again, on another machine too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.capture.timeline import Message, Ruler, Timeline
from harness.errors import InputFault
from harness.judge.counters import Accounts
from harness.judge.expectations import Expectations
from harness.judge.judge import Bounds, CallVerdict, MarkVerdict, PacketPlace, Verdict
from harness.judge.locate import Location, Piece
from harness.judge.media_clock import Clocked
from harness.record.timeline_text import write_timeline_text

TIMELINE_TEXT_FILE = "timeline.txt"
VERDICT_FILE = "verdict.json"
MESSAGES_FILE = "ws.jsonl"
PACKETS_FILE = "packets.jsonl"


@dataclass(frozen=True)
class SavedMessage:
    """A WebSocket message without its media."""

    time_ns: int
    sender: str
    kind: str
    text: str
    """of a text message, else empty"""
    length: int
    """bytes of any other message, else 0"""


@dataclass(frozen=True)
class SavedCall:
    """A judged call, read from its files."""

    verdict: CallVerdict
    messages: tuple[SavedMessage, ...]
    codec: str
    """of the application"""
    ptime_ms: int
    """of the RTP packets"""
    end_ns: int
    """until when was listened"""


def write_call_files(
    folder: Path,
    timeline: Timeline,
    verdict: CallVerdict,
    accounts: Accounts | None = None,
    where: Sequence[str] = (),
    expectations: Expectations | None = None,
    unexpected: Sequence[str] = (),
) -> list[str]:
    """Write timeline.txt, ws.jsonl, packets.jsonl, verdict.json; the marks' failures as text.

    ``where`` says what asked for each mark, in the order they were sent (scenario.yaml:14).
    ``unexpected`` is what did not come of the call as its ``expectations`` say.
    """
    text = folder / TIMELINE_TEXT_FILE
    lines = write_timeline_text(text, timeline, verdict)
    _write_lines(folder / MESSAGES_FILE, [_message(message) for message in timeline.messages])
    _write_lines(folder / PACKETS_FILE, [asdict(place) for place in verdict.places])
    summary = {
        "codec": timeline.codec.name,
        "ptime_ms": timeline.wire.ptime_ms,
        "start_ns": verdict.start_ns,
        "end_ns": timeline.end_ns,
        **verdict_summary(verdict),
        "accounts": [asdict(one) for one in accounts.verdicts] if accounts else [],
        "expectations": asdict(expectations) if expectations else None,
        "unexpected": list(unexpected),
    }
    (folder / VERDICT_FILE).write_text(json.dumps(summary, indent=2) + "\n")
    return [
        verdict.failure_text(
            mark, where[index] if index < len(where) else "", f"{shown(text)}:{line}"
        )
        for index, (mark, line) in enumerate(zip(verdict.marks, lines, strict=True))
        if mark.explanation
    ]


def verdict_summary(verdict: CallVerdict) -> dict[str, Any]:
    """A call's verdict as plain values; times in ns, positions in bytes."""
    statistics = verdict.statistics
    return {
        "verdict": verdict.verdict,
        "counts": {kind.value: count for kind, count in verdict.counts.items()},
        "difference_ns": asdict(statistics) if statistics else None,
        "packets": verdict.packets,
        "lost": verdict.lost,
        "ruler": asdict(verdict.ruler),
        "bounds": asdict(verdict.bounds),
        "notes": list(verdict.notes),
        "marks": [asdict(mark) for mark in verdict.marks],
    }


def load_call(folder: Path) -> SavedCall:
    """What `write_call_files` wrote. Raises InputFault when it cannot be read."""
    try:
        saved = json.loads((folder / VERDICT_FILE).read_text())
        messages = _read_lines(folder / MESSAGES_FILE)
        places = tuple(_place(packet) for packet in _read_lines(folder / PACKETS_FILE))
        return SavedCall(
            _verdict(saved, places),
            tuple(
                SavedMessage(
                    one["time_ns"],
                    one["sender"],
                    one["kind"],
                    one.get("text", ""),
                    one.get("bytes", 0),
                )
                for one in messages
            ),
            saved["codec"],
            saved["ptime_ms"],
            saved["end_ns"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputFault(
            f"{folder} holds no judged call that can be read: {error}",
            f"Give the folder of a call, with {VERDICT_FILE}, {MESSAGES_FILE} and {PACKETS_FILE}.",
        ) from error


def shown(path: Path) -> Path:
    """A path as the user would type it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _verdict(saved: dict[str, Any], places: tuple[PacketPlace, ...]) -> CallVerdict:
    ruler = saved["ruler"]
    return CallVerdict(
        marks=tuple(
            MarkVerdict(**{**mark, "verdict": Verdict(mark["verdict"])}) for mark in saved["marks"]
        ),
        notes=tuple(saved["notes"]),
        packets=saved["packets"],
        lost=saved["lost"],
        ruler=Ruler(**{**ruler, "stalls": tuple((begin, end) for begin, end in ruler["stalls"])}),
        bounds=Bounds(**saved["bounds"]),
        start_ns=saved["start_ns"],
        places=places,
    )


def _place(saved: dict[str, Any]) -> PacketPlace:
    location = saved["location"]
    pieces = tuple(Piece(**piece) for piece in location["pieces"])
    return PacketPlace(
        saved["time_ns"],
        saved["sequence"],
        Location(**{**location, "pieces": pieces}),
        Clocked(**saved["clock"]),
    )


def _message(message: Message) -> dict[str, Any]:
    binary = message.kind != "text"
    return {
        "time_ns": message.time_ns,
        "sender": message.sender,
        "kind": message.kind,
        **({"bytes": len(message.data)} if binary else {"text": message.text}),
    }


def _write_lines(path: Path, values: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))


def _read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
