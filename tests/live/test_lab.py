"""A PBX that the harness has not configured, reached only through its lab file.

It is a second Asterisk whose administrator, played here, has pasted what `harness lab lines` prints
and put passwords and paths where it says so. It wants SIP authentication. On one of them media
connections and SIP are encrypted, on the other they are not.
"""

from __future__ import annotations

import asyncio
import io
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from live_calls import passing_call, place
from rich.console import Console

from chan_websocket.protocol import Format, MarkCommand
from harness.application.marks import coded_pieces, play_with_marks, random_sizes
from harness.asterisk.configuration import Bridge, Connection, Extension
from harness.asterisk.instance import Instance
from harness.bench import Bench, LiveCall, bench_on
from harness.commands.command import EXIT_ENVIRONMENT, EXIT_PASS
from harness.commands.lab import check, print_lines
from harness.install.build import Build
from harness.targets.lab import LabTarget
from harness.targets.lab_file import load_lab
from harness.targets.lab_lines import lab_lines

HARNESS = "127.0.0.1"
SIP_PASSWORD, ARI_PASSWORD = "LAB_SIP_PASSWORD", "LAB_ARI_PASSWORD"
MARKS = 12


pytestmark = pytest.mark.slow


@dataclass
class Pbx:
    """The second Asterisk, as its administrator knows it."""

    folder: Path
    target: dict[str, Any]
    """what its lab file says"""
    instance: Instance

    def file(self, name: str = "lab.yaml", **changes: Any) -> Path:
        """The lab file, or one in which ``sip__port=1`` and the like is different."""
        target = {key: value for key, value in self.target.items()}
        for path, value in changes.items():
            part, _, key = path.partition("__")
            target[part] = {**target[part], key: value} if key else value
        file = self.folder / name
        file.write_text(yaml.safe_dump({key: value for key, value in target.items() if value}))
        return file


class Administered(Instance):
    """Configured by an administrator out of what the harness prints for a lab file."""

    def __init__(self, build: Build, folder: Path, secure: bool, module: Path) -> None:
        super().__init__(build, folder, module=module, tls=secure)
        self.secure = secure
        self.target: dict[str, Any] = {}
        self._pasted: dict[str, str] = {}

    def _boot(self) -> None:
        network = self.network
        transport, port = ("tls", free_port(network.address)) if self.secure else ("udp", 0)
        tls = self.certificates
        self.target = {
            "name": "second-pbx",
            "sip": {
                "address": network.address,
                "port": port or network.sip_port,
                "transport": transport,
                "password_from": SIP_PASSWORD,
                "ca": str(tls.ca) if tls else None,
            },
            "listen": {
                "address": HARNESS,
                "port": free_port(HARNESS),
                "certificate": str(tls.certificate(HARNESS)) if tls else None,
            },
            "connect": {
                "uri": f"wss://{network.address}:{network.https_port}/media"
                if self.secure
                else f"ws://{network.http_authority}/media",
                "ca": str(tls.ca) if tls else None,
            },
            "ari": {
                "uri": f"http://{network.http_authority}/ari",
                "password_from": ARI_PASSWORD,
            },
            "calls": {
                "formats": ["plain", "json"],
                "bridges": ["dial", "conference", "ari", "ari of three"],
            },
        }
        file = Pbx(self.folder, self.target, self).file()
        self._pasted = {
            name: filled_in(text, self) for name, text in lab_lines(load_lab(file)).items()
        }
        # What this PBX had before.
        self._pasted["pjsip.conf"] += transports(self, port)
        for name in ("extensions.conf", "websocket_client.conf"):
            self._write(name, "")
        super()._boot()

    def _write(self, name: str, text: str) -> None:
        super()._write(name, self._pasted.get(name, text) if hasattr(self, "_pasted") else text)


def filled_in(text: str, pbx: Administered) -> str:
    """What an administrator puts in the place of what is in angle brackets."""
    tls = pbx.certificates
    own = str(tls.certificate(pbx.network.address)) if tls else ""
    for pattern, value in (
        (rf"<the value of {SIP_PASSWORD}>", "sip-secret"),
        (rf"<the value of {ARI_PASSWORD}>", "ari-secret"),
        (r"<a copy of the certificate that signed [^>]*>", str(tls.ca) if tls else ""),
        (r"<a certificate for [^>]*>", own),
        (r"<its key[^>]*>", own),
    ):
        text = re.sub(pattern, value, text)
    assert "<" not in text, text
    return text


def transports(pbx: Administered, tls_port: int) -> str:
    address, port = pbx.network.address, pbx.network.sip_port
    text = "".join(
        f"\n[{kind}]\ntype = transport\nprotocol = {kind}\nbind = {address}:{port}\n"
        for kind in ("udp", "tcp")
    )
    if pbx.certificates:
        own = pbx.certificates.certificate(address)
        text += (
            f"\n[tls]\ntype = transport\nprotocol = tls\nbind = {address}:{tls_port}\n"
            f"cert_file = {own}\npriv_key_file = {own}\nmethod = tlsv1_2\n"
        )
    return text


def free_port(address: str) -> int:
    with socket.create_server((address, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def second_pbx(build: Build, folder: Path, secure: bool, module: Path) -> Iterator[Pbx]:
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SIP_PASSWORD, "sip-secret")
        patch.setenv(ARI_PASSWORD, "ari-secret")
        with Administered(build, folder, secure, module) as instance:
            # So that it cannot be reconfigured by mistake.
            yield Pbx(folder, instance.target, instance)


@pytest.fixture(scope="module", params=["ws", "wss"])
def pbx(request: pytest.FixtureRequest, build: Build, run_folder: Path) -> Iterator[Pbx]:
    folder = run_folder / f"second-pbx-{request.param}"
    with second_pbx(build, folder, request.param == "wss", build.patched_module) as pbx:
        yield pbx


@pytest.fixture(scope="module")
def plain_pbx(build: Build, run_folder: Path) -> Iterator[Pbx]:
    with second_pbx(build, run_folder / "plain-pbx", False, build.patched_module) as pbx:
        yield pbx


@pytest.fixture(scope="module")
def lab(pbx: Pbx) -> Iterator[Bench]:
    folder = pbx.folder / "harness"
    folder.mkdir()
    with bench_on(LabTarget(load_lab(pbx.file())), folder) as bench:
        yield bench


def checked(file: Path, folder: Path) -> tuple[int, str]:
    """Exit code and output of `harness lab check`."""
    folder.mkdir(exist_ok=True)
    console = Console(file=io.StringIO(), record=True, width=200)
    code = check(load_lab(file), folder, console)
    return code, console.export_text()


# ---- calls ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("connection", ["outgoing", "incoming"])
@pytest.mark.parametrize("message_format", [Format.PLAIN, Format.JSON], ids=lambda one: one.name)
def test_calls_pass(pbx: Pbx, lab: Bench, connection: Connection, message_format: Format) -> None:
    secure = pbx.instance.secure  # type: ignore[attr-defined]

    async def script(call: LiveCall) -> None:
        await call.session.start_buffering()
        await play_with_marks(call.session, coded_pieces(random_sizes(1, MARKS, largest=1500)))

    extension = Extension("any", connection=connection, message_format=message_format)
    call = passing_call(lab, f"{connection}-{message_format.value}", script, extension)
    assert len(call.judged.marks) == MARKS
    assert call.session.tls == secure
    assert call.judged.measurement.source == ("socket" if lab.not_captured else "capture")


@pytest.mark.parametrize("bridge", ["conference", "ari", "ari of three"])
@pytest.mark.parametrize("connection", ["outgoing", "incoming"])
def test_bridges(lab: Bench, bridge: Bridge, connection: Connection) -> None:
    async def script(call: LiveCall) -> None:
        await call.session.send_media(coded_pieces([1600])[0])
        await call.session.mark("m")
        await call.session.wait_event("MARK_PLAYED", id="m")

    extension = Extension("any", bridge=bridge, connection=connection)
    asyncio.run(place(lab, f"{bridge}-{connection}", script, extension))


def test_several_calls_at_once(lab: Bench) -> None:
    async def one(number: int) -> None:
        async with lab.call(f"one-of-three-{number}", Extension("any"), judged_later=True) as call:
            await call.session.mark("m")
            await call.session.wait_event("MARK_PLAYED", id="m")
            up.release()
            await all_up.wait()

    async def all_of_them() -> None:
        calls = [asyncio.create_task(one(number)) for number in range(3)]
        for _ in calls:
            await asyncio.wait_for(up.acquire(), 20.0)
        all_up.set()
        await asyncio.gather(*calls)

    up, all_up = asyncio.Semaphore(0), asyncio.Event()
    asyncio.run(all_of_them())


def test_the_pbx_calls_us(plain_pbx: Pbx) -> None:
    file = plain_pbx.file("originate.yaml", sip__originate_at="PJSIP/harness")
    folder = plain_pbx.folder / "originate"
    folder.mkdir()

    async def script(call: LiveCall) -> None:
        await play_with_marks(call.session, coded_pieces([160] * 25))
        assert call.sip.call_id

    with bench_on(LabTarget(load_lab(file)), folder) as bench:
        for bridge, connection in (("dial", "outgoing"), ("dial", "incoming"), ("ari", "outgoing")):
            extension = Extension("any", bridge=bridge, connection=connection)  # type: ignore[arg-type]
            asyncio.run(place(bench, f"{bridge}-{connection}", script, extension))


def test_sip_over_tcp(plain_pbx: Pbx) -> None:
    folder = plain_pbx.folder / "tcp"
    folder.mkdir()

    async def caller_hangs_up(call: LiveCall) -> None:
        await play_with_marks(call.session, coded_pieces([160] * 10))
        await call.sip.hang_up()

    async def asterisk_hangs_up(call: LiveCall) -> None:
        await play_with_marks(call.session, coded_pieces([160] * 10))
        await call.session.hangup()
        assert await call.sip.ended() == "asterisk"

    with bench_on(
        LabTarget(load_lab(plain_pbx.file("tcp.yaml", sip__transport="tcp"))), folder
    ) as bench:
        asyncio.run(place(bench, "caller-hangs-up", caller_hangs_up, Extension("any")))
        asyncio.run(place(bench, "asterisk-hangs-up", asterisk_hangs_up, Extension("any")))


def test_an_unpatched_pbx_is_judged_on_its_own_mark(build: Build, run_folder: Path) -> None:
    command: MarkCommand = "MARK_MEDIA"

    async def script(call: LiveCall) -> None:
        await play_with_marks(call.session, coded_pieces([160] * 25), command)

    folder = run_folder / "unpatched-pbx"
    with second_pbx(build, folder, False, build.stock_module) as pbx:
        code, output = checked(pbx.file(calls={}), folder / "check")
        assert code == EXIT_PASS, output
        assert "not patched: MARK_MEDIA will be judged" in output
        with bench_on(LabTarget(load_lab(pbx.file())), folder) as bench:
            assert not bench.capabilities.playback_marks
            call = asyncio.run(place(bench, "mark-media", script, Extension("any")))
        # What the stock driver does right and wrong is no affair of this test.
        assert [mark.id for mark in call.judged.marks] == [f"m{number}" for number in range(25)]


# ---- what it can do ------------------------------------------------------------------------------


def test_capabilities(pbx: Pbx, lab: Bench) -> None:
    able = lab.capabilities
    assert able.version == pbx.instance.version
    assert able.playback_marks
    assert able.connections == {"outgoing", "incoming"}
    assert able.bridges == {"dial", "conference", "ari", "ari of three"}
    assert able.lacks(Extension("a")) == ""
    assert able.lacks(Extension("a", codec="opus")) == "it has no codec opus"
    assert able.lacks(Extension("a", options="p")) == "it has no extension with the options p"


def test_without_ari_calls_that_need_it_are_refused_with_the_reason(plain_pbx: Pbx) -> None:
    folder = plain_pbx.folder / "without-ari"
    folder.mkdir()
    with bench_on(
        LabTarget(load_lab(plain_pbx.file("no-ari.yaml", ari=None, calls={}))), folder
    ) as bench:
        able = bench.capabilities
    assert able.playback_marks
    assert able.version == "unknown"
    assert "only ARI can tell" in able.lacks(Extension("a", connection="incoming"))
    assert "no ari" in able.lacks(Extension("a", bridge="ari"))


# ---- harness lab check ---------------------------------------------------------------------------


def test_check_finds_everything(pbx: Pbx) -> None:
    code, output = checked(pbx.file(), pbx.folder / "check")
    assert code == EXIT_PASS, output
    assert "FAIL" not in output
    assert output.count("call to marks-") == 16
    assert "MARK is supported" in output


def test_check_changes_nothing(plain_pbx: Pbx) -> None:
    configuration = plain_pbx.instance.directories.configuration
    before = {path: path.stat().st_mtime_ns for path in configuration.iterdir()}
    globals_before = plain_pbx.instance.console.run("dialplan show globals")
    checked(plain_pbx.file(), plain_pbx.folder / "check-again")
    assert {path: path.stat().st_mtime_ns for path in configuration.iterdir()} == before
    assert plain_pbx.instance.console.run("dialplan show globals") == globals_before


@pytest.mark.parametrize(
    ("changes", "step", "sentence"),
    [
        ({"sip__port": None}, "SIP OPTIONS", "answers SIP"),
        ({"sip__port": None, "sip__transport": "tcp"}, "SIP OPTIONS", "no SIP connection"),
        ({"sip__address": "no-such-host.invalid"}, "way to the PBX", "no way from here"),
        ({"sip__user": "somebody"}, "call to marks-", "refused the user 'somebody'"),
        ({"ari__user": "somebody"}, "ARI", "ari.conf"),
        ({"ari__uri": None}, "ARI", "cannot be reached"),
        ({"calls": {"codecs": ["alaw"]}}, "call to marks-alaw-", "no such extension"),
        ({"listen__port": None}, "call to marks-", "websocket_client.conf"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_check_names_the_first_thing_that_is_missing(
    plain_pbx: Pbx, changes: dict[str, Any], step: str, sentence: str
) -> None:
    free = free_port(HARNESS)
    for key in [key for key, value in changes.items() if value is None]:
        changes = {**changes, key: f"http://{HARNESS}:{free}/ari" if key == "ari__uri" else free}
    file = plain_pbx.file(f"wrong-{secrets.token_hex(4)}.yaml", **changes)
    code, output = checked(file, plain_pbx.folder / "wrong")
    assert code == EXIT_ENVIRONMENT
    [failed] = [line for line in output.splitlines() if line.startswith("FAIL")]
    assert failed.startswith(f"FAIL {step}"), output
    assert sentence in output
    assert "Traceback" not in output


def test_a_wrong_password_is_named(plain_pbx: Pbx, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SIP_PASSWORD, "wrong")
    code, output = checked(plain_pbx.file(), plain_pbx.folder / "wrong-password")
    assert code == EXIT_ENVIRONMENT
    assert "refused the user 'harness' with the password given" in output


def test_no_password_is_written_anywhere(pbx: Pbx, lab: Bench) -> None:
    console = Console(file=io.StringIO(), record=True, width=200)
    print_lines(pbx.file(), console)
    assert f"<the value of {SIP_PASSWORD}>" in console.export_text()
    for path in lab.folder.rglob("*"):
        if path.is_file():
            assert b"p-secret" not in path.read_bytes(), path
