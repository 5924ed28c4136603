"""What scenarios can be run on, by the names that the command line and the reports use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.asterisk.build import load_build
from harness.asterisk.container import ContainerInstance
from harness.asterisk.container_image import build_image
from harness.bench import Bench, bench, bench_on
from harness.errors import InputFault
from harness.lab import lab_bench, load_lab
from harness.target import OwnTarget

NATIVE = ("patched", "stock", "patched-tls", "stock-tls")
CONTAINERS = ("container-source", "container-packaged")
LAB_PREFIX = "lab:"


@dataclass(frozen=True)
class TargetName:
    """``patched`` and ``stock``: the harness's own build with either module, also with encrypted
    media connections (``-tls``). Or a container's flavour, or ``lab:<target file>``."""

    text: str

    def __post_init__(self) -> None:
        """Raises InputFault for a name that is none."""
        if self.text not in (*NATIVE, *CONTAINERS) and not self.text.startswith(LAB_PREFIX):
            raise InputFault(
                f"there is no target {self.text!r}",
                f"Use {', '.join((*NATIVE, *CONTAINERS))} or {LAB_PREFIX}FILE.",
            )

    @property
    def stock(self) -> bool:
        """Whether it is there to fail: the harness's own build with the stock module."""
        return self.text in ("stock", "stock-tls")

    @property
    def patched(self) -> bool:
        """Whether it was made with the patch, whatever it says of itself."""
        return not self.stock and self.lab_file is None

    @property
    def lab_file(self) -> Path | None:
        """The target file of a lab PBX."""
        if not self.text.startswith(LAB_PREFIX):
            return None
        return Path(self.text.removeprefix(LAB_PREFIX))

    def check(self) -> None:
        """Raises InputFault when its file cannot be used."""
        if self.lab_file is not None:
            load_lab(self.lab_file)

    @property
    def parallel(self) -> bool:
        """Whether several of it can be run at once: of a lab PBX there is but one."""
        return self.lab_file is None


@contextmanager
def open_target(name: TargetName, root: Path, folder: Path) -> Iterator[Bench]:
    """A bench on the target; what was started for it is stopped on leaving."""
    if name.lab_file is not None:
        with lab_bench(name.lab_file, folder) as b:
            yield b
    elif name.text in CONTAINERS:
        image = build_image(name.text.removeprefix("container-"), root, say=_say)
        with (
            ContainerInstance(image, folder) as instance,
            bench_on(OwnTarget(instance), folder) as b,
        ):
            yield b
    else:
        build = load_build(root)
        module = build.stock_module if name.stock else build.patched_module
        with bench(build, folder, module, tls=name.text.endswith("-tls")) as b:
            yield b


def _say(line: str) -> None:
    print(line, flush=True)
