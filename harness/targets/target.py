"""What a bench has to know of the PBX it places calls on: one of the harness's own, or any other.

`OwnTarget` is for an Asterisk that the harness has started, natively or in a container; `LabTarget`
in lab.py for one that belongs to somebody else and is never reconfigured.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from chan_websocket.protocol import Event
from harness.asterisk.ari import Ari, AriAccess
from harness.asterisk.configuration import (
    ARI_USER,
    Extension,
)
from harness.asterisk.own_asterisk import APPLICATION_HOST, OwnAsterisk
from harness.caller.sip_peer import SipPeer
from harness.certificates import client_tls, server_tls
from harness.errors import HarnessFault
from harness.install.driver_revision import MODULE
from harness.media.codecs import CODECS
from harness.targets.capabilities import Capabilities, has_media_direction

AskMediaStart = Callable[[Extension], Event]
"""Places a short call and returns its MEDIA_START"""


@dataclass(frozen=True)
class Listener:
    """Where the application listens for media connections of the PBX."""

    host: str = APPLICATION_HOST
    port: int = 0
    """0: any that is free, another one for each call"""
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)


class Target(Protocol):
    """A PBX, as a bench needs it."""

    @property
    def sip(self) -> SipPeer:
        """Where and as whom it is called."""

    @property
    def rtp_address(self) -> str:
        """of this machine, to which it can send RTP"""

    @property
    def originate_at(self) -> str:
        """The endpoint, such as PJSIP/harness, through which ARI has it call us; empty if it is
        us who call."""

    @property
    def listener(self) -> Listener:
        """For outgoing connections: of Asterisk to the application."""

    @property
    def media_port(self) -> int:
        """For incoming connections: where Asterisk listens."""

    @property
    def media_tls(self) -> ssl.SSLContext | None:
        """For incoming connections, if they are wss://."""

    @property
    def ari(self) -> Ari | None:
        """None if it cannot be used."""

    @property
    def not_captured(self) -> str:
        """Why a packet capture would not show its calls, as a clause; empty if it does."""

    def prepare(self, extension: Extension, application_uri: str) -> str:
        """Make ready for a call, as far as that is ours to do; what is to be dialled for it.

        ``application_uri`` is empty for an incoming connection.
        """

    def media_uri(self, connection_id: str) -> str:
        """Where the application connects, by the id that ARI gave the connection."""

    def connection_uri(self, call_id: str) -> str:
        """Where the application is to connect for the SIP call ``call_id``, once it is dialled.

        Blocks until Asterisk waits for it.
        """

    def capabilities(self, ask: AskMediaStart) -> Capabilities:
        """What it can do. Blocks, and may place a call to find out."""


class OwnTarget:
    """An Asterisk that the harness has started, and reconfigures for each call."""

    originate_at = ""
    rtp_address = APPLICATION_HOST

    def __init__(self, asterisk: OwnAsterisk) -> None:
        self.asterisk = asterisk
        self._extensions: dict[str, Extension] = {}
        network = asterisk.network
        # From its own address, so that all of an instance's traffic has it.
        self.sip = SipPeer(network.address, network.sip_port, local_address=network.address)
        self.ari = Ari(
            AriAccess(f"http://{network.http_authority}/ari", ARI_USER, asterisk.ari_password)
        )
        self.media_port = network.https_port or network.http_port
        self.listener, self.media_tls = Listener(), None
        if asterisk.certificates:
            certificate = asterisk.certificates.certificate(APPLICATION_HOST)
            self.listener = Listener(tls=server_tls(certificate))
            self.media_tls = client_tls(asterisk.certificates.ca)

    listener: Listener
    media_tls: ssl.SSLContext | None

    not_captured = ""

    def prepare(self, extension: Extension, application_uri: str) -> str:
        """Write dialplan and application into its configuration; the extension's name."""
        self._extensions[extension.name] = extension
        self.asterisk.use_extensions(list(self._extensions.values()))
        if application_uri:
            self.asterisk.use_application(application_uri)
        return extension.name

    def media_uri(self, connection_id: str) -> str:
        """Where the application connects, by the id that ARI gave the connection."""
        return self.asterisk.network.media_uri(connection_id)

    def connection_uri(self, call_id: str) -> str:
        """Where the application is to connect for the SIP call, which the dialplan has noted."""
        return self.asterisk.connection_uri(call_id)

    def capabilities(self, ask: AskMediaStart) -> Capabilities:
        """From its console; no call is placed."""
        run = self.asterisk.console.run
        version = re.search(r"Asterisk (?:GIT-)?(\S+)", run("core show version"))
        modules = self.asterisk.console.running_modules()
        formats = set(run("core show codecs audio").split())
        try:
            run("websocket show playback")
            playback_marks = True
        except HarnessFault:  # there is no such command
            playback_marks = False
        codecs = frozenset(codec for codec in CODECS if codec in formats)
        release = version[1] if version else "unknown"
        unplayed: set[str] = set()
        if not has_media_direction(release):
            # That driver plays silence between media, and makes it of linear audio.
            unplayed = {
                codec
                for codec in codecs
                if not is_decoded(codec, run(f"core show translation paths {codec}"))
            }
        return Capabilities(
            version=release,
            playback_marks=playback_marks,
            codecs=codecs - unplayed,
            connections=connections_of(modules),
            bridges=bridges_of(modules),
            encrypted=connections_of(modules) if self.media_tls else frozenset(),
            fax_gateway="res_fax_spandsp.so" in modules,
            own=True,
            reasons=dict.fromkeys(unplayed, f"the driver of Asterisk {release} wants a coder"),
        )


def is_decoded(codec: str, paths: str) -> bool:
    """Whether Asterisk makes linear audio of a codec, or it is that, by what `core show translation
    paths` says of it."""
    return codec.startswith("slin") or re.search(r" To slin:\d+ +: \(", paths) is not None


def connections_of(modules: set[str]) -> frozenset[str]:
    """The kinds of media connection that these modules make possible."""
    if MODULE not in modules:
        return frozenset()
    connections = {"incoming"} if "res_http_websocket.so" in modules else set()
    return frozenset(
        connections | ({"outgoing"} if "res_websocket_client.so" in modules else set())
    )


def bridges_of(modules: set[str]) -> frozenset[str]:
    """The kinds of bridge that these modules make possible."""
    return frozenset(bridge for bridge, needed in _BRIDGE_MODULES.items() if needed <= modules)


_ARI = {"res_ari_channels.so", "res_ari_bridges.so", "res_ari_events.so", "app_stasis.so"}
_MIXING = {"bridge_softmix.so"}
_BRIDGE_MODULES = {
    "dial": {"app_dial.so"},
    "local": {"app_dial.so"},
    "local n": {"app_dial.so"},
    "two locals": {"app_dial.so"},
    "two locals n": {"app_dial.so"},
    "conference": {"app_dial.so", "app_confbridge.so", *_MIXING},
    "conference of three": {"app_confbridge.so", "app_originate.so", *_MIXING},
    "ari": _ARI,
    "ari of three": {*_ARI, *_MIXING},
    "stasis": _ARI,
}
