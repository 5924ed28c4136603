"""Building Asterisk and the two variants of chan_websocket.so, patched and stock, into build/.

    build/downloads/        archives, verified each time they are used
    build/source/stock/     the untouched tree, configured and built
    build/source/patched/   a copy of it with the patch series applied
    build/asterisk/         what `make install` put there; its chan_websocket.so is the patched one
    build/modules/          {patched,stock}/chan_websocket.so
    build/asterisk.json     where all this is; written last, so that it tells the truth
    build/log/              what the build tools said

Asterisk itself is built again only when its source, the options below, the compiler or the place
change; the patched module when the patches change, too.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import filecmp
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.child_process import die_with_parent
from harness.errors import EnvironmentFault, InputFault, as_fault
from harness.install.driver_revision import (
    MODULE,
    PatchSeries,
    apply_patches,
    choose_series,
    load_series,
)
from harness.install.files import remove_folder, write_atomically
from harness.install.source import Say, get_source
from harness.install.unpack import refuse_overlap, unpack_source

CONFIGURE_OPTIONS = (
    "--with-pjproject-bundled",
    "--with-jansson",
    "--without-dahdi",
    "--disable-xmldoc",
)

OPTIMIZE = "-O1"
"""-O2 -g takes 1.6 times as long to compile, the default -O3 -g3 twice. When something is sent and
played is paced by timers, not by the processor, and a backtrace has functions and lines with these,
too. What the processor is taken for must be measured with another one, as releases have it."""
_DEBUG = "-g1"

# Files in the user's home or /etc must not change what is built. With ldconfig, `make install` as
# root would write to the system's linker cache; the binaries have a run path and do not need it.
MAKE_OPTIONS = (
    "LDCONFIG=:",
    "USER_MAKEOPTS=",
    "GLOBAL_MAKEOPTS=",
)

# The warnings that ./configure --enable-dev-mode turns into errors. The rest of that mode stays
# off: its assertions and its ARI validation would make this a different PBX than the users' one.
DEV_MODE_WARNINGS = (
    "-Werror -Wunused -Wdeclaration-after-statement -Wtrampolines -Wundef"
    " -Wmissing-format-attribute -Wformat=2"
)

# No BUILD_NATIVE: what is built here also runs on a machine with another CPU.
_ENABLED_MODULES = """
    OPTIONAL_API TEST_FRAMEWORK astcanary
    app_bridgewait app_channelredirect app_chanspy app_confbridge app_db app_dial
    app_directed_pickup app_echo app_exec app_milliwatt app_originate app_playback app_playtones
    app_read app_record app_senddtmf app_softhangup app_stack app_stasis app_talkdetect
    app_transfer app_userevent app_verbose app_while
    bridge_builtin_features bridge_builtin_interval_features bridge_holding bridge_native_rtp
    bridge_simple bridge_softmix
    chan_bridge_media chan_pjsip chan_rtp chan_websocket
    codec_a_mu codec_alaw codec_g722 codec_g726 codec_gsm codec_lpc10 codec_resample codec_ulaw
    format_pcm format_sln format_wav
    func_callerid func_channel func_global func_hangupcause func_jitterbuffer func_json func_logic
    func_math func_periodic_hook func_pjsip_aor func_pjsip_contact func_pjsip_endpoint func_strings
    func_talkdetect func_timeout func_uuid func_volume
    pbx_config
    res_ari res_ari_applications res_ari_asterisk res_ari_bridges res_ari_channels
    res_ari_device_states res_ari_endpoints res_ari_events res_ari_model res_ari_playbacks
    res_ari_recordings res_ari_sounds
    res_clioriginate res_crypto res_fax res_fax_spandsp res_format_attr_opus res_http_websocket
    res_musiconhold res_mutestream
    res_pjproject res_pjsip res_pjsip_acl res_pjsip_authenticator_digest res_pjsip_caller_id
    res_pjsip_dtmf_info res_pjsip_endpoint_identifier_anonymous
    res_pjsip_endpoint_identifier_ip res_pjsip_endpoint_identifier_user
    res_pjsip_header_funcs res_pjsip_logger res_pjsip_nat
    res_pjsip_outbound_authenticator_digest res_pjsip_outbound_registration res_pjsip_path
    res_pjsip_pubsub res_pjsip_refer res_pjsip_registrar res_pjsip_rfc3326 res_pjsip_sdp_rtp
    res_pjsip_session res_pjsip_t38
    res_rtp_asterisk res_sorcery_astdb res_sorcery_config res_sorcery_memory
    res_sorcery_memory_cache res_srtp res_stasis res_stasis_answer res_stasis_device_state
    res_stasis_playback res_stasis_recording res_stasis_snoop res_timing_pthread
    res_timing_timerfd res_websocket_client
"""
ENABLED = tuple(_ENABLED_MODULES.split())


@dataclass(frozen=True)
class Build:
    """A built Asterisk; all paths are absolute."""

    version: str
    """Asterisk's own, such as 22.10.1"""
    source: str
    """for the reader: where the source came from"""
    series: str
    """the patch series that was applied: its folder's name in patches/, such as 22.10"""
    binary: Path
    module_dir: Path
    """Asterisk's astmoddir; its chan_websocket.so is the patched one"""
    data_dir: Path
    """Asterisk's astdatadir: ARI's descriptions, static HTTP files"""
    patched_module: Path
    stock_module: Path
    source_dir: Path
    """the configured and built source tree with the patches applied"""
    optimize: str
    """the compiler's option for all of it: OPTIMIZE, or -O2 as releases have"""

    @property
    def compiled(self) -> str:
        """What to know of it where CPU is measured, for the reader."""
        text = f"Asterisk and both modules are compiled with {self.optimize}"
        if self.optimize in ("-O2", "-O3"):
            return f"{text}."
        return f"{text}, not as releases are: for CPU, make build OPTIMIZE=-O2"


def load_build(root: Path) -> Build:
    """The build below ``root``, the repository. Raises EnvironmentFault when there is none."""
    record = root / "build/asterisk.json"
    remedy = "run: make build"
    try:
        values = json.loads(record.read_text())
        build = Build(
            version=values["version"],
            source=values["source"],
            series=values["series"],
            binary=Path(values["binary"]),
            module_dir=Path(values["module_dir"]),
            data_dir=Path(values["data_dir"]),
            patched_module=Path(values["patched_module"]),
            stock_module=Path(values["stock_module"]),
            source_dir=Path(values["source_dir"]),
            optimize=values["optimize"],
        )
    except FileNotFoundError:
        raise EnvironmentFault(f"Asterisk is not built: {record} is missing", remedy) from None
    except (ValueError, KeyError, TypeError) as problem:
        raise EnvironmentFault(f"{record} cannot be read: {problem!r}", remedy) from None
    for path in (build.binary, build.module_dir, build.patched_module, build.stock_module):
        if not path.exists():
            raise EnvironmentFault(f"the built Asterisk is incomplete: {path} is missing", remedy)
    return build


def build(
    root: Path,
    source: Path | None = None,
    release: str | None = None,
    say: Say = print,
    optimize: str = OPTIMIZE,
) -> Build:
    """Build what is not built yet below ``root``, the repository, and return all of it.

    ``source`` is a directory or tarball to use, ``release`` an official release to insist on;
    without either see harness.install.source. ``optimize`` is the compiler's option. A build under
    way elsewhere is waited for. Raises a Fault with the end of the failing tool's output.
    """
    root = root.absolute()
    with only_one(root / "build/lock", say):
        return _build(root, source, release, optimize, say)


def _build(root: Path, named: Path | None, release: str | None, optimize: str, say: Say) -> Build:
    started = time.monotonic()

    def stage(text: str) -> None:
        say(f"[{time.monotonic() - started:4.0f} s] {text}")

    place = root / "build"
    stock, patched = place / "source/stock", place / "source/patched"
    prefix = place / "asterisk"
    module_dir = prefix / "lib/asterisk/modules"
    variants = {name: place / "modules" / name / MODULE for name in ("patched", "stock")}
    tools = _Tools(place, optimize)

    all_series = load_series(root / "patches")
    source = get_source(named, release, all_series[0].release, place / "downloads", say)
    # Before what is built is forgotten.
    refuse_overlap(source, place / "source")

    key = base_key(source.key, prefix, tools.compiler(), optimize)
    key_file = place / "base.key"
    if _read(key_file) != key or not (prefix / "sbin/asterisk").exists():
        _forget(key_file, place / "modules.key", place / "asterisk.json")
        stage("unpacking the source")
        unpack_source(source, stock, place / "downloads")
        choose_series(stock, all_series)  # fails here rather than after minutes
        _build_base(stock, prefix, place / "downloads", tools, stage)
        write_atomically(key_file, key)

    series = choose_series(stock, all_series)
    key = modules_key(key, series)
    key_file = place / "modules.key"
    if _read(key_file) != key or not all(path.exists() for path in variants.values()):
        _forget(key_file, place / "asterisk.json")
        count = len(series.patches)
        stage(f"compiling {MODULE} with series {series.name}'s {count} patch{'es' * (count != 1)}")
        _build_patched(stock, patched, series, tools)
        _replace_file(stock / "channels" / MODULE, variants["stock"])
        _replace_file(patched / "channels" / MODULE, variants["patched"])
        write_atomically(key_file, key)
    installed = module_dir / MODULE
    if not installed.exists() or not filecmp.cmp(variants["patched"], installed, shallow=False):
        _replace_file(variants["patched"], installed)

    built = Build(
        version=(stock / ".version").read_text().strip(),
        source=source.origin,
        series=series.name,
        binary=prefix / "sbin/asterisk",
        module_dir=module_dir,
        data_dir=prefix / "var/lib/asterisk",
        patched_module=variants["patched"],
        stock_module=variants["stock"],
        source_dir=patched,
        optimize=optimize,
    )
    record = json.dumps(asdict(built), indent=2, default=str) + "\n"
    if _read(place / "asterisk.json") != record:
        write_atomically(place / "asterisk.json", record)
    stage(f"Asterisk {built.version} is in {prefix}, both modules in {place / 'modules'}")
    return built


def base_key(source_key: str, prefix: Path, compiler: str, optimize: str) -> str:
    """Changes with anything that makes Asterisk without our patches a different one."""
    options = (*CONFIGURE_OPTIONS, *MAKE_OPTIONS, optimize, _DEBUG, *ENABLED)
    parts = [source_key, str(prefix), compiler, *options]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def modules_key(base: str, series: PatchSeries) -> str:
    """Changes with anything that makes the patched module a different one."""
    digest = hashlib.sha256(f"{base}\0{DEV_MODE_WARNINGS}".encode())
    for patch in series.patches:
        digest.update(b"\0" + patch.read_bytes())
    return digest.hexdigest()


# --- stages -----------------------------------------------------------------------------------


def _build_base(tree: Path, prefix: Path, cache: Path, tools: _Tools, stage: Say) -> None:
    offer_test_framework(tree / "build_tools/cflags.xml")
    _quicken_pjproject(tree / "third-party/pjproject/patches/user.mak", tools.optimize)
    stage("configuring (half a minute)")
    _nothing_to_clean(tree)
    tools.run(
        "configure",
        ["./configure", f"--prefix={prefix}", f"--with-download-cache={cache}", *CONFIGURE_OPTIONS],
        tree,
    )
    stage("selecting modules")
    tools.make("menuselect", tree, "menuselect.makeopts")
    enable = [word for name in ENABLED for word in ("--enable", name)]
    tools.run(
        "menuselect-enable",
        ["menuselect/menuselect", "--disable-all", *enable, "menuselect.makeopts"],
        tree,
    )
    _nothing_to_clean(tree)
    stage("compiling Asterisk (a minute or two; seconds with a warm ccache)")
    tools.make("asterisk", tree, "all")
    stage("installing")
    remove_folder(prefix)
    tools.make("install", tree, "install")


def _quicken_pjproject(options: Path, optimize: str) -> None:
    """``options`` is user.mak, which each of its makefiles reads last. Its own are -O3 -g3.

    ccache does without the preprocessor where the compiler lists what was included: -MMD.
    """
    if options.is_file():
        options.write_text(f"{options.read_text()}\nCFLAGS += {optimize} {_DEBUG} -MMD\n")


def _nothing_to_clean(tree: Path) -> None:
    """Tell Asterisk's make that nothing has been compiled that must be removed first.

    It cleans where it finds no record of it, and menuselect removes that record. Cleaning takes
    seconds, and configures pjproject a second time. The time of the records is that of the source:
    older than what has been configured.
    """
    count = tree / ".cleancount"
    for record in (tree / ".lastclean", tree / "third-party/pjproject/.rebuild_needed"):
        if count.is_file() and record.parent.is_dir():
            shutil.copy2(count, record)


def offer_test_framework(cflags: Path) -> None:
    """Let TEST_FRAMEWORK be selected without dev mode, as Debian's packages do.

    ``cflags`` is build_tools/cflags.xml of the source tree.
    """
    text = cflags.read_text()
    if '"TEST_FRAMEWORK"' in text:
        return
    member = (
        '\t\t<member name="TEST_FRAMEWORK" displayname="Enable Test Framework API">\n'
        "\t\t\t<support_level>extended</support_level>\n"
        "\t\t</member>\n"
    )
    before, end, after = text.rpartition("</category>")
    if not end:
        raise InputFault(f"{cflags} is not as expected: it has no </category>")
    cflags.write_text(before + member + end + after)


def _build_patched(stock: Path, patched: Path, series: PatchSeries, tools: _Tools) -> None:
    remove_folder(patched)
    patched.mkdir(parents=True)
    # Times are kept, so that only what the patches touch is compiled again. third-party is most of
    # the tree and nothing there is ours.
    entries = [str(entry) for entry in stock.iterdir() if entry.name != "third-party"]
    tools.run("copy", ["cp", "-a", "--", *entries, str(patched)], stock)
    (patched / "third-party").symlink_to(os.path.relpath(stock / "third-party", patched))
    apply_patches(patched, series.patches)
    try:
        tools.make("patched-module", patched, "channels", f"ASTCFLAGS={DEV_MODE_WARNINGS}")
    except EnvironmentFault as fault:
        raise InputFault(
            f"{MODULE} does not compile with series {series.name}'s patches. {fault.what}",
            "the patches are wrong; warnings are errors here, as with --enable-dev-mode",
        ) from None


class _Tools:
    """Runs the build tools: in a clean environment, through ccache, output into log files."""

    def __init__(self, place: Path, optimize: str) -> None:
        self.optimize = optimize
        self._logs = place / "log"
        self._logs.mkdir(parents=True, exist_ok=True)
        # Asterisk's build sees make variables in the environment as its own, those of the make
        # that called us included.
        leaking = ("MAKE", "MFLAGS", "CFLAGS", "CPPFLAGS", "LDFLAGS", "AST", "DESTDIR", "INSTALL")
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(leaking)
        }
        self._environment["LC_ALL"] = "C"
        ccache = shutil.which("ccache")
        if ccache is not None:
            # By name in front of the PATH and not as CC="ccache gcc": Asterisk's makefiles compare
            # CC with "gcc".
            masks = place / "ccache"
            masks.mkdir(exist_ok=True)
            for compiler in ("gcc", "g++", "cc", "c++"):
                mask = masks / compiler
                if shutil.which(compiler) and not mask.is_symlink():
                    mask.symlink_to(ccache)
            self._environment["PATH"] = f"{masks}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
            # No preprocessor run before each compilation that is not in the cache.
            self._environment["CCACHE_DEPEND"] = "1"
            # Another checkout of the same source hits the cache, too.
            self._environment["CCACHE_BASEDIR"] = str(place)
            self._environment["CCACHE_NOHASHDIR"] = "1"

    def compiler(self) -> str:
        """What the compiler says it is, one line."""
        try:
            done = subprocess.run(["gcc", "--version"], capture_output=True, text=True)
        except FileNotFoundError:
            raise EnvironmentFault("there is no C compiler gcc", "run: make deps") from None
        return done.stdout.partition("\n")[0]

    def make(self, what: str, tree: Path, *arguments: str) -> None:
        jobs = len(os.sched_getaffinity(0))
        quick = (f"OPTIMIZE={self.optimize}", f"DEBUG={_DEBUG}")
        self.run(what, ["make", f"-j{jobs}", *MAKE_OPTIONS, *quick, *arguments], tree)

    def run(self, what: str, command: Sequence[str], cwd: Path) -> None:
        """Run ``command``, its output in log/<what>.log. Raises EnvironmentFault with its end."""
        log = self._logs / f"{what}.log"
        with log.open("w") as file:
            try:
                child = subprocess.Popen(
                    die_with_parent(command),
                    cwd=cwd,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except FileNotFoundError as problem:
                raise EnvironmentFault(
                    f"there is no {problem.filename}", "run: make deps"
                ) from None
            try:
                status = child.wait()
            except BaseException:  # Ctrl-C: the compilers are not left to themselves
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                raise
        if status != 0:
            lines = log.read_text(errors="backslashreplace").splitlines()[-20:]
            raise EnvironmentFault(
                f"{command[0]} failed in {cwd}; the last lines of {log}:\n    "
                + "\n    ".join(lines),
                _remedy(lines),
            )


def _remedy(lines: Sequence[str]) -> str:
    if any("pjproject" in line and "ownload" in line for line in lines):
        return "pjproject cannot be downloaded: put its tarball into build/downloads"
    return "see `make deps` for what must be installed"


@contextlib.contextmanager
def only_one(lock: Path, say: Say) -> Iterator[None]:
    """Hold ``lock``; the kernel lets it go however this process ends."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another build in this directory to end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def _forget(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _replace_file(source: Path, target: Path) -> None:
    """Copy by rename: a running Asterisk maps the old file, which must not change under it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(target.name + ".new")
    shutil.copy2(source, temporary)
    temporary.replace(target)


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m harness.install.build``: build in the repository this file belongs to."""
    parser = argparse.ArgumentParser(prog="make build", description="Build Asterisk into build/.")
    parser.add_argument("--source", type=Path, metavar="PATH", help="directory or tarball to use")
    parser.add_argument("--release", metavar="VERSION", help="official release to insist on")
    parser.add_argument(
        "--optimize",
        choices=("-O0", "-O1", "-O2", "-O3"),
        default=OPTIMIZE,
        help="the compiler's option (default: %(default)s, the quickest to build)",
    )
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def say(line: str) -> None:
        print(line, flush=True)

    try:
        build(Path(__file__).parents[2], options.source, options.release, say, options.optimize)
    except Exception as problem:
        print(as_fault(problem), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the next build starts over where it must", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
