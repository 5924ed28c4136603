"""What a PBX can do for a call, and why it cannot: for `harness list` and the runner."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.asterisk.configuration import Extension

_MEDIA_DIRECTION_SINCE = {20: 19, 22: 9, 23: 3}
"""the first release with it, by branch"""


def has_media_direction(version: str) -> bool:
    """Whether the driver of a version of Asterisk has SET_MEDIA_DIRECTION; yes if not known."""
    release = re.search(r"(\d+)\.(\d+)", version)
    return release is None or int(release[2]) >= _MEDIA_DIRECTION_SINCE.get(int(release[1]), 0)


@dataclass(frozen=True)
class Capabilities:
    """Of one target, found out from it."""

    version: str
    """of Asterisk, such as 22.10.1; "unknown" if that cannot be found out"""
    playback_marks: bool
    """whether MARK is supported; if not, MARK_MEDIA is judged"""
    codecs: frozenset[str]
    """that the WebSocket channel and the caller can both have, by Asterisk's names"""
    connections: frozenset[str]
    """outgoing, incoming"""
    bridges: frozenset[str]
    """see `Extension.bridge`"""
    options: frozenset[str] | None = None
    """of the WebSocket dial string; None: any"""
    encrypted: frozenset[str] = frozenset()
    """the connections that are wss://"""
    fax_gateway: bool = False
    """see `Extension.fax_gateway`"""
    own: bool = False
    """whether it is the harness's: whatever a call needs of its configuration is written"""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """why a codec, connection or bridge is not there, as a clause, where that is known"""

    def lacks(self, call: Extension) -> str:
        """Why a call cannot be placed, as a clause; empty if it can."""
        for name, offered, what in (
            (call.codec, self.codecs, f"codec {call.codec}"),
            (call.caller_codec or call.codec, self.codecs, f"codec {call.caller_codec}"),
            (call.connection, self.connections, f"{call.connection} media connection"),
            (call.bridge, self.bridges, f"bridge of the kind {call.bridge}"),
        ):
            if name not in offered:
                reason = self.reasons.get(name, "")
                return f"it has no {what}" + (f": {reason}" if reason else "")
        if call.fax_gateway and not self.fax_gateway:
            return "it has no T.38 gateway (res_fax_spandsp.so)"
        if not self.own and (need := _need(call)):
            return f"the harness does not configure it, and the call needs {need}"
        if self.options is not None and call.options not in self.options:
            return f"it has no extension with the options {call.options}"
        return ""


def _need(call: Extension) -> str:
    """What a call needs that is not in the lines for a lab PBX; empty if nothing is."""
    needs = {
        "packets as long as the caller asks for (use_ptime)": call.ptime_ms,
        f"encrypted RTP ({call.encryption})": call.encryption != "none",
        f"digits that are sent {call.digits}": call.digits != "rfc4733",
        "a call from the application's channel to the caller": call.calls_back,
        f"the options {call.dial_options} of Dial": call.dial_options,
        "a dialplan of its own": call.before or call.afterwards,
    }
    return next((what for what, is_needed in needs.items() if is_needed), "")
