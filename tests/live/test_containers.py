"""Asterisk in containers, of both flavours: real calls, and what a container has to be."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest
from live_calls import PLAIN, ids, of, passing_call

from harness.application.marks import coded_pieces, play_with_marks, random_sizes
from harness.asterisk.container import LABEL, ContainerInstance
from harness.asterisk.process import AsteriskEnded
from harness.bench import Bench, LiveCall, bench_on
from harness.install.container_image import FLAVOURS, Image, NoContainers, build_image
from harness.targets.target import OwnTarget

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0


async def say_something(call: LiveCall) -> None:
    await call.session.start_buffering()
    await play_with_marks(call.session, coded_pieces(random_sizes(3, 24, 1, 1200)))


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for what the engine gives no notice of."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S:g} s: {what}"
        time.sleep(0.1)


@pytest.fixture(scope="module", params=FLAVOURS)
def image(request: pytest.FixtureRequest) -> Image:
    """An up-to-date image of each flavour; without an engine its tests are skipped."""
    try:
        return build_image(request.param, ROOT)
    except NoContainers as fault:
        pytest.skip(f"CONTAINERS ARE NOT TESTED: {fault}")


@pytest.fixture(scope="module")
def container(image: Image, run_folder: Path) -> Iterator[ContainerInstance]:
    """One that runs."""
    with ContainerInstance(image, run_folder / f"container-{image.flavour}") as instance:
        yield instance


@pytest.fixture(scope="module")
def bench(container: ContainerInstance) -> Iterator[Bench]:
    """Calls on it."""
    with bench_on(OwnTarget(container), container.folder) as bench:
        yield bench


def inside(image: Image, script: str) -> str:
    """What a shell in a container of the image prints."""
    return image.engine.run("run", "--rm", "--entrypoint", "sh", image.name, "-c", script)


def test_marks_on_a_real_call(bench: Bench) -> None:
    call = passing_call(bench, "marks", say_something)
    assert ids(of(call, "MARK_PLAYED")) == [f"m{number}" for number in range(24)]


def test_its_health_check_finds_it_healthy(image: Image, container: ContainerInstance) -> None:
    if image.engine.name == "podman":
        # Only systemd has it made at intervals.
        image.engine.run("healthcheck", "run", container.name)
    until(lambda: container.health != "starting", "a health check")
    assert container.health == "healthy"


def test_asterisk_is_process_1_and_not_root(container: ContainerInstance) -> None:
    status = Path(f"/proc/{container.pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    assert fields["Name"] == "asterisk"
    assert fields["NSpid"].split()[-1] == "1"
    assert "0" not in fields["Uid"].split()
    assert int(fields["CapEff"], 16) == 0


def test_its_log_is_in_the_folder_of_the_run(container: ContainerInstance) -> None:
    assert f"Asterisk {container.version} built" in container.log.read_text().splitlines()[0]


def test_no_compiler_is_in_the_image(image: Image) -> None:
    tools = "gcc cc clang c++ make ld as patch"
    assert inside(image, f"for tool in {tools}; do command -v $tool; done; true") == ""
    assert inside(image, "ls /build /usr/include/asterisk* 2>/dev/null; true") == ""


def test_labels_say_what_is_in_it(image: Image) -> None:
    def label(name: str) -> str:
        template = f'{{{{index .Config.Labels "{name}"}}}}'
        return image.engine.run("image", "inspect", "--format", template, image.name)

    assert inside(image, "asterisk -V") == "Asterisk " + label("org.opencontainers.image.version")
    assert label("playback-marks.flavour") == image.flavour
    assert inside(image, "cat /usr/share/playback-marks/patches") == label("playback-marks.patches")
    assert label("playback-marks.source")


def test_an_image_that_is_up_to_date_is_not_built_again(image: Image) -> None:
    said: list[str] = []
    assert build_image(image.flavour, ROOT, image.engine, say=said.append) == image
    assert not [line for line in said if "building" in line]


def test_sigterm_hangs_up_and_ends_with_0(image: Image, run_folder: Path) -> None:
    ended_by: list[str] = []

    async def call_until_the_end(bench: Bench, container: ContainerInstance) -> None:
        async with bench.call("terminated", PLAIN, judged_later=True) as call:
            await call.session.send_media(bytes(16000))
            image.engine.run("kill", "--signal", "TERM", container.name)
            ended_by.append(await call.sip.ended())

    folder = run_folder / f"container-{image.flavour}-terminated"
    with (
        pytest.raises(AsteriskEnded, match="exited with 0"),
        ContainerInstance(image, folder) as container,
        bench_on(OwnTarget(container), folder) as bench,
    ):
        asyncio.run(call_until_the_end(bench, container))
        until(lambda: not containers_of(os.getpid(), container.name), "the container is gone")
    assert ended_by == ["asterisk"]


def test_several_at_once(image: Image, patched: Bench, run_folder: Path) -> None:
    """Beside a native one, and another of the same image: each answers its own call."""

    async def call_each(benches: list[Bench]) -> list[list[object]]:
        async with AsyncExitStack() as stack:
            name = f"at-once-{image.flavour}"
            placed = [bench.call(name, PLAIN, judged_later=True) for bench in benches]
            calls = [await stack.enter_async_context(call) for call in placed]
            for number, call in enumerate(calls):
                await call.session.send_media(bytes(1600))
                await call.session.mark(number)
            for number, call in enumerate(calls):
                await call.session.wait_event("MARK_PLAYED", id=str(number))
            return [ids(of(call, "MARK_PLAYED")) for call in calls]

    with ExitStack() as stack:
        benches = [patched]
        for number in (1, 2):
            folder = run_folder / f"container-{image.flavour}-at-once-{number}"
            instance = stack.enter_context(ContainerInstance(image, folder))
            benches.append(stack.enter_context(bench_on(OwnTarget(instance), folder)))
        assert len({bench.instance.network.address for bench in benches}) == 3
        assert asyncio.run(call_each(benches)) == [["0"], ["1"], ["2"]]


_STARTS_ONE = """
import sys
from pathlib import Path
from harness.asterisk.container import ContainerInstance
from harness.install.container_image import build_image
image = build_image(sys.argv[1], Path(sys.argv[2]), say=lambda line: None)
with ContainerInstance(image, Path(sys.argv[3])):
    print("up", flush=True)
    sys.stdin.read()
"""


def containers_of(process: int, name: str = "") -> str:
    """The names of the containers that a harness of this process number has started."""
    listed = subprocess.run(
        [
            *(os.environ.get("CONTAINER_ENGINE", "docker"), "ps", "--all", "--quiet"),
            *("--filter", f"label={LABEL}={process}", "--filter", f"name={name}"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return listed.stdout.strip()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=lambda number: number.name)
def test_no_container_outlives_the_harness(
    image: Image, tmp_path: Path, number: signal.Signals
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _STARTS_ONE, image.flavour, str(ROOT), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as harness:
        assert harness.stdout is not None
        assert harness.stdout.readline() == "up\n"
        assert containers_of(harness.pid)
        harness.send_signal(number)
        harness.wait(DEADLINE_S)
        until(lambda: not containers_of(harness.pid), "the container is gone")
