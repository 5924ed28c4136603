"""The files that say what happened in a call and what the judge made of it.

Reports are made from these files alone, so that they can be made again, on another machine too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.capture.timeline import Message, Timeline
from harness.errors import InputFault
from harness.judge.call import JudgedCall
from harness.judge.expectations import Expectations
from harness.judge.locate import Location, Piece
from harness.judge.media_clock import Clocked
from harness.judge.verdicts import Bounds, CounterVerdict, LocatedPacket, MarkVerdict, Verdict
from harness.record.capture_files import measurement_from
from harness.record.timeline_text import write_timeline_text

TIMELINE_TEXT_FILE = "timeline.txt"
VERDICT_FILE = "verdict.json"
MESSAGES_FILE = "ws.jsonl"
PACKETS_FILE = "packets.jsonl"


@dataclass(frozen=True)
class SavedCall:
    """A judged call, read from its files."""

    judged: JudgedCall
    messages: tuple[Message, ...]
    """media is not kept: it is as many zeros"""


def write_call_files(
    folder: Path, timeline: Timeline, judged: JudgedCall, where: Sequence[str] = ()
) -> list[str]:
    """Write timeline.txt, ws.jsonl, packets.jsonl, verdict.json; all that failed, as text.

    ``where`` says what asked for each mark, in the order they were sent (scenario.yaml:14).
    """
    text = folder / TIMELINE_TEXT_FILE
    lines = write_timeline_text(text, timeline, judged)
    _write_lines(folder / MESSAGES_FILE, [_message(message) for message in timeline.messages])
    _write_lines(folder / PACKETS_FILE, [asdict(packet) for packet in judged.located])
    (folder / VERDICT_FILE).write_text(verdict_text(judged))
    evidence = shown(text)
    marks = [
        judged.mark_text(mark, where[index] if index < len(where) else "", f"{evidence}:{line}")
        for index, (mark, line) in enumerate(zip(judged.marks, lines, strict=True))
        if mark.explanation
    ]
    others = [judged.counter_text(one) for one in judged.counters if one.explanation]
    return [*marks, *(f"{text}   {evidence}" for text in (*others, *judged.unmet))]


def verdict_text(judged: JudgedCall) -> str:
    """What verdict.json says of a call; times in ns, positions in bytes."""
    statistics = judged.statistics
    values = {
        "codec": judged.codec,
        "ptime_ms": judged.ptime_ms,
        "start_ns": judged.start_ns,
        "end_ns": judged.end_ns,
        "verdict": judged.marks_result,
        "counts": {kind.value: count for kind, count in judged.counts.items()},
        "difference_ns": asdict(statistics) if statistics else None,
        "packets": judged.packets,
        "missing_packets": judged.missing_packets,
        "measurement": asdict(judged.measurement),
        "bounds": asdict(judged.bounds),
        "notes": list(judged.notes),
        "marks": [asdict(mark) for mark in judged.marks],
        "counters": [asdict(one) for one in judged.counters],
        "expectations": asdict(judged.expectations) if judged.expectations else None,
        "unmet": list(judged.unmet),
    }
    return json.dumps(values, indent=2) + "\n"


def load_call(folder: Path) -> SavedCall:
    """What `write_call_files` wrote. Raises InputFault when it cannot be read."""
    try:
        saved = json.loads((folder / VERDICT_FILE).read_text())
        located = tuple(_located(packet) for packet in _read_lines(folder / PACKETS_FILE))
        messages = tuple(_saved_message(one) for one in _read_lines(folder / MESSAGES_FILE))
        return SavedCall(_judged(saved, located), messages)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputFault(
            f"{folder} holds no judged call that can be read: {error}",
            f"Give the folder of a call, with {VERDICT_FILE}, {MESSAGES_FILE} and {PACKETS_FILE}.",
        ) from error


def shown(path: Path) -> Path:
    """A path as the user would type it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def judged_by(saved: dict[str, Any]) -> tuple[Bounds, Expectations | None]:
    """What a verdict was made by, out of the plain values of verdict.json."""
    expected = saved["expectations"]
    if expected:
        events = {name: (least, most) for name, (least, most) in expected["events"].items()}
        missed = tuple(expected["missed"])
        expected = Expectations(**{**expected, "events": events, "missed": missed})
    # Calls that were saved before there was this bound were judged without it.
    return Bounds(**{"max_inconclusive": 0.0, **saved["bounds"]}), expected


def _judged(saved: dict[str, Any], located: tuple[LocatedPacket, ...]) -> JudgedCall:
    bounds, expectations = judged_by(saved)
    return JudgedCall(
        start_ns=saved["start_ns"],
        end_ns=saved["end_ns"],
        codec=saved["codec"],
        ptime_ms=saved["ptime_ms"],
        measurement=measurement_from(saved["measurement"]),
        bounds=bounds,
        packets=saved["packets"],
        missing_packets=saved["missing_packets"],
        marks=tuple(MarkVerdict(**_with_verdict(mark)) for mark in saved["marks"]),
        counters=tuple(CounterVerdict(**_with_verdict(one)) for one in saved["counters"]),
        expectations=expectations,
        unmet=tuple(saved["unmet"]),
        notes=tuple(saved["notes"]),
        located=located,
    )


def _with_verdict(saved: dict[str, Any]) -> dict[str, Any]:
    return {**saved, "verdict": Verdict(saved["verdict"])}


def _located(saved: dict[str, Any]) -> LocatedPacket:
    location = saved["location"]
    pieces = tuple(Piece(**piece) for piece in location["pieces"])
    return LocatedPacket(
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


def _saved_message(saved: dict[str, Any]) -> Message:
    data = saved["text"].encode() if saved["kind"] == "text" else bytes(saved["bytes"])
    return Message(saved["time_ns"], saved["sender"], saved["kind"], data)


def _write_lines(path: Path, values: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))


def _read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
