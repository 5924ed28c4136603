"""Keeps a call's timeline in a folder, so that it can be judged again.

A captured call is kept as its capture and a small ``call.json`` that says which part of it the call
is; it is dissected anew each time. A call without a capture is kept as ``timeline.json``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.capture.dissect import read_capture
from harness.capture.timeline import (
    Codec,
    Measurement,
    Message,
    ReceptionReport,
    RtpPacket,
    Timeline,
)
from harness.errors import InputFault

CAPTURE_FILE = "capture.pcap"
CALL_FILE = "call.json"
TIMELINE_FILE = "timeline.json"


@dataclass(frozen=True)
class CapturedCall:
    """Where in a capture a call is; the meaning is that of ``Capture.timeline``'s arguments."""

    codec: Codec
    rtp_port: int
    websocket_port: int
    application_is_server: bool
    uncertainty_ns: int
    capture_drops: int
    host_stalls: Sequence[tuple[int, int]] = ()
    media_start: str | None = None
    recoded: Codec | None = None
    ptime_ms: int = 0
    frame_ms: int = 0
    srtp_key: str = ""
    """in hexadecimal digits"""

    def timeline(self, capture: Path) -> Timeline:
        """The call's timeline out of a capture file."""
        return read_capture(capture).timeline(
            self.codec,
            rtp_port=self.rtp_port,
            websocket_port=self.websocket_port,
            application_is_server=self.application_is_server,
            uncertainty_ns=self.uncertainty_ns,
            capture_drops=self.capture_drops,
            host_stalls=[(begin, end) for begin, end in self.host_stalls],
            media_start=self.media_start,
            recoded=self.recoded,
            ptime_ms=self.ptime_ms,
            frame_ms=self.frame_ms,
            srtp_key=bytes.fromhex(self.srtp_key),
        )


def save_captured_call(folder: Path, call: CapturedCall) -> None:
    """Write ``call.json`` beside ``capture.pcap``, which tcpdump wrote into ``folder``."""
    (folder / CALL_FILE).write_text(json.dumps(asdict(call), indent=2) + "\n")


def save_timeline(folder: Path, timeline: Timeline) -> None:
    """Write ``timeline.json``, for a call without a capture."""
    (folder / TIMELINE_FILE).write_text(json.dumps(asdict(timeline), default=_encode) + "\n")


def load_timeline(folder: Path) -> Timeline:
    """The timeline saved in ``folder``. Raises InputFault when there is none that can be read."""
    try:
        if (folder / CALL_FILE).exists():
            call = json.loads((folder / CALL_FILE).read_text())
            codec, recoded = _codec(call.pop("codec")), _recoded(call)
            call.pop("recoded", None)
            return CapturedCall(codec=codec, recoded=recoded, **call).timeline(
                folder / CAPTURE_FILE
            )
        return _timeline(json.loads((folder / TIMELINE_FILE).read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputFault(
            f"{folder} holds no saved call that can be read: {error}",
            f"give the folder of a call, with {CALL_FILE} and {CAPTURE_FILE} or {TIMELINE_FILE}",
        ) from error


def _timeline(saved: dict[str, Any]) -> Timeline:
    return Timeline(
        codec=_codec(saved["codec"]),
        rtp=tuple(
            RtpPacket(**{**packet, "payload": base64.b64decode(packet["payload"])})
            for packet in saved["rtp"]
        ),
        messages=tuple(
            Message(**{**message, "data": base64.b64decode(message["data"])})
            for message in saved["messages"]
        ),
        measurement=measurement_from(saved["measurement"]),
        end_ns=saved["end_ns"],
        recoded=_recoded(saved),
        ptime_ms=saved.get("ptime_ms", 0),
        frame_ms=saved.get("frame_ms", 0),
        reports=tuple(ReceptionReport(**report) for report in saved.get("reports", ())),
    )


def measurement_from(saved: dict[str, Any]) -> Measurement:
    """Out of its plain values (``asdict``)."""
    stalls = tuple((begin, end) for begin, end in saved["host_stalls"])
    return Measurement(**{**saved, "host_stalls": stalls})


def _codec(saved: dict[str, Any]) -> Codec:
    return Codec(**{**saved, "same": tuple((one, other) for one, other in saved["same"])})


def _recoded(saved: dict[str, Any]) -> Codec | None:
    # Calls that were saved before there was such a thing do not have it.
    recoded = saved.get("recoded")
    return _codec(recoded) if recoded else None


def _encode(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} cannot be saved")
