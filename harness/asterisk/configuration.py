"""The text of a complete Asterisk configuration. Pure: values in, file contents out.

Nothing of the machine's own Asterisk is read or changed: every directory Asterisk uses is named in
the asterisk.conf written here, and only the modules and the data directory come from the build.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import InputFault
from harness.websocket.protocol import Format

Connection = Literal["outgoing", "incoming"]
"""outgoing: Asterisk connects to the application; incoming: the application connects to Asterisk"""
Bridge = Literal["dial", "conference", "conference of three", "stasis"]

ARI_APPLICATION = "harness"
ARI_USER = "harness"
CALLER_CODECS = ("ulaw", "alaw", "slin", "slin16", "g722", "opus")
"""What the SIP endpoint accepts, by Asterisk's names"""
CONNECTION_VARIABLE = "HARNESS_CONNECTION"
"""Global dialplan variables HARNESS_CONNECTION_<SIP Call-ID> hold the id of the connection that
Asterisk expects for that call, when the application is to connect."""

_WEBSOCKET_CLIENT = "application"


@dataclass(frozen=True)
class Network:
    """Where one instance listens. ``address`` belongs to it alone, so no two can collide."""

    address: str
    sip_port: int
    http_port: int
    rtp_first_port: int = 10000
    rtp_last_port: int = 19999

    @property
    def http_authority(self) -> str:
        """``host:port`` of ARI and of the media WebSocket."""
        return f"{self.address}:{self.http_port}"

    def media_uri(self, connection_id: str) -> str:
        """Where the application connects for a call with an incoming connection."""
        return f"ws://{self.http_authority}/media/{connection_id}"


@dataclass(frozen=True)
class Directories:
    """Where one instance keeps its files."""

    configuration: Path
    """the folder the files of `configuration_files` are written to"""
    state: Path
    """spool, database, keys: all that Asterisk writes but logs"""
    run: Path
    """the control socket; a short path, since a socket's name has at most 107 bytes"""
    log: Path
    modules: Path
    data: Path
    """documentation, sounds: read only"""


@dataclass(frozen=True)
class Extension:
    """What Asterisk does with a call to the extension ``name``."""

    name: str
    codec: str = "ulaw"
    """of the WebSocket channel, by Asterisk's name"""
    message_format: Format = Format.PLAIN
    connection: Connection = "outgoing"
    bridge: Bridge = "dial"
    """what joins caller and application: Dial's own bridge of two parties, a ConfBridge, one with
    a silent third party, or whatever an ARI application builds (then no WebSocket channel is made
    by the dialplan)"""
    options: str = ""
    """further options of the WebSocket dial string, such as ``p`` or ``d(in)``"""

    @property
    def dial_string(self) -> str:
        """``WebSocket/<connection>/<options>``, as Dial takes it."""
        peer = _WEBSOCKET_CLIENT if self.connection == "outgoing" else "INCOMING"
        return f"WebSocket/{peer}/c({self.codec})f({self.message_format.value}){self.options}"


def configuration_files(
    directories: Directories,
    network: Network,
    ari_password: str,
    log_levels: str = "notice,warning,error,verbose(3)",
) -> dict[str, str]:
    """All files but the two that change while Asterisk runs, by file name.

    Those two are `extensions_conf` and `websocket_client_conf`.
    """
    return {
        "asterisk.conf": _asterisk_conf(directories),
        "modules.conf": "[modules]\nautoload = yes\n",
        "logger.conf": (
            f"[general]\ndateformat = %F %T.%3q\n\n[logfiles]\nasterisk.log = {log_levels}\n"
        ),
        "pjsip.conf": _pjsip_conf(network),
        "rtp.conf": (
            f"[general]\nrtpstart = {network.rtp_first_port}\nrtpend = {network.rtp_last_port}\n"
        ),
        "http.conf": (
            "[general]\n"
            "enabled = yes\n"
            f"bindaddr = {network.address}\n"
            f"bindport = {network.http_port}\n"
            # An incoming media connection holds an HTTP session for the whole call.
            "sessionlimit = 2000\n"
        ),
        "ari.conf": (
            f"[general]\nenabled = yes\n\n[{ARI_USER}]\ntype = user\npassword = {ari_password}\n"
        ),
        "chan_websocket.conf": "[global]\ntype = global\ncontrol_message_format = plain-text\n",
        "confbridge.conf": _confbridge_conf(),
        "cdr.conf": "[general]\nenable = no\n",
        "cel.conf": "[general]\nenable = no\n",
        "indications.conf": "[general]\ncountry = us\n\n[us]\ndescription = none\nring = 440+480\n",
        # Modules that only want their file to be there.
        **{
            name: ""
            for name in (
                "acl.conf",
                "ccss.conf",
                "features.conf",
                "manager.conf",
                "pjproject.conf",
                "stasis.conf",
                "udptl.conf",
            )
        },
    }


def websocket_client_conf(application_uri: str) -> str:
    """The connection that Asterisk makes to the application for each call.

    There is one attempt: the application listens before the call is placed, so a second attempt
    would only hide a fault.
    """
    if not application_uri.startswith("ws://"):
        raise InputFault(
            f"the application's URI is {application_uri!r}, and only ws:// is configured here",
            "Give the address of a server on a loopback address, such as ws://127.0.0.1:8765/.",
        )
    return (
        f"[{_WEBSOCKET_CLIENT}]\n"
        "type = websocket_client\n"
        "connection_type = per_call_config\n"
        f"uri = {application_uri}\n"
        "protocols = media\n"
        "connection_timeout = 2000\n"
        "reconnect_attempts = 1\n"
        "reconnect_interval = 100\n"
    )


def extensions_conf(extensions: Sequence[Extension]) -> str:
    """The dialplan: one extension for each kind of call."""
    names = [extension.name for extension in extensions]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputFault(
            f"extensions defined more than once: {', '.join(twice)}", "Give each its own name."
        )
    lines = ["[calls]", *(line for extension in extensions for line in _dialplan(extension))]
    return "\n".join([*lines, "", _SHARED_DIALPLAN])


# Without waiting for the caller's audio, of which there is none. ConfBridge would wait 500 ms for
# it before it lets an unanswered caller in, and the application would talk to nobody meanwhile.
_ANSWER = "Answer(,i)"


# Option a: without waiting for it to be answered.
_THIRD_PARTY = "Originate(Local/${SIP_CALL_ID}@room,app,Wait,600,,,a)"


def _dialplan(extension: Extension) -> list[str]:
    if extension.bridge == "stasis":
        steps = [_ANSWER, f"Stasis({ARI_APPLICATION})"]
    else:
        options = []
        if extension.connection == "incoming":
            options.append("b(note_connection^s^1)")
        conference = extension.bridge.startswith("conference")
        if conference:
            options.append("G(conference^s^1)")
        steps = [
            # Inherited by the WebSocket channel, which has no Call-ID of its own.
            "Set(__SIP_CALL_ID=${CHANNEL(pjsip,call-id)})",
            *([_ANSWER] if conference else []),
            *([_THIRD_PARTY] if extension.bridge == "conference of three" else []),
            f"Dial({extension.dial_string},,{''.join(options)})",
        ]
    first, *rest = [*steps, "Hangup()"]
    return [
        f"exten = {extension.name},1,{first}",
        *(f" same = n,{step}" for step in rest),
    ]


# Dial's option G sends the caller to the priority named and the application to the next one.
_SHARED_DIALPLAN = f"""\
[note_connection]
exten = s,1,Set(GLOBAL({CONNECTION_VARIABLE}_${{SIP_CALL_ID}})=${{MEDIA_WEBSOCKET_CONNECTION_ID}})
 same = n,Return()

[conference]
exten = s,1,Goto(join,1)
exten = s,2,Goto(join,1)
exten = join,1,ConfBridge(${{SIP_CALL_ID}},harness_bridge,harness_user)
 same = n,Hangup()

[room]
exten = _.,1,Answer()
 same = n,ConfBridge(${{EXTEN}},harness_bridge,harness_user)
"""


def _asterisk_conf(directories: Directories) -> str:
    state = directories.state
    return f"""\
[directories]
astetcdir = {directories.configuration}
astmoddir = {directories.modules}
astdatadir = {directories.data}
astvarlibdir = {state}
astdbdir = {state}
astkeydir = {state}
astagidir = {state}
astspooldir = {state}
astcachedir = {state}
astsbindir = {state}
astrundir = {directories.run}
astlogdir = {directories.log}

[options]
nocolor = yes
hideconnect = yes
"""


def _pjsip_conf(network: Network) -> str:
    # Asterisk binds RTP to the transport's address, so that all of an instance's traffic has it.
    return f"""\
[udp]
type = transport
protocol = udp
bind = {network.address}:{network.sip_port}

[caller]
type = endpoint
transport = udp
context = calls
disallow = all
allow = {",".join(CALLER_CODECS)}
direct_media = no
timers = no

[caller]
type = identify
endpoint = caller
match = 127.0.0.0/8
"""


def _confbridge_conf() -> str:
    # end_marked_any: when one party leaves the other is sent away, as in a bridge of two.
    return """\
[harness_bridge]
type = bridge
mixing_interval = 20

[harness_user]
type = user
quiet = yes
marked = yes
end_marked_any = yes
"""
