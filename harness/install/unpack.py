"""Unpacking Asterisk's source into a tree of its own, as its build wants it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from harness.errors import InputFault
from harness.install.files import remove_folder
from harness.install.source import Source


def refuse_overlap(source: Source, folder: Path) -> None:
    """Raise InputFault if ``folder``, which is to be made anew, has the source in it or is in it.

    The source would be removed before it is read, or be copied into itself without end.
    """
    named, made = source.asterisk.resolve(), folder.resolve()
    if named.is_relative_to(made):
        raise InputFault(
            f"{named} cannot be the source: {made} is removed and made anew",
            "Name a copy of it that is elsewhere.",
        )
    if made.is_relative_to(named):
        raise InputFault(
            f"{named} cannot be the source: {made}, where it is to be copied, is in it",
            "Name a copy of it that is elsewhere, or move this repository out of it.",
        )


def unpack_source(source: Source, tree: Path, download_cache: Path) -> str:
    """Put an untouched Asterisk source tree at ``tree`` (replaced) and return its version.

    A pjproject that came with it is packed into ``download_cache`` the way Asterisk's build
    expects its download. Raises InputFault when the source cannot be unpacked.
    """
    refuse_overlap(source, tree)
    remove_folder(tree)
    if source.asterisk.is_dir():
        shutil.copytree(source.asterisk, tree, symlinks=True, ignore=shutil.ignore_patterns(".git"))
        if (tree / "makeopts").exists():
            # What the user configured and built there would be taken for ours.
            subprocess.run(["make", "distclean"], cwd=tree, capture_output=True)
        _write_version_of_checkout(source.asterisk, tree)
    else:
        _untar(source.asterisk, tree)
    if source.pjproject is not None:
        _untar(source.pjproject, tree / "Xpjproject")
    if (tree / "Xpjproject").is_dir():
        pack_pjproject(tree, download_cache)
    version_file = tree / ".version"
    if not version_file.is_file():
        raise InputFault(f"{source.asterisk} is not an Asterisk source: it has no .version file")
    return version_file.read_text().strip()


def _untar(archive: Path, directory: Path) -> None:
    directory.mkdir(parents=True)
    done = subprocess.run(
        ["tar", "-xf", str(archive), "-C", str(directory), "--strip-components=1"],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise InputFault(f"{archive} cannot be unpacked: {done.stderr.strip()}")


def _write_version_of_checkout(checkout: Path, tree: Path) -> None:
    """Only releases have a .version file, and our copy has no .git that could be asked."""
    if (tree / ".version").exists() or not (checkout / ".git").exists():
        return
    done = subprocess.run(
        ["build_tools/make_version", "."],
        cwd=checkout,
        env={**os.environ, "GREP": "grep", "AWK": "awk", "GIT": "git"},
        capture_output=True,
        text=True,
    )
    if done.returncode == 0 and done.stdout.strip():
        (tree / ".version").write_text(done.stdout.strip() + "\n")


def same_time(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """For `tarfile.TarFile.add`: who packs the same content at another time gets the same bytes."""
    member.mtime = 10**9
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def pack_pjproject(tree: Path, download_cache: Path) -> Path:
    """Pack ``tree``/Xpjproject as pjproject-<version>.tar.bz2 into ``download_cache``.

    Debian ships pjproject as a directory without its non-free parts; Asterisk's build wants the
    archive it would download, with its MD5 in third-party/pjproject. Returns the archive.
    """
    versions = (tree / "third-party/versions.mak").read_text()
    match = re.search(r"^PJPROJECT_VERSION\s*=\s*(\S+)", versions, re.MULTILINE)
    if match is None:
        raise InputFault(f"{tree}/third-party/versions.mak has no PJPROJECT_VERSION")
    name = f"pjproject-{match[1]}"
    unpacked = tree / "Xpjproject"
    audio = unpacked / "pjmedia/build/Makefile"
    if not (unpacked / "pjmedia/src/pjmedia-audiodev/bdimad_dev.c").exists():
        # One of the removed parts is still listed (Debian's patch pjproject_unbreak does the same).
        audio.write_text(audio.read_text().replace(" bdimad_dev.o", ""))

    download_cache.mkdir(parents=True, exist_ok=True)
    archive = download_cache / f"{name}.tar.bz2"
    # Level 1: it is read once, right after.
    with tarfile.open(archive, "w:bz2", compresslevel=1) as tar:
        tar.add(unpacked, arcname=name, filter=same_time)
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    md5_file = tree / f"third-party/pjproject/{archive.name}.md5"
    md5_file.write_text(f"{md5}  {archive.name}\n")
    shutil.rmtree(unpacked)
    return archive
