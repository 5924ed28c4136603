"""``harness agents``: what voice-agent frameworks believe was heard, beside the wire."""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import importlib.util
import subprocess
import sys

from rich.console import Console
from rich.table import Table

from chan_websocket.protocol import Format
from harness.agents.conversation import Compared, Said, compare, talk
from harness.agents.measure import FRAMEWORKS, Figures, agent_on, figures
from harness.asterisk.configuration import Extension
from harness.bench import Bench, LiveCall, bench
from harness.commands.command import EXIT_PASS, OUT, ROOT, Commands, positive
from harness.commands.measure import Module, module_path
from harness.commands.printing import print_measurement
from harness.errors import EnvironmentFault
from harness.install.build import load_build
from harness.record.run_folder import new_run_folder
from harness.record.verdict_files import shown

_IMPORT = """
import resource, time
def resident_kib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024
before, began = resident_kib(), time.process_time()
import chan_websocket
took = time.process_time() - began
grown = (resident_kib() - before) / 1024
print(f"import chan_websocket: {took * 1000:.0f} ms of CPU, {grown:.1f} MiB")
"""


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "agents", help="what Pipecat and LiveKit believe was heard, beside the wire"
    )
    parser.add_argument("--framework", choices=tuple(FRAMEWORKS), help="this one only")
    parser.add_argument("--module", choices=("patched", "stock"), help="this one only")
    parser.add_argument("--endings", type=positive, default=20, help="said to their end, a call")
    parser.add_argument("--interruptions", type=positive, default=50, help="cut off, a call")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace, console: Console) -> int:
    frameworks = [options.framework] if options.framework else list(FRAMEWORKS)
    modules: list[Module] = [options.module] if options.module else ["patched", "stock"]
    for framework in frameworks:
        if importlib.util.find_spec(FRAMEWORKS[framework]) is None:
            raise EnvironmentFault(f"{framework} is not installed", "make frameworks")
    build = load_build(ROOT)
    folder = new_run_folder(OUT)
    command = [sys.executable, "-c", _IMPORT]
    console.print(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    )
    table = Table("framework", "module", "over, ms after the end", "right", "too many words")
    calls = []
    with bench(build, folder / "agents") as b:
        for module in modules:
            b.instance.use_module(module_path(build, module))
            for framework in frameworks:
                call, compared = _talk(b, f"{framework}-{module}", framework, options)
                calls.append(call)
                table.add_row(_version(framework), module, *_cells(figures(compared)))
    console.print(table)
    print_measurement(console, [call.judged for call in calls])
    console.print(f"All of it: {shown(folder)}", soft_wrap=True)
    return EXIT_PASS


def _talk(
    b: Bench, name: str, framework: str, options: argparse.Namespace
) -> tuple[LiveCall, list[Compared]]:
    async def place() -> tuple[LiveCall, list[Said]]:
        async with b.call(name, Extension(name, message_format=Format.JSON)) as call:
            said = await talk(call, agent_on(framework), options.endings, options.interruptions)
        return call, said

    call, said = asyncio.run(place())
    return call, compare(call, said)


def _version(framework: str) -> str:
    package = {"pipecat": "pipecat-ai", "livekit": "livekit-agents"}[framework]
    return f"{package} {importlib.metadata.version(package)}"


def _cells(found: Figures) -> list[str]:
    least, median, most = found.over_ms
    return [
        f"{median:+.1f} ({least:+.1f} to {most:+.1f})",
        f"{found.right} of {found.interruptions}",
        str(found.too_many),
    ]
