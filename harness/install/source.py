"""Getting Asterisk's source: the one the user names, the official release, or Debian's package.

Every archive is verified against a checksum before it is used, each time it is used: a file kept
from an earlier run may have rotted.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import EnvironmentFault, InputFault
from harness.install.debian_source import get_debian_source
from harness.install.download import NotAvailable, download_release
from harness.install.files import file_sha256, write_atomically

OFFICIAL_RELEASES = "https://downloads.asterisk.org/pub/telephony/asterisk/releases/"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Source:
    """Asterisk's source as it was got, not yet unpacked."""

    origin: str
    """for the reader: what it is and where it is from"""
    asterisk: Path
    """a source directory or an archive of one"""
    pjproject: Path | None
    """archive of the bundled pjproject; None when Asterisk's own build is to download it"""
    key: str
    """changes whenever the content changes"""


def get_source(
    named: Path | None, release: str | None, newest: str, downloads: Path, say: Say
) -> Source:
    """Get Asterisk's source and say in one line which one was taken and why not an earlier one.

    ``named`` is a directory or tarball of the user's; ``release`` one that the user insists on;
    ``newest`` the official release wanted when there is neither. Downloads go to ``downloads`` and
    are taken from there the next time. Raises InputFault or EnvironmentFault.
    """
    if named is not None:
        if release is not None:
            raise InputFault(
                f"a source ({named}) and a release ({release}) were both asked for",
                "give only one of them",
            )
        source = _named_source(named)
        say(f"source: {source.origin}")
        return source
    wanted = release or newest
    kept = _kept_source(downloads, wanted)
    if kept is not None:
        say(f"source: {kept.origin} (downloaded before, checksum verified)")
        return kept

    why = ["no source was named"]
    downloads.mkdir(parents=True, exist_ok=True)
    try:
        archive = download_release(OFFICIAL_RELEASES, wanted, downloads)
        source = _archive_source(f"official release {archive.name}", archive, None)
    except NotAvailable as problem:
        why.append(f"the official release {wanted} could not be had ({problem})")
        try:
            version, asterisk, pjproject = get_debian_source(downloads, release)
            origin = f"Debian unstable's source package asterisk {version}"
            source = _archive_source(origin, asterisk, pjproject)
        except NotAvailable as debian_problem:
            why.append(f"Debian's source package could not be had ({debian_problem})")
            raise EnvironmentFault(
                f"there is no Asterisk source: {'; '.join(why)}",
                "name one: make build ASTERISK_SOURCE=<directory or tarball>",
            ) from None
    say(f"source: {source.origin} ({'; '.join(why)})")
    _keep_source(downloads, wanted, source)
    return source


def _archive_source(origin: str, asterisk: Path, pjproject: Path | None) -> Source:
    parts = [file_sha256(part) for part in (asterisk, pjproject) if part is not None]
    return Source(origin, asterisk, pjproject, hashlib.sha256(" ".join(parts).encode()).hexdigest())


def _named_source(named: Path) -> Source:
    named = named.expanduser().absolute()
    if named.is_dir():
        if not (named / "channels/chan_websocket.c").is_file():
            raise InputFault(
                f"{named} has no channels/chan_websocket.c",
                "name the top directory of an Asterisk source tree, 20.16, 22.6, 23.0 or newer",
            )
        return Source(f"the directory {named}", named, None, _directory_key(named))
    if not named.is_file():
        raise InputFault(f"{named} does not exist", "name a directory or tarball of Asterisk")
    return _archive_source(f"the tarball {named}", named, None)


def _directory_key(directory: Path) -> str:
    """Sizes and times of all files, not their content: a tree of 100 MB must not take seconds."""
    digest = hashlib.sha256()
    for parent, folders, files in os.walk(directory):
        folders[:] = sorted(set(folders) - {".git"})
        for name in sorted(files):
            path = Path(parent, name)
            status = path.lstat()
            entry = f"{path.relative_to(directory)}\0{status.st_size}\0{status.st_mtime_ns}\n"
            digest.update(entry.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _keep_source(downloads: Path, wanted: str, source: Source) -> None:
    record = {
        "wanted": wanted,
        "origin": source.origin,
        "asterisk": str(source.asterisk.relative_to(downloads)),
        "pjproject": str(source.pjproject.relative_to(downloads)) if source.pjproject else None,
        "key": source.key,
    }
    # One for each wish: who asks for another release does not lose this one.
    write_atomically(downloads / f"source-{wanted}.json", json.dumps(record, indent=2) + "\n")


def _kept_source(downloads: Path, wanted: str) -> Source | None:
    """What an earlier run downloaded for the same wish, if it is still there unchanged."""
    records = (_recorded_source(file, wanted) for file in sorted(downloads.glob("source*.json")))
    return next((source for source in records if source is not None), None)


def _recorded_source(file: Path, wanted: str) -> Source | None:
    downloads = file.parent
    try:
        record = json.loads(file.read_text())
        if record["wanted"] != wanted:
            return None
        pjproject = downloads / record["pjproject"] if record["pjproject"] else None
        source = _archive_source(record["origin"], downloads / record["asterisk"], pjproject)
        return source if source.key == record["key"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
