"""The text of a complete Asterisk configuration. Pure: values in, file contents out.

Nothing of the machine's own Asterisk is read or changed: every directory Asterisk uses is named in
the asterisk.conf written here, and only the modules and the data directory come from the build.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from chan_websocket.protocol import Format
from harness.caller.sipp import ENCRYPTIONS, Encryption
from harness.errors import InputFault
from harness.media.codecs import CODECS

Connection = Literal["outgoing", "incoming"]
"""outgoing: Asterisk connects to the application; incoming: the application connects to Asterisk"""
CallBridge = Literal[
    "dial",
    "local",
    "local n",
    "two locals",
    "two locals n",
    "conference",
    "conference of three",
    "ari",
    "ari of three",
]
"""the bridges that are the harness's to build"""
Bridge = Literal[CallBridge, "stasis"]
Digits = Literal["rfc4733", "inband"]
"""How Asterisk sends the caller digits: as events of RTP, or as sound"""
ARI_BRIDGES = ("ari", "ari of three")
STAYING_LOCALS = ("local n", "two locals n")
"""with Local channels that Asterisk does not optimise away before it is told to"""
MIXING_INTERVALS_MS = (10, 20, 40, 80)
"""of a ConfBridge, in ms; Asterisk's own"""

ARI_APPLICATION = "harness"
"""of calls that are bridged as a test wants it; see `ari_application` for the others"""
ARI_USER = "harness"
CONTEXT = "harness-calls"
"""of the dialplan, where the extensions are"""
SILENT_PARTY = "Local/s@harness-silence"
"""A party that answers and is silent, as ARI's originate takes it"""
CONNECTION_VARIABLE = "HARNESS_CONNECTION"
"""Global dialplan variables HARNESS_CONNECTION_<SIP Call-ID> hold the id of the connection that
Asterisk expects for that call, when the application is to connect."""

WEBSOCKET_CLIENT = "harness"
"""The section of websocket_client.conf that has the application's URI"""

TONE_VARIABLE = "HARNESS_TONE"
"""The global dialplan variable with a sound of a second, as Playback takes it"""

CALLEE_VARIABLE = "HARNESS_CALLEE"
"""The global dialplan variable with what is dialled to call the caller"""

JOIN_CONFERENCE, JOIN_ARI = "room", "bridge"
"""What is dialled, with the SIP Call-ID of a call behind it, to be another party of its bridge"""
TRANSFER = "transfer"
"""and to call the caller (`CALLEE_VARIABLE`), where he has transferred a call to himself"""

MUSIC_FOLDER = "music"
"""of music on hold, below the state directory"""

_LOG_LEVELS = "notice,warning,error,verbose(3)"


@dataclass(frozen=True)
class Network:
    """Where one instance listens. ``address`` belongs to it alone, so no two can collide."""

    address: str
    sip_port: int
    http_port: int
    https_port: int = 0
    """for media connections to Asterisk over TLS; 0: they are made without, at ``http_port``"""

    @property
    def http_authority(self) -> str:
        """``host:port`` of ARI, and of the media WebSocket without TLS."""
        return f"{self.address}:{self.http_port}"

    def media_uri(self, connection_id: str) -> str:
        """Where the application connects for a call with an incoming connection."""
        if self.https_port:
            return f"wss://{self.address}:{self.https_port}/media/{connection_id}"
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
    modules: Path | None
    """None: where this Asterisk looks by itself"""
    data: Path | None
    """documentation, sounds: read only; None as for the modules"""


@dataclass(frozen=True)
class CallerEndpoint:
    """How Asterisk treats a caller. Each kind is an endpoint, by whose name the caller calls."""

    ptime: bool = False
    """packets as long as its SDP asks for (a=ptime); else each frame is one"""
    encryption: Encryption = "none"
    digits: Digits = "rfc4733"

    @property
    def name(self) -> str:
        """The user in From."""
        words = ["caller", "ptime" if self.ptime else ""]
        words += [self.encryption if self.encryption != "none" else ""]
        words += [self.digits if self.digits != "rfc4733" else ""]
        return "-".join(word for word in words if word)

    @property
    def options(self) -> str:
        """Its lines in pjsip.conf, beyond those of all."""
        lines = ["use_ptime = yes"] if self.ptime else []
        lines += ["dtmf_mode = inband"] if self.digits == "inband" else []
        lines += {
            "none": [],
            "sdes": ["media_encryption = sdes"],
            "dtls": [
                "media_encryption = dtls",
                "dtls_auto_generate_cert = yes",
                "rtcp_mux = yes",
            ],
        }[self.encryption]
        return "".join(f"{line}\n" for line in lines)


@dataclass(frozen=True)
class Extension:
    """What Asterisk does with a call to the extension ``name``."""

    name: str
    codec: str = "ulaw"
    """of the WebSocket channel, by Asterisk's name"""
    caller_codec: str = ""
    """of the caller; empty: the same"""
    message_format: Format = Format.PLAIN
    connection: Connection = "outgoing"
    bridge: Bridge = "dial"
    """what joins caller and application: Dial's own bridge of two parties, with a Local channel
    between them, or two in a row, optimised away or (option n) staying, a ConfBridge, one with
    a silent third party, an ARI mixing bridge with external media over WebSocket, one with a
    silent third party, or whatever a test builds over ARI (stasis). With ARI no WebSocket channel
    is made by the dialplan."""
    options: str = ""
    """further options of the WebSocket dial string, such as ``p`` or ``d(in)``"""
    mixing_interval_ms: int = 20
    """of a ConfBridge of two: one of `MIXING_INTERVALS_MS`"""
    dial_options: str = ""
    """options of Dial for the WebSocket channel, such as ``D(ww1)``"""
    calls_back: bool = False
    """whether the application's channel is there first, and calls the caller (`CALLEE_VARIABLE`)"""
    ptime_ms: int = 0
    """of the packets to the caller, who asks for it: one of `PACKET_TIMES_MS`; 0: a packet a frame
    """
    encryption: Encryption = "none"
    """of the RTP between the caller and Asterisk"""
    digits: Digits = "rfc4733"
    fax_gateway: bool = False
    """whether Asterisk answers a caller who asks for T.38 in place of a party that has none"""
    before: tuple[str, ...] = ()
    """applications of the dialplan ahead of the one that joins caller and application"""
    afterwards: tuple[str, ...] = ()
    """and behind it"""

    @property
    def endpoint(self) -> CallerEndpoint:
        """Of the caller."""
        return CallerEndpoint(bool(self.ptime_ms), self.encryption, self.digits)

    @property
    def mixed(self) -> bool:
        """Whether a mixer is between, which holds audio back by up to a mixing interval."""
        return self.bridge in ("conference", "conference of three", "ari of three", "stasis")

    @property
    def media_options(self) -> str:
        """All options of the WebSocket dial string, as ARI's ``transport_data`` takes them."""
        return f"c({self.codec})f({self.message_format.value}){self.options}"

    @property
    def dial_string(self) -> str:
        """``WebSocket/<connection>/<options>``, as Dial takes it."""
        peer = WEBSOCKET_CLIENT if self.connection == "outgoing" else "INCOMING"
        return f"WebSocket/{peer}/{self.media_options}"


def ari_application(call_id: str) -> str:
    """The ARI application of one call whose bridge is one of `ARI_BRIDGES`, by its SIP Call-ID."""
    return f"{ARI_APPLICATION}-{call_id}"


def configuration_files(
    directories: Directories,
    network: Network,
    ari_password: str,
    certificate: Path | None = None,
) -> dict[str, str]:
    """All files but the two that change while Asterisk runs, by file name.

    Those two are `extensions_conf` and `websocket_client_conf`. ``certificate`` is a file with key
    and certificate, needed where ``network`` has an ``https_port``.
    """
    return {
        "asterisk.conf": _asterisk_conf(directories),
        "modules.conf": "[modules]\nautoload = yes\n",
        "logger.conf": (
            f"[general]\ndateformat = %F %T.%3q\n\n[logfiles]\nasterisk.log = {_LOG_LEVELS}\n"
        ),
        "pjsip.conf": _pjsip_conf(network),
        "rtp.conf": "[general]\nrtpstart = 10000\nrtpend = 19999\n",
        "http.conf": (
            "[general]\n"
            "enabled = yes\n"
            f"bindaddr = {network.address}\n"
            f"bindport = {network.http_port}\n"
            # An incoming media connection holds an HTTP session for the whole call.
            "sessionlimit = 2000\n" + _https_lines(network, certificate)
        ),
        "ari.conf": (
            f"[general]\nenabled = yes\n\n[{ARI_USER}]\ntype = user\npassword = {ari_password}\n"
        ),
        "chan_websocket.conf": "[global]\ntype = global\ncontrol_message_format = plain-text\n",
        "confbridge.conf": confbridge_conf(),
        "musiconhold.conf": (
            f"[default]\nmode = files\ndirectory = {directories.state / MUSIC_FOLDER}\n"
        ),
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


def websocket_client_conf(application_uri: str, ca: str = "") -> str:
    """The connection that Asterisk makes to the application for each call.

    ``ca`` is the file on the PBX with the certificate that the application's is verified by, for
    wss://. There is one attempt: the application listens before the call is placed, so a second
    attempt would only hide a fault.
    """
    secure = application_uri.startswith("wss://")
    if not secure and not application_uri.startswith("ws://"):
        raise InputFault(
            f"the application's URI is {application_uri!r}, which is not a WebSocket's",
            "Give one such as ws://127.0.0.1:8765/ or wss://127.0.0.1:8765/.",
        )
    return (
        f"[{WEBSOCKET_CLIENT}]\n"
        "type = websocket_client\n"
        "connection_type = per_call_config\n"
        f"uri = {application_uri}\n"
        "protocols = media\n"
        "connection_timeout = 2000\n"
        "reconnect_attempts = 1\n"
        "reconnect_interval = 100\n" + (_TLS_CLIENT_LINES.format(ca=ca) if secure else "")
    )


_TLS_CLIENT_LINES = """\
tls_enabled = yes
ca_list_file = {ca}
verify_server_cert = yes
verify_server_hostname = yes
"""


def extensions_conf(extensions: Sequence[Extension], note_connections: bool = True) -> str:
    """The dialplan: one extension for each kind of call.

    With ``note_connections`` the id of each incoming connection is kept in a global variable, of
    which Asterisk never loses one: not for a PBX that is not ours.
    """
    names = [extension.name for extension in extensions]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputFault(
            f"extensions defined more than once: {', '.join(twice)}", "Give each its own name."
        )
    steps = [line for one in extensions for line in _dialplan(one, note_connections)]
    if note_connections:
        steps += _JOINING
    shared = [_NOTE_CONNECTION] if note_connections else []
    return "\n".join([f"[{CONTEXT}]", *steps, "", *shared, _SHARED_DIALPLAN])


# Without waiting for the caller's audio, of which there is none. ConfBridge would wait 500 ms for
# it before it lets an unanswered caller in, and the application would talk to nobody meanwhile.
_ANSWER = "Answer(,i)"


# Option a: without waiting for it to be answered.
_THIRD_PARTY = "Originate(Local/${SIP_CALL_ID}@harness-room,app,Wait,600,,,a)"


def _bridge_profile(extension: Extension) -> str:
    # Of three whoever is there first decides.
    wide = extension.bridge == "conference" and (
        {"slin16", "g722"} & {extension.codec, extension.caller_codec}
    )
    return _profile_name(extension.mixing_interval_ms, 16000 if wide else 0)


def _profile_name(mixing_interval_ms: int, sample_rate: int) -> str:
    interval = f"_{mixing_interval_ms}ms" if mixing_interval_ms != 20 else ""
    return f"harness_bridge{interval}{f'_{sample_rate}' if sample_rate else ''}"


def _dialplan(extension: Extension, note_connections: bool) -> list[str]:
    if extension.calls_back:
        steps = [f"Dial(${{{CALLEE_VARIABLE}}})"]
    elif extension.bridge == "stasis":
        steps = [_ANSWER, f"Stasis({ARI_APPLICATION})"]
    elif extension.bridge in ARI_BRIDGES:
        steps = [_ANSWER, f"Stasis({ari_application('${CHANNEL(pjsip,call-id)}')})"]
    else:
        options = [extension.dial_options]
        if extension.connection == "incoming" and note_connections:
            options.append("b(harness-note-connection^s^1)")
        conference = extension.bridge.startswith("conference")
        local = "local" in extension.bridge
        if conference:
            options.append("G(harness-conference^s^1)")
        dial = f"Dial({extension.dial_string},,{''.join(options)})"
        steps = [
            # Inherited by the WebSocket channel, which has no Call-ID of its own.
            "Set(__SIP_CALL_ID=${CHANNEL(pjsip,call-id)})",
            *([f"Set(__HARNESS_BRIDGE={_bridge_profile(extension)})"] if conference else []),
            *([_ANSWER] if conference else []),
            *([_THIRD_PARTY] if extension.bridge == "conference of three" else []),
            *(_through_local(extension, "".join(options)) if local else [dial]),
        ]
    gateway = ["Set(FAXOPT(gateway)=yes)"] if extension.fax_gateway else []
    first, *rest = [*gateway, *extension.before, *steps, *extension.afterwards, "Hangup()"]
    return [
        f"exten = {extension.name},1,{first}",
        *(f" same = n,{step}" for step in rest),
    ]


def _through_local(extension: Extension, options: str) -> list[str]:
    stays = "/n" if extension.bridge.endswith(" n") else ""
    local = f"Local/s@harness-local{stays}"
    first = [f"Dial({local})"]
    if extension.bridge.startswith("two"):
        first = [f"Set(__HARNESS_LOCAL={local})", f"Dial(Local/s@harness-two-locals{stays})"]
    return [
        f"Set(__HARNESS_DIAL={extension.dial_string})",
        f"Set(__HARNESS_DIAL_OPTIONS={options})",
        *first,
    ]


_NOTE_CONNECTION = f"""\
[harness-note-connection]
exten = s,1,Set(GLOBAL({CONNECTION_VARIABLE}_${{SIP_CALL_ID}})=${{MEDIA_WEBSOCKET_CONNECTION_ID}})
 same = n,ExecIf($["${{HARNESS_PREDIAL}}" != ""]?Wait(${{HARNESS_PREDIAL}}))
 same = n,Return()
"""

# By the SIP Call-ID of the call whose bridge is joined.
_JOINING = [
    f"exten = _{JOIN_CONFERENCE}.,1,{_ANSWER}",
    f" same = n,ConfBridge(${{EXTEN:{len(JOIN_CONFERENCE)}}},harness_bridge,harness_user)",
    " same = n,Hangup()",
    f"exten = _{JOIN_ARI}.,1,{_ANSWER}",
    f" same = n,Stasis({ari_application(f'${{EXTEN:{len(JOIN_ARI)}}}')})",
    " same = n,Hangup()",
    f"exten = {TRANSFER},1,Dial(${{{CALLEE_VARIABLE}}})",
    " same = n,Hangup()",
]

# Dial's option G sends the caller to the priority named and the application to the next one.
_SHARED_DIALPLAN = """\
[harness-conference]
exten = s,1,Goto(join,1)
exten = s,2,Goto(join,1)
exten = join,1,ConfBridge(${SIP_CALL_ID},${HARNESS_BRIDGE},harness_user)
 same = n,Hangup()

[harness-room]
exten = _.,1,Answer()
 same = n,ConfBridge(${EXTEN},harness_bridge,harness_user)

[harness-local]
exten = s,1,Answer()
 same = n,Dial(${HARNESS_DIAL},,${HARNESS_DIAL_OPTIONS})
 same = n,Hangup()

[harness-two-locals]
exten = s,1,Answer()
 same = n,Dial(${HARNESS_LOCAL})
 same = n,Hangup()

[harness-moment]
exten = s,1,Wait(1)
 same = n,Return()

[harness-jitter-buffer]
exten = s,1,Set(JITTERBUFFER(fixed)=default)
 same = n,Return()

[harness-silence]
exten = s,1,Answer()
 same = n,Wait(600)
"""


def _https_lines(network: Network, certificate: Path | None) -> str:
    if not network.https_port:
        return ""
    return (
        "tlsenable = yes\n"
        f"tlsbindaddr = {network.address}:{network.https_port}\n"
        f"tlscertfile = {certificate}\n"
        f"tlsprivatekey = {certificate}\n"
    )


def _asterisk_conf(directories: Directories) -> str:
    state = directories.state
    own = {"astmoddir": directories.modules, "astdatadir": directories.data}
    own_lines = "".join(f"{name} = {path}\n" for name, path in own.items() if path)
    return f"""\
[directories]
astetcdir = {directories.configuration}
{own_lines}\
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


_ENDPOINTS = [
    CallerEndpoint(*kind)
    for kind in itertools.product((False, True), ENCRYPTIONS, get_args(Digits))
]


def _pjsip_conf(network: Network) -> str:
    # Asterisk binds RTP to the transport's address, so that all of an instance's traffic has it.
    endpoint = f"""\
type = endpoint
transport = udp
context = {CONTEXT}
disallow = all
allow = {",".join(CODECS)},lpc10
direct_media = no
timers = no
t38_udptl = yes
"""
    endpoints = "\n".join(f"[{one.name}]\n{endpoint}{one.options}" for one in _ENDPOINTS)
    return f"""\
[global]
type = global
endpoint_identifier_order = username,ip

[udp]
type = transport
protocol = udp
bind = {network.address}:{network.sip_port}

{endpoints}
[caller]
type = identify
endpoint = caller
match = 127.0.0.0/8
"""


def confbridge_conf() -> str:
    """The profiles of the conferences that `extensions_conf` has calls join."""
    # By itself a mixer finds out after two seconds that it could work at 16000 Hz, and what it and
    # its resamplers hold is lost then.
    profiles = "".join(
        f"[{_profile_name(interval, rate)}]\ntype = bridge\nmixing_interval = {interval}\n"
        + (f"internal_sample_rate = {rate}\n\n" if rate else "\n")
        for interval in MIXING_INTERVALS_MS
        for rate in (0, 16000)
    )
    # end_marked_any: when one party leaves the other is sent away, as in a bridge of two.
    return f"""\
{profiles}\
[harness_user]
type = user
quiet = yes
marked = yes
end_marked_any = yes
"""
