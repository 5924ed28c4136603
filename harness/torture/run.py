"""A run of torture: many calls at once, again and again, and what must hold of all of them.

It says nothing of when audio leaves: that is what `harness run` is for. It says that each mark has
its one acknowledgement and that the counters are whole (harness/judge/invariants.py), and that
Asterisk is alive, complains of nothing, and keeps nothing of a call that is over.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from harness.asterisk.instance import Instance
from harness.asterisk.process import AsteriskEnded
from harness.errors import Fault, HarnessFault
from harness.install.build import Build
from harness.torture.call import HUNG_UP_BEFORE, TorturedCall
from harness.torture.pbx import POLL_S, LeftOver, TorturedPbx, background, complaints, refused
from harness.torture.pbx import tortured as tortured_pbx

IDLE_CPU = 0.03
"""the most of a processor that Asterisk may use when no call is up"""
IDLE_WINDOW_S = 2.0
"""over which that is looked at"""
IDLE_TIMEOUT_S = 10.0
"""for calls that have ended, and all that they held, to be gone"""
CALL_TIMEOUT_S = 60.0
"""for a call to be over after it was to end: more than all that it waits for then together"""
MOST_HUNG_UP_BEFORE = 0.05
"""the share of the calls that others may have hung up before they were connected"""
_WARM_UP_S = 1.0
LEFT_OVER_BY_CORE = "channels left over by Asterisk's core"
DESCRIPTORS = "descriptors, at the end"
"""Asterisk's, open"""
DESCRIPTORS_BEFORE = "descriptors, before"

_CONSOLE = (
    "module reload chan_websocket.so",
    "websocket show playback",
    "core show channels concise",
    "bridge show all",
)


@dataclass(frozen=True)
class TorturePlan:
    """What is to be done."""

    seconds: float = 60.0
    seed: int = 1
    calls: int = 20
    """at once"""
    tls: bool = False
    """media connections are wss://"""


@dataclass
class TortureResult:
    """What came of it."""

    folder: Path
    counts: Counter[str] = field(default_factory=Counter)
    """how often each thing was done"""
    faults: list[str] = field(default_factory=list)
    """what went wrong, a sentence or more each; empty if nothing did"""


def torture(
    build: Build,
    folder: Path,
    module: Path,
    plan: TorturePlan,
    environment: Mapping[str, str] | None = None,
    progress: Callable[[float], None] = lambda seconds: None,
) -> TortureResult:
    """Start an Asterisk with this module, torture it, and stop it.

    ``environment`` is added to Asterisk's own. ``progress`` is told now and then how many seconds
    have passed. Raises AsteriskCrashed or AsteriskHangs, as all that uses an Asterisk.
    """
    # asyncio warns of what is written to a connection that has been broken off.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    result = TortureResult(folder)
    killed = False
    try:
        with Instance(
            build, folder, module=module, tls=plan.tls, environment=environment, real_time=False
        ) as one:
            try:
                asyncio.run(_run(one, plan, result, progress))
            except Fault:
                one.check_alive(within_s=1.0)
                one.check_answers()
                raise
            if result.counts[LEFT_OVER_BY_CORE]:
                # Asked to stop, Asterisk would wait 15 s for these to end.
                one.process.kill()
                killed = True
    except AsteriskEnded:
        if not killed:
            raise
    result.faults += list(complaints(one))
    return result


async def _run(
    asterisk: Instance,
    plan: TorturePlan,
    result: TortureResult,
    progress: Callable[[float], None],
) -> None:
    async with tortured_pbx(asterisk) as pbx:
        result.counts = pbx.counts
        # What is opened once and kept is no leak: everything is done once before.
        async with pbx.bridges():
            await _calls(pbx, plan, result, time.monotonic() + _WARM_UP_S, numbers=range(1))
        before = await _wait_until_idle(pbx, result)
        started = time.monotonic()
        async with pbx.bridges(), background(_use_console(pbx, plan, progress, started)):
            await _calls(pbx, plan, result, started + plan.seconds, numbers=itertools.count(1))
        after = await _wait_until_idle(pbx, result, before)
        pbx.counts[DESCRIPTORS_BEFORE] = before.total()
        pbx.counts[DESCRIPTORS] = after.total()
        await _look_at_idle_cpu(pbx, result)
    early = result.counts[HUNG_UP_BEFORE]
    if early > MOST_HUNG_UP_BEFORE * result.counts["calls"]:
        result.faults.append(f"{early} of {result.counts['calls']} calls: {HUNG_UP_BEFORE}")


async def _calls(
    pbx: TorturedPbx,
    plan: TorturePlan,
    result: TortureResult,
    until: float,
    numbers: Iterable[int],
) -> None:
    """So many at once as the plan has, one after the other in each place."""

    async def place(slot: int) -> None:
        for number in numbers_of[slot]:
            if time.monotonic() > until:
                return
            await _call(pbx, plan, slot, number, until, result)

    numbers_of = itertools.tee(numbers, plan.calls)
    await asyncio.gather(*(place(slot) for slot in range(plan.calls)))


async def _call(
    pbx: TorturedPbx,
    plan: TorturePlan,
    slot: int,
    number: int,
    until: float,
    result: TortureResult,
) -> None:
    random = Random(f"{plan.seed}/{slot}/{number}")
    call = TorturedCall(pbx, random, f"{slot}-{number}")
    pbx.counts["calls"] += 1
    timeout_s = max(0.0, until - time.monotonic()) + CALL_TIMEOUT_S
    # Not asyncio.wait_for(): what times out in the call is no matter of this limit.
    running = asyncio.create_task(call.run(until))
    done, _ = await asyncio.wait({running}, timeout=timeout_s)
    try:
        if done:
            faults = running.result()
        else:
            running.cancel()
            await asyncio.wait({running})
            faults = [f"it was not over {CALL_TIMEOUT_S:g} s after it was to end"]
    except HarnessFault as fault:
        faults = [f"{fault.what} {fault.remedy}"]
    # One that failed may be up still; the others have ended, one way or another.
    await call.clear()
    if faults:
        call.save(result.folder / "calls" / f"{call.token}.txt")
        result.faults += [f"call {call.token}: {fault}" for fault in faults]


async def _use_console(
    pbx: TorturedPbx, plan: TorturePlan, progress: Callable[[float], None], started: float
) -> None:
    """What is done to the PBX and not to one of the calls."""
    random = Random(f"{plan.seed}/console")
    while True:
        await asyncio.sleep(random.uniform(0.2, 1.0))
        command = random.choice(_CONSOLE)
        await pbx.ami.action("Command", Command=command)
        pbx.counts[command] += 1
        progress(time.monotonic() - started)


async def _wait_until_idle(
    pbx: TorturedPbx, result: TortureResult, before: Counter[str] | None = None
) -> Counter[str]:
    """Until nothing is left of calls, and no more descriptors are open than ``before``; which."""
    deadline = time.monotonic() + IDLE_TIMEOUT_S
    while True:
        left = await pbx.left_over()
        opened = pbx.open_descriptors()
        more = opened - before if before is not None else Counter()
        if not left.text and left.explains(more):
            break
        if time.monotonic() > deadline:
            kept = LeftOver("", left.zombies + refused(pbx.asterisk))
            if not left.text and kept.explains(more):
                left = kept
                break
            result.faults.append(
                f"left {IDLE_TIMEOUT_S:g} s after the last call:\n{left.text}"
                if left.text
                else f"{left.zombies} channels are left over, and more descriptors than before: "
                + ", ".join(f"{count} of {kind}" for kind, count in more.most_common())
            )
            break
        await asyncio.sleep(POLL_S)
    pbx.counts[LEFT_OVER_BY_CORE] = left.zombies
    return opened


async def _look_at_idle_cpu(pbx: TorturedPbx, result: TortureResult) -> None:
    used = pbx.asterisk.cpu_seconds()
    await asyncio.sleep(IDLE_WINDOW_S)
    share = (pbx.asterisk.cpu_seconds() - used) / IDLE_WINDOW_S
    if share > IDLE_CPU:
        result.faults.append(f"Asterisk uses {share:.1%} of a processor with no call up")
