"""``harness doctor``: checks this machine's prerequisites and says how to get what is missing."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from harness.capture.tcpdump import capture_possible
from harness.commands.command import EXIT_ENVIRONMENT, EXIT_PASS, ROOT, Commands
from harness.errors import Fault
from harness.install.build import load_build

_MIN_PYTHON = (3, 10)
_FREE_BYTES = 3 * 1024**3
_TIMEOUT_S = 10


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("doctor", help="check prerequisites")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace, console: Console) -> int:
    broken = False
    for finding in examine(ROOT):
        broken = broken or (finding.needed and not finding.good)
        word, style = ("ok", "green") if finding.good else ("missing", "yellow")
        if finding.needed and not finding.good:
            style = "bold red"
        line = Text(f"{word:<8} ", style=style)
        line.append(f"{finding.what}: {finding.found}", style="none")
        console.print(line, soft_wrap=True)
        if not finding.good:
            console.print(Text(f"         {finding.remedy}"), soft_wrap=True)
    return EXIT_ENVIRONMENT if broken else EXIT_PASS


@dataclass(frozen=True)
class Finding:
    """One prerequisite that was checked."""

    what: str
    good: bool
    needed: bool
    """whether nothing works without it; otherwise only some things do not"""
    found: str
    remedy: str = ""


def examine(root: Path) -> Iterator[Finding]:
    """Check everything, one thing after the other."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("Python", sys.version_info >= _MIN_PYTHON, True, version, "install 3.10 or newer")
    for program, package, needed, use in (
        ("sipp", "sip-tester", True, "places the calls"),
        ("tcpdump", "tcpdump", False, "captures both call legs on one clock"),
        ("espeak-ng", "espeak-ng", False, "speech of the demonstration and of the caller"),
        ("gcc", "gcc", True, "builds Asterisk and the module"),
        ("ccache", "ccache", False, "makes the next build take seconds"),
        ("openssl", "openssl", False, "makes certificates for wss"),
    ):
        found = shutil.which(program)
        yield Finding(
            f"{program} ({use})",
            found is not None,
            needed,
            found or "not found",
            f"make deps (Debian's package {package})",
        )
    why_not = capture_possible()
    yield Finding(
        "packet capture",
        why_not is None,
        False,
        why_not or "possible",
        "run as root, or give tcpdump the right: setcap cap_net_raw,cap_net_admin=eip; "
        "without it, times are socket time stamps with a larger uncertainty, as the reports say",
    )
    yield _build(root)
    yield _loopback()
    free = shutil.disk_usage(root).free
    yield Finding(
        "disk space",
        free >= _FREE_BYTES,
        False,
        f"{free / 1024**3:.1f} GiB free here",
        "a build and its captures need 3 GiB",
    )
    processors = len(os.sched_getaffinity(0))
    yield Finding(
        "processors",
        processors >= 2,
        False,
        str(processors),
        "on one, Asterisk and the capture wait for each other: many runs will be inconclusive",
    )
    yield _engine()


def _build(root: Path) -> Finding:
    try:
        return Finding("Asterisk", True, False, f"{load_build(root).version}, built here")
    except Fault as fault:
        return Finding("Asterisk", False, False, fault.what, "make build (some minutes)")


def _loopback() -> Finding:
    shown = _output(["ip", "-o", "-4", "address", "show", "dev", "lo"])
    good = bool(re.search(r"127\.0\.0\.1/8", shown))
    return Finding(
        "loopback 127.0.0.0/8",
        good,
        True,
        "all of it" if good else shown or "unknown",
        "each Asterisk of the harness has an address of its own there; Linux's default has it",
    )


def _engine() -> Finding:
    for engine in ("docker", "podman"):
        if shutil.which(engine) and _output([engine, "info"]):
            return Finding("container engine", True, False, f"{engine} runs")
    return Finding(
        "container engine", False, False, "none runs", "only for containers: ci/engine.sh"
    )


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
