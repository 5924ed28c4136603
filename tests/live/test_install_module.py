"""make module and make install-module, on an Asterisk that runs and has calls."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from live_calls import JSON, names

from harness.application.client import MediaSession
from harness.bench import Bench, LiveCall, bench
from harness.errors import EnvironmentFault
from harness.install import installed_asterisk, module_exchange
from harness.install import module as dropin
from harness.install.build import Build
from harness.install.installed_asterisk import Installed
from harness.install.module_exchange import KEPT

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow

FRAME = bytes([0x55]) * 160


def installed_as(folder: Path, build: Build, configuration: Path) -> Installed:
    """The build, as an installation with headers is laid out, with an instance's own modules."""
    (folder / "sbin").mkdir(parents=True)
    (folder / "sbin/asterisk").symlink_to(build.binary)
    (folder / "include").symlink_to(build.source_dir / "include")
    return installed_asterisk.find_installed(folder, configuration)


async def waiting(heard: list[str]) -> None:
    """Until the installation has said that it waits for a call."""

    async def wait() -> None:
        while not any(line.startswith("waiting for WebSocket/") for line in heard):
            await asyncio.sleep(0.05)

    await asyncio.wait_for(wait(), 20)


async def answered(session: MediaSession, name: str, count: int) -> None:
    """Media and a mark, and its answer, ``count`` times."""
    for number in range(count):
        await session.send_media(FRAME * 5)
        if name == "MARK_PLAYED":
            await session.mark(f"m{number}")
            await session.wait_event(name, id=f"m{number}")
        else:
            await session.mark_media(f"m{number}")
            await session.wait_event(name, correlation_id=f"m{number}")


async def exchange_during_a_call(
    bench: Bench, name: str, answer: str, exchange: Callable[[Callable[[str], None]], None]
) -> tuple[LiveCall, list[str]]:
    """Start an exchange of the module in a call, go on with the call, end it; what was said."""
    heard: list[str] = []
    async with bench.call(name, JSON) as call:
        await answered(call.session, answer, 2)
        work = asyncio.create_task(asyncio.to_thread(exchange, heard.append))
        await waiting(heard)
        await answered(call.session, answer, 5)
        assert not work.done()
        await call.session.hangup()
        await call.session.wait_closed()
        await work
    return call, heard


async def one_call(bench: Bench, name: str, answer: str) -> LiveCall:
    async with bench.call(name, JSON) as call:
        await answered(call.session, answer, 3)
    return call


def test_a_call_is_kept_while_the_module_waits(
    build: Build, run_folder: Path, tmp_path: Path
) -> None:
    folder = run_folder / "module"
    folder.mkdir()
    with bench(build, folder, build.stock_module) as stock:
        instance = stock.instance
        pid = instance.pid
        installed = installed_as(tmp_path, build, instance.folder / "etc/asterisk.conf")
        assert installed.modules == instance.folder / "modules"
        before = installed.module.read_bytes()

        place = tmp_path / "built"
        dropin.build(ROOT, place, installed, ROOT / "build/source/stock", force=False, say=print)
        made = dropin.load_built(place, installed)

        call, heard = asyncio.run(
            exchange_during_a_call(
                stock,
                "stock-call-is-waited-for",
                "MEDIA_MARK_PROCESSED",
                lambda say: module_exchange.install(installed, made, say),
            )
        )
        assert names(call.session.events) == ["MEDIA_MARK_PROCESSED"] * 7
        assert heard[-2:] == [
            "the running Asterisk has loaded it: playback marks",
            f"installed: {installed.module}; the stock module is kept as {KEPT}",
        ]
        assert installed.module.read_bytes() == made.read_bytes()
        assert (installed.modules / KEPT).read_bytes() == before

        asyncio.run(one_call(stock, "after-the-installation", "MARK_PLAYED"))

        call, heard = asyncio.run(
            exchange_during_a_call(
                stock,
                "patched-call-is-waited-for",
                "MARK_PLAYED",
                lambda say: module_exchange.uninstall(installed, say),
            )
        )
        assert names(call.session.events) == ["MARK_PLAYED"] * 7
        assert heard[-2] == "the running Asterisk has loaded it: no playback marks"
        assert installed.module.read_bytes() == before
        assert {path.name for path in installed.modules.glob("chan_websocket*")} == {
            "chan_websocket.so"
        }

        asyncio.run(one_call(stock, "after-taking-it-off", "MEDIA_MARK_PROCESSED"))
        assert instance.pid == pid
        instance.check_alive()


def test_a_module_that_does_not_load_is_taken_back(
    build: Build, run_folder: Path, tmp_path: Path
) -> None:
    folder = run_folder / "module-does-not-load"
    folder.mkdir()
    with bench(build, folder, build.stock_module) as stock:
        installed = installed_as(tmp_path, build, stock.instance.folder / "etc/asterisk.conf")
        before = installed.module.read_bytes()
        # It has the right sum of build options, but needs what is nowhere.
        broken = tmp_path / "broken.so"
        [options] = installed_asterisk.sums_in(before)
        (tmp_path / "broken.c").write_text(
            f'extern int nowhere(void); const char options[] = "{options}";'
            " int (*needed)(void) = nowhere;"
        )
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", broken, tmp_path / "broken.c"], check=True)
        with pytest.raises(EnvironmentFault, match="was put back and runs again"):
            module_exchange.install(installed, broken, print)
        assert installed.module.read_bytes() == before
        asyncio.run(one_call(stock, "after-the-module-did-not-load", "MEDIA_MARK_PROCESSED"))
