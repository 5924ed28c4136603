"""make deb, on Debian's packaged Asterisk in a container: installed and removed under a call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from live_calls import JSON

from harness.asterisk.container import ContainerInstance
from harness.bench import Bench, bench_on
from harness.errors import HarnessFault
from harness.install.container_image import Image, NoContainers, build_image, build_stage
from harness.install.driver_revision import MODULE
from harness.install.module_exchange import DIVERTED, PACKAGE
from harness.targets.target import OwnTarget

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BOOT_S = 60.0
STOCK, PATCHED = "MEDIA_MARK_PROCESSED", "MARK_PLAYED"
# What `make deb` reads of the repository, beside the module and its own code.
READ_BY_DEB = ("CHANGELOG.md", "LICENSE", "docs", "pyproject.toml")


@dataclass(frozen=True)
class Machine:
    """Debian's Asterisk, which takes calls, and the package that is to be installed there."""

    bench: Bench
    package: str
    image: Image

    def as_root(self, *command: str) -> str:
        """What a command prints as root on it."""
        container = self.bench.instance
        assert isinstance(container, ContainerInstance)
        return self.image.engine.run("exec", "--user", "0", container.name, *command)

    def modules(self) -> dict[str, str]:
        """The variants of the driver in its modules folder, by name, and their checksums."""
        listed = self.as_root("sh", "-c", "sha256sum /usr/lib/*/asterisk/modules/chan_websocket*")
        sums = (line.split() for line in listed.splitlines())
        return {Path(name).name: checksum for checksum, name in sums}

    def restart(self) -> None:
        """Restart Asterisk, not the machine."""
        instance = self.bench.instance
        with suppress(HarnessFault):  # the console goes with the old one
            instance.console.run("core restart now")
        instance.console.wait_fully_booted(instance.check_alive, BOOT_S)

    async def _call(self, name: str, answer: str, during: Callable[[], object]) -> None:
        async with self.bench.call(name, JSON, judged_later=True) as call:
            session = call.session
            for number in ("before", "after"):
                await session.send_media(bytes([0x55]) * 1600)
                if answer == PATCHED:
                    await session.mark(number)
                    await session.wait_event(answer, id=number)
                else:
                    await session.mark_media(number)
                    await session.wait_event(answer, correlation_id=number)
                if number == "before":
                    await asyncio.to_thread(during)
            await session.hangup()
            await session.wait_closed()

    def call(self, name: str, answer: str, during: Callable[[], object] = lambda: None) -> None:
        """A call whose marks get ``answer``, before and after what is done ``during`` it."""
        asyncio.run(self._call(name, answer, during))


@pytest.fixture
def machine(run_folder: Path, tmp_path: Path) -> Iterator[Machine]:
    try:
        image = build_image("packaged", ROOT)
    except NoContainers as fault:
        pytest.skip(f"THE DEBIAN PACKAGE IS NOT TESTED: {fault}")
    engine = image.engine
    mounts = [f"{ROOT / name}:/build/{name}:ro" for name in READ_BY_DEB]
    engine.run(
        *("run", "--rm", "--network", "none", "--security-opt", "label=disable"),
        *(word for mount in mounts for word in ("--volume", mount)),
        *("--volume", f"{tmp_path}:/build/dist"),
        *(build_stage("driver", ROOT, engine), "python3", "-B"),
        *("-m", "harness.install.module", "deb"),
    )
    [package] = tmp_path.glob(f"{PACKAGE}_*.deb")
    stock = replace(image, name=build_stage("stock", ROOT, engine))
    folder = run_folder / "debian-package"
    with (
        ContainerInstance(stock, folder) as instance,
        bench_on(OwnTarget(instance), folder) as bench,
    ):
        engine.run("cp", str(package), f"{instance.name}:/tmp/{package.name}")
        yield Machine(bench, f"/tmp/{package.name}", stock)


def test_from_installation_to_removal(machine: Machine) -> None:
    stock = machine.modules()
    said: list[str] = []

    def install() -> None:
        said.append(machine.as_root("dpkg", "--install", machine.package))

    machine.call("installed-during-a-call", STOCK, install)
    assert f"{PACKAGE}: the running Asterisk uses it after its next restart" in said[0]
    with_package = machine.modules()
    assert with_package.keys() == {MODULE, DIVERTED}
    assert with_package[DIVERTED] == stock[MODULE] != with_package[MODULE]
    machine.call("not-restarted-yet", STOCK)

    machine.restart()
    machine.call("with-the-package", PATCHED)
    machine.call("the-same-package-again", PATCHED, install)
    assert machine.modules() == with_package
    # dpkg knows whose each of them is; the base has no documents of any package.
    assert MODULE not in machine.as_root("dpkg", "--verify", PACKAGE, "asterisk-modules")

    machine.call(
        "removed-during-a-call", PATCHED, lambda: machine.as_root("dpkg", "--remove", PACKAGE)
    )
    assert machine.modules() == stock
    assert machine.as_root("dpkg-divert", "--list", PACKAGE) == ""
    machine.restart()
    machine.call("without-the-package", STOCK)
