"""Calls on the built Asterisk for the live tests: placed, judged, and placed again if need be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

import pytest

from harness.asterisk.configuration import Extension
from harness.bench import Bench, LiveCall
from harness.dispositions import late_on_a_busy_host
from harness.websocket.protocol import Event, Format

Script = Callable[[LiveCall], Awaitable[None]]
"""What the application does in a call"""

PLAIN = Extension("plain")
JSON = Extension("json", message_format=Format.JSON)
_ATTEMPTS = 3


async def place(bench: Bench, name: str, script: Script, extension: Extension) -> LiveCall:
    """One call in which the application does what ``script`` says; judged."""
    async with bench.call(name, extension) as call:
        await script(call)
    return call


def judged_call(
    bench: Bench, name: str, script: Script, extension: Extension = PLAIN, *, marks_fail: bool
) -> LiveCall:
    """A call whose verdict is PASS, or FAIL with ``marks_fail``; the test fails on the opposite.

    A call whose ruler was bent says nothing, nor does a late answer of a busy host: it is placed
    again, and after the third the test is skipped with the reason.
    """
    wanted = "FAIL" if marks_fail else "PASS"
    for attempt in range(1, _ATTEMPTS + 1):
        attempt_name = name if attempt == 1 else f"{name}-again-{attempt}"
        call = asyncio.run(place(bench, attempt_name, script, extension))
        if call.result.verdict == wanted:
            return call
        if call.result.verdict != "INCONCLUSIVE" and not late_on_a_busy_host(call.result):
            fail(call)
    skip(call)


def passing_call(bench: Bench, name: str, script: Script, extension: Extension = PLAIN) -> LiveCall:
    """A call in which every mark passes."""
    return judged_call(bench, name, script, extension, marks_fail=False)


def fail(call: LiveCall) -> NoReturn:
    """The judge's account of the marks is why the test fails."""
    texts = call.failures or ["every mark passed, which is not what was to be shown"]
    pytest.fail("\n".join([*texts, f"everything of the call: {call.folder}"]), pytrace=False)


def skip(call: LiveCall) -> NoReturn:
    """Nothing can be said of this call, nor of those before it."""
    why = call.failures[0] if call.failures else "no mark was set"
    pytest.skip(f"inconclusive {_ATTEMPTS} times, the last time: {why} ({call.folder})")


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
