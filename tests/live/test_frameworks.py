"""Real Pipecat and LiveKit Agents on real calls: what they believe was heard was on the wire.

They are installed by `make frameworks`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from statistics import median

import pytest
from live_calls import measured, place, unreliable

from chan_websocket.protocol import Format
from harness.agents.conversation import Compared, Said, compare, talk
from harness.agents.measure import FRAMEWORKS, agent_on
from harness.asterisk.configuration import Extension
from harness.bench import Bench, LiveCall

pytestmark = pytest.mark.slow

ENDINGS, INTERRUPTIONS = 4, 10
OVER_MS = 20.0
"""What the framework's own processing may take after the acknowledgement: it shares its processor
with other tests. `harness agents` measures what it takes by itself."""


def endings(compared: Sequence[Compared]) -> list[float]:
    return [one.over_ms for one in compared if one.over_ms is not None]


def conversation(bench: Bench, framework: str) -> tuple[list[Said], list[Compared]]:
    if importlib.util.find_spec(FRAMEWORKS[framework]) is None:
        pytest.skip(f"{framework} is not installed: make frameworks")
    said: list[Said] = []

    async def script(call: LiveCall) -> None:
        said[:] = await talk(call, agent_on(framework), ENDINGS, INTERRUPTIONS)

    async def measure(name: str) -> LiveCall:
        return await place(bench, name, script, Extension(name, message_format=Format.JSON))

    def late(call: LiveCall) -> bool:
        return median(endings(compare(call, said))) > OVER_MS

    call = measured(f"agent-{framework}", measure, unreliable, late=late)
    return said, compare(call, said)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_model_is_told_the_words_that_were_heard(patched: Bench, framework: str) -> None:
    said, compared = conversation(patched, framework)
    for one, beside in zip(said, compared, strict=True):
        assert one.in_context == one.words[: beside.heard]
    over_ms = endings(compared)
    assert len(over_ms) == ENDINGS
    assert min(over_ms) > 0.0
    assert median(over_ms) < OVER_MS
    cut = sum(one.heard < len(said[0].words) for one in compared)
    assert cut > INTERRUPTIONS / 2


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_without_the_patch_the_model_is_told_an_estimate(stock: Bench, framework: str) -> None:
    """Which comes to an end all the same."""
    _, compared = conversation(stock, framework)
    assert len(endings(compared)) == ENDINGS
