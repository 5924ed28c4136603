"""A lab PBX as a target: it belongs to somebody else, and is never reconfigured."""

from __future__ import annotations

import socket
import ssl
import time
from functools import cached_property
from urllib.parse import urlsplit

from harness.asterisk.ari import CONNECTION_ID_VARIABLE, Ari, AriAccess, AriRefused
from harness.asterisk.configuration import (
    ARI_BRIDGES,
    Extension,
)
from harness.caller.sip_peer import SipPeer, local_address_towards
from harness.certificates import client_tls, server_tls
from harness.errors import HarnessFault, InputFault
from harness.targets.capabilities import Capabilities
from harness.targets.lab_file import Lab, LabFile, number_of
from harness.targets.target import AskMediaStart, Listener, bridges_of, connections_of

CONNECTION_TIMEOUT_S = 5.0
_POLL_S = 0.05


class LabTarget:
    """The PBX of a lab file, as a bench needs it."""

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
        """Where the application is to connect for the SIP call: polled over ARI."""
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
        version, reasons = "unknown", missing_connections(file)
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
            playback_marks=probe is not None and ask(probe).playback_marks > 0,
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


def missing_connections(file: LabFile) -> dict[str, str]:
    reasons = {}
    if file.connect and not file.ari:
        reasons["incoming"] = "where to connect for a call, only ARI can tell: add ari to its file"
    if not file.ari:
        reasons |= dict.fromkeys(ARI_BRIDGES, "its file has no ari")
    return reasons


def _is_loopback(host: str) -> bool:
    try:
        return socket.gethostbyname(host).startswith("127.")
    except OSError:
        return False
