"""Calls on the built Asterisk for the live tests: placed, judged, and placed again if need be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn, TypeVar

import pytest

from chan_websocket.protocol import Event, Format
from harness.asterisk.configuration import Extension
from harness.bench import Bench, LiveCall
from harness.judge.verdicts import Bounds, Result, Verdict
from harness.retry import ATTEMPTS, until_reliable

T = TypeVar("T")

Script = Callable[[LiveCall], Awaitable[None]]
"""What the application does in a call"""

PLAIN = Extension("plain")
JSON = Extension("json", message_format=Format.JSON)
MANY_AT_ONCE = Bounds(late_ns=45_000_000)
"""TCP sends ten small events in a row and then waits for an acknowledgement, for up to 40 ms"""
INCONCLUSIVE = "inconclusive"
"""how the reason begins with which such a test is skipped, see tests/conftest.py"""


async def place(
    bench: Bench, name: str, script: Script, extension: Extension, bounds: Bounds | None = None
) -> LiveCall:
    """One call in which the application does what ``script`` says; judged."""
    async with bench.call(name, extension, bounds) as call:
        await script(call)
    return call


def measured(
    name: str,
    measure: Callable[[str], Coroutine[Any, Any, T]],
    unreliable: Callable[[T], str],
    alone: bool = False,
    late: Callable[[T], bool] = lambda found: False,
) -> T:
    """What ``measure`` returns, by `until_reliable`; else the test is skipped.

    ``unreliable`` says why what it returned tells nothing, and nothing if it tells something.
    """
    found = until_reliable(
        name, lambda name: asyncio.run(measure(name)), unreliable, alone, late=late
    )
    if why := unreliable(found):
        skip(why)
    return found


def judged_call(
    bench: Bench,
    name: str,
    script: Script,
    extension: Extension = PLAIN,
    *,
    marks_fail: bool,
    bounds: Bounds | None = None,
    alone: bool = False,
) -> LiveCall:
    """A call that passes, or fails with ``marks_fail``; the test fails on the opposite.

    A call whose measurement was unreliable says nothing, nor does what is late once: it is placed
    again, and after the third the test is skipped with the reason.
    """

    def placed(name: str) -> Coroutine[Any, Any, LiveCall]:
        return place(bench, name, script, extension, bounds)

    def late(call: LiveCall) -> bool:
        failures, unmet = call.judged.failures, call.judged.unmet
        return not marks_fail and failures == {Verdict.LATE} and not unmet

    call = measured(name, placed, unreliable, alone, late)
    if result(call) != ("FAIL" if marks_fail else "PASS"):
        fail(call)
    return call


def passing_call(
    bench: Bench,
    name: str,
    script: Script,
    extension: Extension = PLAIN,
    bounds: Bounds | None = None,
    alone: bool = False,
) -> LiveCall:
    """A call in which every mark passes, and everything that Asterisk counted."""
    return judged_call(bench, name, script, extension, marks_fail=False, bounds=bounds, alone=alone)


def result(call: LiveCall) -> Result:
    """Of a call's marks and counters together."""
    return call.judged.result


def fail(call: LiveCall) -> NoReturn:
    """What the judge says of the call is why the test fails."""
    texts = call.failures or ["everything passed, which is not what was to be shown"]
    pytest.fail("\n".join([*texts, f"everything of the call: {call.folder}"]), pytrace=False)


def skip(why: str) -> NoReturn:
    """Nothing can be said, after all attempts."""
    pytest.skip(f"{INCONCLUSIVE} {ATTEMPTS} times, the last time: {why}")


def unreliable(call: LiveCall) -> str:
    """Why nothing can be said of a call; empty if something can."""
    return why_inconclusive(call) if result(call) == "INCONCLUSIVE" else ""


def why_inconclusive(call: LiveCall) -> str:
    """What of a call could not be judged, and why."""
    failures = call.failures
    inconclusive = [text for text in failures if f" {Verdict.INCONCLUSIVE.value}:" in text]
    return f"{[*inconclusive, *failures, 'no mark was set'][0]} ({call.folder})"


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
