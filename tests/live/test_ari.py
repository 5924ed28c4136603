"""Calls that are bridged over ARI, with external media over WebSocket in both directions."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest
from live_calls import Script, passing_call, place
from test_marks import send

from chan_websocket.protocol import Format
from harness.application.marks import coded_pieces, play_with_marks, random_sizes
from harness.asterisk.configuration import Bridge, Connection, Extension
from harness.bench import Bench, LiveCall
from harness.judge.verdicts import Bounds

ARI = Extension("ari", bridge="ari")
MARKS = 12
# A mixer takes audio in rounds of 20 ms: an answer may be one late.
MIXED = Bounds(late_ns=22_000_000)

connections = pytest.mark.parametrize("connection", ["outgoing", "incoming"])


async def speak(call: LiveCall) -> None:
    await call.session.start_buffering()
    await play_with_marks(call.session, coded_pieces(random_sizes(1, MARKS, largest=1500)))


def place_call(bench: Bench, name: str, script: Script, extension: Extension) -> None:
    """A call of which the marks, if it has any, are no matter."""
    asyncio.run(place(bench, name, script, extension))


@connections
@pytest.mark.parametrize("bridge", ["ari", "ari of three"])
@pytest.mark.parametrize("message_format", [Format.PLAIN, Format.JSON], ids=lambda one: one.name)
def test_marks_in_a_bridge_of_ari(
    patched: Bench, bridge: Bridge, connection: Connection, message_format: Format
) -> None:
    name = f"{bridge}-{connection}-{message_format.value}".replace(" ", "-")
    extension = Extension(name, bridge=bridge, connection=connection, message_format=message_format)
    technologies = []

    async def script(call: LiveCall) -> None:
        technologies.append(patched.instance.console.run("bridge show all"))
        await speak(call)

    bounds = MIXED if extension.mixed else None
    call = passing_call(patched, name, script, extension, bounds=bounds)
    assert len(call.judged.marks) == MARKS
    assert ("softmix" in technologies[-1]) == (bridge == "ari of three"), technologies[-1]
    assert call.session.format is message_format


def test_nothing_is_left_of_a_call(patched: Bench) -> None:
    place_call(patched, "ari-nothing-left", speak, ARI)
    console = patched.instance.console
    assert console.run("core show channels concise") == ""
    assert len(console.run("bridge show all").splitlines()) == 1  # the heading
    # Asterisk ends the application when it sees that its WebSocket is closed.
    deadline = time.monotonic() + 5.0
    while "harness-" in (apps := console.run("ari show apps")):
        assert time.monotonic() < deadline, apps


def test_the_others_are_sent_away_when_the_application_hangs_up(patched: Bench) -> None:
    extension = replace(ARI, name="ari-three-hang-up", bridge="ari of three")

    async def script(call: LiveCall) -> None:
        await send(call.session, 1600)
        await call.session.hangup()
        assert await call.sip.ended() == "asterisk"

    place_call(patched, extension.name, script, extension)


def test_the_application_is_sent_away_when_the_caller_hangs_up(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        await send(call.session, 1600)
        await call.sip.hang_up()
        await call.session.wait_closed()

    place_call(patched, "ari-caller-hangs-up", script, ARI)
