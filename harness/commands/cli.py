"""The command line: ``harness run``, ``harness list``, ``harness lab check``, ..."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable, Sequence
from types import FrameType

from rich.console import Console
from rich.text import Text

from harness.commands import (
    agents,
    build,
    demo,
    doctor,
    judge,
    lab,
    list,
    load,
    measure,
    report,
    rounds,
    run,
    torture,
)
from harness.commands.command import (
    EXIT_ENVIRONMENT,
    EXIT_FAIL,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
)
from harness.errors import InputFault, ProductFault, as_fault

_EPILOG = """\
exit codes: 0 passed; 1 the driver failed, or Asterisk crashed or hangs; 2 wrong usage, or a file
that cannot be used; 3 inconclusive: the measurement was unreliable (host stalled, packets lost);
4 harness or environment error; 130 interrupted.

to begin with:
  harness doctor                            check prerequisites
  harness run                               the smoke group on the patched module, a minute
  harness run --target stock                the same on the stock module: expected failures (XFAIL)
  harness run --group full --keep-going     everything
  harness run mine.yaml                     a scenario of your own, see docs/scenarios.md
  harness lab check lab.yaml                your own PBX, see docs/lab.md
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code says how it ended, see EXIT_*."""
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:
        # argparse would say it with the usage of all commands, which does not help.
        options.usage_error(f"unrecognized arguments: {' '.join(unknown)}")
    console = Console()
    # In the background of a script Ctrl-C is ignored; SIGTERM goes its way all the same.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _end_like_ctrl_c)
    try:
        command: Callable[[argparse.Namespace, Console], int] = options.command
        return command(options, console)
    except Exception as problem:
        fault = as_fault(problem)
        Console(stderr=True).print(Text(str(fault), style="red"), soft_wrap=True)
        if isinstance(fault, ProductFault):
            return EXIT_FAIL
        return EXIT_USAGE if isinstance(fault, InputFault) else EXIT_ENVIRONMENT
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted; everything that was started is stopped")
        return EXIT_INTERRUPTED


def _end_like_ctrl_c(number: int, frame: FrameType | None) -> None:
    # Not KeyboardInterrupt raised here: asyncio makes an orderly cancellation of a Ctrl-C.
    signal.raise_signal(signal.SIGINT)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="harness",
        description="Proves when Asterisk has played what was sent over its WebSocket channel.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (
        *(run, list, judge, report, lab, doctor, build, demo, measure, load, torture, agents),
        rounds,
    ):
        module.add_to(commands)
    for command in commands.choices.values():
        command.set_defaults(usage_error=command.error)
    return parser
