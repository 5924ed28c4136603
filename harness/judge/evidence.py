"""All that a call is judged by, read once out of its timeline. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.capture.timeline import Codec, Timeline
from harness.judge.conversation import Conversation
from harness.judge.locate_audio import ERROR_NS
from harness.judge.uncertainty import Uncertainty
from harness.judge.verdicts import Bounds
from harness.judge.wire import Wire, is_counted


@dataclass(frozen=True)
class Evidence:
    """What was said, what was sent, and how far its times can be trusted."""

    timeline: Timeline
    conversation: Conversation
    wire: Wire
    uncertainty: Uncertainty

    @property
    def codec(self) -> Codec:
        """The application's."""
        return self.timeline.codec

    def at(self, time_ns: int) -> str:
        """A moment of the call, as text."""
        return f"{(time_ns - self.timeline.start_ns) / 1e9:+.6f} s"


def read_evidence(timeline: Timeline, bounds: Bounds) -> Evidence:
    """Read a call's messages, find its media in its RTP, and take stock of the measurement."""
    location_ns = ERROR_NS if timeline.recoded and not is_counted(timeline) else 0
    measurement = replace(timeline.measurement, location_ns=location_ns)
    timeline = replace(timeline, measurement=measurement)
    uncertainty = Uncertainty(measurement, bounds, timeline.codec, timeline.packet_ms)
    conversation = Conversation(timeline.messages)
    return Evidence(
        timeline, conversation, Wire(timeline, conversation, uncertainty.error_bytes), uncertainty
    )
