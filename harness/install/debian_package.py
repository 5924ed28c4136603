"""A Debian package of the patched module, for exactly the installed package of Asterisk."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from harness.errors import EnvironmentFault, InputFault
from harness.install.driver_revision import MODULE
from harness.install.installed_asterisk import Installed
from harness.install.module_exchange import DIVERTED, KEPT, PACKAGE


def make_deb(root: Path, installed: Installed, module: Path, dist: Path) -> Path:
    """A package of the module, for exactly the installed package of Asterisk. Raises a Fault.

    It depends on that version, so that an upgrade of Asterisk removes it rather than leaving a
    module that does not fit; the stock module is diverted, so that dpkg knows of both.
    """
    if shutil.which("dpkg-deb") is None or shutil.which("dpkg-query") is None:
        raise EnvironmentFault("this is not Debian: there is no dpkg-deb")
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
