"""What a scenario file may say, and what it means. docs/scenarios.md is the page for its authors.

A scenario is a call, what the application and the caller do in it step by step, and assertions on
the outcome. Every mark and every playback counter of the call is judged in any case.
"""

from __future__ import annotations

import itertools
import math
import random
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from chan_websocket.protocol import DropReason, EventName, FormatName, Stage, format_named
from harness.asterisk.ami import MuteDirection
from harness.asterisk.ari import BridgedParty, ChannelAction
from harness.asterisk.configuration import (
    ARI_BRIDGES,
    STAYING_LOCALS,
    CallBridge,
    Connection,
    Digits,
    Extension,
)
from harness.bench import Conditions, OtherListener
from harness.caller.sipp import Encryption, Hold
from harness.errors import InputFault
from harness.judge.verdicts import Bounds
from harness.media.codecs import PACKET_TIMES_MS, CodecName
from harness.network_impairment import BadNetwork
from harness.strict_yaml import Document, KeyPath, StrictModel, read

Group = Literal["smoke", "full", "soak", "dispositions", "baseline", "wire", "limits"]
GROUPS: dict[Group, str] = {
    "smoke": "a minute: is the feature there, and is it right",
    "full": "everything: the whole matrix and every disposition",
    "soak": "long calls and many marks",
    "dispositions": "every disposition of a mark, for the table in docs/measurements.md",
    "baseline": "what the stock driver does wrong today, beyond acknowledgements",
    "wire": "what stands between Asterisk's core and the wire, for docs/measurements.md",
    "limits": "what the patched driver is known not to see, beyond `full`",
}
_FOLDER = Path(__file__).parent


def _as_range(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return [value, value]
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError("give a whole number, or [lowest, highest]")
    return value


def _as_words(value: object) -> object:
    """``mark: m1`` and ``mark: [m1, 7]`` mean ids; ``flush: f1`` an id."""
    if isinstance(value, list):
        return {"ids": value}
    return value if isinstance(value, Mapping) or value is None else {"id": value}


def _in_order(value: tuple[int, int]) -> tuple[int, int]:
    if value[0] > value[1]:
        raise ValueError("give the lowest first, then the highest")
    return value


Range = Annotated[
    tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]],
    BeforeValidator(_as_range),
    AfterValidator(_in_order),
]
"""A number, or [lowest, highest] out of which the run's seed chooses one"""
MarkId = Annotated[str, Field(strict=True)] | Annotated[int, Field(strict=True)]


def _a_packet_time(value: int) -> int:
    if value not in PACKET_TIMES_MS:
        raise ValueError(f"packets can have {', '.join(map(str, PACKET_TIMES_MS))} ms")
    return value


PacketTime = Annotated[int, Field(strict=True), AfterValidator(_a_packet_time)]


class NetworkImpairment(StrictModel):
    """What is wrong with the way between Asterisk and the caller, in both directions.

    It is so behind the place where Asterisk's packets are measured. Chosen by the run's seed.
    """

    loss: float = Field(default=0.0, ge=0, le=1)
    """probability that a packet does not arrive"""
    duplicate: float = Field(default=0.0, ge=0, le=1)
    """probability that it arrives twice"""
    delay_ms: float = Field(default=0.0, ge=0)
    jitter_ms: float = Field(default=0.0, ge=0)
    """on top of the delay, evenly from 0 to this: packets overtake each other"""


class Other(StrictModel):
    """Another telephone in the bridge, that is silent."""

    ptime_ms: PacketTime | None = None
    hold: Hold | None = None
    """how it holds the call from its beginning on"""


class Call(StrictModel):
    """How the call is made."""

    codec: CodecName = "ulaw"
    """of the WebSocket channel, by Asterisk's name"""
    caller_codec: CodecName | Literal[""] = ""
    """of the caller, where it is another one: then Asterisk transcodes"""
    format: FormatName = "plain"
    """of the control messages"""
    connection: Connection = "outgoing"
    """outgoing: Asterisk connects to the application; incoming: the application to Asterisk"""
    tls: bool | None = None
    """only where the target's media connection is encrypted, or is not; by default either way"""
    bridge: CallBridge = "dial"
    """what joins caller and application"""
    ptime_ms: PacketTime | None = None
    """of the packets to the caller, who asks for it in SDP; by default each frame is a packet"""
    mixing_interval_ms: Literal[10, 20, 40, 80] = 20
    """of a conference of two"""
    bridge_after_ms: int = Field(default=0, ge=0)
    """so long after its media connection has opened the application joins the bridge (ari only)"""
    rings_ms: int | None = Field(default=None, ge=0)
    """the application's channel is made first and calls the caller, who rings for so long"""
    encryption: Encryption = "none"
    """of the RTP between Asterisk and the caller; with dtls a step does the handshake"""
    digits: Digits = "rfc4733"
    """how Asterisk sends them to the caller"""
    held: Hold | None = None
    """the caller holds the call from its beginning on, in that way"""
    fax_gateway: bool = False
    """Asterisk accepts T.38, which the step of that name asks for; else it refuses"""
    delayed_offer_ms: int | None = Field(default=None, ge=0)
    """the caller's INVITE has no SDP; it is in his ACK, so long after Asterisk has answered"""
    other: Other | None = None
    """in a conference or a bridge of ARI"""
    before: tuple[str, ...] = ()
    """applications of the dialplan ahead of Dial, or what else joins caller and application"""
    afterwards: tuple[str, ...] = ()
    """and behind it"""
    options: str = ""
    """further options of the WebSocket dial string, such as ``p``"""
    dial_options: str = ""
    """options of Dial, such as ``D(ww1)``"""
    receive_buffer_bytes: int | None = None
    """of the application's socket: a small one fills up soon when it is not read"""
    with_handshake: tuple[str, ...] = ()
    """text messages in one write with the answer to the WebSocket's handshake (outgoing only)"""
    network: NetworkImpairment | None = None
    """between Asterisk and the caller; none: as good as loopback is"""
    websocket_delay_ms: float = Field(default=0.0, ge=0)
    """between Asterisk and the application, each way (outgoing only)"""

    @model_validator(mode="after")
    def _outgoing_only(self) -> Call:
        if self.connection == "incoming" and (self.with_handshake or self.websocket_delay_ms):
            raise ValueError("with_handshake and websocket_delay_ms need connection: outgoing")
        return self

    @model_validator(mode="after")
    def _bridge_has_it(self) -> Call:
        if self.bridge_after_ms and self.bridge not in ARI_BRIDGES:
            raise ValueError("bridge_after_ms needs bridge: ari")
        if self.rings_ms is not None and (self.bridge, self.connection) != ("dial", "outgoing"):
            raise ValueError("rings_ms needs bridge: dial and connection: outgoing")
        if self.mixing_interval_ms != 20 and self.bridge != "conference":
            raise ValueError("mixing_interval_ms needs bridge: conference")
        if self.other and self.bridge not in ("conference", *ARI_BRIDGES):
            raise ValueError("other needs bridge: conference or ari")
        if self.rings_ms is not None and (self.encryption != "none" or self.held):
            raise ValueError("encryption and held are for a caller who calls: without rings_ms")
        if self.rings_ms is not None and self.delayed_offer_ms is not None:
            raise ValueError("delayed_offer_ms is for a caller who calls: without rings_ms")
        # Of Asterisk's offer he takes the first codec, whose payload type they all know.
        if self.delayed_offer_ms is not None and (self.caller_codec or self.codec) != "ulaw":
            raise ValueError("delayed_offer_ms needs a caller with ulaw")
        return self

    def conditions(self, seed: int) -> Conditions:
        """What is out of the ordinary around the call."""
        network = BadNetwork(**self.network.model_dump(), seed=seed) if self.network else None
        return Conditions(
            self.receive_buffer_bytes,
            self.with_handshake,
            network,
            self.websocket_delay_ms,
            self.bridge_after_ms,
            self.rings_ms or 0,
            self.held,
            self.delayed_offer_ms,
            OtherListener(self.other.ptime_ms or 0, self.other.hold) if self.other else None,
        )

    def extension(self) -> Extension:
        """What Asterisk is to do with the call; calls of the same kind have the same name."""
        words: list[str] = [self.codec, self.caller_codec, self.format, self.connection]
        words += [self.bridge, self.options, f"ptime-{self.ptime_ms}" if self.ptime_ms else ""]
        words += [self.dial_options, "calls-back" if self.rings_ms is not None else ""]
        words += [f"mixing-{self.mixing_interval_ms}"] if self.mixing_interval_ms != 20 else []
        words += [self.encryption] if self.encryption != "none" else []
        words += [self.digits] if self.digits != "rfc4733" else []
        words += ["fax-gateway"] if self.fax_gateway else []
        if self.before or self.afterwards:
            # What they are is too long for the name of an extension.
            text = "\0".join([*self.before, "", *self.afterwards])
            words += [f"dialplan-{zlib.crc32(text.encode()):08x}"]
        name = "-".join(re.sub(r"\W+", "-", word).strip("-") for word in words if word)
        return Extension(
            name=f"marks-{name}",
            codec=self.codec,
            caller_codec=self.caller_codec,
            message_format=format_named(self.format),
            connection=self.connection,
            bridge=self.bridge,
            options=self.options,
            mixing_interval_ms=self.mixing_interval_ms,
            dial_options=self.dial_options,
            calls_back=self.rings_ms is not None,
            ptime_ms=self.ptime_ms or 0,
            encryption=self.encryption,
            digits=self.digits,
            fax_gateway=self.fax_gateway,
            before=self.before,
            afterwards=self.afterwards,
        )


class Play(StrictModel):
    """Media that the application sends, position-coded. One of ms, bytes and frames."""

    ms: Range | None = None
    bytes: Range | None = None
    frames: Range | None = None
    times: Range = (1, 1)
    """how often, with sizes chosen anew"""
    chunks: Literal["whole", "aligned", "random"] = "whole"
    """messages: one; one a frame; of 50 to 700 bytes as text-to-speech engines send them"""
    marks: Literal["none", "each", "last"] = "none"
    """behind no message, each message, the last one"""
    pending: int = Field(default=1000, ge=1)
    """with so many marks pending it waits"""
    fragments: int = Field(default=0, ge=0)
    """bytes of each WebSocket fragment that a message is sent in; 0: not fragmented"""
    pings: bool = False
    """whether a ping comes between two fragments"""
    stall_ms: int = Field(default=0, ge=0)
    """how long the connection stands still between two pieces of each message"""
    pieces: int = Field(default=2, ge=2)
    """how many they are, of one size"""

    @model_validator(mode="after")
    def _one_size(self) -> Play:
        if sum(size is not None for size in (self.ms, self.bytes, self.frames)) != 1:
            raise ValueError("give its size as one of ms, bytes and frames")
        if (self.pings and not self.fragments) or (self.pieces > 2 and not self.stall_ms):
            raise ValueError("pings needs fragments, and pieces needs stall_ms")
        return self


class Mark(StrictModel):
    """One mark, or some in a row."""

    id: MarkId | None = None
    """by default the next of m0, m1, ..."""
    ids: tuple[MarkId, ...] = ()
    count: Range = (1, 1)
    """of marks with ids of their own (or all with ``id``)"""
    offset: Range | None = None
    """where it stands: bytes of media since the start of the stream; chosen anew for each mark"""
    back: Range | None = None
    """the same, in bytes back from the end of what was sent"""
    ahead: Range | None = None
    """the same, in bytes ahead of it"""

    @model_validator(mode="after")
    def _one_place(self) -> Mark:
        if sum(place is not None for place in (self.offset, self.back, self.ahead)) > 1:
            raise ValueError("give its place as one of offset, back and ahead")
        return self


class Flush(StrictModel):
    """FLUSH_MEDIA; with an id, MEDIA_FLUSHED follows."""

    id: MarkId | None = None


class Wait(StrictModel):
    """Until something has happened. One of its kinds; `within_s` is how long at most."""

    acknowledged: MarkId | Literal["all"] | None = None
    """the mark of this id, or all so far, in whichever way"""
    event: EventName | None = None
    """an event of this name that no step has waited for yet"""
    packets: Range | None = None
    """so many more RTP packets came to the caller"""
    heard: bool = False
    """the application hears somebody speak"""
    closed: bool = False
    """the media connection has ended"""
    within_s: float = Field(default=10.0, gt=0)

    @model_validator(mode="after")
    def _one_kind(self) -> Wait:
        kinds = [
            *(self.acknowledged, self.event, self.packets),
            *(self.heard or None, self.closed or None),
        ]
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError("wait for one of: acknowledged, event, packets, heard, closed")
        return self


class Report(StrictModel):
    """REPORT_PLAYBACK."""

    interval_ms: int | None = None


class AriAction(StrictModel):
    """Something done over ARI to a channel in its bridge, for so long."""

    do: ChannelAction
    to: BridgedParty = "caller"
    ms: Range


class Mute(StrictModel):
    """A channel is muted by AMI (MuteAudio), for so long."""

    channel: BridgedParty = "caller"
    direction: MuteDirection
    ms: Range


class Digit(StrictModel):
    """A digit (RFC 4733), pressed by the caller or sent to him over ARI."""

    from_: Annotated[Literal["caller"] | None, Field(alias="from")] = None
    to: Literal["caller"] | None = None
    digit: Annotated[str, Field(pattern=r"^[0-9*#ABCD]$")] = "5"
    ms: Range = (200, 200)

    @model_validator(mode="after")
    def _one_way(self) -> Digit:
        if (self.from_ is None) == (self.to is None):
            raise ValueError("give one of from: caller and to: caller")
        return self


class Rtcp(StrictModel):
    """The caller reports how he receives what Asterisk sends (RTCP)."""

    rtt_ms: int | None = None
    """round trip time; negative as where a clock is wrong; by default none is known"""
    jitter_ms: Range = (0, 0)


class Speech(StrictModel):
    """The caller speaks."""

    ms: Range


class Repeat(StrictModel):
    """Steps, more than once."""

    times: Range
    steps: tuple[Step, ...]


class Load(StrictModel):
    """Steps while processors of the host are kept busy by others."""

    cores: int = Field(ge=1)
    steps: tuple[Step, ...]


Nothing = Literal[""]
"""of a step that is a word alone"""


def _as_step(value: object) -> object:
    return {value.replace(" ", "_"): ""} if isinstance(value, str) else value


class Step(StrictModel):
    """One thing that is done or waited for: exactly one of these."""

    buffering: Literal["start", "stop"] | None = None
    play: Play | None = None
    mark: Annotated[Mark, BeforeValidator(_as_words)] | None = None
    flush: Annotated[Flush, BeforeValidator(_as_words)] | None = None
    pause: Nothing | None = None
    continue_: Nothing | None = Field(default=None, alias="continue")
    direction: Literal["in", "out", "both"] | None = None
    report: Report | None = None
    send: str | None = None
    """a text message as it stands"""
    wait: Wait | None = None
    elapse: Range | None = None
    """ms that pass: a moment for what comes next, never a way to be ready"""
    repeat: Repeat | None = None
    hold: Hold | None = None
    """the caller holds the call, by re-INVITE with that direction or connection address"""
    resume: Nothing | None = None
    """and takes it back"""
    packets: PacketTime | None = None
    """the caller asks for packets of so many ms, by re-INVITE"""
    handshake: Nothing | None = None
    """caller and Asterisk agree on the keys of their RTP (DTLS)"""
    t38: Nothing | None = None
    """the caller asks for fax over T.38 in place of audio, and is refused or has it"""
    end_gateway: Nothing | None = None
    """Asterisk is no gateway for the caller's T.38 any longer"""
    redirect: str | None = None
    """the application's channel is sent elsewhere in the dialplan: context,extension,priority"""
    optimize: Range | None = None
    """the Local channels between are optimised away, one so many ms after the other"""
    transfer: Nothing | None = None
    """the caller transfers the application (REFER), to himself on another line"""
    move: Nothing | None = None
    """caller and application are moved to another bridge of ARI"""
    digit: Digit | None = None
    rtcp: Rtcp | None = None
    ari: AriAction | None = None
    mute: Mute | None = None
    hang_up: Literal["caller", "application"] | None = None
    speak: Speech | None = None
    stop_reading: Nothing | None = None
    read_on: Nothing | None = None
    close: Nothing | None = None
    """the application closes the connection"""
    abort: Nothing | None = None
    """the application's connection breaks off (TCP RST)"""
    mark_in_one_write: Play | None = None
    """media and a mark behind it in one TCP segment or TLS record"""
    load: Load | None = None

    @model_validator(mode="before")
    @classmethod
    def _word(cls, value: object) -> object:
        return _as_step(value)

    @model_validator(mode="after")
    def _one_step(self) -> Step:
        if len(self.model_fields_set) != 1:
            raise ValueError("a step is one thing: one key, or one word")
        return self

    @property
    def kind(self) -> str:
        """The name of the field that is set."""
        return next(iter(self.model_fields_set))


class Expect(StrictModel):
    """Assertions beyond the built-in checks of every mark and playback counter."""

    marks: dict[str, Literal["played", "flush", "hangup", "limit", "nothing"] | DropReason] = Field(
        default_factory=dict
    )
    """by id (numbers as text), or "all" for those not named"""
    events: dict[EventName, Range] = Field(default_factory=dict)
    """how many of them came"""
    stage: Stage | None = None
    """how far the acknowledgements say that media was followed"""
    gapless: bool = False
    """the media to the caller went on without interruption"""
    late_ms: float | None = Field(default=None, gt=0)
    """how late an acknowledgement may be"""
    because: str = ""
    """why so late"""

    @model_validator(mode="after")
    def _with_reason(self) -> Expect:
        if (self.late_ms is not None) != bool(self.because):
            raise ValueError("late_ms and because go together: no bound without its reason")
        return self


class ExpectedFailure(StrictModel):
    """How a driver is expected to fail it (XFAIL), or why it cannot run there."""

    fails: tuple[
        Literal["EARLY", "LATE", "NEVER", "TWICE", "UNASKED", "WRONG", "EXPECTATION"], ...
    ] = ()
    """verdicts, at least one of which must show, and no others"""
    because: str = ""
    """why it fails"""
    strict: bool = True
    """whether the run fails when none of them shows"""
    cannot: str = ""
    """why it makes no sense there"""

    @model_validator(mode="after")
    def _with_reason(self) -> ExpectedFailure:
        if bool(self.fails) == bool(self.cannot) or bool(self.fails) != bool(self.because):
            raise ValueError("give either cannot, or fails and because")
        return self


class ScenarioFile(StrictModel):
    """A file."""

    proves: str
    """one sentence"""
    groups: tuple[Group, ...] = ()
    matrix: dict[str, tuple[str | int, ...]] = Field(default_factory=dict)
    """values of ``$name`` in the rest of the file; each combination is a run"""
    exclude: tuple[dict[str, str | int], ...] = ()
    """combinations that make no sense; a parameter left out means any value"""
    call: dict[str, Any] = Field(default_factory=dict)
    steps: list[Any]
    expect: dict[str, Any] = Field(default_factory=dict)
    stock: dict[str, Any] = Field(default_factory=dict)
    """of the stock driver, which has MARK_MEDIA but no MARK"""
    patched: dict[str, Any] = Field(default_factory=dict)
    """of ours"""


def _some(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    # pydantic's min_length would also count out the steps in which something is wrong.
    if not steps:
        raise ValueError("give at least one step")
    return steps


def _every(steps: Sequence[Step]) -> Iterator[Step]:
    """These, and those in them."""
    for step in steps:
        yield step
        if (inner := step.repeat or step.load) is not None:
            yield from _every(inner.steps)


def _has(kind: str, steps: Sequence[Step]) -> bool:
    return any(step.kind == kind for step in _every(steps))


def _needs_ari(steps: Sequence[Step]) -> bool:
    return any(
        step.kind in ("ari", "move") or (step.digit is not None and step.digit.to is not None)
        for step in _every(steps)
    )


class _Resolved(StrictModel):
    """The parts of a file in which $names have been replaced."""

    call: Call = Call()
    steps: Annotated[tuple[Step, ...], AfterValidator(_some)]
    expect: Expect = Expect()
    stock: ExpectedFailure | None = None
    patched: ExpectedFailure | None = None

    @model_validator(mode="after")
    def _reachable(self) -> _Resolved:
        if self.call.bridge not in ARI_BRIDGES and _needs_ari(self.steps):
            raise ValueError(
                "the steps 'ari', 'move' and 'digit: {to: caller}' need call: {bridge: ari}"
            )
        if _has("handshake", self.steps) != (self.call.encryption == "dtls"):
            raise ValueError("the step 'handshake' belongs to call: {encryption: dtls}")
        if self.call.bridge != "dial" and _has("transfer", self.steps):
            raise ValueError("the step 'transfer' needs call: {bridge: dial}")
        if self.call.bridge not in STAYING_LOCALS and _has("optimize", self.steps):
            raise ValueError("the step 'optimize' needs call: {bridge: local n} or two locals n")
        return self


@dataclass(frozen=True)
class Scenario:
    """One file with one combination of its parameters."""

    file: Path
    name: str
    parameters: dict[str, str]
    proves: str
    groups: tuple[Group, ...]
    call: Call
    steps: tuple[Step, ...]
    expect: Expect
    stock: ExpectedFailure | None
    patched: ExpectedFailure | None
    lines: dict[int, int]
    """line in the file of each step, by the step's ``id()``"""

    @property
    def full_name(self) -> str:
        """``name[parameter=value,...]``"""
        values = ",".join(f"{key}={value}" for key, value in self.parameters.items())
        return f"{self.name}[{values}]" if values else self.name

    @property
    def bounds(self) -> Bounds:
        """What is allowed of the times."""
        if self.expect.late_ms is None:
            return Bounds()
        return Bounds(late_ns=int(self.expect.late_ms * 1e6))

    @property
    def needs_own(self) -> bool:
        """Whether more is needed than extensions of calls and ARI: other extensions, the console,
        AMI. Only an Asterisk of the harness's own has that."""
        kinds = ("transfer", "redirect", "mute", "end_gateway", "optimize")
        return self.call.other is not None or any(_has(kind, self.steps) for kind in kinds)

    @property
    def sets_direction(self) -> bool:
        """Whether the application sets the media direction, which older drivers do not have."""
        return _has("direction", self.steps)

    def conditions(self, seed: int) -> Conditions:
        """What is out of the ordinary around the call."""
        return replace(self.call.conditions(seed), transferred=_has("transfer", self.steps))

    def where(self, step: Step) -> str:
        """File and line of a step."""
        return f"{self.file.name}:{self.lines.get(id(step), 1)}"


def shipped() -> list[Path]:
    """The scenario files that come with the harness."""
    return sorted(_FOLDER.glob("*.yaml"))


def load_scenarios(path: Path) -> list[Scenario]:
    """All combinations of a file. Raises InputFault, with its line, for what it may not say."""
    document = read(path)
    file = document.validate(ScenarioFile)
    names = list(file.matrix)
    scenarios = []
    known = {"stock": file.stock, "patched": file.patched}
    _refuse_no_values(
        document,
        [],
        {"call": file.call, "steps": file.steps, "expect": file.expect, **known},
    )
    _check_exclude(document, file)
    unused = set(names) - set(_names_in([file.call, file.steps, file.expect, *known.values()]))
    if unused:
        raise InputFault(
            f"{path}: the matrix has {', '.join(sorted(unused))}, which nothing uses",
            f"Use it as ${min(unused)}, or remove it.",
        )
    for values in itertools.product(*file.matrix.values()):
        parameters = dict(zip(names, values, strict=True))
        if any(one.items() <= parameters.items() for one in file.exclude):
            continue
        parts = {"call": file.call, "steps": file.steps, "expect": file.expect}
        parts |= {name: part for name, part in known.items() if part}
        resolved = document.validate(_Resolved, _replace(parts, parameters, path))
        scenarios.append(
            Scenario(
                path,
                path.stem,
                {key: str(value) for key, value in parameters.items()},
                " ".join(file.proves.split()),
                file.groups,
                resolved.call,
                resolved.steps,
                resolved.expect,
                resolved.stock,
                resolved.patched,
                dict(_step_lines(document, ["steps"], resolved.steps)),
            )
        )
    if not scenarios:
        raise InputFault(f"{path}: exclude leaves no combination of the matrix")
    return scenarios


def _refuse_no_values(document: Document, where: KeyPath, value: object) -> None:
    """Refuse a key without a value, which would be as if it were not there, and infinite ones."""
    if value is None:
        named = f"the key '{where[-1]}'" if isinstance(where[-1], str) else "this item"
        raise document.fault(where, f"{named} has no value: give one, or {{}} for defaults")
    if isinstance(value, float) and not math.isfinite(value):
        raise document.fault(where, f"'{where[-1]}' is not a finite number")
    if isinstance(value, Mapping):
        for key, one in value.items():
            _refuse_no_values(document, [*where, key], one)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            _refuse_no_values(document, [*where, index], one)


def _check_exclude(document: Document, file: ScenarioFile) -> None:
    """Refuse what is of no parameter: it would leave nothing out, without a word."""
    for index, excluded in enumerate(file.exclude):
        for name, value in excluded.items():
            here: KeyPath = ["exclude", index, name]
            if name not in file.matrix:
                there = ", ".join(file.matrix) or "nothing"
                raise document.fault(here, f"'{name}' is not in the matrix; there is: {there}")
            if value not in file.matrix[name]:
                values = ", ".join(str(one) for one in file.matrix[name])
                raise document.fault(here, f"'{name}' is never {value!r}; it is one of: {values}")


_NAME = re.compile(r"\$([A-Za-z_]\w*)")


def _names_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield from _NAME.findall(value)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _names_in(key)
            yield from _names_in(one)
    elif isinstance(value, Sequence):
        for one in value:
            yield from _names_in(one)


def _replace(value: Any, parameters: Mapping[str, str | int], path: Path) -> Any:
    """``value`` with each ``$name`` replaced; a text that is nothing else gets its value's type."""
    if isinstance(value, Mapping):
        return {
            _replace(key, parameters, path): _replace(one, parameters, path)
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [_replace(one, parameters, path) for one in value]
    if not isinstance(value, str):
        return value

    def named(name: str) -> str | int:
        if name not in parameters:
            raise InputFault(
                f"{path}: ${name} is not in the matrix",
                f"There is: {', '.join(parameters) or 'nothing'}.",
            )
        return parameters[name]

    whole = _NAME.fullmatch(value)
    return named(whole[1]) if whole else _NAME.sub(lambda found: str(named(found[1])), value)


def _step_lines(
    document: Document, where: KeyPath, steps: Sequence[Step]
) -> Iterator[tuple[int, int]]:
    for index, step in enumerate(steps):
        here = [*where, index]
        yield id(step), document.line(here)
        inner = step.repeat or step.load
        if inner is not None:
            yield from _step_lines(document, [*here, step.kind, "steps"], inner.steps)


def choose(value: Range, chance: random.Random) -> int:
    """A number out of a range."""
    return chance.randint(*value)
