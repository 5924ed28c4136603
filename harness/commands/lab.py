"""``harness lab``: the lines that a lab PBX needs, and a check of it, step by step."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text

from chan_websocket.protocol import MarkCommand
from harness.application.marks import ACK_EVENT, acknowledged, mark
from harness.asterisk.configuration import ARI_BRIDGES, Extension
from harness.bench import Bench, LiveCall, bench_on
from harness.caller.sip_options import ask_options
from harness.commands.command import EXIT_ENVIRONMENT, EXIT_PASS, OUT, Commands
from harness.errors import EnvironmentFault, Fault
from harness.media.codecs import codec_named
from harness.media.probe_signal import probe_signal
from harness.record.run_folder import new_folder
from harness.targets.lab import LabTarget, missing_connections
from harness.targets.lab_file import Lab, load_lab
from harness.targets.lab_lines import lab_lines
from harness.targets.target import bridges_of, connections_of

_CHECK_FRAMES = 25
_CHECK_TIMEOUT_S = 5.0
_CHECK_PACKETS = 10


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("lab", help="test a PBX of your own")
    subcommands = parser.add_subparsers(required=True, metavar="COMMAND")
    check = subcommands.add_parser(
        "check",
        help="try each step towards it, one after the other",
        description="Tries what a run will need of the PBX, step by step, and at the first step "
        "that fails says what to do. Nothing is changed on the PBX.",
    )
    lines = subcommands.add_parser("lines", help="print the lines to add to its configuration")
    for command in (check, lines):
        command.add_argument("file", type=Path, metavar="FILE", help="lab file, see docs/lab.md")
    check.set_defaults(command=_run_check)
    lines.set_defaults(command=_run_lines)


def _run_check(options: argparse.Namespace, console: Console) -> int:
    # Before the folder is made: what cannot be checked leaves nothing behind.
    lab = load_lab(options.file)
    return check(lab, new_folder(OUT), console)


def _run_lines(options: argparse.Namespace, console: Console) -> int:
    return print_lines(options.file, console)


def print_lines(path: Path, console: Console) -> int:
    """Print what the PBX's configuration needs; returns the exit code."""
    lines = lab_lines(load_lab(path))
    console.print(
        "To be added to the PBX's configuration. Replace what is in <>. Nothing here is done by"
        " the harness."
    )
    for name, text in lines.items():
        console.print()
        console.print(Text(f"; ---- {name} ----", style="bold"))
        console.print(Text(text), soft_wrap=True, end="")
    return EXIT_PASS


def check(lab: Lab, folder: Path, console: Console) -> int:
    """Go through what a call needs, step by step; stop at the first thing that is missing.

    Prints a line for each, and what to do. The calls' files go to ``folder``. Returns the exit
    code; InputFault is raised for what is wrong in the file itself.
    """
    target = LabTarget(lab)
    path = lab.document.path
    console.print(Text.assemble(("ok   ", "green"), f"lab file {path}: {lab.file.name}"))
    with bench_on(target, folder) as b:
        for title, step in _steps(b, target):
            try:
                found = step()
            except Fault as fault:
                console.print(Text.assemble(("FAIL ", "red"), f"{title}: {fault.what}"))
                console.print(Text(f"     {_remedy(fault)}"), soft_wrap=True)
                console.print(
                    "     The lines that the PBX needs for this file:"
                    f" harness lab lines {path}. Its own log: asterisk -rvvv",
                    soft_wrap=True,
                    highlight=False,
                )
                return EXIT_ENVIRONMENT
            console.print(Text.assemble(("ok   ", "green"), f"{title}: {found}"), soft_wrap=True)
        for name, reason in missing_connections(lab.file).items():
            console.print(Text.assemble(("skip ", "yellow"), f"{name}: {reason}"))
        why = b.not_captured
        console.print(
            f"Times will be taken from socket time stamps, since {why}."
            if why
            else "Times will be taken from a packet capture of both legs."
        )
    return EXIT_PASS


_CheckStep = tuple[str, Callable[[], str]]


def _steps(b: Bench, target: LabTarget) -> Iterator[_CheckStep]:
    yield "way to the PBX", lambda: f"{target.sip} is reached from {target.rtp_address}"
    yield "SIP OPTIONS", lambda: asyncio.run(ask_options(target.sip))
    if target.ari:
        yield "ARI", lambda: _check_ari(target)
    for extension in target.lab.file.extensions:
        title = f"call to {extension.name}"
        if extension.bridge in ARI_BRIDGES:
            words = (extension.bridge, extension.codec, extension.message_format.value)
            title += f" ({', '.join(words)}, {extension.connection})"
        yield title, partial(_check_call, b, title, extension)


def _check_ari(target: LabTarget) -> str:
    ari = target.ari
    assert ari is not None, "the caller looked"
    version = ari.version()
    modules = ari.running_modules()
    wanted = {*target.lab.file.calls.bridges, *target.lab.file.connections}
    if missing := sorted(wanted - bridges_of(modules) - connections_of(modules)):
        raise EnvironmentFault(
            f"Asterisk {version} has not the modules for {', '.join(missing)}",
            "Load them, or take these out of calls: in the lab file.",
        )
    return f"Asterisk {version}, has the modules that are needed"


def _check_call(b: Bench, title: str, extension: Extension) -> str:
    async def place() -> str:
        async with b.call(f"check/{title}", extension, judged_later=True) as call:
            return await _speak(call, extension)

    return asyncio.run(place())


async def _speak(call: LiveCall, extension: Extension) -> str:
    """Half a second of audio with a mark behind it: both must come back."""
    session = call.session
    patched = session.media_start.playback_marks > 0
    command: MarkCommand = "MARK" if patched else "MARK_MEDIA"
    if "d(in)" not in extension.options:
        codec = codec_named(extension.codec)
        frame = codec.frame_bytes
        for number in range(_CHECK_FRAMES):
            await session.send_media(
                probe_signal(codec.name, number * frame, frame, mixed=extension.mixed)
            )
        await mark(session, command, "check")
        await acknowledged(session, command, "check", _CHECK_TIMEOUT_S)
    arrived = await asyncio.to_thread(call.rtp.wait_for_packets, _CHECK_PACKETS, _CHECK_TIMEOUT_S)
    if not arrived:
        raise EnvironmentFault(
            f"no audio came: of {_CHECK_PACKETS} RTP packets to {call.rtp.address}:"
            f"{call.rtp.port} only {len(call.rtp.packets)} arrived",
            "Does a firewall let UDP through from the PBX's rtp.conf ports? Behind NAT set"
            " external_media_address on the PBX's transport.",
        )
    marks = "MARK is supported" if patched else "not patched: MARK_MEDIA will be judged"
    return (
        f"answered, media connection open, MEDIA_START, {len(call.rtp.packets)} RTP packets,"
        f" {ACK_EVENT[command]}; {marks}"
    )


def _remedy(fault: Fault) -> str:
    """What to do: SIP's own refusals show best where they arose."""
    connection = (
        "See the lines of websocket_client.conf, a firewall between, and for wss:// whether the PBX"
        " trusts our certificate, whose common name must be the host of the URI."
    )
    for sign, remedy in (
        ("did not open a media connection", connection),
        # The extension is there, and its Dial could not connect.
        ("404 Not Found (reason Q.850", connection),
        ("SIP/2.0 404", "The PBX has no such extension: add the lines of extensions.conf."),
        ("SIP/2.0 488", "The endpoint does not allow this codec: see allow = in pjsip.conf."),
        ("SIP/2.0 403", "The PBX forbids it: see its endpoint and acl settings in pjsip.conf."),
    ):
        if sign in fault.what:
            return remedy
    return fault.remedy or "Asterisk's log says more."
