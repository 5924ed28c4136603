"""A PBX that belongs to somebody else: reached through its target file, and never reconfigured.

The target file says where it is and what it has; passwords are in the environment. What the PBX
must have in its configuration for that is printed by `print_lines`, and `check` goes through it
step by step until something is missing.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator
from rich.console import Console
from rich.text import Text

from harness.asterisk.ari import CONNECTION_ID_VARIABLE, Ari, AriAccess, AriRefused
from harness.asterisk.configuration import (
    ARI_BRIDGES,
    CALLER_CODECS,
    CONTEXT,
    CallBridge,
    Connection,
    Extension,
    confbridge_conf,
    extensions_conf,
    websocket_client_conf,
)
from harness.bench import Bench, LiveCall, bench_on
from harness.call.options import ask_options
from harness.call.peer import SipPeer, Transport, local_address_towards
from harness.capabilities import Capabilities
from harness.certificates import client_tls, server_tls
from harness.errors import EnvironmentFault, Fault, HarnessFault, InputFault
from harness.media.codecs import codec_named
from harness.media.coded import coded
from harness.media.play import ANSWER_EVENT, MarkCommand, answered, mark
from harness.strict_yaml import Document, StrictModel, read
from harness.target import AskMediaStart, Listener, bridges_of, connections_of
from harness.websocket.protocol import Format

EXIT_OK, EXIT_NOT_OK = 0, 4
"""of `check`: everything is there; something is missing on the PBX or on the way to it"""
CONNECTION_TIMEOUT_S = 5.0
_POLL_S = 0.05
_CHECK_FRAMES = 25
_CHECK_TIMEOUT_S = 5.0
_CHECK_PACKETS = 10

# ---- the target file -----------------------------------------------------------------------------


def _uri(*schemes: str) -> AfterValidator:
    def check(uri: str) -> str:
        parts = urlsplit(uri)
        if parts.scheme not in schemes or not parts.hostname or not parts.port:
            raise ValueError(f"give {' or '.join(schemes)}://host:port/path")
        return uri.rstrip("/")

    return AfterValidator(check)


def _some(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise ValueError("give one or more, or leave it out")
    return values


Port = Annotated[int, Field(gt=0, lt=65536)]
Codec = Literal["ulaw", "alaw", "slin", "slin16", "g722", "opus"]


class Sip(StrictModel):
    """How the PBX is called."""

    address: str
    port: Port = 5060
    transport: Transport = "udp"
    user: Annotated[str, Field(pattern=r"^[\w.+-]+$")] = "harness"
    password_from: str | None = None
    """variable of the environment; none: the PBX knows us by our address"""
    ca: Path | None = None
    """for tls; none: the machine's authorities"""
    originate_at: Annotated[str, Field(pattern=r"^PJSIP/[\w.-]+$")] | None = None
    """ARI has the PBX call us through this endpoint, instead of us calling it"""


class Listen(StrictModel):
    """Where the PBX connects to us."""

    address: str
    port: Port
    certificate: Path | None = None
    """PEM; with it the connection is wss://"""
    key: Path | None = None
    """if it is not in the same file"""

    @property
    def uri(self) -> str:
        """for websocket_client.conf"""
        return f"{'wss' if self.certificate else 'ws'}://{self.address}:{self.port}/"


class Connect(StrictModel):
    """Where we connect to the PBX."""

    uri: Annotated[str, _uri("ws", "wss")]
    """to which the connection's id is added, such as wss://10.0.0.5:8089/media"""
    ca: Path | None = None


class AriPart(StrictModel):
    """ARI of the PBX."""

    uri: Annotated[str, _uri("http", "https")]
    user: str = "harness"
    password_from: str
    ca: Path | None = None


class Calls(StrictModel):
    """The kinds of call for which the PBX has an extension: every combination of these."""

    codecs: Annotated[tuple[Codec, ...], AfterValidator(_some)] = ("ulaw",)
    formats: Annotated[tuple[Literal["plain", "json"], ...], AfterValidator(_some)] = (
        "plain",
        "json",
    )
    bridges: Annotated[tuple[CallBridge, ...], AfterValidator(_some)] = ("dial",)
    options: Annotated[tuple[str, ...], AfterValidator(_some)] = ("",)
    """of the WebSocket dial string, such as d(in)"""


class LabFile(StrictModel):
    """A target file."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    sip: Sip
    listen: Listen | None = None
    connect: Connect | None = None
    ari: AriPart | None = None
    calls: Calls = Calls()

    @model_validator(mode="after")
    def _complete(self) -> LabFile:
        if not self.listen and not self.connect:
            raise ValueError(
                "there is neither 'listen' (the PBX connects to us) nor 'connect' (we connect to "
                "it): give one or both"
            )
        if self.sip.originate_at and (not self.ari or self.sip.transport != "udp"):
            raise ValueError("sip.originate_at needs ari, and the transport udp")
        if self.ari_bridges and not self.ari:
            raise ValueError(f"a bridge {self.ari_bridges[0]!r} needs ari")
        if not self.connections:
            raise ValueError("'connect' without 'listen' needs ari, which tells where to connect")
        return self

    @property
    def ari_bridges(self) -> list[CallBridge]:
        """Those of its bridges that are made over ARI."""
        return [bridge for bridge in self.calls.bridges if bridge in ARI_BRIDGES]

    @property
    def connections(self) -> list[Connection]:
        """Those that can be used. Where to connect for a call, only ARI tells."""
        outgoing: list[Connection] = ["outgoing"] if self.listen else []
        incoming: list[Connection] = ["incoming"] if self.connect and self.ari else []
        return outgoing + incoming

    @property
    def extensions(self) -> list[Extension]:
        """Every kind of call it has, by the name that its extension has on the PBX."""
        kinds = itertools.product(
            self.calls.codecs,
            self.calls.formats,
            self.connections,
            self.calls.bridges,
            self.calls.options,
        )
        made = (
            Extension(
                "",
                codec=codec,
                message_format=Format.JSON if message_format == "json" else Format.PLAIN,
                connection=connection,
                bridge=bridge,
                options=options,
            )
            for codec, message_format, connection, bridge, options in kinds
        )
        return [_named(extension) for extension in made]


def number_of(extension: Extension) -> str:
    """What is dialled for a call of this kind: its parameters, so that a PBX can have each once.

    Bridges over ARI need but one extension, since all else is said over ARI.
    """
    if extension.bridge in ARI_BRIDGES:
        return "marks-ari"
    message_format = "json" if extension.message_format is Format.JSON else "plain"
    words = [
        *("marks", extension.codec, message_format, extension.connection),
        extension.bridge.replace(" ", "-"),
        *re.findall(r"\w+", extension.options),
    ]
    return "-".join(words)


def _named(extension: Extension) -> Extension:
    return Extension(**{**vars(extension), "name": number_of(extension)})


@dataclass(frozen=True)
class Lab:
    """A target file that has been read, with the secrets that it names."""

    file: LabFile
    document: Document
    secrets: Mapping[str, str]

    def path(self, path: Path | None) -> Path | None:
        """A path in the file is relative to the file's folder."""
        return None if path is None else self.document.path.parent / path

    def secret(self, variable: str | None) -> str:
        """What the environment holds under this name."""
        return self.secrets[variable] if variable else ""


def load_lab(path: Path, environment: Mapping[str, str] = os.environ) -> Lab:
    """Read a target file. Raises InputFault with the line of whatever is wrong."""
    document = read(path)
    file = document.validate(LabFile)
    named: dict[str, str] = {}
    for part, variable in (
        ("sip", file.sip.password_from),
        ("ari", file.ari.password_from if file.ari else None),
    ):
        if variable is None:
            continue
        if not environment.get(variable):
            raise document.fault(
                (part, "password_from"),
                f"the environment has no variable {variable}; put the password there before the"
                f" harness is started: read -rs {variable}; export {variable}",
            )
        named[variable] = environment[variable]
    return Lab(file, document, named)


# ---- the target ----------------------------------------------------------------------------------


class LabTarget:
    """The PBX of a target file, as a bench needs it."""

    def __init__(self, lab: Lab) -> None:
        """Raises InputFault when a certificate cannot be read, EnvironmentFault for no route."""
        file = lab.file
        self.lab = lab
        self.name = file.name
        sip_tls = client_tls(lab.path(file.sip.ca)) if file.sip.transport == "tls" else None
        self.sip = SipPeer(
            file.sip.address,
            file.sip.port,
            file.sip.transport,
            file.sip.user,
            lab.secret(file.sip.password_from),
            sip_tls,
        )
        self.originate_at = file.sip.originate_at or ""
        self.listener = Listener()
        if file.listen:
            certificate, key = lab.path(file.listen.certificate), lab.path(file.listen.key)
            tls = server_tls(certificate, key) if certificate else None
            self.listener = Listener(file.listen.address, file.listen.port, tls)
        self.media_port, self.media_tls = 0, None
        if file.connect:
            self.media_port = urlsplit(file.connect.uri).port or 0
            if file.connect.uri.startswith("wss:"):
                self.media_tls = client_tls(lab.path(file.connect.ca))
        self.ari: Ari | None = None
        if file.ari:
            secure = file.ari.uri.startswith("https:")
            access = AriAccess(
                file.ari.uri,
                file.ari.user,
                lab.secret(file.ari.password_from),
                client_tls(lab.path(file.ari.ca)) if secure else None,
            )
            self.ari = Ari(access)

    media_tls: ssl.SSLContext | None

    @cached_property
    def rtp_address(self) -> str:
        """of this machine, towards the PBX"""
        return local_address_towards(self.sip)

    @property
    def not_captured(self) -> str:
        """Why a packet capture would not show its calls, as a clause; empty if it does."""
        hosts = [self.sip.address]
        if self.lab.file.connect:
            hosts.append(str(urlsplit(self.lab.file.connect.uri).hostname))
        if not all(_is_loopback(host) for host in hosts):
            return "the PBX is on another machine"
        return ""

    def prepare(self, extension: Extension, application_uri: str) -> str:
        """Nothing is changed; the number of the extension that the PBX should have."""
        return number_of(extension)

    def media_uri(self, connection_id: str) -> str:
        """Where the application connects, by the id that ARI gave the connection."""
        if self.lab.file.connect is None:
            raise InputFault(
                f"{self.lab.document.path} does not say where to connect to the PBX",
                "Add connect: with its uri.",
            )
        return f"{self.lab.file.connect.uri}/{connection_id}"

    def connection_uri(self, call_id: str) -> str:
        """Where the application is to connect for the SIP call: asked over ARI, again and again."""
        deadline = time.monotonic() + CONNECTION_TIMEOUT_S
        while time.monotonic() < deadline:
            if connection := self._connection_of(call_id):
                return self.media_uri(connection)
            time.sleep(_POLL_S)
        raise HarnessFault(
            f"ARI shows no WebSocket channel that waits for us in the call {call_id}"
            f" within {CONNECTION_TIMEOUT_S:g} s",
            "Compare the extension with the lines of 'harness lab lines': it must set"
            " SIP_CALL_ID and dial WebSocket/INCOMING.",
        )

    def capabilities(self, ask: AskMediaStart) -> Capabilities:
        """What the file says, as far as ARI does not deny it; a call tells about marks."""
        file = self.lab.file
        bridges, connections = frozenset[str](file.calls.bridges), frozenset[str](file.connections)
        version, reasons = "unknown", _reasons(file)
        if self.ari:
            version = self.ari.version()
            modules = self.ari.running_modules()
            bridges &= bridges_of(modules)
            connections &= connections_of(modules)
        probe = next(
            (
                extension
                for extension in file.extensions
                if extension.bridge in bridges and extension.connection in connections
            ),
            None,
        )
        return Capabilities(
            version=version,
            playback_marks=probe is not None and ask(probe).flag("playback_marks"),
            codecs=frozenset(file.calls.codecs),
            connections=connections,
            bridges=bridges,
            options=frozenset(file.calls.options),
            encrypted=frozenset(
                name
                for name, tls in (("outgoing", self.listener.tls), ("incoming", self.media_tls))
                if tls
            ),
            reasons=reasons,
        )

    def _connection_of(self, call_id: str) -> str:
        assert self.ari is not None, "the file was validated"
        for channel in self.ari.ask("GET", "channels"):
            if not channel["name"].startswith("WebSocket/"):
                continue
            if self._variable(channel["id"], "SIP_CALL_ID") == call_id:
                return self._variable(channel["id"], CONNECTION_ID_VARIABLE)
        return ""

    def _variable(self, channel: str, variable: str) -> str:
        assert self.ari is not None, "the file was validated"
        try:
            answer = self.ari.ask("GET", f"channels/{channel}/variable", variable=variable)
        except AriRefused as refused:
            if refused.status == 404:  # no such variable, or no such channel any more
                return ""
            raise
        return str(answer["value"])


def _reasons(file: LabFile) -> dict[str, str]:
    reasons = {}
    if file.connect and not file.ari:
        reasons["incoming"] = "where to connect for a call, only ARI tells: add ari to its file"
    if not file.ari:
        reasons |= dict.fromkeys(ARI_BRIDGES, "its file has no ari")
    return reasons


def _is_loopback(host: str) -> bool:
    try:
        return socket.gethostbyname(host).startswith("127.")
    except OSError:
        return False


@contextmanager
def lab_bench(path: Path, folder: Path) -> Iterator[Bench]:
    """A bench on the PBX of a target file."""
    with bench_on(LabTarget(load_lab(path)), folder) as b:
        yield b


# ---- lines for the PBX ---------------------------------------------------------------------------


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
        for name, reason in _reasons(lab.file).items():
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
        frame = codec.bytes_per_second * codec.ptime_ms // 1000
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
