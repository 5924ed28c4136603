"""Debian's source package of Asterisk, by apt-get from the mirror the machine is configured for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from harness.install.download import NotAvailable
from harness.install.files import file_sha256, remove_folder

DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DEBIAN_SUITE = "sid"


def get_debian_source(downloads: Path, release: str | None) -> tuple[str, Path, Path | None]:
    """Download Debian's source package to ``downloads``/debian-<version>.

    Returns its version, the archive of Asterisk, and that of pjproject if there is one. ``release``
    is the official release it must be of, if one is insisted on. It gets there when it is complete
    and the one that is wanted; nothing that is kept is touched before. Raises NotAvailable.
    """
    mirrors = debian_mirrors(Path("/etc/apt"))
    if shutil.which("apt-get") is None or not mirrors:
        raise NotAvailable("this machine has no apt-get with a Debian mirror configured")
    new = downloads / "debian.new"
    problems = []
    try:
        for mirror in mirrors:
            remove_folder(new)
            try:
                _apt_get_source(mirror, new)
                break
            except NotAvailable as problem:
                problems.append(str(problem))
        else:
            raise NotAvailable("; ".join(dict.fromkeys(problems)))
        version, asterisk, pjproject = _verified_debian(new, release)
        kept = downloads / f"debian-{version}"
        remove_folder(kept)
        remove_folder(new / "apt")
        new.rename(kept)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return version, kept / asterisk, kept / pjproject if pjproject else None


def _verified_debian(directory: Path, release: str | None) -> tuple[str, str, str | None]:
    """The version in ``directory``, and the file names of Asterisk and, if it is there, pjproject.

    Raises NotAvailable unless all is there, unchanged, and of the release, if one is insisted on.
    """
    description = max(directory.glob("asterisk_*.dsc"), default=None)
    if description is None:
        raise NotAvailable("apt-get source brought no .dsc file")
    names = [part.name for part in verify_dsc(description)]
    asterisk = next((name for name in names if ".orig.tar." in name), None)
    pjproject = next((name for name in names if ".orig-Xpjproject.tar." in name), None)
    if asterisk is None:
        raise NotAvailable(f"{description.name} names no .orig.tar")
    version = description.stem.removeprefix("asterisk_")
    if release is not None and not version.startswith(
        (f"{release}+", f"{release}~", f"{release}-")
    ):
        raise NotAvailable(f"Debian unstable has {version}")
    return version, asterisk, pjproject


def debian_mirrors(apt_dir: Path) -> list[str]:
    """Mirrors of Debian's main archive in the machine's apt configuration, likeliest first.

    ``apt_dir`` is /etc/apt. Read are sources.list, *.list and deb822's *.sources; entries of other
    archives (security, third parties with suites of their own) are left out.
    """
    entries: list[tuple[str, list[str], list[str]]] = []
    folder = apt_dir / "sources.list.d"
    for path in [apt_dir / "sources.list", *sorted(folder.glob("*.list"))]:
        if path.is_file():
            entries += _one_line_entries(path.read_text())
    for path in sorted(folder.glob("*.sources")):
        entries += _deb822_entries(path.read_text())

    suites_of_debian = r"(old|oldold)?stable|testing|unstable|sid|[a-z]+(-updates|-backports)?"
    mirrors = [
        uri
        for uri, suites, components in entries
        if "main" in components
        and "security" not in uri
        and any(re.fullmatch(suites_of_debian, suite) for suite in suites)
    ]
    # "debian" in the path is the convention of the archive's mirrors; third parties use it rarely.
    return sorted(dict.fromkeys(mirrors), key=lambda uri: not uri.rstrip("/").endswith("/debian"))


def _one_line_entries(text: str) -> list[tuple[str, list[str], list[str]]]:
    entries = []
    for line in text.splitlines():
        match = re.match(r"\s*deb(?:-src)?\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)([^#]*)", line)
        if match:
            entries.append((match[1], [match[2]], match[3].split()))
    return entries


def _deb822_entries(text: str) -> list[tuple[str, list[str], list[str]]]:
    entries = []
    for stanza in re.split(r"\n\s*\n", text):
        fields = _deb822_fields(stanza)
        if fields.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        suites = fields.get("suites", "").split()
        components = fields.get("components", "").split()
        entries += [(uri, suites, components) for uri in fields.get("uris", "").split()]
    return entries


def _deb822_fields(stanza: str) -> dict[str, str]:
    """Field names in lower case, folded values joined by line feeds (deb822(5))."""
    fields: dict[str, str] = {}
    key = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace():
            fields[key] = f"{fields.get(key, '')}\n{line.strip()}"
        elif ":" in line:
            name, _, value = line.partition(":")
            key = name.strip().lower()
            fields[key] = value.strip()
    return fields


def _apt_get_source(mirror: str, directory: Path) -> None:
    """Download asterisk's source package of Debian unstable into ``directory``.

    apt gets a configuration and state of its own, so that the machine's are not touched. It
    verifies the files against the archive's signed index.
    """
    for name in ("lists/partial", "cache/archives/partial"):
        (directory / "apt" / name).mkdir(parents=True, exist_ok=True)
    signed_by = f"[signed-by={DEBIAN_KEYRING}] " if DEBIAN_KEYRING.exists() else ""
    sources = directory / "apt/sources.list"
    sources.write_text(f"deb-src {signed_by}{mirror} {DEBIAN_SUITE} main\n")
    options = {
        "Dir::Etc::SourceList": str(sources.absolute()),
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": str((directory / "apt/lists").absolute()),
        "Dir::Cache": str((directory / "apt/cache").absolute()),
        # A mirror that is frozen on purpose serves an index past its Valid-Until.
        "Acquire::Check-Valid-Until": "false",
        "Acquire::Languages": "none",
        "Acquire::Retries": "1",
        "Acquire::http::Timeout": "20",
        "Acquire::https::Timeout": "20",
    }
    if os.geteuid() == 0:
        # apt's own user may not be able to write below the user's directories.
        options["APT::Sandbox::User"] = "root"
    command = ["apt-get", "-qq"]
    for key, value in options.items():
        command += ["-o", f"{key}={value}"]
    for arguments in (["update"], ["source", "--download-only", "--only-source", "asterisk"]):
        done = subprocess.run(
            [*command, *arguments],
            cwd=directory,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        # `apt-get update` ends with 0 and a warning when it could not reach the archive; then
        # `source` fails.
        if done.returncode != 0:
            lines = [line for line in done.stdout.splitlines() if line.startswith(("E:", "W:"))]
            reason = lines[0] if lines else f"exit status {done.returncode}"
            raise NotAvailable(f"apt-get {arguments[0]}: {reason}")


def verify_dsc(description: Path) -> list[Path]:
    """The files a .dsc lists, beside it, each verified against its SHA-256.

    Raises NotAvailable when one is missing or differs.
    """
    match = re.search(
        r"^Checksums-Sha256:[ ]*\n((?: .*\n)+)", description.read_text(), re.MULTILINE
    )
    if match is None:
        raise NotAvailable(f"{description.name} has no Checksums-Sha256")
    parts = []
    for line in match[1].splitlines():
        expected, _size, name = line.split()
        part = description.parent / Path(name).name
        if not part.is_file():
            raise NotAvailable(f"{name} is missing")
        if file_sha256(part) != expected:
            raise NotAvailable(f"SHA-256 of {name} differs from {description.name}")
        parts.append(part)
    return parts
