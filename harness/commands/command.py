"""What every command has in common: how it is added to the command line, and its exit codes.

A command is a file of this folder with a function ``add_to``: it adds its name and arguments to the
parser, and sets as ``command`` the function that runs it and returns the exit code.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeAlias

from harness.judge.verdicts import MAX_INCONCLUSIVE

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""Where a command is added"""

ROOT = Path(__file__).parents[2]
"""The repository: builds are below it, and the folders of the runs"""
OUT = ROOT / "out"
"""The folder of the runs' folders"""

EXIT_PASS, EXIT_FAIL, EXIT_USAGE, EXIT_INCONCLUSIVE, EXIT_ENVIRONMENT = range(5)
"""passed; the driver failed; wrong usage; inconclusive; harness or environment error"""
EXIT_INTERRUPTED = 130

EXIT_CODES = {
    "PASS": EXIT_PASS,
    "FAIL": EXIT_FAIL,
    "INCONCLUSIVE": EXIT_INCONCLUSIVE,
    "ERROR": EXIT_ENVIRONMENT,
    "SKIP": EXIT_USAGE,
}
"""By the outcome of a call or run"""


def add_max_inconclusive(parser: argparse.ArgumentParser, of: str) -> None:
    """The argument that says ``of`` how many things how much may be INCONCLUSIVE."""
    parser.add_argument(
        "--max-inconclusive",
        type=_percent,
        default=MAX_INCONCLUSIVE,
        metavar="PERCENT",
        help=f"of {of} that may stay unjudged because the host stalled, where all others pass "
        "and something of each kind was judged (default: %(default)g)",
    )


def _percent(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 100.0:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to 100")
    return value


def positive(text: str) -> int:
    """The type of an argument that is a number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of 1 or more")
    return int(text)
