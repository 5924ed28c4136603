"""The files that say what happened in a call and what the judge made of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.capture.timeline import Message, Timeline
from harness.judge.judge import CallVerdict
from harness.report.timeline_text import write_timeline_text


def write_call_files(folder: Path, timeline: Timeline, verdict: CallVerdict) -> list[str]:
    """Write timeline.txt, ws.jsonl and verdict.json; the failures as text, with their evidence."""
    lines = write_timeline_text(folder / "timeline.txt", timeline, verdict)
    with (folder / "ws.jsonl").open("w") as file:
        for message in timeline.messages:
            file.write(json.dumps(_message(message)) + "\n")
    (folder / "verdict.json").write_text(json.dumps(verdict_summary(verdict), indent=2) + "\n")
    return [
        verdict.failure_text(mark, evidence=f"{folder / 'timeline.txt'}:{line}")
        for mark, line in zip(verdict.marks, lines, strict=True)
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


def _message(message: Message) -> dict[str, Any]:
    binary = message.kind != "text"
    return {
        "time_ns": message.time_ns,
        "sender": message.sender,
        "kind": message.kind,
        **({"bytes": len(message.data)} if binary else {"text": message.text}),
    }
