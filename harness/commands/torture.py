"""``harness torture``: many calls at once, with everything done to them at random."""

from __future__ import annotations

import argparse

from rich.console import Console

from harness.commands.command import EXIT_FAIL, EXIT_PASS, OUT, ROOT, Commands, positive
from harness.commands.printing import print_texts, print_verdict, progress_bar
from harness.install.build import load_build
from harness.record.run_folder import new_run_folder
from harness.record.verdict_files import shown
from harness.report.mark_table import compact_table
from harness.torture.run import TorturePlan, torture
from harness.torture.storm import storm

_DESCRIPTION = """\
Applications that send anything and break off, connections in both directions, wanted or not, and a
PBX that moves channels from bridge to bridge, masquerades them, hangs them up and reloads: all at
random, by a seed. Says nothing of when audio leaves, but that each mark has its one
acknowledgement, in order; that the counters add up and never go back; that who has not opted in
sees nothing new; and that Asterisk lives, complains of nothing, and keeps neither a channel nor a
descriptor."""


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    defaults = TorturePlan()
    parser = commands.add_parser(
        "torture", help="everything at once, at random", description=_DESCRIPTION
    )
    parser.add_argument("--seconds", type=positive, default=int(defaults.seconds))
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--calls", type=positive, default=defaults.calls, help="at once")
    parser.add_argument("--tls", action="store_true", help="media connections are wss://")
    parser.add_argument(
        "--storm",
        action="store_true",
        help="legal WebSocket traffic instead, cut at random, on calls that are measured",
    )
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace, console: Console) -> int:
    plan = TorturePlan(options.seconds, options.seed, options.calls, options.tls)
    build = load_build(ROOT)
    folder = new_run_folder(OUT)
    console.print(
        f"Asterisk {build.version}, patched module: {plan.calls} calls at once over "
        f"{'wss' if plan.tls else 'ws'} for {plan.seconds:g} s, seed {plan.seed}"
        + (", a storm" if options.storm else ""),
        soft_wrap=True,
    )
    with progress_bar(console, "seconds", int(plan.seconds)) as advance:
        result = (storm if options.storm else torture)(
            build,
            folder,
            build.patched_module,
            plan,
            progress=lambda seconds: advance(min(int(seconds), int(plan.seconds))),
        )
    table = compact_table("Done")
    table.add_column("what")
    table.add_column("times", justify="right")
    for what, count in sorted(result.counts.items()):
        table.add_row(what, str(count))
    console.print(table)
    console.print(f"All of it: {shown(folder)}", soft_wrap=True)
    print_texts(console, result.faults)
    console.print(f"{len(result.faults)} faults")
    print_verdict(console, "FAIL" if result.faults else "PASS")
    return EXIT_FAIL if result.faults else EXIT_PASS
