"""What a PBX can do for a call, and why it cannot: for `harness list` and the runner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.asterisk.configuration import Extension


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
    ptime: bool = False
    """whether it sends packets as long as the caller asks for"""
    calls_back: bool = False
    """whether the harness can have it call the caller from the application's channel"""
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
        if call.ptime_ms and not self.ptime:
            return "nothing says that it sends packets as long as the caller asks for (use_ptime)"
        if call.calls_back and not self.calls_back:
            return "the harness cannot have it call the caller"
        if call.dial_options and self.options is not None:
            return f"it has no extension with the options {call.dial_options} of Dial"
        if self.options is not None and call.options not in self.options:
            return f"it has no extension with the options {call.options}"
        return ""
