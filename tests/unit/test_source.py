"""Getting Asterisk's source: patch series, checksums, mirrors, and which source is taken when."""

from __future__ import annotations

import hashlib
import http.server
import io
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import EnvironmentFault, InputFault
from harness.install import debian_source
from harness.install import source as source_module
from harness.install.debian_source import debian_mirrors, verify_dsc
from harness.install.download import NotAvailable, download_release
from harness.install.driver_revision import apply_patches, choose_series, git_blob_id, load_series
from harness.install.source import Source, get_source
from harness.install.unpack import pack_pjproject, unpack_source

DRIVER = b"one\ntwo\nthree\n"


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def source_tree(root: Path, driver: bytes = DRIVER) -> Path:
    write(root / "channels/chan_websocket.c", driver)
    write(root / ".version", "22.10.1\n")
    return root


def tarball(tree: Path, archive: Path) -> Path:
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tree, arcname="asterisk-22.10.1")
    return archive


def diff(name: str, before: str, after: str) -> str:
    """A one-line change of the second line of a three-line file."""
    return f"--- a/{name}\n+++ b/{name}\n@@ -1,3 +1,3 @@\n one\n-{before}\n+{after}\n three\n"


def series_folder(patches: Path, name: str, blob: str, series: dict[str, str]) -> None:
    write(
        patches / name / "BASE",
        f"# a comment\nreleases: {name}\nrelease: {name}.1\nchan_websocket_blob: {blob}\n",
    )
    write(patches / name / "series", "\n".join(series) + "\n")
    for file_name, text in series.items():
        write(patches / name / file_name, text)


# --- patch series ---------------------------------------------------------------------------


def test_git_blob_id_is_gits() -> None:
    assert git_blob_id(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_rounds_are_loaded_newest_first_by_number_not_by_text(tmp_path: Path) -> None:
    for name in ("22.9", "22.10", "20.19"):
        series_folder(tmp_path, name, "0" * 40, {"0002-b.patch": "", "0001-a.patch": ""})
    all_series = load_series(tmp_path)
    assert [series.name for series in all_series] == ["22.10", "22.9", "20.19"]
    assert all_series[0].release == "22.10.1"
    assert [patch.name for patch in all_series[0].patches] == ["0002-b.patch", "0001-a.patch"]


def test_a_base_without_a_series_has_no_patches(tmp_path: Path) -> None:
    series_folder(tmp_path, "22.10", "0" * 40, {})
    assert load_series(tmp_path)[0].patches == ()


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("BASE", "release: 1\nreleases: 1\n", "chan_websocket_blob"),
        ("BASE", "no colon here\n", "BASE:1"),
        ("series", "0009-gone.patch\n", "0009-gone.patch"),
    ],
)
def test_an_incomplete_series_is_an_input_fault(
    tmp_path: Path, file: str, text: str, complaint: str
) -> None:
    series_folder(tmp_path, "22.10", "0" * 40, {})
    write(tmp_path / "22.10" / file, text)
    with pytest.raises(InputFault, match=complaint):
        load_series(tmp_path)


def test_no_series_at_all_is_an_input_fault(tmp_path: Path) -> None:
    with pytest.raises(InputFault, match="no patch series"):
        load_series(tmp_path)


def test_the_repositorys_own_rounds_are_complete() -> None:
    all_series = load_series(Path(__file__).parents[2] / "patches")
    assert all(len(series.chan_websocket_blob) == 40 for series in all_series)


def test_the_drivers_blob_identifies_it_even_when_an_other_applies(tmp_path: Path) -> None:
    fits = {"0001.patch": diff("channels/chan_websocket.c", "two", "2")}
    series_folder(tmp_path / "patches", "23.5", "0" * 40, fits)
    series_folder(tmp_path / "patches", "22.10", git_blob_id(DRIVER), {})
    all_series = load_series(tmp_path / "patches")
    assert choose_series(source_tree(tmp_path / "tree"), all_series).name == "22.10"


def test_an_unknown_driver_gets_the_newest_series_that_applies(tmp_path: Path) -> None:
    name = "channels/chan_websocket.c"
    # The second patch of 22.10 applies only after its first: a dry run of each would fail.
    series = {"0001.patch": diff(name, "two", "2"), "0002.patch": diff(name, "2", "II")}
    series_folder(tmp_path / "patches", "23.5", "0" * 40, {"0001.patch": diff(name, "zwei", "2")})
    series_folder(tmp_path / "patches", "22.10", "1" * 40, series)
    series_folder(tmp_path / "patches", "20.9", "2" * 40, series)
    tree = source_tree(tmp_path / "tree")
    assert choose_series(tree, load_series(tmp_path / "patches")).name == "22.10"
    assert (tree / name).read_bytes() == DRIVER, "choosing must not change the source"


def test_no_fitting_series_names_the_blob_and_the_releases_known(tmp_path: Path) -> None:
    series_folder(tmp_path / "patches", "23.5", "0" * 40, {})
    tree = source_tree(tmp_path / "tree")
    with pytest.raises(InputFault) as caught:
        choose_series(tree, load_series(tmp_path / "patches"))
    assert git_blob_id(DRIVER) in caught.value.what
    assert "23.5" in caught.value.remedy


def test_patches_apply_without_fuzz_only(tmp_path: Path) -> None:
    # One line of context differs: patch(1) would take it with its default fuzz of 2.
    fuzzy = write(
        tmp_path / "f.patch",
        "--- a/file\n+++ b/file\n@@ -1,5 +1,5 @@\n OTHER\n two\n-three\n+3\n four\n five\n",
    )
    write(tmp_path / "tree/file", "one\ntwo\nthree\nfour\nfive\n")
    with pytest.raises(InputFault, match=r"f\.patch does not apply"):
        apply_patches(tmp_path / "tree", (fuzzy,))


# --- the official release -----------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server on a free port of the loopback, and the folder it serves."""
    folder = tmp_path / "site"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", folder
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def publish(folder: Path, content: bytes, checksum: str) -> None:
    write(folder / "asterisk-22.10.1.tar.gz", content)
    listing = f"{'0' * 64}  asterisk-22.10.1-patch.tar.gz\n{checksum}  asterisk-22.10.1.tar.gz\n"
    write(folder / "asterisk-22.10.1.sha256", listing)


def test_a_release_with_the_published_checksum_is_downloaded(
    site: tuple[str, Path], tmp_path: Path
) -> None:
    publish(site[1], b"content", hashlib.sha256(b"content").hexdigest())
    archive = download_release(site[0], "22.10.1", tmp_path)
    assert archive == tmp_path / "asterisk-22.10.1.tar.gz"
    assert archive.read_bytes() == b"content"


def test_a_release_with_an_other_checksum_is_not_kept(
    site: tuple[str, Path], tmp_path: Path
) -> None:
    publish(site[1], b"forged", hashlib.sha256(b"content").hexdigest())
    with pytest.raises(NotAvailable, match="SHA-256"):
        download_release(site[0], "22.10.1", tmp_path)
    assert not list(tmp_path.glob("asterisk-*"))


def test_a_release_the_site_does_not_have_is_not_available(
    site: tuple[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(NotAvailable, match=r"127\.0\.0\.1"):
        download_release(site[0], "99.0.0", tmp_path)


# --- which source is taken ----------------------------------------------------------------------


def test_a_named_directory_is_taken_and_its_key_follows_its_content(tmp_path: Path) -> None:
    tree = source_tree(tmp_path / "tree")
    said: list[str] = []
    first = get_source(tree, None, "22.10.1", tmp_path / "downloads", said.append)
    assert first.asterisk == tree
    assert said == [f"source: the directory {tree}"]
    write(tree / "channels/chan_websocket.c", DRIVER + b"four\n")
    assert get_source(tree, None, "22.10.1", tmp_path / "d", said.append).key != first.key


def test_a_named_path_that_is_no_source_is_an_input_fault(tmp_path: Path) -> None:
    for named in (tmp_path, tmp_path / "gone.tar.gz"):
        with pytest.raises(InputFault):
            get_source(named, None, "22.10.1", tmp_path / "downloads", print)


def test_a_source_and_a_release_together_are_an_input_fault(tmp_path: Path) -> None:
    with pytest.raises(InputFault, match="both"):
        get_source(tmp_path, "22.10.1", "22.10.1", tmp_path / "downloads", print)


def test_official_release_first_and_kept_until_it_rots(
    site: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "OFFICIAL_RELEASES", site[0])
    publish(site[1], b"content", hashlib.sha256(b"content").hexdigest())
    downloads = tmp_path / "downloads"
    said: list[str] = []
    first = get_source(None, None, "22.10.1", downloads, said.append)
    assert "official release" in said[-1]
    assert "no source was named" in said[-1]

    for file in site[1].iterdir():
        file.unlink()
    assert get_source(None, None, "22.10.1", downloads, said.append) == first
    assert "downloaded before" in said[-1]

    first.asterisk.write_bytes(b"rotten!")
    publish(site[1], b"content", hashlib.sha256(b"content").hexdigest())
    assert get_source(None, None, "22.10.1", downloads, said.append) == first
    assert "downloaded before" not in said[-1]
    assert first.asterisk.read_bytes() == b"content"


def test_debian_is_next_and_the_line_says_why(
    site: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def debian(downloads: Path, release: str | None) -> tuple[str, Path, None]:
        return "22.10.1-1", write(downloads / "debian/orig.tar", b"x"), None

    monkeypatch.setattr(source_module, "OFFICIAL_RELEASES", site[0])
    monkeypatch.setattr(source_module, "get_debian_source", debian)
    said: list[str] = []
    source = get_source(None, None, "22.10.1", tmp_path / "d", said.append)
    assert source.origin == "Debian unstable's source package asterisk 22.10.1-1"
    assert len(said) == 1
    assert "official release 22.10.1 could not be had (127.0.0.1:" in said[0]


def test_no_source_at_all_is_an_environment_fault_with_every_reason(
    site: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "OFFICIAL_RELEASES", site[0])
    monkeypatch.setattr(debian_source, "debian_mirrors", lambda _: [])
    with pytest.raises(EnvironmentFault) as caught:
        get_source(None, None, "22.10.1", tmp_path / "downloads", print)
    assert "official release" in caught.value.what
    assert "Debian" in caught.value.what
    assert "ASTERISK_SOURCE" in caught.value.remedy


# --- Debian -----------------------------------------------------------------------------------


def test_mirrors_are_read_from_both_formats_and_foreign_archives_left_out(tmp_path: Path) -> None:
    write(
        tmp_path / "sources.list",
        "# deb http://commented.example/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/k] http://one-line.example/debian bookworm main contrib\n"
        "deb http://security.example/debian-security bookworm-security main\n",
    )
    write(
        tmp_path / "sources.list.d/debian.sources",
        "Types: deb\n# a comment\nURIs: http://deb822.example/debian/\n"
        "Suites: bookworm bookworm-updates\nComponents: main\nSigned-By:\n -----BEGIN-----\n .\n"
        "\n"
        "Types: deb\nURIs: http://off.example/debian\nSuites: bookworm\nComponents: main\n"
        "Enabled: no\n",
    )
    write(
        tmp_path / "sources.list.d/a-third-party.list",
        "deb https://vendor.example/apt stable main\ndeb https://docker.example/ stable stable\n",
    )
    assert debian_mirrors(tmp_path) == [
        "http://one-line.example/debian",
        "http://deb822.example/debian/",
        "https://vendor.example/apt",
    ]


def test_a_machine_without_apt_has_no_mirrors(tmp_path: Path) -> None:
    assert debian_mirrors(tmp_path / "gone") == []


def dsc(directory: Path, content: bytes) -> Path:
    write(directory / "a.orig.tar.xz", content)
    checksum = hashlib.sha256(b"content").hexdigest()
    return write(
        directory / "a.dsc",
        "-----BEGIN PGP SIGNED MESSAGE-----\n\nSource: a\nChecksums-Sha1:\n 00 7 a.orig.tar.xz\n"
        f"Checksums-Sha256:\n {checksum} 7 a.orig.tar.xz\nFiles:\n 00 7 a.orig.tar.xz\n",
    )


def test_the_parts_of_a_dsc_are_verified(tmp_path: Path) -> None:
    assert verify_dsc(dsc(tmp_path, b"content")) == [tmp_path / "a.orig.tar.xz"]
    with pytest.raises(NotAvailable, match="SHA-256"):
        verify_dsc(dsc(tmp_path, b"rotten!"))
    (tmp_path / "a.orig.tar.xz").unlink()
    with pytest.raises(NotAvailable, match="missing"):
        verify_dsc(tmp_path / "a.dsc")


def debian_has(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """A mirror with Asterisk of that version; the official site does not answer."""

    def official(site: str, version: str, downloads: Path) -> Path:
        raise NotAvailable("no network")

    def apt_get_source(mirror: str, directory: Path) -> None:
        name = f"asterisk_{version}.orig.tar.xz"
        write(directory / "apt/lists/index", b"")
        archive = write(directory / name, version.encode())
        checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
        write(directory / f"asterisk_{version}.dsc", f"Checksums-Sha256:\n {checksum} 1 {name}\n")

    monkeypatch.setattr(source_module, "download_release", official)
    monkeypatch.setattr(debian_source, "debian_mirrors", lambda _: ["http://mirror/debian"])
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/apt-get")
    monkeypatch.setattr(debian_source, "_apt_get_source", apt_get_source)


def test_a_wish_that_cannot_be_met_leaves_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    debian_has(monkeypatch, "22.10.1+dfsg-1")
    said: list[str] = []
    first = get_source(None, None, "22.10.1", tmp_path, said.append)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    debian_has(monkeypatch, "22.11.0+dfsg-1")
    with pytest.raises(EnvironmentFault, match=r"Debian unstable has 22\.11"):
        get_source(None, "20.0.0", "22.10.1", tmp_path, said.append)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert get_source(None, None, "22.10.1", tmp_path, said.append) == first
    assert "downloaded before" in said[-1]


def test_two_releases_are_kept_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    debian_has(monkeypatch, "22.10.1+dfsg-1")
    first = get_source(None, None, "22.10.1", tmp_path, print)
    debian_has(monkeypatch, "22.11.0+dfsg-1")
    second = get_source(None, "22.11.0", "22.10.1", tmp_path, print)
    monkeypatch.setattr(debian_source, "debian_mirrors", lambda _: [])
    assert get_source(None, None, "22.10.1", tmp_path, print) == first
    assert get_source(None, "22.11.0", "22.10.1", tmp_path, print) == second
    assert (first.asterisk.read_bytes(), second.asterisk.read_bytes()) == (
        b"22.10.1+dfsg-1",
        b"22.11.0+dfsg-1",
    )


# --- unpacking ----------------------------------------------------------------------------------


def test_a_tarball_is_unpacked_in_place_of_what_was_there(tmp_path: Path) -> None:
    archive = tarball(source_tree(tmp_path / "upstream"), tmp_path / "asterisk.tar.gz")
    write(tmp_path / "tree/leftover", "")
    version = unpack_source(Source("", archive, None, ""), tmp_path / "tree", tmp_path / "cache")
    assert version == "22.10.1"
    assert (tmp_path / "tree/channels/chan_websocket.c").read_bytes() == DRIVER
    assert not (tmp_path / "tree/leftover").exists()


def test_a_broken_tarball_is_an_input_fault(tmp_path: Path) -> None:
    archive = write(tmp_path / "asterisk.tar.gz", b"not an archive")
    with pytest.raises(InputFault, match="cannot be unpacked"):
        unpack_source(Source("", archive, None, ""), tmp_path / "tree", tmp_path / "cache")


def test_a_named_directory_is_copied_without_its_git_history(tmp_path: Path) -> None:
    tree = source_tree(tmp_path / "named")
    write(tree / ".git/HEAD", "x")
    unpack_source(Source("", tree, None, ""), tmp_path / "tree", tmp_path / "cache")
    assert not (tmp_path / "tree/.git").exists()
    assert (tree / ".git/HEAD").exists()


@pytest.mark.parametrize("tree", ["named", "named/build/tree", "."])
def test_a_source_is_not_removed_nor_copied_into_itself(tmp_path: Path, tree: str) -> None:
    named = source_tree(tmp_path / "named")
    with pytest.raises(InputFault, match="cannot be the source"):
        unpack_source(Source("", named, None, ""), tmp_path / tree, tmp_path / "cache")
    assert (named / "channels/chan_websocket.c").read_bytes() == DRIVER


def test_pjproject_is_packed_as_asterisks_build_expects_it(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    write(tree / "third-party/versions.mak", "JANSSON_VERSION=2\nPJPROJECT_VERSION=2.17\n")
    md5_file = write(tree / "third-party/pjproject/pjproject-2.17.tar.bz2.md5", "the original's")
    write(tree / "Xpjproject/pjmedia/build/Makefile", "OBJS = a.o bdimad_dev.o b.o\n")
    archive = pack_pjproject(tree, tmp_path / "cache")

    assert archive.name == "pjproject-2.17.tar.bz2"
    assert not (tree / "Xpjproject").exists()
    check = subprocess.run(["md5sum", "-c", md5_file], cwd=archive.parent, capture_output=True)
    assert check.returncode == 0
    with tarfile.open(archive) as tar:
        makefile = tar.extractfile("pjproject-2.17/pjmedia/build/Makefile")
        assert isinstance(makefile, io.BufferedReader)
        assert makefile.read() == b"OBJS = a.o b.o\n"
