"""Calls on a chan_websocket.so that is compiled with ThreadSanitizer: no data race in playback.

Asterisk itself is the ordinary one. The sanitizer sees its locks all the same, since these are the
C library's; what it says of memory that only Asterisk's own code touches is not looked at.

The application connects to Asterisk: then MEDIA_START is sent by the HTTP server's thread, while
the channel's thread is at work already, and the console asks from a third one.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from module_variants import compile_variant, is_up_to_date, one_at_a_time, variant

from harness.application.disturb import connect
from harness.asterisk.configuration import Extension
from harness.asterisk.instance import Instance
from harness.caller.rtp_socket import RtpSocket
from harness.caller.sip_peer import SipPeer
from harness.caller.sipp import CallRequest, place_call
from harness.install.build import Build

CALLS = 5
BROKEN_CALLS = 10
"""at most: in each of them the threads meet by chance"""
INCOMING = Extension("incoming", connection="incoming")
RACING = "playback_ledger.c"
"""where a module races whose counts the console reads without their lock"""
FLAGS = ("-g", "-O1", "-fno-omit-frame-pointer", "-fsanitize=thread")
LOCK = re.compile(r"(\nstruct playback_snapshot playback_get_counts\(.*\)\n\{\n)\tSCOPED_MUTEX.*\n")
"""around what the console reads, in playback_channel.c"""


def sanitizer_runtime(folder: Path) -> str:
    """The path of ThreadSanitizer's library; the test is skipped where it does not run."""
    program = folder / "nothing"
    compiled = subprocess.run(
        ["gcc", "-fsanitize=thread", "-o", str(program), "-x", "c", "-"],
        input="int main(void) { return 0; }",
        capture_output=True,
        text=True,
    )
    if compiled.returncode or subprocess.run([program], capture_output=True).returncode:
        pytest.skip(f"ThreadSanitizer does not run here: {compiled.stderr.strip()[:200]}")
    found = subprocess.run(
        ["gcc", "-print-file-name=libtsan.so"], capture_output=True, text=True, check=True
    )
    return str(Path(found.stdout.strip()).resolve())


@one_at_a_time
def build_for_threads(build: Build, *, broken: bool) -> Path:
    """The module compiled with ThreadSanitizer.

    If it is ``broken`` the console reads what it counts without the lock.
    """
    module = variant(build, "threads-broken" if broken else "threads")
    if is_up_to_date(module, [build.patched_module, Path(__file__)]):
        return module
    channels = build.source_dir / "channels"
    if broken:
        folder = module.parent
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(channels / "websocket", folder / "websocket")
        for name in ("chan_websocket.c", "chan_websocket.exports"):
            shutil.copy(channels / name, folder)
        source = folder / "websocket" / "playback_channel.c"
        text, count = LOCK.subn(r"\1", source.read_text())
        assert count == 1
        source.write_text(text)
        channels = folder
    compile_variant(build, module, channels, FLAGS)
    return module


async def call(instance: Instance, folder: Path) -> None:
    """One call: a mark and reports, while the console looks on."""
    folder.mkdir()
    network = instance.network
    peer = SipPeer(network.address, network.sip_port, local_address=network.address)
    with RtpSocket() as rtp:
        request = CallRequest(INCOMING.name, "127.0.0.1", rtp.port, INCOMING.codec)
        async with place_call(peer, request, folder) as sip:
            uri = await asyncio.to_thread(instance.connection_uri, sip.call_id)
            async with connect(uri) as session:
                await session.report_playback(20)
                await session.send_media(bytes(400))
                await session.mark("a")
                await session.send_media_fragmented(bytes(400), 50, pings=True)
                await session.send_media_stalled(bytes(400), 0.005, 10)
                await asyncio.to_thread(instance.console.run, "websocket show playback")
                await session.wait_event("MARK_PLAYED", id="a")
                await sip.hang_up()
                await session.wait_closed()


_ACCESSES = re.compile(r"^    #0 (.*)\n", re.MULTILINE)
_WITHOUT_NAME = re.compile(r"<null> <null> \(chan_websocket\.so\+(0x[0-9a-f]+)\)")


def racing_files(folder: Path) -> set[str]:
    """Our files that took part in a data race, by the innermost frame of either access.

    ``folder`` has the ``reports``, and the Asterisk's ``modules``. Of memory that was freed nothing
    is said: Asterisk's reference counts are not seen, and AddressSanitizer is there for it.
    """
    accesses = "".join(
        f"{access}\n"
        for path in (folder / "reports").iterdir()
        for report in path.read_text().split("WARNING: ThreadSanitizer: ")
        if report.startswith("data race") and not _ACCESSES.findall(report)[0].startswith("free ")
        for access in _ACCESSES.findall(report)[:2]
    )
    # A module that was loaded after the first report has no names for ThreadSanitizer.
    addresses = _WITHOUT_NAME.findall(accesses)
    if addresses:
        module = folder / "modules" / "chan_websocket.so"
        command = ["addr2line", "-e", str(module), *addresses]
        accesses += subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return set(re.findall(r"\b(chan_websocket\.c|(?:playback|websocket)_\w+\.c)", accesses))


@pytest.mark.parametrize("broken", [False, True], ids=["as-it-is", "without-a-lock"])
def test_playback_has_no_data_race(build: Build, run_folder: Path, broken: bool) -> None:
    folder = run_folder / ("threads-broken" if broken else "threads")
    reports = folder / "reports"
    reports.mkdir(parents=True)
    environment = {
        "LD_PRELOAD": sanitizer_runtime(folder),
        "TSAN_OPTIONS": f"log_path={reports / 'tsan'}:exitcode=0:detect_deadlocks=0",
    }
    module = build_for_threads(build, broken=broken)
    # The race is met where its threads take turns as with -p from the start.
    with Instance(build, folder, [INCOMING], module, ["-p"], environment) as instance:
        for number in range(BROKEN_CALLS if broken else CALLS):
            asyncio.run(call(instance, folder / f"call-{number}"))
            if broken and RACING in racing_files(folder):
                break
    racing = racing_files(folder)
    assert RACING in racing if broken else not racing
