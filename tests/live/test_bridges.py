"""A channel that moves between a bridge of two parties and one that mixes, built over ARI."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager, suppress

from live_calls import fail, measured, result, unreliable

from harness.application.marks import coded_pieces, play_with_marks, random_sizes
from harness.asterisk.ari import Ari
from harness.asterisk.configuration import ARI_APPLICATION, Extension
from harness.bench import Bench, LiveCall
from harness.errors import Fault
from harness.judge.verdicts import Bounds

STASIS = Extension("stasis", bridge="stasis")
# An answer may be a round of the mixer, 20 ms, late; and where the bridge begins to mix all packets
# are held back by up to a round from then on, which is no fault of the measurement.
MIXED = Bounds(late_ns=22_000_000, lateness_ns=22_000_000, around_lateness_ns=22_000_000)
MARKS = 12


class Mover:
    """An ARI application that puts every channel that comes into one bridge."""

    def __init__(self, ari: Ari, agent: str) -> None:
        self.ari = ari
        self._agent = agent
        self.joined: asyncio.Queue[str] = asyncio.Queue()
        """names of the channels that have been put into the bridge"""

    async def run(self, events: AsyncIterable[str | bytes]) -> None:
        """Until cancelled; calls the agent when the caller has come."""
        async for text in events:
            event = json.loads(text)
            if event["type"] != "StasisStart":
                continue
            channel = event["channel"]
            await self.ari.request("POST", "bridges/call/addChannel", channel=channel["id"])
            if channel["name"].startswith("PJSIP/"):
                await self.ari.originate(self._agent, ARI_APPLICATION, "agent")
            self.joined.put_nowait(channel["name"])


@asynccontextmanager
async def application(ari: Ari, agent: str, bridge: str = "mixing") -> AsyncIterator[Mover]:
    """The ARI application, running, with a bridge of this type."""
    async with ari.events(ARI_APPLICATION) as events:
        await ari.request("POST", "bridges", type=bridge, bridgeId="call")
        mover = Mover(ari, agent)
        task = asyncio.create_task(mover.run(events))
        try:
            yield mover
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            with suppress(Fault):
                await ari.request("DELETE", "bridges/call")


async def moving_call(bench: Bench, name: str) -> tuple[LiveCall, list[str]]:
    """Speech in a bridge of two, then of three, then of two again; the bridges' technologies."""
    ari = bench.target.ari
    assert ari is not None
    async with (
        application(ari, Extension("agent").dial_string) as mover,
        bench.call(name, STASIS, MIXED) as call,
    ):
        session = call.session
        await session.start_buffering()
        sizes = random_sizes(1, 3 * MARKS, largest=1500)
        pieces = coded_pieces(sizes)
        while not (await mover.joined.get()).startswith("WebSocket/"):
            pass
        technologies = [bench.instance.console.run("bridge show call")]
        answers = {MARKS: asyncio.Event(), 2 * MARKS: asyncio.Event()}

        def answered(count: int) -> None:
            if count in answers:
                answers[count].set()

        speaking = asyncio.create_task(play_with_marks(session, pieces, on_ack=answered))
        await asyncio.wait_for(answers[MARKS].wait(), 30.0)
        await ari.originate("Local/third@harness-room", ARI_APPLICATION, "third")
        await mover.joined.get()
        technologies.append(bench.instance.console.run("bridge show call"))
        await asyncio.wait_for(answers[2 * MARKS].wait(), 30.0)
        await ari.request("DELETE", "channels/third")
        await speaking
        technologies.append(bench.instance.console.run("bridge show call"))
        # Nobody else would: in an ARI bridge a channel stays when the other leaves.
        await ari.request("DELETE", "channels/agent")
    return call, technologies


def test_marks_while_the_bridge_begins_and_ceases_to_mix(patched: Bench) -> None:
    """Every mark in time, every byte accounted for.

    In most calls the mixer still holds a frame when the bridge ceases to mix, and throws it away.
    Asterisk has to say so; where it cannot know, the judge lets it call a frame lost that was heard
    (see harness/judge/counters.py), but never the other way round.
    """
    call, technologies = measured(
        "moving", lambda name: moving_call(patched, name), lambda found: unreliable(found[0])
    )
    assert ["softmix" in text for text in technologies] == [False, True, False], technologies
    if result(call) == "FAIL":
        fail(call)
    assert len(call.judged.marks) == 3 * MARKS
    assert "PLAYBACK final" in [one.name for one in call.judged.counters]
