"""Calls on the built Asterisk for the live tests: placed, judged, and placed again if need be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

import pytest

from harness.asterisk.configuration import Extension
from harness.bench import Bench, LiveCall
from harness.judge.call import Result, account_failures, call_result
from harness.judge.judge import Bounds, Verdict
from harness.protocol import Event, Format

Script = Callable[[LiveCall], Awaitable[None]]
"""What the application does in a call"""

PLAIN = Extension("plain")
JSON = Extension("json", message_format=Format.JSON)
MANY_AT_ONCE = Bounds(late_ns=45_000_000)
"""TCP sends ten small events in a row and then waits for an acknowledgement, for up to 40 ms"""
ATTEMPTS = 3
INCONCLUSIVE = "inconclusive"
"""how the reason begins with which such a test is skipped"""


async def place(
    bench: Bench, name: str, script: Script, extension: Extension, bounds: Bounds | None = None
) -> LiveCall:
    """One call in which the application does what ``script`` says; judged."""
    async with bench.call(name, extension, bounds) as call:
        await script(call)
    return call


def judged_call(
    bench: Bench,
    name: str,
    script: Script,
    extension: Extension = PLAIN,
    *,
    marks_fail: bool,
    bounds: Bounds | None = None,
) -> LiveCall:
    """A call that passes, or fails with ``marks_fail``; the test fails on the opposite.

    A call whose ruler was bent says nothing, nor does a late answer of a busy host: it is placed
    again, and after the third the test is skipped with the reason.
    """
    wanted = "FAIL" if marks_fail else "PASS"
    for attempt in range(1, ATTEMPTS + 1):
        call = asyncio.run(place(bench, attempt_name(name, attempt), script, extension, bounds))
        if result(call) == wanted:
            return call
        if result(call) != "INCONCLUSIVE":
            fail(call)
    skip(call)


def passing_call(
    bench: Bench,
    name: str,
    script: Script,
    extension: Extension = PLAIN,
    bounds: Bounds | None = None,
) -> LiveCall:
    """A call in which every mark passes, and everything that Asterisk counted."""
    return judged_call(bench, name, script, extension, marks_fail=False, bounds=bounds)


def attempt_name(name: str, attempt: int) -> str:
    """The name of a call that may be placed again; attempts count from 1."""
    return name if attempt == 1 else f"{name}-again-{attempt}"


def result(call: LiveCall) -> Result:
    """Of a call's marks and accounts together."""
    return call_result(call.accounts)


def fail(call: LiveCall) -> NoReturn:
    """The judge's account of the call is why the test fails."""
    texts = _failures(call) or ["everything passed, which is not what was to be shown"]
    pytest.fail("\n".join([*texts, f"everything of the call: {call.folder}"]), pytrace=False)


def skip(call: LiveCall) -> NoReturn:
    """Nothing can be said of this call, nor of those before it."""
    failures = _failures(call)
    inconclusive = [text for text in failures if f" {Verdict.INCONCLUSIVE.value}:" in text]
    why = [*inconclusive, *failures, "no mark was set"][0]
    pytest.skip(f"{INCONCLUSIVE} {ATTEMPTS} times, the last time: {why} ({call.folder})")


def is_inconclusive(report: pytest.TestReport) -> bool:
    """Whether a test was skipped because nothing can be said."""
    # File, line and reason, as pytest keeps them.
    return isinstance(report.longrepr, tuple) and report.longrepr[2].startswith(
        f"Skipped: {INCONCLUSIVE}"
    )


def _failures(call: LiveCall) -> list[str]:
    return [*call.failures, *account_failures(call.accounts)]


def names(events: list[Event]) -> list[str]:
    """The names of the events between MEDIA_START and, if there is one, the final PLAYBACK."""
    begin = 1 if events[:1] and events[0].name == "MEDIA_START" else 0
    end = len(events) - (1 if events and "final" in events[-1].fields else 0)
    return [event.name for event in events[begin:end]]


def of(call: LiveCall, name: str) -> list[Event]:
    """The events ``name`` of a call, in order."""
    return [event for event in call.session.events if event.name == name]


def ids(events: list[Event]) -> list[object]:
    """The ids in these events, with the types they were sent with."""
    return [event.fields.get("id") for event in events]
