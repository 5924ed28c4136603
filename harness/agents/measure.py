"""The frameworks by their names, and how far what they believe is from the wire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.agents.conversation import AgentOn, Compared

FRAMEWORKS = {"pipecat": "pipecat", "livekit": "livekit"}
"""by the name of the adapter: the package that it needs"""


def agent_on(framework: str) -> AgentOn:
    """The agent of one of `FRAMEWORKS`, which must be installed."""
    if framework == "pipecat":
        from harness.agents.pipecat_bot import pipecat_bot

        return pipecat_bot
    from harness.agents.livekit_agent import livekit_agent

    return livekit_agent


@dataclass(frozen=True)
class Figures:
    """Of one framework on one driver."""

    endings: int
    over_ms: tuple[float, float, float]
    """least, median and most by which it said that it was over after its audio had ended"""
    interruptions: int
    right: int
    """of these: where the model is told the words that were heard"""
    too_many: int
    """words, at most, that it is told were heard and were not"""


def figures(compared: Sequence[Compared]) -> Figures:
    """Of what was said on any number of calls, of which something was said to its end."""
    over = [one.over_ms for one in compared if one.over_ms is not None]
    cut = [one for one in compared if one.over_ms is None]
    return Figures(
        len(over),
        (min(over), float(np.median(over)), max(over)),
        len(cut),
        sum(one.claimed == one.heard for one in cut),
        max((one.claimed - one.heard for one in cut), default=0),
    )
