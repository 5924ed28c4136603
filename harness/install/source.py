"""Getting Asterisk's source: the one the user names, the official release, or Debian's package.

Every archive is verified against a checksum before it is used, each time it is used: a file kept
from an earlier run may have rotted.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import tarfile
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from harness.errors import EnvironmentFault, InputFault

OFFICIAL_RELEASES = "https://downloads.asterisk.org/pub/telephony/asterisk/releases/"
CONNECT_TIMEOUT_S = 5.0
"""How long the official site may stay silent before the next source is tried."""

DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DEBIAN_SUITE = "sid"

Say = Callable[[str], None]


class NotAvailable(Exception):
    """This way of getting the source does not work here; the next one may."""


# --- patch series ---------------------------------------------------------------------------


@dataclass(frozen=True)
class PatchSeries:
    """Our patches for one driver revision, which is one content of chan_websocket.c."""

    name: str
    """the directory's name in patches/, such as 22.10"""
    releases: tuple[str, ...]
    """the releases that have this driver revision, such as 20.20, 22.10, 23.4"""
    release: str
    """the newest official one of them, such as 22.10.1"""
    chan_websocket_blob: str
    """git's blob id of the untouched channels/chan_websocket.c"""
    patches: tuple[Path, ...]
    """in the order in which they apply"""


def load_series(patches_dir: Path) -> tuple[PatchSeries, ...]:
    """All series below ``patches_dir`` (``<series>/BASE`` and ``<series>/series``), newest first.

    Where there is a BASE alone it has no patches. Raises InputFault when there is no series, or
    when a file is incomplete.
    """
    all_series = [_load_one_series(base.parent) for base in patches_dir.glob("*/BASE")]
    if not all_series:
        raise InputFault(
            f"no patch series in {patches_dir}: there is no <series>/BASE",
            "the repository is incomplete: check it out again",
        )
    return tuple(sorted(all_series, key=lambda series: _numbers(series.name), reverse=True))


def _load_one_series(directory: Path) -> PatchSeries:
    base = directory / "BASE"
    values: dict[str, str] = {}
    for number, line in enumerate(base.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        key, colon, value = line.partition(":")
        if not colon:
            raise InputFault(f"{base}:{number}: not a `key: value` line: {line!r}")
        values[key.strip()] = value.strip()
    for key in ("releases", "release", "chan_websocket_blob"):
        if not values.get(key):
            raise InputFault(f"{base}: there is no `{key}:` line")
    series = directory / "series"
    lines = series.read_text().splitlines() if series.exists() else []
    patches = tuple(directory / name for name in map(str.strip, lines) if name and name[0] != "#")
    for patch in patches:
        if not patch.is_file():
            raise InputFault(f"{series}: names {patch.name}, which is not there")
    return PatchSeries(
        name=directory.name,
        releases=tuple(values["releases"].split()),
        release=values["release"],
        chan_websocket_blob=values["chan_websocket_blob"],
        patches=patches,
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def git_blob_id(data: bytes) -> str:
    """The id git gives to a file with this content (40 hex digits)."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def choose_series(tree: Path, all_series: tuple[PatchSeries, ...]) -> PatchSeries:
    """The series for an untouched source ``tree``.

    The driver revision decides; an unknown one gets the newest series that applies.
    Raises InputFault when none does.
    """
    driver = tree / "channels/chan_websocket.c"
    if not driver.is_file():
        raise InputFault(
            f"{tree} has no channels/chan_websocket.c",
            "name an Asterisk source tree of release 20.16, 22.6, 23.0 or newer",
        )
    blob = git_blob_id(driver.read_bytes())
    for series in all_series:
        if series.chan_websocket_blob == blob:
            return series
    for series in all_series:
        if series.patches and _patches_apply(tree, series.patches):
            return series
    known = ", ".join(release for series in all_series for release in series.releases)
    raise InputFault(
        f"no patch series fits this Asterisk: its channels/chan_websocket.c is git blob {blob}",
        f"name an untouched source of one of these releases: {known}",
    )


def apply_patches(tree: Path, patches: tuple[Path, ...]) -> None:
    """Apply ``patches`` to ``tree`` in order, without fuzz. Raises InputFault at a failure."""
    for patch in patches:
        done = subprocess.run(
            ["patch", "-p1", "-F0", "--batch", "--silent", "--input", str(patch.absolute())],
            cwd=tree,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if done.returncode != 0:
            raise InputFault(f"{patch} does not apply:\n{done.stdout.rstrip()}")


def _patches_apply(tree: Path, patches: tuple[Path, ...]) -> bool:
    # A dry run of each patch alone would fail for one that builds on the one before, so they are
    # applied for real, to copies of just the files they touch.
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory)
        for patch in patches:
            for name in re.findall(r"^--- a/(\S+)", patch.read_text(), re.MULTILINE):
                if (tree / name).is_file():
                    (copy / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(tree / name, copy / name)
        try:
            apply_patches(copy, patches)
        except InputFault:
            return False
    return True


# --- sources ----------------------------------------------------------------------------------


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
            source = _debian_source(downloads, release)
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


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
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


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader, or an interruption, sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text)
    temporary.replace(path)


# --- the official release ---------------------------------------------------------------------


def download_release(site: str, version: str, downloads: Path) -> Path:
    """Download asterisk-<version>.tar.gz from ``site`` and verify it against the .sha256 beside it.

    Raises NotAvailable when the site or the release cannot be reached, or the checksum differs.
    """
    _check_name_resolves(site)
    name = f"asterisk-{version}.tar.gz"
    expected = _published_sha256(_fetch(f"{site}asterisk-{version}.sha256"), name)
    if expected is None:
        raise NotAvailable(f"asterisk-{version}.sha256 does not name {name}")
    content = _fetch(site + name)
    actual = hashlib.sha256(content).hexdigest()
    if actual != expected:
        raise NotAvailable(f"SHA-256 of {name} is {actual}, published is {expected}")
    partial = downloads / f"{name}.part"
    partial.write_bytes(content)
    return partial.replace(downloads / name)


def _fetch(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=CONNECT_TIMEOUT_S) as response:
            content: bytes = response.read()
            return content
    except (OSError, urllib.error.URLError) as problem:
        reason = getattr(problem, "reason", problem)
        raise NotAvailable(f"{urlsplit(url).hostname}: {reason}") from problem


def _check_name_resolves(site: str) -> None:
    """Give up on a resolver that does not answer: its own time-out can be a minute."""
    if urllib.request.getproxies().get(urlsplit(site).scheme):
        return  # the proxy resolves names
    host = urlsplit(site).hostname or ""
    answered = threading.Event()

    def resolve() -> None:
        try:
            socket.getaddrinfo(host, None)
        except OSError:
            pass  # the download itself reports it
        finally:
            answered.set()

    threading.Thread(target=resolve, daemon=True).start()
    if not answered.wait(CONNECT_TIMEOUT_S):
        raise NotAvailable(f"{host}: name not resolved within {CONNECT_TIMEOUT_S:.0f} s")


def _published_sha256(listing: bytes, name: str) -> str | None:
    """The checksum of ``name`` in the output of sha256sum, None when it is not listed."""
    for line in listing.decode("ascii", "replace").splitlines():
        match = re.fullmatch(r"([0-9a-fA-F]{64})[ *]+(?:.*/)?(\S+)", line.strip())
        if match and match[2] == name:
            return match[1].lower()
    return None


# --- Debian's source package ------------------------------------------------------------------


def _debian_source(downloads: Path, release: str | None) -> Source:
    """Debian's source package in ``downloads``/debian-<version>.

    It gets there when it is complete and the one that is wanted. Nothing that is kept is touched
    before.
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
    return _archive_source(
        f"Debian unstable's source package asterisk {version}",
        kept / asterisk,
        kept / pjproject if pjproject else None,
    )


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


def remove_folder(folder: Path) -> None:
    """Remove a folder if it is there. Raises OSError when it cannot be removed completely."""
    if folder.exists():
        shutil.rmtree(folder)


# --- unpacking --------------------------------------------------------------------------------


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
        raise InputFault(f"{source.asterisk} is no Asterisk source: it has no .version file")
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
