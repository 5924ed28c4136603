"""``harness build``: Asterisk with both variants of the module, or container images of it."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.text import Text

from harness.commands.command import EXIT_PASS, ROOT, Commands
from harness.errors import InputFault
from harness.install.build import build as build_asterisk
from harness.install.container_image import FLAVOURS, build_image, check_options


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "build",
        help="build Asterisk, or container images of it",
        description="Builds Asterisk with both variants of the module into build/, as make build "
        "does; with --container, a container image of each flavour named.",
    )
    parser.add_argument("--source", type=Path, metavar="PATH", help="directory or tarball to use")
    parser.add_argument("--release", metavar="VERSION", help="official release to insist on")
    parser.add_argument(
        "--container",
        nargs="+",
        choices=FLAVOURS,
        metavar="FLAVOUR",
        help="source: built from patched source; packaged: a distribution's with our module",
    )
    parser.add_argument(
        "--fresh", action="store_true", help="build images from scratch, with today's packages"
    )
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace, console: Console) -> int:
    def say(line: str) -> None:
        console.print(Text(line), soft_wrap=True)

    if options.fresh and not options.container:
        raise InputFault("--fresh is for containers only", "Add --container, or run: make clean")
    # All of them before minutes are spent on the first.
    for flavour in options.container or ():
        check_options(flavour, options.source, options.release)
    for flavour in options.container or ():
        image = build_image(
            flavour,
            ROOT,
            source=options.source,
            release=options.release,
            fresh=options.fresh,
            say=say,
        )
        say(f"{image.name}: Asterisk {image.version}, patches {image.patches}")
    if not options.container:
        build_asterisk(ROOT, options.source, options.release, say)
    return EXIT_PASS
