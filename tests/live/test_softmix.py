"""What the module knows of bridge_softmix's private struct: checked, or not used.

In Asterisk's own tree the compiler checks it against bridge_softmix's header. Elsewhere a table of
releases says where it was seen to be so: a release that is not in it is not looked into.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_calls import JSON, fail, measured, of, place, result, unreliable, why_inconclusive
from module_variants import compile_variant, copy_sources, is_up_to_date, one_at_a_time, variant

from harness.application.marks import coded_pieces, play_with_marks, random_sizes
from harness.asterisk.configuration import MIXING_INTERVALS_MS, Bridge, Extension
from harness.bench import Bench, LiveCall, bench
from harness.install.build import Build
from harness.judge.evidence import read_evidence
from harness.judge.locate_audio import ERROR_NS
from harness.judge.verdicts import Bounds
from harness.media.codecs import CODECS
from harness.record.capture_files import load_timeline

CONFERENCE = Extension("conference", message_format=JSON.message_format, bridge="conference")
INTERVAL_NS = 20_000_000
"""of mixing; a mark may be acknowledged one late"""
BOUNDS = Bounds(late_ns=INTERVAL_NS + 2_000_000)
HEADER = Path("bridges/bridge_softmix/include/bridge_softmix_internal.h")
STRUCT = "struct softmix_channel {\n"
NOTICE = "bridge_softmix of Asterisk"
"""how the line begins that says that the layout is not known"""


def check_layout(build: Build, tree: Path) -> subprocess.CompletedProcess[str]:
    """Compile playback_bridge.c of a tree, for the compiler's word on it."""
    return subprocess.run(
        [
            *("gcc", "-fsyntax-only", "-Wall", "-Werror", '-DAST_MODULE="chan_websocket"'),
            *("-DAST_MODULE_SELF_SYM=__internal_chan_websocket_self",),
            *(f"-I{build.source_dir / 'include'}", "channels/websocket/playback_bridge.c"),
        ],
        cwd=tree,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("moved", [False, True], ids=["as-it-is", "moved"])
def test_the_compiler_sees_a_layout_that_moved(build: Build, tmp_path: Path, moved: bool) -> None:
    copy_sources(build, tmp_path / "channels")
    header = tmp_path / HEADER
    header.parent.mkdir(parents=True)
    text = (build.source_dir / HEADER).read_text()
    assert text.count(STRUCT) == 1
    header.write_text(text.replace(STRUCT, f"{STRUCT}\tint new;\n") if moved else text)
    compiled = check_layout(build, tmp_path)
    assert (compiled.returncode != 0) == moved, compiled.stderr
    assert ("struct softmix_channel has changed" in compiled.stderr) == moved


@one_at_a_time
def build_outside_the_tree(build: Build, *, known: bool) -> Path:
    """The module compiled without bridge_softmix's header; the release in its table or not."""
    module = variant(build, "softmix-known" if known else "softmix-unknown")
    if not is_up_to_date(module, [build.patched_module, Path(__file__)]):
        folder = module.parent
        copy_sources(build, folder)
        bridge = folder / "websocket" / "playback_bridge.c"
        text = bridge.read_text()
        begin = text.index("softmix_releases[] = {")
        end = text.index("};", begin)
        if not known:
            bridge.write_text(f'{text[:begin]}softmix_releases[] = {{ "1.0"\n{text[end:]}')
        compile_variant(build, module, folder)
    return module


@pytest.fixture(scope="module")
def exchanged(build: Build, run_folder: Path) -> Iterator[Bench]:
    """One Asterisk for both modules."""
    folder = run_folder / "softmix"
    folder.mkdir()
    with bench(build, folder) as b:
        yield b


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_an_unknown_release_is_not_looked_into(exchanged: Bench, build: Build, known: bool) -> None:
    async def script(call: LiveCall) -> None:
        await call.session.start_buffering()
        await play_with_marks(call.session, coded_pieces(random_sizes(7, 12, 1, 1200)))

    def unreliable(call: LiveCall) -> str:
        # What a mixer threw away when the host stalled is not seen where its struct is not.
        stalls = call.judged.measurement.host_stalls
        stalled = any(end - begin >= INTERVAL_NS for begin, end in stalls)
        inconclusive = result(call) == "INCONCLUSIVE" or (result(call) == "FAIL" and stalled)
        return why_inconclusive(call) if inconclusive else ""

    instance = exchanged.instance
    instance.use_module(build_outside_the_tree(build, known=known))
    before = instance.log.read_text().count(NOTICE)
    call = measured(
        f"softmix-{'known' if known else 'unknown'}",
        lambda name: place(exchanged, name, script, CONFERENCE, BOUNDS),
        unreliable,
    )
    if result(call) != "PASS":
        fail(call)
    # Once, however often it would have looked.
    assert instance.log.read_text().count(NOTICE) == before + (0 if known else 1)


OTHER_RATE: tuple[Bridge, ...] = ("ari of three", "conference of three")
BEGIN_ANEW: dict[str, Extension] = {
    **{
        f"interval-{interval}": Extension(
            f"anew-{interval}",
            message_format=JSON.message_format,
            bridge="conference",
            mixing_interval_ms=interval,
        )
        for interval in MIXING_INTERVALS_MS
    },
    # Asterisk finds that two parties can do better than 8000 Hz: as soon as it mixes for them, or
    # two seconds later.
    **{
        bridge: Extension(
            f"anew-rate-{number}",
            codec="slin16",
            caller_codec="g722",
            message_format=JSON.message_format,
            bridge=bridge,
        )
        for number, bridge in enumerate(OTHER_RATE)
    },
}
SPEECH_S = 3
LOCATED_S = ERROR_NS / 10**9
"""how exactly resampled sound is located"""
HOWEVER_LATE = Bounds(10**9, 10**9, 10**9)


@pytest.mark.parametrize("why", BEGIN_ANEW)
def test_what_a_mixer_loses_as_it_begins_anew_is_told(patched: Bench, why: str) -> None:
    """It does when it gets another interval or sample rate, at first or in mid-speech.

    So do the channel's resamplers, and what they hold is never heard: that is told, too.
    """
    extension = BEGIN_ANEW[why]
    frame = CODECS[extension.codec].frame_bytes

    async def script(call: LiveCall) -> None:
        frames = coded_pieces(
            [frame] * 50 * SPEECH_S,
            codec=extension.codec,
            caller_codec=extension.caller_codec,
            mixed=True,
        )
        await play_with_marks(call.session, frames)

    call = measured(
        extension.name,
        lambda name: place(patched, name, script, extension, HOWEVER_LATE),
        unreliable,
    )
    evidence = read_evidence(load_timeline(call.folder), Bounds())
    lost = evidence.wire.missing(0, evidence.conversation.sent)
    told = sum(drop.number("bytes") for drop in of(call, "MEDIA_DROPPED"))
    if extension.bridge == "conference of three":
        assert abs(lost - told) <= LOCATED_S * CODECS[extension.codec].bytes_per_second
    else:
        # One that has just begun to mix may lose a frame, any other is given nothing before.
        assert told == lost
        assert lost <= frame or call.judged.measurement.host_stalls
        if result(call) != "PASS":
            fail(call)


@pytest.mark.parametrize("interval_ms", [20, 80])
def test_what_a_mixer_holds_of_a_channel_that_is_muted_is_told(
    patched: Bench, interval_ms: int
) -> None:
    """It drops that as soon as the channel gives it anything, be it an empty frame."""
    extension = Extension(
        f"muted-{interval_ms}",
        message_format=JSON.message_format,
        bridge="conference",
        mixing_interval_ms=interval_ms,
    )

    async def console(command: str) -> str:
        return await asyncio.to_thread(patched.instance.console.run, command)

    async def script(call: LiveCall) -> None:
        channel = call.session.media_start.fields["channel"]
        frames = coded_pieces([160] * 50 * SPEECH_S)
        playing = asyncio.ensure_future(play_with_marks(call.session, frames))
        assert await asyncio.to_thread(call.rtp.wait_for_packets, 10, 5.0)
        conference = (await console("confbridge list")).splitlines()[-1].split()[0]
        for number in range(5):
            await console(f"confbridge mute {conference} {channel}")
            await call.session.wait_event("PLAYBACK_SUSPENDED", reason="mute")
            await console(f"confbridge unmute {conference} {channel}")
            # Wherever in an interval it is mute the next time.
            await call.session.wait_event("PLAYBACK_RESUMED")
            await asyncio.sleep(0.2 + 0.013 * number)
        await playing

    call = measured(
        extension.name,
        lambda name: place(patched, name, script, extension, HOWEVER_LATE),
        unreliable,
    )
    if result(call) != "PASS":
        fail(call)
    evidence = read_evidence(load_timeline(call.folder), Bounds())
    lost = evidence.wire.missing(0, evidence.conversation.sent)
    assert sum(drop.number("bytes") for drop in of(call, "MEDIA_DROPPED")) == lost
    assert lost or interval_ms == 20
