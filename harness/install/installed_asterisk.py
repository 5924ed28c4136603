"""The Asterisk that is installed: where it is, its console, and the headers that belong to it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.errors import EnvironmentFault, InputFault
from harness.install.driver_revision import MODULE

DISTRIBUTIONS_CONFIGURATION = Path("/etc/asterisk/asterisk.conf")
"""of the Asterisk below /usr and of no other one"""
CONSOLE_TIMEOUT_S = 30.0


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
        raise InputFault(f"{version!r} is not an Asterisk release")
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
        raise InputFault(f"{binary} -V prints {said!r}: it is not Asterisk")
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
