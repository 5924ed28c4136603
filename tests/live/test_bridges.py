"""A channel that moves between a bridge of two parties and one that mixes, built over ARI."""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from live_calls import fail, skip
from websockets.asyncio.client import connect

from harness.asterisk.configuration import ARI_APPLICATION, ARI_USER, Extension
from harness.asterisk.instance import Instance
from harness.bench import Bench, LiveCall
from harness.dispositions import late_on_a_busy_host
from harness.judge.judge import Bounds
from harness.media.play import coded_pieces, play_with_marks, random_sizes

STASIS = Extension("stasis", bridge="stasis")
# An answer may be a round of the mixer, 20 ms, late; and where the bridge begins to mix all packets
# are held back by up to a round from then on, which is no fault of the ruler.
MIXED = Bounds(late_ns=22_000_000, slip_ns=22_000_000, around_slip_ns=22_000_000)
ATTEMPTS = 3
MARKS = 12


class Ari:
    """What this test needs of ARI: a mixing bridge into which every channel of ours is put."""

    def __init__(self, instance: Instance) -> None:
        self._base = f"http://{instance.network.http_authority}/ari/"
        login = f"{ARI_USER}:{instance.ari_password}"
        self._login = "Basic " + base64.b64encode(login.encode()).decode()
        query = urllib.parse.urlencode({"app": ARI_APPLICATION, "api_key": login})
        self.events = f"ws://{instance.network.http_authority}/ari/events?{query}"
        self.joined: asyncio.Queue[str] = asyncio.Queue()
        """names of the channels that have been put into the bridge"""

    async def request(self, method: str, path: str, **query: str) -> None:
        """One request; its answer is of no interest unless it is an error."""

        def send() -> None:
            url = f"{self._base}{path}?{urllib.parse.urlencode(query)}"
            request = urllib.request.Request(
                url, method=method, headers={"Authorization": self._login}
            )
            with urllib.request.urlopen(request, timeout=10):
                pass

        await asyncio.to_thread(send)

    async def originate(self, endpoint: str, channel_id: str) -> None:
        """A channel that enters the application when it is answered."""
        await self.request(
            "POST",
            "channels",
            endpoint=endpoint,
            app=ARI_APPLICATION,
            channelId=channel_id,
            formats="ulaw",
        )

    async def serve(self, agent: str, ready: asyncio.Event) -> None:
        """Put every channel that comes into the bridge; call the agent when the caller does."""
        async with connect(self.events, proxy=None) as events:
            await self.request("POST", "bridges", type="mixing", bridgeId="call")
            ready.set()
            async for text in events:
                event = json.loads(text)
                if event["type"] != "StasisStart":
                    continue
                channel = event["channel"]
                await self.request("POST", "bridges/call/addChannel", channel=channel["id"])
                if channel["name"].startswith("PJSIP/"):
                    await self.originate(agent, "agent")
                self.joined.put_nowait(channel["name"])


@asynccontextmanager
async def application(instance: Instance, agent: str) -> AsyncIterator[Ari]:
    """The ARI application, running."""
    ari = Ari(instance)
    ready = asyncio.Event()
    task = asyncio.create_task(ari.serve(agent, ready))
    await ready.wait()
    try:
        yield ari
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        with suppress(OSError):
            await ari.request("DELETE", "bridges/call")


async def moving_call(bench: Bench, name: str) -> tuple[LiveCall, list[str]]:
    """Speech in a bridge of two, then of three, then of two again; the bridges' technologies."""
    agent = Extension("agent").dial_string
    async with (
        application(bench.instance, agent) as ari,
        bench.call(name, STASIS, MIXED) as call,
    ):
        session = call.session
        await session.start_buffering()
        sizes = random_sizes(1, 3 * MARKS, largest=1500)
        pieces = coded_pieces(sizes)
        while not (await ari.joined.get()).startswith("WebSocket/"):
            pass
        technologies = [bench.instance.console.run("bridge show call")]
        answers = {MARKS: asyncio.Event(), 2 * MARKS: asyncio.Event()}

        def answered(count: int) -> None:
            if count in answers:
                answers[count].set()

        speaking = asyncio.create_task(play_with_marks(session, pieces, on_answer=answered))
        await asyncio.wait_for(answers[MARKS].wait(), 30.0)
        await ari.originate("Local/third@room", "third")
        await ari.joined.get()
        technologies.append(bench.instance.console.run("bridge show call"))
        await asyncio.wait_for(answers[2 * MARKS].wait(), 30.0)
        await ari.request("DELETE", "channels/third")
        await speaking
        technologies.append(bench.instance.console.run("bridge show call"))
        # Nobody else would: in an ARI bridge a channel stays when the other leaves.
        await ari.request("DELETE", "channels/agent")
    return call, technologies


def test_marks_while_the_bridge_begins_and_ceases_to_mix(patched: Bench) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        call, technologies = asyncio.run(moving_call(patched, f"moving-{attempt}"))
        assert ["softmix" in text for text in technologies] == [False, True, False], technologies
        if call.result.verdict == "PASS":
            assert len(call.result.marks) == 3 * MARKS
            return
        if call.result.verdict != "INCONCLUSIVE" and not late_on_a_busy_host(call.result):
            fail(call)
    skip(call)
