"""Variants of chan_websocket.so, compiled from the sources that were built."""

from __future__ import annotations

import fcntl
import functools
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Concatenate, ParamSpec

import pytest

from harness.install.build import Build
from harness.install.driver_revision import MODULE

_FLAGS = (
    *("-shared", "-fPIC", "-pthread", '-DAST_MODULE="chan_websocket"'),
    *("-DAST_MODULE_SELF_SYM=__internal_chan_websocket_self", "-Wl,--version-script"),
    "-Wl,chan_websocket.exports",
)

_Arguments = ParamSpec("_Arguments")
_Builder = Callable[Concatenate[Build, _Arguments], Path]


def one_at_a_time(builder: _Builder[_Arguments]) -> _Builder[_Arguments]:
    """For what makes a variant: tests that want the same one run side by side."""

    @functools.wraps(builder)
    def locked(build: Build, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Path:
        folder = build.patched_module.parents[1]
        with (folder / f"{builder.__name__}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return builder(build, *args, **kwargs)

    return locked


def variant(build: Build, name: str) -> Path:
    """Where the variant of this name is, or is to be."""
    return build.patched_module.parents[1] / name / MODULE


def is_up_to_date(module: Path, made_from: Sequence[Path]) -> bool:
    """Whether nothing that a variant was made from has changed since."""
    changed = max(path.stat().st_mtime for path in (*made_from, Path(__file__)))
    return module.exists() and module.stat().st_mtime >= changed


def copy_sources(build: Build, folder: Path) -> None:
    """Make ``folder`` like Asterisk's channels/, with the module's sources and nothing else."""
    channels = build.source_dir / "channels"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(channels / "websocket", folder / "websocket")
    for name in ("chan_websocket.c", "chan_websocket.exports"):
        shutil.copy(channels / name, folder)


def compile_variant(build: Build, module: Path, channels: Path, flags: Sequence[str] = ()) -> None:
    """Compile ``channels``, a folder with the module's sources as Asterisk has them, to ``module``.

    The test fails, with the compiler's words, if they do not compile.
    """
    module.parent.mkdir(parents=True, exist_ok=True)
    libraries = subprocess.run(
        ["pkg-config", "--cflags", "libxml-2.0"], capture_output=True, text=True, check=True
    ).stdout.split()
    unfinished = module.with_suffix(".unfinished")
    sources = ["chan_websocket.c", *map(str, sorted(channels.glob("websocket/*.c")))]
    compiled = subprocess.run(
        [
            *("gcc", *_FLAGS, *flags, f"-I{build.source_dir / 'include'}", *libraries),
            *("-o", str(unfinished), *sources),
        ],
        cwd=channels,
        capture_output=True,
        text=True,
    )
    if compiled.returncode != 0:
        pytest.fail(f"{module.parent.name} does not compile:\n{compiled.stderr}", pytrace=False)
    unfinished.replace(module)
