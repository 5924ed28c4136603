"""``harness agents``: what voice-agent frameworks believe was heard, beside the wire."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import requires
from statistics import median

from rich.console import Console
from rich.table import Table

from chan_websocket.protocol import Format
from harness.agents.conversation import Said, compare, talk
from harness.agents.measure import FRAMEWORKS, Figures, Framework, agent_on, figures
from harness.asterisk.configuration import Extension
from harness.bench import Bench, LiveCall, bench
from harness.capture.host_stalls import HostStallWatch, watch_host_stalls
from harness.commands.command import EXIT_CODES, OUT, ROOT, Commands, positive
from harness.commands.measure import Module, module_path
from harness.commands.printing import print_measurement, print_texts, print_verdict
from harness.errors import EnvironmentFault
from harness.install.build import load_build
from harness.judge.verdicts import Statistics, worst
from harness.record.run_folder import new_run_folder
from harness.record.verdict_files import shown
from harness.report.mark_table import compact_table
from harness.retry import until_reliable

_IMPORT = """
import resource, time
def resident_kib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024
before, began = resident_kib(), time.process_time()
import chan_websocket
print(1000 * (time.process_time() - began), (resident_kib() - before) / 1024)
"""
_IMPORTS = 11

_LEGEND = (
    "over: when the framework says that it is over, after the end of its audio on the wire. That is"
    " how long it took until it was acknowledged on the wire, until the agent's process had read"
    " that, and until the framework had said it. Without what the host's stalls made late.\n"
)


@dataclass(frozen=True)
class _Measured:
    """A framework's agent on a driver."""

    framework: Framework
    module: Module
    call: LiveCall
    figures: Figures

    @property
    def is_judged(self) -> bool:
        """Whether it has to be right: what stands on the client package, and is told the truth."""
        return self.framework.ours and self.module == "patched"


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "agents", help="what Pipecat and LiveKit believe was heard, beside the wire"
    )
    parser.add_argument("--framework", choices=tuple(FRAMEWORKS), help="this one only")
    parser.add_argument("--module", choices=("patched", "stock"), help="this one only")
    parser.add_argument("--endings", type=positive, default=50, help="said to their end, a call")
    parser.add_argument("--interruptions", type=positive, default=50, help="cut off, a call")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace, console: Console) -> int:
    names = [options.framework] if options.framework else list(FRAMEWORKS)
    modules: list[Module] = [options.module] if options.module else ["patched", "stock"]
    for name in names:
        if not FRAMEWORKS[name].installed:
            raise EnvironmentFault(
                f"{FRAMEWORKS[name].package} is not installed", "make frameworks"
            )
    build = load_build(ROOT)
    folder = new_run_folder(OUT)
    _print_import(console)
    _load(names, console)
    measured = []
    with bench(build, folder / "agents") as b, watch_host_stalls(folder) as stalls:
        for module in modules:
            b.instance.use_module(module_path(build, module))
            for name in names:
                measured.append(_measure(b, stalls, name, module, options))
    console.print(_over_table(measured))
    console.print(_LEGEND, soft_wrap=True)
    console.print(_told_table(measured))
    print_measurement(console, [one.call.judged for one in measured])
    console.print(f"All of it: {shown(folder)}", soft_wrap=True)
    judged = [one for one in measured if one.is_judged]
    for one in judged:
        print_texts(console, [f"{one.framework.version}: {why}" for why in one.figures.failures])
    result = worst(one.figures.result for one in judged)
    if judged:
        print_verdict(console, result)
    return EXIT_CODES[result]


def _print_import(console: Console) -> None:
    """What the client package takes where it is installed: with bytecode, as pip makes it."""
    bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(ROOT / "build/bytecode")}
    command = [sys.executable, "-c", _IMPORT]
    took_ms, grown_mib = [], []
    for _ in range(1 + _IMPORTS):
        done = subprocess.run(
            command, check=True, env={**os.environ, **bytecode}, capture_output=True, text=True
        )
        took, grown = map(float, done.stdout.split())
        took_ms.append(took)
        grown_mib.append(grown)
    needs = [one for one in requires("chan-websocket") or [] if "extra ==" not in one]
    console.print(
        f"The package chan-websocket needs {', '.join(needs)}; importing it takes"
        f" {median(took_ms[1:]):.0f} ms of CPU and {median(grown_mib[1:]):.1f} MiB"
        f" (median of {_IMPORTS})."
    )


def _load(names: Sequence[str], console: Console) -> None:
    """Import the frameworks, and have Python's garbage collector leave all of that alone.

    Else it goes through them all now and then, in the middle of a call, and nothing else is done
    meanwhile.
    """
    for name in names:
        agent_on(name)
    began = time.process_time()
    gc.collect()
    took_ms = (time.process_time() - began) * 1000
    console.print(
        f"Python's garbage collector goes through all that is loaded in {took_ms:.0f} ms, and"
        " stops the process for so long: measured with gc.freeze().",
        soft_wrap=True,
    )
    gc.freeze()


def _measure(
    b: Bench, stalls: HostStallWatch, name: str, module: Module, options: argparse.Namespace
) -> _Measured:
    framework = FRAMEWORKS[name]

    async def place(folder: str) -> tuple[LiveCall, list[Said]]:
        extension = Extension(name, codec=framework.codec, message_format=Format.JSON)
        async with b.call(folder, extension) as call:
            said = await talk(call, agent_on(name), options.endings, options.interruptions)
        return call, said

    def measure(folder: str) -> _Measured:
        # What was kept of the calls before is none of this one's.
        gc.collect()
        gc.freeze()
        begin_ns = time.time_ns()
        call, said = asyncio.run(place(folder))
        seen = stalls.between(begin_ns, time.time_ns())
        found = figures(call.judged, compare(call, said), seen)
        return _Measured(framework, module, call, found)

    return until_reliable(
        f"{name}-{module}",
        measure,
        lambda one: one.is_judged and one.figures.result == "INCONCLUSIVE",
        late=lambda one: one.is_judged and one.figures.only_late,
    )


def _over_table(measured: Sequence[_Measured]) -> Table:
    table = compact_table("Said to its end: ms after the end of its audio on the wire")
    for heading in ("framework", "module", ""):
        table.add_column(heading)
    for heading in ("median", "p99", "most", "least"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in measured:
        found = one.figures
        parts = [("over", found.over)]
        parts += [(f"  {name}", times) for name, times in found.parts]
        for number, (name, times) in enumerate(parts, 1):
            names = (one.framework.version, one.module) if number == 1 else ("", "")
            table.add_row(*names, name, *_times(times), end_section=number == len(parts))
    return table


def _told_table(measured: Sequence[_Measured]) -> Table:
    table = compact_table("What the model is told of what was interrupted")
    headings = ("framework", "module", "right", "too many words", "position off", "stalled")
    for heading in (*headings, "verdict"):
        table.add_column(heading)
    for one in measured:
        found = one.figures
        table.add_row(
            one.framework.version,
            one.module,
            f"{found.right} of {found.interruptions}",
            str(found.too_many),
            "-" if found.off_ms is None else f"{found.off_ms:+.1f} ms",
            f"{found.left_out} of {len(found.endings)}",
            found.result if one.is_judged else "-",
        )
    return table


def _times(found: Statistics | None) -> list[str]:
    if found is None:
        return ["-"] * 4
    times_ns = (found.median_ns, found.p99_ns, found.max_ns, found.min_ns)
    return [f"{time_ns / 1e6:+.1f}" for time_ns in times_ns]
