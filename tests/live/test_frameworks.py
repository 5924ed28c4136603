"""Real Pipecat and LiveKit Agents on real calls: what they believe was heard was on the wire.

They are installed by `make frameworks`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from statistics import median

import pytest
from live_calls import measured, place, unreliable

from chan_websocket.protocol import Format
from harness.agents.conversation import (
    WORD_MS,
    WORDS,
    Agent,
    Compared,
    Said,
    begin_to_say,
    coded_speech,
    compare,
    settle,
    talk,
)
from harness.agents.measure import FRAMEWORKS, POSITION_MS, agent_on
from harness.asterisk.configuration import Extension
from harness.bench import Bench, Conditions, LiveCall

pytestmark = pytest.mark.slow

OURS = [name for name, framework in FRAMEWORKS.items() if framework.ours]
ENDINGS, INTERRUPTIONS = 4, 10
OVER_MS = 20.0
"""What the framework's own processing may take after the acknowledgement: it shares its processor
with other tests. `harness agents` measures what it takes by itself."""


def endings(compared: Sequence[Compared]) -> list[float]:
    return [(one.ending.over_ns - one.ending.end_ns) / 1e6 for one in compared if one.ending]


def needed(framework: str) -> None:
    if not FRAMEWORKS[framework].installed:
        pytest.skip(f"{framework} is not installed: make frameworks")


def conversation(bench: Bench, framework: str) -> tuple[list[Said], list[Compared]]:
    needed(framework)
    said: list[Said] = []

    async def script(call: LiveCall) -> None:
        said[:] = await talk(call, agent_on(framework), ENDINGS, INTERRUPTIONS)

    async def measure(name: str) -> LiveCall:
        return await place(bench, name, script, Extension(name, message_format=Format.JSON))

    def late(call: LiveCall) -> bool:
        return median(endings(compare(call, said))) > OVER_MS

    call = measured(f"agent-{framework}", measure, unreliable, late=late)
    return said, compare(call, said)


@pytest.mark.parametrize("framework", OURS)
def test_the_model_is_told_the_words_that_were_heard(patched: Bench, framework: str) -> None:
    said, compared = conversation(patched, framework)
    for one, beside in zip(said, compared, strict=True):
        assert one.in_context == one.words[: beside.heard]
        assert beside.position_off_ms is not None
        assert abs(beside.position_off_ms) <= POSITION_MS
    over_ms = endings(compared)
    assert len(over_ms) == ENDINGS
    assert min(over_ms) > 0.0
    assert median(over_ms) < OVER_MS
    cut = sum(one.heard < len(said[0].words) for one in compared)
    assert cut > INTERRUPTIONS / 2


@pytest.mark.parametrize("framework", OURS)
def test_without_the_patch_the_model_is_told_an_estimate(stock: Bench, framework: str) -> None:
    """Which comes to an end all the same."""
    _, compared = conversation(stock, framework)
    assert len(endings(compared)) == ENDINGS


async def saying(call: LiveCall, agent: Agent, number: int) -> tuple[Said, asyncio.Task[int]]:
    """Something that is being said, when the caller has heard two words of it and a half."""
    agent.forget()
    one = begin_to_say(call.session, number)
    task = asyncio.create_task(agent.say(" ".join(one.words)))
    await call.session.wait_event("MARK_PLAYED", offset=one.begin + 1)
    heard = await call.session.mark_at(one.begin + call.session.bytes_of(2.5 * WORD_MS))
    assert await heard.wait()
    return one, task


async def note(agent: Agent, one: Said) -> None:
    await settle()
    one.in_context = " ".join(agent.in_context()).split()
    one.position_ms = agent.position_ms()


@pytest.mark.parametrize("framework", OURS)
def test_what_a_hold_has_stopped_is_not_over(patched: Bench, framework: str) -> None:
    """It is when it was heard after all. What is interrupted meanwhile had been heard up to the
    hold. A frame or two that were on their way then are lost: a word without these was heard."""
    needed(framework)
    said: list[Said] = []

    async def script(call: LiveCall) -> None:
        said.clear()
        async with agent_on(framework)(call.session, coded_speech(call.session)) as agent:
            for number, interrupts in enumerate((False, True)):
                one, task = await saying(call, agent, number)
                said.append(one)
                await call.sip.hold("sendonly")
                await call.session.wait_event("PLAYBACK_SUSPENDED")
                if interrupts:
                    await agent.interrupt()
                    await note(agent, one)
                    task.cancel()
                    await call.sip.resume()
                else:
                    # As long as all of it would take.
                    await asyncio.wait([task], timeout=WORDS * WORD_MS / 1000)
                    assert not task.done()
                    assert len(" ".join(agent.in_context()).split()) < WORDS
                    await call.sip.resume()
                    one.over_ns = await task
                    await note(agent, one)

    extension = Extension(f"{framework}-held", message_format=Format.JSON)

    async def placed(name: str) -> LiveCall:
        return await place(patched, name, script, extension)

    call = measured(extension.name, placed, unreliable)
    whole, cut = compare(call, said)
    assert said[0].in_context == said[0].words
    assert whole.ending is not None
    assert whole.ending.over_ns > whole.ending.end_ns
    assert WORDS - whole.heard <= 2
    assert said[1].in_context == said[1].words[: cut.claimed]
    assert 0 <= cut.claimed - cut.heard <= 1
    assert 0 < cut.claimed < WORDS
    if cut.position_off_ms is not None:
        assert abs(cut.position_off_ms) <= POSITION_MS


@pytest.mark.parametrize("framework", OURS)
def test_what_is_said_outside_a_bridge_begins_and_ends_when_it_is_heard(
    patched: Bench, framework: str
) -> None:
    """It begins before the bridge does, and is taken out of it in the middle."""
    needed(framework)
    said: list[Said] = []
    started_ns = 0

    async def script(call: LiveCall) -> None:
        nonlocal started_ns
        assert call.bridged is not None
        async with agent_on(framework)(call.session, coded_speech(call.session)) as agent:
            one, task = await saying(call, agent, 0)
            said[:] = [one]
            await call.bridged.apply("remove", "application", WORDS * WORD_MS)
            assert not task.done()
            one.over_ns = await task
            started_ns = agent.started_ns()
            await note(agent, one)

    extension = Extension(f"{framework}-late", bridge="ari", message_format=Format.JSON)

    async def placed(name: str) -> LiveCall:
        late = Conditions(bridge_after_ms=WORDS * WORD_MS)
        async with patched.call(name, extension, conditions=late) as call:
            await script(call)
        return call

    call = measured(extension.name, placed, unreliable)
    [whole] = compare(call, said)
    assert said[0].in_context == said[0].words
    assert whole.ending is not None
    assert whole.ending.over_ns > whole.ending.end_ns
    assert WORDS - whole.heard <= 2
    [first] = [
        one for one in call.judged.located if any(p.offset == 0 for p in one.location.pieces)
    ]
    assert started_ns > first.clock.start_ns
