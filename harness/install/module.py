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
import contextlib
import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import EnvironmentFault, InputFault, as_fault
from harness.install import patch_tool
from harness.install.patches import OUR_FOLDER, files_of
from harness.install.source import Source, get_source, remove_folder, write_atomically

MODULE = "chan_websocket.so"
KEPT = MODULE + ".orig"
"""the stock module while ours is installed; Asterisk loads only what ends in .so"""
PACKAGE = "asterisk-playback-marks"
DIVERTED = MODULE + ".stock"
"""the stock module while the Debian package is installed"""
MARK_OF_OURS = b"MARK_PLAYED"
"""the patched module has this text in it, a stock one does not"""
DISTRIBUTIONS_CONFIGURATION = Path("/etc/asterisk/asterisk.conf")
"""of the Asterisk below /usr and of no other one"""
POLL_S = 0.5
CONSOLE_TIMEOUT_S = 30.0

FLAGS = (
    *("-shared", "-fPIC", "-pthread", "-O2", "-g", "-Wall", "-fvisibility=hidden"),
    '-DAST_MODULE="chan_websocket"',
    "-DAST_MODULE_SELF_SYM=__internal_chan_websocket_self",
)

Say = Callable[[str], None]


# --- the installed Asterisk -----------------------------------------------------------------------


@dataclass(frozen=True)
class Installed:
    """An installed Asterisk; paths are absolute."""

    binary: Path
    configuration: Path | None
    """its asterisk.conf, None for the one it uses by itself"""
    version: str
    """what it says of itself, such as 22.10.1+dfsg+~cs6.17.60671434-1"""
    release: str
    """the official release in that, such as 22.10.1"""
    modules: Path
    """the folder of its modules"""

    @property
    def module(self) -> Path:
        """Its chan_websocket.so."""
        return self.modules / MODULE

    def console(self, command: str) -> str | None:
        """The answer to a console command, None when it is not running."""
        configured = ["-C", str(self.configuration)] if self.configuration else []
        try:
            done = subprocess.run(
                [str(self.binary), *configured, "-rx", command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=CONSOLE_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise EnvironmentFault(
                f"Asterisk does not answer {command!r} on its console"
                f" within {CONSOLE_TIMEOUT_S:.0f} s",
                "Nothing more was done. Is the process hung?",
            ) from None
        if "Unable to connect to remote asterisk" in done.stdout:
            return None
        return done.stdout


def release_of(version: str) -> str:
    """The official release in a version as distributions write it. Raises InputFault."""
    match = re.match(r"(certified[-/])?\d+\.\d+[\d.]*(-cert\d+)?([-~]rc\d+)?", version)
    if match is None:
        raise InputFault(f"{version!r} is no Asterisk release")
    return match[0].replace("~", "-").replace("/", "-")


def find_installed(prefix: Path | None, configuration: Path | None) -> Installed:
    """The Asterisk below ``prefix``, else the one in the PATH or in the usual places.

    ``configuration`` is the asterisk.conf of one that does not use its default. Raises a Fault.
    """
    binary = _find_binary(prefix)
    try:
        said = subprocess.run([str(binary), "-V"], capture_output=True, text=True).stdout
    except OSError as problem:
        raise InputFault(f"{binary} cannot be run: {problem.strerror}") from None
    match = re.match(r"Asterisk (\S+)", said)
    if match is None:
        raise InputFault(f"{binary} -V says {said!r}, which is no Asterisk")
    if configuration is not None and not configuration.is_file():
        raise InputFault(f"{configuration} does not exist", "Name the instance's asterisk.conf.")
    found = Installed(binary, configuration, match[1], release_of(match[1]), Path())
    return Installed(
        binary, configuration, found.version, found.release, _module_folder(found).absolute()
    )


def _find_binary(prefix: Path | None) -> Path:
    if prefix is not None:
        binary = prefix / "sbin/asterisk"
        if not binary.is_file():
            raise InputFault(
                f"there is no {binary}", "ASTERISK is the prefix, such as /usr or /opt/asterisk."
            )
        return binary.absolute()
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which("asterisk", path=places)
    if found is None:
        raise InputFault(
            "no Asterisk is installed here, neither in the PATH nor in /usr or /usr/local",
            "Name its prefix: ASTERISK=/opt/asterisk.",
        )
    return Path(found).absolute()


def _module_folder(installed: Installed) -> Path:
    """Where its modules are: what it says if it is running, else what is configured."""
    settings = installed.console("core show settings") or ""
    if match := re.search(r"^\s*Module directory:\s*(\S+)", settings, re.MULTILINE):
        return Path(match[1])
    prefix = installed.binary.parents[1]
    for file in _configurations(installed):
        text = file.read_text(errors="replace") if file.is_file() else ""
        if match := re.search(r"^\s*astmoddir\s*=>?\s*([^\s;]+)", text, re.MULTILINE):
            return Path(match[1])
    found = sorted(prefix.glob(f"lib*/**/asterisk/modules/{MODULE}"))
    if not found:
        raise InputFault(
            f"the modules of {installed.binary} cannot be found",
            "Start it, or name its asterisk.conf with ASTERISK_CONF; astmoddir must be in it.",
        )
    return found[0].parent


def _configurations(installed: Installed) -> list[Path]:
    """The files that may say where its modules are; never one of another Asterisk."""
    if installed.configuration:
        return [installed.configuration]
    own = [installed.binary.parents[1] / "etc/asterisk/asterisk.conf"]
    # Resolved: /sbin leads to /usr/sbin, and a link in /usr/sbin may lead to another Asterisk.
    if installed.binary.resolve().parents[1] == Path("/usr"):
        own.append(DISTRIBUTIONS_CONFIGURATION)
    return own


def find_headers(installed: Installed) -> Path:
    """The include folder of exactly this Asterisk. Raises a Fault.

    Asterisk keeps a checksum of the options that it was built with in its headers and in every
    module, and does not load a module with another one.
    """
    include = installed.binary.parents[1] / "include"
    options = include / "asterisk/buildopts.h"
    if not options.is_file():
        raise EnvironmentFault(
            f"the headers of Asterisk {installed.version} are missing: there is no {options}",
            "Debian: apt-get install asterisk-dev. Built from source: make install-headers there.",
        )
    wanted = build_option_sum(options.read_text())
    example = next(
        (
            path
            for path in (installed.module, *sorted(installed.modules.glob("*.so")))
            if path.is_file()
        ),
        None,
    )
    if example is None:
        raise InputFault(f"{installed.modules} has no modules", "Is Asterisk installed completely?")
    actual = sums_in(example.read_bytes())
    if wanted not in actual:
        raise EnvironmentFault(
            f"the headers in {include} are of another build of Asterisk: their build options have"
            f" the sum {wanted}, the installed {example.name} has {', '.join(actual) or 'none'}",
            f"Install the headers that belong to Asterisk {installed.version}.",
        )
    return include


def build_option_sum(text: str) -> str:
    """AST_BUILDOPT_SUM in buildopts.h. Raises InputFault."""
    match = re.search(r'#define AST_BUILDOPT_SUM "([0-9a-f]{32})"', text)
    if match is None:
        raise InputFault("asterisk/buildopts.h has no AST_BUILDOPT_SUM", "It is not Asterisk's.")
    return match[1]


def sums_in(module: bytes) -> list[str]:
    """What may be the sum of the build options in a module: texts of 32 hexadecimal digits."""
    return [found.decode() for found in re.findall(rb"(?<![0-9a-f])([0-9a-f]{32})\0", module)]


# --- building -------------------------------------------------------------------------------------


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
    known = patch_tool.load_known(root / "patches")
    remove_folder(place)
    tree = place / "source"
    tree.mkdir(parents=True)
    source = _get_source(root, installed.release, named, say)
    _take_touched_files(source, known, tree)
    _check_release(tree, source, installed)
    patch_tool.apply(tree, known, force=force)
    series = patch_tool.applied_series(tree, known)
    assert series is not None, "it has just been applied"
    say(f"compiling {MODULE} with series {series.name}")
    module = place / MODULE
    _compile(tree / "channels", include, module)
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


def _take_touched_files(source: Source, known: patch_tool.Known, tree: Path) -> None:
    """Copy from the source what a series touches, and the file with its version."""
    wanted = {
        path for series in known.series for patch in series.patches
        for path in files_of(patch.read_text())
    }  # fmt: skip
    wanted.add(".version")
    if source.asterisk.is_dir():
        for path in wanted:
            if (source.asterisk / path).is_file():
                (tree / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source.asterisk / path, tree / path)
        return
    try:
        with tarfile.open(source.asterisk) as archive:
            for member in archive:
                path = member.name.removeprefix("./").partition("/")[2]
                content = archive.extractfile(member) if path in wanted else None
                if content is not None:
                    (tree / path).parent.mkdir(parents=True, exist_ok=True)
                    (tree / path).write_bytes(content.read())
    except (tarfile.TarError, OSError, EOFError) as problem:
        raise InputFault(f"{source.asterisk} cannot be read: {problem}") from None


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


def _compile(channels: Path, include: Path, module: Path) -> None:
    sources = [
        "chan_websocket.c",
        *sorted(
            str(path.relative_to(channels)) for path in (channels.parent / OUR_FOLDER).glob("*.c")
        ),
    ]
    done = subprocess.run(
        [
            *("gcc", *FLAGS, f"-ffile-prefix-map={channels}=channels", f"-I{include}"),
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


# --- installing -----------------------------------------------------------------------------------


def is_ours(module: Path) -> bool:
    """Whether this is a patched module, of any version."""
    return MARK_OF_OURS in module.read_bytes()


def install(installed: Installed, module: Path, say: Say) -> None:
    """Exchange the installed module for ``module``; waits for calls. Raises a Fault."""
    _check_not_packaged(installed)
    options = sums_in(module.read_bytes())
    if installed.module.is_file():
        if not set(options) & set(sums_in(installed.module.read_bytes())):
            raise InputFault(
                f"{module} has other build options than the installed {installed.module}",
                "Run `make module` again: Asterisk was exchanged since.",
            )
        same = installed.module.read_bytes() == module.read_bytes()
        if same and (installed.console("core show version") is None or _marks(installed)):
            say(f"already installed: {installed.module}")
            return
    new = _prepare(module, installed)
    kept = installed.modules / KEPT
    try:
        _exchange(installed, new, say, keep_stock=True)
    finally:
        new.unlink(missing_ok=True)
    if kept.is_file():
        say(f"installed: {installed.module}; the stock module is kept as {kept.name}")
    else:
        say(f"installed: {installed.module}; no stock module was here to be kept as {kept.name}")


def uninstall(installed: Installed, say: Say) -> None:
    """Put the stock module back; waits for calls. Raises a Fault."""
    _check_not_packaged(installed)
    kept = installed.modules / KEPT
    if installed.module.is_file() and not is_ours(installed.module):
        kept.unlink(missing_ok=True)  # of an Asterisk that has been upgraded since
        say(f"{installed.module} is a stock module: there is nothing to take off")
        return
    if not kept.is_file():
        raise InputFault(
            f"the stock module is not there: no {kept}",
            "Install Asterisk's own package or `make install` again to get it.",
        )
    new = _prepare(kept, installed)
    try:
        _exchange(installed, new, say)
    finally:
        new.unlink(missing_ok=True)
    kept.unlink()
    say(f"taken off: {installed.module} is the stock module again")


def _prepare(module: Path, installed: Installed) -> Path:
    """A copy beside the installed module, to be renamed later; here it fails if it is to fail."""
    new = installed.modules / (MODULE + ".new")
    try:
        shutil.copy2(module, new)
        new.chmod(0o644 if not installed.module.exists() else installed.module.stat().st_mode)
    except OSError as problem:
        new.unlink(missing_ok=True)
        raise EnvironmentFault(
            f"{installed.modules} cannot be written: {problem.strerror}",
            "Nothing was changed. Run it as root.",
        ) from None
    return new


def _keep_stock(installed: Installed) -> None:
    """Keep the stock module under its other name, if it is the stock one that is installed."""
    if installed.module.is_file() and not is_ours(installed.module):
        kept = installed.modules / KEPT
        kept.unlink(missing_ok=True)
        os.link(installed.module, kept)


def _exchange(installed: Installed, new: Path, say: Say, *, keep_stock: bool = False) -> None:
    """Rename ``new`` into place, and have a running Asterisk use it once it is unused."""
    running = installed.console("core show version")
    if running is not None and f"Asterisk {installed.version} " not in running:
        raise InputFault(
            f"the running Asterisk is another one than {installed.binary}: {running.strip()}",
            "Restart it, so that the installed one runs.",
        )
    loaded = running is not None and _is_loaded(installed)
    told = ""
    while True:
        with _undisturbed():
            users = _users(installed) if loaded else []
            if not users and loaded and not _unload(installed):
                users = ["a channel that is just ending"]
            if not users:
                if keep_stock:
                    _keep_stock(installed)
                _switch(installed, new, loaded=loaded)
                break
        text = ", ".join(users[:3]) + (f" and {len(users) - 3} more" if len(users) > 3 else "")
        if text != told:
            say(f"waiting for {text} to end; until then Ctrl-C leaves all as it was")
            told = text
        time.sleep(POLL_S)  # Asterisk's console has nothing that could be waited on
    if loaded:
        marks = "playback marks" if _marks(installed) else "no playback marks"
        say(f"the running Asterisk has loaded it: {marks}")
    elif running is not None:
        say(f"the running Asterisk had not loaded {MODULE}, and still has not")
    else:
        say("Asterisk is not running")


def _switch(installed: Installed, new: Path, *, loaded: bool) -> None:
    """Rename ``new`` into place and load it if the former one was loaded, or take all back."""
    former = installed.modules / (MODULE + ".former")
    former.unlink(missing_ok=True)
    if installed.module.is_file():
        os.link(installed.module, former)
    new.replace(installed.module)
    try:
        if loaded and not _load(installed):
            former.replace(installed.module)
            back = "runs again" if _load(installed) else "does not load either"
            raise EnvironmentFault(
                f"Asterisk did not load the new {MODULE}; the former one was put back and {back}",
                "Asterisk's log says why.",
            )
    finally:
        former.unlink(missing_ok=True)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C waits: it must not come while Asterisk is without the module."""
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)


def _users(installed: Installed) -> list[str]:
    """The channels that use the module.

    A stock module counts none of them: it lets itself be unloaded under a call, and Asterisk then
    crashes. So the list of channels is looked at, immediately before. A call that begins in the
    milliseconds between is not seen. Ours counts them, and refuses.
    """
    channels = installed.console("core show channels concise")
    if channels is None:
        raise EnvironmentFault("Asterisk has ended while its calls were waited for")
    names = [line.partition("!")[0] for line in channels.splitlines()]
    return [name for name in names if name.startswith("WebSocket/")]


def _unload(installed: Installed) -> bool:
    installed.console(f"module unload {MODULE}")
    return not _is_loaded(installed)


def _is_loaded(installed: Installed) -> bool:
    shown = installed.console(f"module show like {MODULE}") or ""
    return re.search(rf"^{re.escape(MODULE)} .* Running ", shown, re.MULTILINE) is not None


def _load(installed: Installed) -> bool:
    installed.console(f"module load {MODULE}")
    return _is_loaded(installed)


def _marks(installed: Installed) -> bool:
    """Whether the loaded module is a patched one: it has a console command of its own."""
    said = installed.console("websocket show playback")
    return said is not None and "No such command" not in said


def _check_not_packaged(installed: Installed) -> None:
    if (installed.modules / DIVERTED).exists():
        raise InputFault(
            f"{installed.module} belongs to the Debian package {PACKAGE}",
            f"apt-get remove {PACKAGE} first.",
        )


# --- Debian package -------------------------------------------------------------------------------


def make_deb(root: Path, installed: Installed, module: Path, dist: Path) -> Path:
    """A package of the module, for exactly the installed package of Asterisk. Raises a Fault.

    It depends on that version, so that an upgrade of Asterisk removes it rather than leaving a
    module that does not fit; the stock module is diverted, so that dpkg knows of both.
    """
    if shutil.which("dpkg-deb") is None or shutil.which("dpkg-query") is None:
        raise EnvironmentFault("this is no Debian: there is no dpkg-deb")
    owner = _owner(installed)
    version, architecture = _output(
        "dpkg-query", "--show", "--showformat=${Version} ${Architecture}", owner
    ).split()
    package_version = f"{_project_version(root)}+asterisk{installed.release}"
    scripts = {name: text.format(**_places(installed)) for name, text in _SCRIPTS.items()}
    control = _CONTROL.format(
        package=PACKAGE,
        version=package_version,
        architecture=architecture,
        owner=owner,
        owner_version=version,
        size=(module.stat().st_size + 1023) // 1024,
    )
    dist.mkdir(exist_ok=True)
    target = dist / f"{PACKAGE}_{package_version}_{architecture}.deb"
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "package")
        place = tree / installed.modules.relative_to("/") / MODULE
        documents = tree / "usr/share/doc" / PACKAGE
        for parent in (place.parent, documents, tree / "DEBIAN"):
            parent.mkdir(parents=True)
        shutil.copyfile(module, place)
        shutil.copyfile(root / "LICENSE", documents / "copyright")
        shutil.copyfile(root / "docs/protocol.md", documents / "protocol.md")
        (documents / "changelog.gz").write_bytes(
            gzip.compress((root / "CHANGELOG.md").read_bytes(), mtime=0)
        )
        (tree / "DEBIAN/control").write_text(control)
        for name, text in scripts.items():
            (tree / "DEBIAN" / name).write_text(text)
        for path in tree.rglob("*"):
            path.chmod(0o755 if path.is_dir() or path.name in scripts else 0o644)
        tree.chmod(0o755)
        # The same module makes the same package, whenever it is made.
        environment = {**os.environ, "SOURCE_DATE_EPOCH": "0"}
        command = ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(target)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise EnvironmentFault(f"dpkg-deb: {done.stderr.strip()}")
    return target


def _owner(installed: Installed) -> str:
    """The package that the stock module belongs to. Raises InputFault."""
    # By pattern: the path in the package may be another one, where /usr is merged.
    for line in _output("dpkg-query", "--search", f"*/asterisk/modules/{MODULE}").splitlines():
        packages, _, path = line.partition(": ")
        if path.endswith(f"/{MODULE}") and not line.startswith("diversion by"):
            for name in packages.split(", "):
                if name != PACKAGE:
                    return name
    raise InputFault(
        f"{installed.module} does not belong to a package",
        "For an Asterisk built from source: make install-module.",
    )


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def _project_version(root: Path) -> str:
    match = re.search(r'^version = "([^"]+)"', (root / "pyproject.toml").read_text(), re.MULTILINE)
    assert match is not None, "pyproject.toml has no version"
    return match[1]


def _places(installed: Installed) -> dict[str, str]:
    folder = installed.modules
    return {
        "package": PACKAGE,
        "module": str(folder / MODULE),
        "diverted": str(folder / DIVERTED),
        "kept": str(folder / KEPT),
    }


_CONTROL = """\
Package: {package}
Version: {version}
Architecture: {architecture}
Maintainer: {package} <root@localhost>
Depends: {owner} (= {owner_version})
Installed-Size: {size}
Section: comm
Priority: optional
Description: playback acknowledgements for Asterisk's WebSocket channel
 chan_websocket.so with MARK, answered by MARK_PLAYED when the media before it
 has been played. It takes the place of the one in {owner}, which is
 kept, and fits only that version.
"""

_SCRIPTS = {
    "preinst": """\
#!/bin/sh
set -e
if [ -e '{kept}' ]; then
    echo '{package}: make uninstall-module first: {kept} is there' >&2
    exit 1
fi
case "$1" in install|upgrade)
    dpkg-divert --package {package} --add --rename --divert '{diverted}' '{module}'
esac
""",
    "postinst": """\
#!/bin/sh
set -e
if [ "$1" = configure ] && pidof asterisk >/dev/null; then
    echo '{package}: the running Asterisk uses it after its next restart'
fi
""",
    "postrm": """\
#!/bin/sh
set -e
case "$1" in remove|abort-install|disappear)
    dpkg-divert --package {package} --remove --rename --divert '{diverted}' '{module}'
esac
""",
}


# --- command line ---------------------------------------------------------------------------------


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
