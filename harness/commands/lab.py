"""``harness lab``: the lines that a lab PBX needs, and a check of it, step by step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.text import Text

from harness.application.play import ANSWER_EVENT, MarkCommand, answered, mark
from harness.asterisk.configuration import (
    ARI_BRIDGES,
    CALLER_CODECS,
    CONTEXT,
    Extension,
    confbridge_conf,
    extensions_conf,
    websocket_client_conf,
)
from harness.bench import Bench, LiveCall, bench_on
from harness.caller.sip_options import ask_options
from harness.errors import EnvironmentFault, Fault
from harness.media.codecs import codec_named
from harness.media.coded import coded
from harness.targets.lab import LabTarget, missing_connections
from harness.targets.lab_file import Lab, LabFile, load_lab
from harness.targets.target import bridges_of, connections_of

EXIT_OK, EXIT_NOT_OK = 0, 4
"""of `check`: everything is there; something is missing on the PBX or on the way to it"""
_CHECK_FRAMES = 25
_CHECK_TIMEOUT_S = 5.0
_CHECK_PACKETS = 10


def lines(lab: Lab) -> dict[str, str]:
    """What the PBX's configuration needs for this target file, by file name.

    Something in angle brackets is to be replaced by whoever pastes it: passwords and paths of the
    PBX are not ours to know.
    """
    file = lab.file
    found = {
        "extensions.conf": extensions_conf(
            _once_each([*file.extensions]), note_connections=False
        ).rstrip(),
        "pjsip.conf": _pjsip_lines(lab),
    }
    if any(bridge.startswith("conference") for bridge in file.calls.bridges):
        found["confbridge.conf"] = confbridge_conf()
    if file.listen:
        found["websocket_client.conf"] = websocket_client_conf(
            file.listen.uri, "<a copy of the certificate that signed the application's>"
        )
    if file.connect or file.ari:
        found["http.conf"] = _http_lines(file)
    if file.ari:
        found["ari.conf"] = (
            "[general]\nenabled = yes\n\n"
            f"[{file.ari.user}]\ntype = user\nread_only = no\n"
            f"password = <the value of {file.ari.password_from}>\n"
        )
    return {name: text.rstrip() + "\n" for name, text in found.items()}


def _once_each(extensions: Sequence[Extension]) -> list[Extension]:
    return list({extension.name: extension for extension in extensions}.values())


def _pjsip_lines(lab: Lab) -> str:
    sip = lab.file.sip
    codecs = [codec for codec in CALLER_CODECS if codec in lab.file.calls.codecs]
    text = (
        f"; A transport of the type {sip.transport} on port {sip.port} is needed, too.\n"
        f"[{sip.user}]\n"
        "type = endpoint\n"
        f"context = {CONTEXT}\n"
        "disallow = all\n"
        f"allow = {','.join(codecs)}\n"
        "direct_media = no\n"
        "timers = no\n"
    )
    if sip.transport != "udp":
        # Asterisk would else open a connection of its own to hang up.
        text += "rewrite_contact = yes\n"
    if sip.password_from:
        return text + (
            f"auth = {sip.user}\n\n"
            f"[{sip.user}]\n"
            "type = auth\n"
            "auth_type = userpass\n"
            f"username = {sip.user}\n"
            f"password = <the value of {sip.password_from}>\n"
        )
    return text + (
        f"\n[{sip.user}]\ntype = identify\nendpoint = {sip.user}\n"
        f"match = <the address of the machine that runs the harness>\n"
    )


def _http_lines(file: LabFile) -> str:
    uris = [urlsplit(part.uri) for part in (file.connect, file.ari) if part]
    plain = [uri for uri in uris if uri.scheme in ("ws", "http")]
    secure = [uri for uri in uris if uri.scheme in ("wss", "https")]
    text = "[general]\nenabled = yes\n"
    if plain:
        text += f"bindaddr = {plain[0].hostname}\nbindport = {plain[0].port}\n"
    if secure:
        text += (
            f"tlsenable = yes\ntlsbindaddr = {secure[0].hostname}:{secure[0].port}\n"
            f"tlscertfile = <a certificate for {secure[0].hostname}, PEM>\n"
            "tlsprivatekey = <its key, PEM>\n"
        )
    return text


def print_lines(path: Path, console: Console) -> int:
    """Print what the PBX's configuration needs; returns the exit code."""
    console.print(
        "To be added to the PBX's configuration. Replace what is in <>. Nothing here is done by"
        " the harness."
    )
    for name, text in lines(load_lab(path)).items():
        console.print()
        console.print(Text(f"; ---- {name} ----", style="bold"))
        console.print(Text(text), soft_wrap=True, end="")
    return EXIT_OK


# ---- check ---------------------------------------------------------------------------------------


def check(lab: Lab, folder: Path, console: Console) -> int:
    """Go through what a call needs, step by step; stop at the first thing that is missing.

    Prints a line for each, and what to do. The calls' files go to ``folder``. Returns the exit
    code; InputFault is raised for what is wrong in the file itself.
    """
    target = LabTarget(lab)
    path = lab.document.path
    console.print(Text.assemble(("ok   ", "green"), f"target file {path}: {lab.file.name}"))
    with bench_on(target, folder) as b:
        for title, step in _steps(b, target):
            try:
                said = step()
            except Fault as fault:
                console.print(Text.assemble(("FAIL ", "red"), f"{title}: {fault.what}"))
                console.print(Text(f"     {_remedy(fault)}"), soft_wrap=True)
                console.print(
                    "     The lines that the PBX needs for this file:"
                    f" harness lab lines {path}. Its own log: asterisk -rvvv",
                    soft_wrap=True,
                    highlight=False,
                )
                return EXIT_NOT_OK
            console.print(Text.assemble(("ok   ", "green"), f"{title}: {said}"), soft_wrap=True)
        for name, reason in missing_connections(lab.file).items():
            console.print(Text.assemble(("skip ", "yellow"), f"{name}: {reason}"))
        ruler = b.not_captured
        console.print(
            f"Times will be taken from socket time stamps, since {ruler}."
            if ruler
            else "Times will be taken from a packet capture of both legs."
        )
    return EXIT_OK


Step = tuple[str, Callable[[], str]]


def _steps(b: Bench, target: LabTarget) -> Iterator[Step]:
    yield "way to the PBX", lambda: f"{target.sip} is reached from {target.rtp_address}"
    yield "SIP OPTIONS", lambda: asyncio.run(ask_options(target.sip))
    if target.ari:
        yield "ARI", lambda: _check_ari(target)
    for extension in target.lab.file.extensions:
        title = f"call to {extension.name}"
        if extension.bridge in ARI_BRIDGES:
            spelling = extension.message_format.value
            title += f" ({extension.bridge}, {extension.codec}, {spelling}, {extension.connection})"
        yield title, partial(_check_call, b, title, extension)


def _check_ari(target: LabTarget) -> str:
    ari = target.ari
    assert ari is not None, "asked before"
    version = ari.version()
    modules = ari.running_modules()
    wanted = {*target.lab.file.calls.bridges, *target.lab.file.connections}
    if missing := sorted(wanted - bridges_of(modules) - connections_of(modules)):
        raise EnvironmentFault(
            f"Asterisk {version} has not the modules for {', '.join(missing)}",
            "Load them, or take these out of calls: in the target file.",
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
    patched = session.media_start.flag("playback_marks")
    command: MarkCommand = "MARK" if patched else "MARK_MEDIA"
    if "d(in)" not in extension.options:
        codec = codec_named(extension.codec)
        frame = codec.frame_bytes
        for number in range(_CHECK_FRAMES):
            await session.send_media(
                coded(codec.name, number * frame, frame, mixed=extension.mixed)
            )
        await mark(session, command, "check")
        await answered(session, command, "check", _CHECK_TIMEOUT_S)
    arrived = await asyncio.to_thread(call.rtp.wait_for_packets, _CHECK_PACKETS, _CHECK_TIMEOUT_S)
    if not arrived:
        raise EnvironmentFault(
            f"no audio came: of {_CHECK_PACKETS} RTP packets to {call.rtp.address}:"
            f"{call.rtp.port} only {len(call.rtp.packets)} arrived",
            "Does a firewall let UDP through from the PBX's rtp.conf ports? Behind NAT set"
            " external_media_address on the PBX's transport.",
        )
    marks = "MARK is understood" if patched else "not patched: MARK_MEDIA will be judged"
    return (
        f"answered, media connection open, MEDIA_START, {len(call.rtp.packets)} RTP packets,"
        f" {ANSWER_EVENT[command]}; {marks}"
    )


def _remedy(fault: Fault) -> str:
    """What to do; SIP's own refusals say more than the harness could about where they arose."""
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
