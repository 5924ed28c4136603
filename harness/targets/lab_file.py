"""The file that describes a lab PBX: where it is, what it has; passwords are in the environment."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from chan_websocket.protocol import FormatName, format_named
from harness.asterisk.configuration import (
    ARI_BRIDGES,
    CallBridge,
    Connection,
    Extension,
)
from harness.caller.sip_peer import Transport
from harness.media.codecs import CodecName
from harness.strict_yaml import Document, StrictModel, read


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


class Sip(StrictModel):
    """How the PBX is called."""

    address: str
    port: Port = 5060
    transport: Transport = "udp"
    user: Annotated[str, Field(pattern=r"^[\w.+-]+$")] = "harness"
    password_from: str | None = None
    """variable of the environment; none: the PBX identifies us by our address"""
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

    codecs: Annotated[tuple[CodecName, ...], AfterValidator(_some)] = ("ulaw",)
    formats: Annotated[tuple[FormatName, ...], AfterValidator(_some)] = (
        "plain",
        "json",
    )
    bridges: Annotated[tuple[CallBridge, ...], AfterValidator(_some)] = ("dial",)
    options: Annotated[tuple[str, ...], AfterValidator(_some)] = ("",)
    """of the WebSocket dial string, such as d(in)"""


class LabFile(StrictModel):
    """What a lab file may say."""

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
        """Those that can be used. Where to connect for a call, only ARI can tell."""
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
                message_format=format_named(message_format),
                connection=connection,
                bridge=bridge,
                options=options,
            )
            for codec, message_format, connection, bridge, options in kinds
        )
        return [_named(extension) for extension in made]


def number_of(extension: Extension) -> str:
    """What is dialled for a call of this kind: its parameters, so that a PBX can have each once.

    Bridges over ARI need but one extension, since all else is given over ARI.
    """
    if extension.bridge in ARI_BRIDGES:
        return "marks-ari"
    words = [
        *("marks", extension.codec, extension.message_format.short_name, extension.connection),
        extension.bridge.replace(" ", "-"),
        *re.findall(r"\w+", extension.options),
    ]
    return "-".join(words)


def _named(extension: Extension) -> Extension:
    return Extension(**{**vars(extension), "name": number_of(extension)})


@dataclass(frozen=True)
class Lab:
    """A lab file that has been read, with the secrets that it names."""

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
    """Read a lab file. Raises InputFault with the line of whatever is wrong."""
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
