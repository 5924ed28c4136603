"""The patched chan_websocket.so for an Asterisk that is installed: ``make module``.

``build`` compiles it against the installed Asterisk's headers, from the matching release's own
source of the driver with the patch series applied. ``install`` puts it in the place of the stock
one, which it keeps beside it as chan_websocket.so.orig, and exchanges them in a running Asterisk
without a restart, once no call uses the driver. ``uninstall`` puts the stock one back. ``deb``
makes a Debian package of it.

It needs python3, gcc, patch and the headers, and no Python package.

Nothing is written before it is certain that the module fits: same release, same build options. A
module is never written over, always exchanged by a rename: the running process maps the old file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import EnvironmentFault, InputFault, as_fault
from harness.install import patch_tool
from harness.install.debian_package import make_deb
from harness.install.driver_revision import MODULE, OUR_FOLDER, Known, files_of, load_known
from harness.install.files import remove_folder, write_atomically
from harness.install.installed_asterisk import (
    Installed,
    build_option_sum,
    find_headers,
    find_installed,
    release_of,
    sums_in,
)
from harness.install.module_exchange import install, uninstall
from harness.install.source import Say, Source, get_source

FLAGS = (
    *("-shared", "-fPIC", "-pthread", "-O2", "-g", "-Wall", "-fvisibility=hidden"),
    '-DAST_MODULE="chan_websocket"',
    "-DAST_MODULE_SELF_SYM=__internal_chan_websocket_self",
)


@dataclass(frozen=True)
class Built:
    """A module that was built, and for which Asterisk."""

    version: str
    release: str
    option_sum: str
    series: str
    source: str
    """for the reader: where the driver's source came from"""
    sha256: str


def build(
    root: Path, place: Path, installed: Installed, named: Path | None, *, force: bool, say: Say
) -> Path:
    """Build the module for ``installed`` into the folder ``place``, which is replaced.

    ``root`` is the repository, ``named`` a directory or tarball with Asterisk's source; without one
    the official release or Debian's source package is taken. Raises a Fault.
    """
    compiler = shutil.which("gcc")
    for tool, path in (("gcc", compiler), ("patch", shutil.which("patch"))):
        if path is None:
            raise EnvironmentFault(
                f"there is no {tool}", "Debian: apt-get install gcc libc6-dev patch."
            )
    include = find_headers(installed)
    option_sum = build_option_sum((include / "asterisk/buildopts.h").read_text())
    say(
        f"Asterisk {installed.version}: {installed.binary}, modules in {installed.modules},"
        f" headers in {include}, build options {option_sum}"
    )
    known = load_known(root / "patches")
    remove_folder(place)
    tree = place / "source"
    tree.mkdir(parents=True)
    source = _get_source(root, installed.release, named, say)
    take_touched_files(source.asterisk, known, tree)
    _check_release(tree, source, installed)
    patch_tool.apply(tree, known, force=force)
    series = patch_tool.applied_series(tree, known)
    assert series is not None, "it has just been applied"
    say(f"compiling {MODULE} with series {series.name}")
    module = place / MODULE
    compile_module(tree / "channels", include, module)
    if option_sum not in sums_in(module.read_bytes()):
        raise EnvironmentFault(
            f"{module} has other build options than {installed.version}",
            "Another Asterisk's headers were found first: see CPATH and C_INCLUDE_PATH.",
        )
    built = Built(
        installed.version,
        installed.release,
        option_sum,
        series.name,
        source.origin,
        hashlib.sha256(module.read_bytes()).hexdigest(),
    )
    write_atomically(place / "module.json", json.dumps(asdict(built), indent=2) + "\n")
    return module


def _get_source(root: Path, release: str, named: Path | None, say: Say) -> Source:
    try:
        return get_source(named, None if named else release, release, root / "build/downloads", say)
    except EnvironmentFault as fault:
        raise EnvironmentFault(
            fault.what,
            f"Name the source of {release}: make module ASTERISK_SOURCE=<directory or tarball>.",
        ) from None


def take_touched_files(source: Path, known: Known, tree: Path, folder: str = "") -> None:
    """Copy what a series touches, the file with its version, and all below ``folder``.

    ``source`` is a directory or tarball with Asterisk's source. Raises InputFault.
    """
    wanted = {
        path for series in known.series for patch in series.patches
        for path in files_of(patch.read_text())
    }  # fmt: skip
    wanted.add(".version")
    if source.is_dir():
        for path in wanted:
            if (source / path).is_file():
                (tree / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / path, tree / path)
        if folder:
            shutil.copytree(source / folder, tree / folder)
        return
    try:
        with tarfile.open(source) as archive:
            for member in archive:
                path = member.name.removeprefix("./").partition("/")[2]
                takes = path in wanted or (folder and path.startswith(f"{folder}/"))
                content = archive.extractfile(member) if takes else None
                if content is not None:
                    (tree / path).parent.mkdir(parents=True, exist_ok=True)
                    (tree / path).write_bytes(content.read())
    except (tarfile.TarError, OSError, EOFError) as problem:
        raise InputFault(f"{source} cannot be read: {problem}") from None


def _check_release(tree: Path, source: Source, installed: Installed) -> None:
    file = tree / ".version"
    if not file.is_file():
        raise InputFault(
            f"{source.origin} has no .version file, so it cannot be checked that it is"
            f" {installed.release}",
            "Name the source of a release; a git checkout has no such file.",
        )
    version = file.read_text().strip()
    if release_of(version) != installed.release:
        raise InputFault(
            f"{source.origin} is Asterisk {version}, but installed is {installed.version}",
            f"Name the source of {installed.release}.",
        )


def compile_module(
    channels: Path, include: Path, module: Path, warnings: Sequence[str] = ()
) -> None:
    """Compile the driver and all of ours in a patched ``channels``. Raises InputFault."""
    sources = [
        "chan_websocket.c",
        *sorted(
            str(path.relative_to(channels)) for path in (channels.parent / OUR_FOLDER).glob("*.c")
        ),
    ]
    done = subprocess.run(
        [
            *("gcc", *FLAGS, *warnings, f"-ffile-prefix-map={channels}=channels", f"-I{include}"),
            *("-o", str(module), *sources),
        ],
        cwd=channels,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode != 0:
        lines = [line for line in done.stdout.splitlines() if "error" in line][:10]
        raise InputFault(
            f"{MODULE} does not compile:\n    " + "\n    ".join(lines or [done.stdout[-2000:]]),
            "Are all of Asterisk's headers and libc6-dev installed?",
        )
    if done.stdout:
        print(done.stdout, end="", file=sys.stderr)


def load_built(place: Path, installed: Installed) -> Path:
    """The module in ``place`` that was built for ``installed``. Raises InputFault."""
    module = place / MODULE
    try:
        values = json.loads((place / "module.json").read_text())
        built = Built(**values)
        intact = hashlib.sha256(module.read_bytes()).hexdigest() == built.sha256
    except (OSError, ValueError, TypeError):
        raise InputFault("no module has been built", "Run `make module` first.") from None
    if not intact:
        raise InputFault(f"{module} is not what was built", "Run `make module` again.")
    if built.version != installed.version:
        raise InputFault(
            f"{module} was built for Asterisk {built.version}; installed is {installed.version}",
            "Run `make module` again.",
        )
    return module


def main(arguments: Sequence[str] | None = None) -> int:
    """``python3 -m harness.install.module``; exit code 0, or 2 with the reason."""
    description = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="make module", description=description)
    parser.add_argument("action", choices=("build", "install", "uninstall", "deb"))
    parser.add_argument("--prefix", type=Path, help="where Asterisk is installed")
    parser.add_argument("--conf", type=Path, help="its asterisk.conf, if not the default")
    parser.add_argument("--source", type=Path, help="directory or tarball of Asterisk's source")
    parser.add_argument("--force", action="store_true", help="also a release never tried")
    options = parser.parse_args(arguments)
    root = Path(__file__).parents[2]
    place = root / "build/module"

    def say(line: str) -> None:
        print(line, flush=True)

    try:
        installed = find_installed(options.prefix, options.conf)
        if options.action == "build":
            module = build(root, place, installed, options.source, force=options.force, say=say)
            say(f"built: {module}\nnext, as root: make install-module, or make deb")
        elif options.action == "install":
            install(installed, load_built(place, installed), say)
        elif options.action == "uninstall":
            uninstall(installed, say)
        else:
            say(f"made: {make_deb(root, installed, load_built(place, installed), root / 'dist')}")
    except Exception as problem:
        print(as_fault(problem), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
