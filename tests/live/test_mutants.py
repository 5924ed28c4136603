"""Drivers broken on purpose: the judge names each fault by its name, and nothing else.

Every patch in tests/mutants breaks the module in one way and says which. It is applied to a copy of
the built module's sources, and one and the same call is placed on each mutant and on the driver as
it is.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

import pytest
from live_calls import JSON, Script, passing_call, place, skip, why_inconclusive
from module_variants import compile_variant, copy_sources, is_up_to_date, one_at_a_time, variant
from test_marks import STRETCH, played, send

from harness.application.client import MediaSession
from harness.application.marks import coded_pieces
from harness.asterisk.configuration import Extension
from harness.bench import Bench, LiveCall, bench
from harness.errors import HarnessFault
from harness.install.build import Build
from harness.judge.expectations import Expectations
from harness.judge.verdicts import Verdict
from harness.retry import until_reliable

pytestmark = pytest.mark.slow

NOTHING_SAID = frozenset({Verdict.INCONCLUSIVE, Verdict.LATE})
"""Where a mark gets one of these that should have another, the call is placed again."""

NS_PER_MS = 1_000_000
FRAME_NS = 20 * NS_PER_MS

MUTANTS = Path(__file__).parents[1] / "mutants"
SIZES = (1000, 210, 260, 200, 350, 150, 180, 340, 210)
"""of the first pieces, in bytes. No mark behind one is near the end of its frame, where an answer
on the tick would be in time."""
SPOKEN = (*(f"m{number}" for number in range(10)), "word1", "word2", "cue", "ahead", "after")
"""The marks whose media is played"""
FLUSHED = ("cut", "unheard")
WORDS = (1456, 1460)
"""where two of them stand by position: amid a frame, with half a ms between them"""


ALL_PLAYED = Expectations("hold", {"all": "played"}, {}, gapless=False)
ALL_SENT = Expectations("one_of_each", {}, {}, gapless=False, stage="sent")
"""The caller's channel can be seen"""


async def one_of_each(call: LiveCall) -> None:
    """Marks that are played, flushed and pending at hang-up; two at once; reports and a flush.

    By position there are two words, set the other way round, one mark ahead of what is flushed,
    and one in what was flushed, set behind that.
    """
    session = call.session
    call.expectations = ALL_SENT
    await session.report_playback()
    await session.wait_event("PLAYBACK")
    await session.start_buffering()
    for number, size in enumerate(SIZES):
        await send(session, size)
        await session.mark(f"m{number}")
    await session.mark("m9")
    await session.mark("word2", WORDS[1])
    await session.mark("word1", WORDS[0])
    await send(session, 560)
    await session.mark("cue")
    await send(session, 3 * STRETCH)
    await session.mark("cut")
    await session.mark("ahead", session.sent_bytes + 68)
    await played(session, "cue")
    await one_tick(session)
    await session.flush("f")
    await session.wait_event("MEDIA_FLUSHED", id="f")
    await session.mark("unheard", session.sent_bytes - STRETCH)
    # A flush ends buffering. "after" is to be inside a frame: a frame that the core is handed while
    # the caller hangs up need not leave any more, and what was played would not be certain.
    await session.start_buffering()
    await send(session, STRETCH + 70)
    await session.mark("after")
    await send(session, 3 * STRETCH)
    await session.mark("pending")
    await played(session, "after")
    await one_tick(session)


async def spoken_into_a_hold(call: LiveCall) -> None:
    """What is said there waits, or is lost."""
    session = call.session
    call.expectations = ALL_PLAYED
    for mark in ("before", "meanwhile", "afterwards"):
        if mark == "meanwhile":
            await call.sip.hold("sendonly")
            with suppress(HarnessFault):
                await session.wait_event("PLAYBACK_SUSPENDED", 1.0)
        await send(session, STRETCH)
        await session.mark(mark)
        if mark == "meanwhile":
            with suppress(HarnessFault):
                await session.wait_event("MARK_PLAYED", 0.5, id=mark)
            await call.sip.resume()
        else:
            await played(session, mark)


async def one_tick(session: MediaSession) -> None:
    """20 ms, by a report: also what a mutant has answered too early has left by then."""
    await session.report_playback(20)
    await session.wait_event("PLAYBACK")
    await session.report_playback(0)


LONG_PACKETS = replace(JSON, ptime_ms=40)
NEVER_WAITS = replace(JSON, options="w(no)")
RESAMPLED = replace(JSON, codec="slin16", caller_codec="ulaw")


async def in_long_packets(call: LiveCall) -> None:
    """Marks everywhere in packets of two frames."""
    session = call.session
    await session.start_buffering()
    for number in range(12):
        await send(session, 400)
        await session.mark(f"m{number}")
    await session.stop_buffering()
    await played(session, "m11")


async def resampled(call: LiveCall) -> None:
    """Marks everywhere in frames that Asterisk resamples."""
    session = call.session
    await session.start_buffering()
    pieces = coded_pieces([1600] * 12, codec=RESAMPLED.codec, caller_codec=RESAMPLED.caller_codec)
    for number, piece in enumerate(pieces):
        await session.send_media(piece)
        await session.mark(f"m{number}")
    await session.stop_buffering()
    await played(session, "m11")


async def with_a_rest(call: LiveCall) -> None:
    """An utterance whose last frame alone does not fill a packet, and which nothing follows."""
    session = call.session
    await session.start_buffering()
    await send(session, 480)
    await session.mark("m0")
    # Where it is not acknowledged the judge says so, of a call that goes on for so long.
    with suppress(HarnessFault):
        await session.wait_event("MARK_PLAYED", timeout_s=1, id="m0")


async def on_hold(call: LiveCall) -> None:
    """The caller holds the call while he is spoken to."""
    session = call.session
    await session.start_buffering()
    for number in range(30):
        await send(session, 400)
        await session.mark(f"m{number}")
    await played(session, "m4")
    await call.sip.hold("sendonly")
    for _ in range(20):
        await one_tick(session)
    await call.sip.resume()
    await session.wait_event("MARK_PLAYED", id="m29")


async def cut_in_samples(call: LiveCall) -> None:
    """Utterances of 16-bit audio that end and begin amid a sample."""
    session = call.session
    await session.report_playback()
    for number in range(4):
        await session.start_buffering()
        await send(session, 1601)
        await session.mark(f"m{number}")
        await session.stop_buffering()
        await played(session, f"m{number}")


async def with_reports(call: LiveCall) -> None:
    """The caller reports how he receives what is said (RTCP)."""
    session = call.session
    await session.report_playback()
    await session.wait_event("PLAYBACK")
    call.rtp.report(call.sip.media, rtt_ms=80, jitter=24)
    await send(session, 2 * STRETCH)
    await session.mark("m0")
    await played(session, "m0")
    await session.report_playback()
    await session.wait_event("PLAYBACK")


@dataclass(frozen=True)
class OnTheWire:
    """A call whose packets are not frames, or do not leave, and what the judge must say of it."""

    script: Script
    extension: Extension
    verdict: Verdict
    says: str


ON_THE_WIRE = {
    "left-too-early": OnTheWire(in_long_packets, LONG_PACKETS, Verdict.EARLY, "its audio ended at"),
    "never-left": OnTheWire(on_hold, NEVER_WAITS, Verdict.WRONG, "were never sent"),
    "half-sample-played": OnTheWire(
        cut_in_samples, replace(JSON, codec="slin"), Verdict.WRONG, "were never sent"
    ),
    "far-end-misread": OnTheWire(with_reports, JSON, Verdict.WRONG, "rtt_ms is"),
    "dropped-uncounted": OnTheWire(on_hold, NEVER_WAITS, Verdict.WRONG, "that none had counted"),
    "dropped-elsewhere": OnTheWire(on_hold, NEVER_WAITS, Verdict.WRONG, "the byte at its offset"),
    "resampled-early": OnTheWire(resampled, RESAMPLED, Verdict.EARLY, "its audio ended at"),
    "rest-left-behind": OnTheWire(with_a_rest, LONG_PACKETS, Verdict.WRONG, "were never sent"),
}
"""What each of these mutants must be accused of, and of nothing else"""


@dataclass(frozen=True)
class Found:
    """What the judge says of one."""

    verdict: Verdict
    explanation: str
    difference_ns: int | None = None


@dataclass(frozen=True)
class Fault:
    """What the judge must say of a mark or a counter."""

    verdict: Verdict
    says: str
    """somewhere in the explanation"""
    between_ms: tuple[float, float] | None = None
    """when the answer comes, counted from the end of the audio"""

    def comes_in_time(self, found: Found) -> bool:
        earliest_ms, latest_ms = self.between_ms or (-inf, inf)
        return earliest_ms < (found.difference_ns or 0) / NS_PER_MS < latest_ms


def spoken(fault: Fault) -> dict[str, Fault]:
    return dict.fromkeys(SPOKEN, fault)


FLUSH = 'MEDIA_FLUSHED "f"'
UNMET = "expectation"
FINAL = "PLAYBACK final"
ENDED = "its audio ended at"
CAUGHT = {
    # It is seen at the next tick at the latest that the frame before has left.
    "one-tick-early": spoken(Fault(Verdict.EARLY, ENDED, (-20.5, 0))),
    "one-ms-early": spoken(Fault(Verdict.EARLY, ENDED, (-1.1, 0))),
    "five-ms-late": spoken(Fault(Verdict.LATE, ENDED, (4.9, 10))),
    # Where what was sent is looked for at the next tick only it is taken to have left then.
    "on-the-tick": spoken(Fault(Verdict.LATE, ENDED, (2, 45))),
    "twice": {"m4": Fault(Verdict.TWICE, "acknowledged 2 times")},
    "never": {
        "m4": Fault(Verdict.NEVER, "not acknowledged"),
        FLUSH: Fault(Verdict.EARLY, 'before the acknowledgement of the mark "m4"'),
    },
    "unasked": {"nobody": Fault(Verdict.UNASKED, "no such mark was set")},
    "out-of-order": {"m8": Fault(Verdict.WRONG, "after a mark that was sent later")},
    "offset-off-by-one": dict.fromkeys(
        (*SPOKEN, *FLUSHED, "pending"), Fault(Verdict.WRONG, "the acknowledgement says offset")
    ),
    "flushed-as-played": {
        **dict.fromkeys(FLUSHED, Fault(Verdict.WRONG, "never sent")),
        FLUSH: Fault(Verdict.WRONG, "last_mark is 'cue'"),
    },
    "played-as-flushed": {"m4": Fault(Verdict.WRONG, "but nothing was flushed")},
    "discarded-while-it-plays": {
        "m4": Fault(Verdict.WRONG, "behind the mark before it were sent"),
        # Because audio went on, or where the host is so busy that this comes late, had ended.
        "m5": Fault(Verdict.WRONG, "(reason hangup), but"),
    },
    "silent-at-hang-up": {"pending": Fault(Verdict.NEVER, "not acknowledged")},
    "flush-answered-first": {
        FLUSH: Fault(Verdict.EARLY, 'before the acknowledgement of the mark "cut"')
    },
    "flush-counts-one-more": {FLUSH: Fault(Verdict.WRONG, "played is")},
    "since-mark-one-ms-more": {FLUSH: Fault(Verdict.WRONG, "since_mark_ms is")},
    "report-does-not-add-up": {
        "PLAYBACK": Fault(Verdict.WRONG, "the others add up to"),
        FINAL: Fault(Verdict.WRONG, "queued is 1"),
    },
    "never-waits": {UNMET: Fault(Verdict.WRONG, "was to be played, and is unsent")},
    "wrong-stage": {UNMET: Fault(Verdict.WRONG, "the stage was to be sent")},
    "no-final-report": {FINAL: Fault(Verdict.NEVER, "it did not come")},
    "positions-out-of-order": {"word1": Fault(Verdict.WRONG, "which stands behind it")},
    "position-early": dict.fromkeys(
        ("word1", "word2", "ahead"), Fault(Verdict.EARLY, ENDED, (-5.1, -4))
    ),
    "position-ignored": {
        **dict.fromkeys(("word1", "word2"), Fault(Verdict.LATE, ENDED, (100, 500))),
        "ahead": Fault(Verdict.WRONG, "but nothing was flushed"),
        "unheard": Fault(Verdict.WRONG, "never sent"),
    },
    "ahead-flushed": {"ahead": Fault(Verdict.WRONG, "but nothing was flushed")},
}
"""What each mutant must be accused of; of every other mark and counter the judge says PASS"""


def script_for(name: str) -> Script:
    """What is done in the call that shows what is wrong with a mutant."""
    return spoken_into_a_hold if name == "never-waits" else one_of_each


@one_at_a_time
def build_mutant(build: Build, name: str) -> Path:
    """The module with one of the patches; a second when the patch or the module has changed."""
    patch = MUTANTS / f"{name}.patch"
    module = variant(build, f"mutants/{name}")
    if is_up_to_date(module, [build.patched_module, patch, Path(__file__)]):
        return module
    folder = module.parent
    copy_sources(build, folder)
    sources = folder / "websocket"
    run = subprocess.run(
        ["patch", "-p1", "-F0", "--batch", "--forward", f"--input={patch.resolve()}"],
        cwd=sources,
        capture_output=True,
        text=True,
    )
    if run.returncode != 0:
        pytest.fail(
            f"tests/mutants/{patch.name} does not apply any more to the module that was built "
            f"({build.source_dir / 'channels/websocket'}). Make the same change there again and "
            f"save it with `diff -U1`. What patch said:\n{run.stdout}{run.stderr}",
            pytrace=False,
        )
    compile_variant(build, module, folder)
    return module


@pytest.fixture(scope="module")
def exchanged(build: Build, run_folder: Path) -> Iterator[Bench]:
    """One Asterisk for all mutants."""
    folder = run_folder / "mutants"
    folder.mkdir()
    with bench(build, folder) as b:
        yield b


def found(call: LiveCall) -> dict[str, Found]:
    """What the judge says of every mark, by its id, and of every counter event, by its name.

    Of several counter events with the same name it is the last one that did not pass.
    """
    marks = {
        str(mark.id): Found(mark.verdict, mark.explanation, mark.difference_ns)
        for mark in call.judged.marks
    }
    counters = sorted(call.judged.counters, key=lambda one: one.verdict is not Verdict.PASS)
    unmet = "; ".join(call.judged.unmet)
    stages = {UNMET: Found(Verdict.WRONG, unmet)} if unmet else {}
    return marks | {one.name: Found(one.verdict, one.explanation) for one in counters} | stages


def test_the_driver_as_it_is_passes(exchanged: Bench) -> None:
    call = passing_call(exchanged, "as-it-is", one_of_each, JSON)
    assert {str(mark.id): mark.outcome for mark in call.judged.marks} == {
        **dict.fromkeys(SPOKEN, "played"),
        **dict.fromkeys((*FLUSHED, "pending"), "discarded"),
    }
    assert {FLUSH, "PLAYBACK", FINAL} == {one.name for one in call.judged.counters}


def test_the_driver_as_it_is_waits_for_its_listener(exchanged: Bench) -> None:
    call = passing_call(exchanged, "waits", spoken_into_a_hold, JSON)
    assert [mark.outcome for mark in call.judged.marks] == ["played"] * 3


def test_every_mutant_has_its_verdict() -> None:
    names = [*CAUGHT, *ON_THE_WIRE]
    assert sorted(patch.name for patch in MUTANTS.iterdir()) == sorted(f"{n}.patch" for n in names)


@pytest.mark.parametrize("name", ON_THE_WIRE)
def test_the_driver_as_it_is_passes_on_the_wire(exchanged: Bench, build: Build, name: str) -> None:
    exchanged.instance.use_module(build.patched_module)
    passing_call(exchanged, f"{name}-not", ON_THE_WIRE[name].script, ON_THE_WIRE[name].extension)


@pytest.mark.parametrize("name", ON_THE_WIRE)
def test_a_mutant_is_caught_on_the_wire(exchanged: Bench, build: Build, name: str) -> None:
    wanted = ON_THE_WIRE[name]
    exchanged.instance.use_module(build_mutant(build, name))

    def unreliable(call: LiveCall) -> bool:
        return not any(one.verdict is wanted.verdict for one in found(call).values())

    call = until_reliable(
        name,
        lambda name: asyncio.run(place(exchanged, name, wanted.script, wanted.extension)),
        unreliable,
    )
    wrong = [
        one for one in found(call).values() if one.verdict not in (Verdict.PASS, *NOTHING_SAID)
    ]
    assert wrong
    assert {one.verdict for one in wrong} == {wanted.verdict}
    assert any(wanted.says in one.explanation for one in wrong)


@pytest.mark.parametrize("name", CAUGHT)
def test_a_mutant_is_caught(exchanged: Bench, build: Build, name: str) -> None:
    expected = CAUGHT[name]
    exchanged.instance.use_module(build_mutant(build, name))

    def unlike(call: LiveCall) -> set[Verdict]:
        return {
            one.verdict
            for key, one in found(call).items()
            if one.verdict is not (expected[key].verdict if key in expected else Verdict.PASS)
        }

    def stalled(call: LiveCall, ns: int) -> bool:
        return any(end - begin >= ns for begin, end in call.judged.measurement.host_stalls)

    def outside(call: LiveCall) -> bool:
        # The audio of a packet that left late ends later, whatever a mutant makes of its mark.
        return stalled(call, 2 * NS_PER_MS) and any(
            not fault.comes_in_time(one)
            for key, one in found(call).items()
            if (fault := expected.get(key)) is not None
        )

    def unreliable(call: LiveCall) -> bool:
        # A busy host makes marks late, also one that a mutant answers early, and loses media.
        chance = stalled(call, FRAME_NS) or unlike(call) <= {*NOTHING_SAID, Verdict.PASS}
        return (bool(unlike(call)) and chance) or outside(call)

    script = script_for(name)
    call = until_reliable(
        name, lambda name: asyncio.run(place(exchanged, name, script, JSON)), unreliable
    )
    if unreliable(call) and (unlike(call) - {Verdict.PASS} or outside(call)):
        skip(why_inconclusive(call))
    verdicts = found(call)
    wrong = {key: one for key, one in verdicts.items() if one.verdict is not Verdict.PASS}
    assert {key: one.verdict for key, one in wrong.items()} == {
        key: fault.verdict for key, fault in expected.items()
    }
    for key, fault in expected.items():
        assert fault.says in wrong[key].explanation
        assert fault.comes_in_time(wrong[key]), wrong[key]
