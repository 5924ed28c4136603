"""What operators read of a channel while it is up, held against what its application is told."""

from __future__ import annotations

import pytest
from live_calls import JSON, passing_call
from test_marks import played, send

from chan_websocket.protocol import command_set_direction
from harness.asterisk.ari import AriRefused
from harness.bench import Bench, LiveCall
from harness.targets.target import OwnTarget

FRAME = 160
SPEECH = 10 * FRAME
SAME = ("received", "played", "queued", "flushed", "dropped", "marks", "underruns", "stage")


@pytest.mark.usefixtures("media_direction")
def test_the_channel_function_says_what_the_application_is_told(patched: Bench) -> None:
    found: list[dict[str, str]] = []
    refused: list[str] = []

    async def script(call: LiveCall) -> None:
        session, ari = call.session, OwnTarget(patched.instance).ari
        channel = str(session.media_start.fields["channel_id"])

        async def read(item: str = "") -> str:
            path = f"channels/{channel}/variable"
            variable = f"CHANNEL(playback{item})"
            return str((await ari.request("GET", path, variable=variable))["value"])

        async def read_all() -> None:
            found.append(dict(field.split("=", 1) for field in (await read()).split()))

        await session.opt_in()
        await session.pause()
        await session.start_buffering()
        await send(session, SPEECH)
        await session.mark("first")
        await session.mark("second")
        await session.report_playback()
        # By its answer the commands before it have been read.
        await session.wait_event("PLAYBACK")
        await read_all()
        assert await read(",marks") == "2"
        await session.continue_()
        await played(session, "second")
        await session.send_text(command_set_direction("in"))
        await send(session, 2 * FRAME)
        await session.send_text(command_set_direction("both"))
        await session.report_playback()
        report = await session.wait_event("PLAYBACK", received=SPEECH + 2 * FRAME)
        await read_all()
        found.append({name: str(report.fields[name]) for name in SAME})
        for item in (",nothing", ",", "s"):
            try:
                refused.append(await read(item))
            except AriRefused:
                refused.append("")

    passing_call(patched, "monitoring", script, JSON)
    waiting, after, told = found[-3:]
    assert waiting["paused"] == "1"
    assert (waiting["queued"], waiting["marks"]) == (str(SPEECH), "2")
    assert waiting["suspended"] == after["suspended"] == "no"
    assert {name: after[name] for name in SAME} == told
    assert (after["played"], after["paused"]) == (str(SPEECH), "0")
    assert after["dropped"] == after["dropped_direction"] == str(2 * FRAME)
    assert after["dropped_overflow"] == after["dropped_unsent"] == "0"
    assert refused[-3:] == ["", "", ""]
