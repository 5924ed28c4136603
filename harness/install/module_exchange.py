"""Exchanging the installed chan_websocket.so for the patched one, and back.

In a running Asterisk they are exchanged without a restart, once no call uses the driver. A module
is never written over, always exchanged by a rename: the running process maps the old file.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from harness.errors import EnvironmentFault, InputFault
from harness.install.driver_revision import MODULE
from harness.install.installed_asterisk import Installed, sums_in
from harness.install.source import Say

KEPT = MODULE + ".orig"
"""the stock module while ours is installed; Asterisk loads only what ends in .so"""
PACKAGE = "asterisk-playback-marks"
"""the Debian package of it, which `make deb` makes"""
DIVERTED = MODULE + ".stock"
"""the stock module while the Debian package is installed"""
MARK_OF_OURS = b"MARK_PLAYED"
"""the patched module has this text in it, a stock one does not"""
POLL_S = 0.5


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
                users = ["a channel that is just ending, or a caller with T.38 allowed"]
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
