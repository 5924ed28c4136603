"""Container images of Asterisk with the patched driver, built with docker or podman.

    source     Asterisk built from the patched source, with the few modules that `make build` takes
    packaged   the distribution's package, with chan_websocket.so dropped in

An image's tag says what it was made of, so that one that is up to date is not built again, and
after a change of the patches the engine's own cache has everything but the driver. What the engine
said is in build/log/container-<flavour>.log.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.child_process import die_with_parent
from harness.errors import EnvironmentFault, InputFault
from harness.install.build import (
    CONFIGURE_OPTIONS,
    DEV_MODE_WARNINGS,
    ENABLED,
    MAKE_OPTIONS,
    offer_test_framework,
    only_one,
)
from harness.install.debian_source import DEBIAN_KEYRING, DEBIAN_SUITE, debian_mirrors
from harness.install.driver_revision import choose_series, load_series
from harness.install.files import remove_folder
from harness.install.source import Say, Source, get_source
from harness.install.unpack import same_time, unpack_source

FLAVOURS = ("packaged", "source")
REPOSITORY = "playback-marks-asterisk"
"""the images' name; their tags begin with the flavour"""
VERSION_LABEL = "org.opencontainers.image.version"
PATCHES_LABEL = "playback-marks.patches"
OFFICIAL_BASE = f"debian:{DEBIAN_SUITE}"
OWN_BASE = f"playback-marks-base:{DEBIAN_SUITE}"
"""made here from the distribution's mirror, where there is no registry"""

# A registry that can be reached says at once what it is going to send.
_REGISTRY_ANSWER_S = 15.0
_PULL_S = 600.0
_ENGINE_ANSWER_S = 20.0
_APPLIED = "/usr/share/playback-marks/patches"
"""what every image of ours has inside, see the container files: one line"""
_MODULE_TOOL = ("__init__.py", "errors.py", "child_process.py", "install/*.py")
"""of harness/: what `python3 -m harness.install.module` imports, and what the room of it does"""
# As a release is, for it may be taken where many calls are.
_OPTIMISED = ("OPTIMIZE=-O2 -fno-partial-inlining", "DEBUG=-g")
_SOURCE_ARCHIVE = "asterisk.tar"
_SOURCE_KEY = "source.key"


class NoContainers(EnvironmentFault):
    """Images cannot be made here at all: no engine answers, or there is nothing to build upon."""


@dataclass(frozen=True)
class Engine:
    """A container engine that answers."""

    name: str
    """docker or podman"""

    def run(self, *arguments: str, timeout_s: float | None = None) -> str:
        """What ``<engine> <arguments>`` prints. Raises EnvironmentFault when it fails."""
        command = [self.name, *arguments]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            raise EnvironmentFault(
                f"{' '.join(command)} did not end within {timeout_s:g} s"
            ) from None
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise EnvironmentFault(
                f"{' '.join(command)} failed: {said[-1] if said else 'silently'}"
            )
        return done.stdout.strip()

    def image_id(self, name: str) -> str | None:
        """The id of an image that is here, None when it is not."""
        with contextlib.suppress(EnvironmentFault):
            return self.run("image", "inspect", "--format", "{{.Id}}", name)
        return None


@dataclass(frozen=True)
class Image:
    """A built image."""

    engine: Engine
    flavour: str
    name: str
    """with its tag"""
    version: str
    """of the Asterisk in it, such as 22.10.1"""
    patches: str
    """the name of the series applied, and its checksum"""


def find_engine() -> Engine:
    """The engine to use: docker if it answers, else podman; CONTAINER_ENGINE names one.

    Raises NoContainers, with what each of them said, when there is none. Starts nothing.
    """
    named = os.environ.get("CONTAINER_ENGINE")
    problems = []
    for name in [named] if named else ["docker", "podman"]:
        if shutil.which(name) is None:
            problems.append(f"there is no {name}")
            continue
        try:
            Engine(name).run("version", timeout_s=_ENGINE_ANSWER_S)
            return Engine(name)
        except EnvironmentFault as fault:
            problems.append(fault.what)
    raise NoContainers(
        f"there is no container engine: {'; '.join(problems)}",
        "Install docker or podman and start it: `ci/engine.sh start` does where it may.",
    )


def build_image(
    flavour: str,
    root: Path,
    engine: Engine | None = None,
    source: Path | None = None,
    release: str | None = None,
    fresh: bool = False,
    say: Say = print,
) -> Image:
    """Build the image of ``flavour`` from ``root``, the repository, unless it is there already.

    ``source`` and ``release`` are as of `harness.install.build.build`, for the flavour source.
    ``fresh`` uses no cache: newer packages of the distribution are taken. Raises a Fault with the
    end of the engine's output.
    """
    check_options(flavour, source, release)
    engine = engine or find_engine()
    with only_one(root / "build/containers/lock", say):
        return _build_image(flavour, root, engine, source, release, fresh, say)


def build_stage(stage: str, root: Path, engine: Engine | None = None, say: Say = print) -> str:
    """The id of an image of one stage of the flavour packaged: package, driver or stock.

    What it is for is the test of the Debian package. Raises a Fault.
    """
    engine = engine or find_engine()
    with only_one(root / "build/containers/lock", say):
        base = _base_image(engine, False, say)
        context = root / "build/containers/packaged"
        _packaged_context(root, context)
        arguments = ("--quiet", "--build-arg", f"BASE={base}", "--target", stage, str(context))
        return engine.run("build", *_format(engine), *arguments).splitlines()[-1]


def check_options(flavour: str, source: Path | None, release: str | None) -> None:
    """Raise InputFault if there is no such flavour, or if it has no use for what is given."""
    if flavour not in FLAVOURS:
        raise InputFault(f"there is no container {flavour!r}", f"Use {' or '.join(FLAVOURS)}.")
    if flavour == "packaged" and (source or release):
        raise InputFault(
            "the container packaged has the distribution's own release: no source and no release"
            " can be chosen for it",
            "Take the container source, or leave --source and --release out.",
        )


def _build_image(
    flavour: str,
    root: Path,
    engine: Engine,
    named: Path | None,
    release: str | None,
    fresh: bool,
    say: Say,
) -> Image:
    started = time.monotonic()

    def stage(text: str) -> None:
        say(f"[{time.monotonic() - started:4.0f} s] {flavour} container: {text}")

    before = [engine.image_id(name) for name in (OFFICIAL_BASE, OWN_BASE)] if fresh else []
    base = _base_image(engine, fresh, stage)
    base_id = engine.image_id(base) or base
    context = root / "build/containers" / flavour
    if flavour == "source":
        origin = _source_context(root, context, named, release, say)
    else:
        origin = "the distribution's package"
        _packaged_context(root, context)
    name = f"{REPOSITORY}:{flavour}-{_key(base_id, context)}"
    if fresh or engine.image_id(name) is None:
        log = root / f"build/log/container-{flavour}.log"
        log.unlink(missing_ok=True)
        # Nothing that is kept was built upon a base that is new.
        options = ["--build-arg", f"BASE={base}", *(["--no-cache"] if base_id in before else [])]
        stage(f"building upon {base}; follow it in {log}")
        _build(engine, flavour, name, options, context, origin, log)
        stage(f"it is {name}")
    engine.run("tag", name, f"{REPOSITORY}:{flavour}")
    labels = [f'{{{{index .Config.Labels "{label}"}}}}' for label in (VERSION_LABEL, PATCHES_LABEL)]
    version, patches = engine.run(
        "image", "inspect", "--format", "\n".join(labels), name
    ).splitlines()
    return Image(engine, flavour, name, version, patches)


# --- the base ---------------------------------------------------------------------------------


def _base_image(engine: Engine, fresh: bool, stage: Say) -> str:
    """The image to build upon: one that is here, the official one, or one made from the mirror."""
    if not fresh:
        for name in (OFFICIAL_BASE, OWN_BASE):
            if engine.image_id(name) is not None:
                return name
    stage(f"pulling {OFFICIAL_BASE}")
    problem = _pull(engine, OFFICIAL_BASE)
    if problem is None:
        return OFFICIAL_BASE
    stage(f"making the base from the distribution's mirror ({problem})")
    _bootstrap(engine)
    return OWN_BASE


def _pull(engine: Engine, name: str) -> str | None:
    """Pull an image; why it could not be had, None when it was."""
    # Not through a terminal: podman would ask which registry is meant.
    process = subprocess.Popen(
        die_with_parent([engine.name, "pull", name]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    silence = threading.Timer(_REGISTRY_ANSWER_S, process.kill)
    limit = threading.Timer(_PULL_S, process.kill)
    silence.start()
    limit.start()
    last = "the registry does not answer"
    try:
        for line in process.stdout:
            last = line.strip() or last
            if "Pulling from" in line or "Getting image source" in line:
                silence.cancel()
        return None if process.wait() == 0 else last
    finally:
        silence.cancel()
        limit.cancel()
        process.kill()
        process.wait()


def _bootstrap(engine: Engine) -> None:
    """Make `OWN_BASE` from the mirror this machine's apt is configured for."""
    mirrors = debian_mirrors(Path("/etc/apt"))
    tool = shutil.which("mmdebstrap")
    if tool is None or not mirrors:
        missing = "no mmdebstrap" if mirrors else "no Debian mirror in apt's configuration"
        raise NoContainers(
            f"there is no image {OFFICIAL_BASE} and nothing to make one with: {missing}",
            "Install mmdebstrap (`ci/engine.sh start` does), or load an image by that name.",
        )
    signed_by = f"[signed-by={DEBIAN_KEYRING}] " if DEBIAN_KEYRING.exists() else ""
    command = [
        tool,
        "--quiet",
        "--variant=minbase",
        # A mirror that is frozen on purpose serves an index past its Valid-Until.
        '--aptopt=Acquire::Check-Valid-Until "false"',
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "locale", "man")),
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        "--dpkgopt=force-unsafe-io",  # as the official image has it
        DEBIAN_SUITE,
        "-",
        f"deb {signed_by}{mirrors[0]} {DEBIAN_SUITE} main",
    ]
    with tempfile.TemporaryFile() as complaints:
        maker = subprocess.Popen(
            die_with_parent(command), stdout=subprocess.PIPE, stderr=complaints
        )
        importer = subprocess.Popen(
            die_with_parent([engine.name, "import", "-", OWN_BASE]),
            stdin=maker.stdout,
            stdout=subprocess.DEVNULL,
            stderr=complaints,
        )
        assert maker.stdout is not None
        maker.stdout.close()  # or it would not be told when the importer has ended
        failed = [process.wait() != 0 for process in (importer, maker)]
        complaints.seek(0)
        said = complaints.read().decode(errors="replace").strip()
    if any(failed):
        with contextlib.suppress(EnvironmentFault):
            engine.run("rmi", OWN_BASE)  # of a file system that is not complete
        raise NoContainers(f"the base could not be made from {DEBIAN_SUITE}: {said[-1000:]}")


# --- what an image is built in ----------------------------------------------------------------


def _source_context(
    root: Path, context: Path, named: Path | None, release: str | None, say: Say
) -> str:
    """Fill ``context`` for source.Dockerfile; where the source came from."""
    all_series = load_series(root / "patches")
    source = get_source(named, release, all_series[0].release, root / "build/downloads", say)
    sample = context.with_name("source-sample")
    record = context / _SOURCE_KEY
    if not record.exists() or record.read_text() != source.key:
        _pack_source(source, context, sample)
        record.write_text(source.key)
    series = choose_series(sample, all_series)
    remove_folder(context / "patches")
    shutil.copytree(root / "patches" / series.name, context / "patches" / series.name)
    for file, values in (
        ("configure.options", CONFIGURE_OPTIONS),
        ("make.options", (*MAKE_OPTIONS, *_OPTIMISED)),
        ("modules.enabled", ENABLED),
        ("warnings.flags", (DEV_MODE_WARNINGS,)),
    ):
        (context / file).write_text("\n".join(values) + "\n")
    shutil.copyfile(root / "containers/source.Dockerfile", context / "Dockerfile")
    return source.origin


def _pack_source(source: Source, context: Path, sample: Path) -> None:
    """Put the source into ``context`` as one file, and what patches may touch into ``sample``."""
    for folder in (context, sample):
        remove_folder(folder)
    (context / "downloads").mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=context.parent) as scratch:
        tree = Path(scratch, "asterisk")
        unpack_source(source, tree, context / "downloads")
        for part in ("channels", "configs/samples"):
            shutil.copytree(tree / part, sample / part)
        offer_test_framework(tree / "build_tools/cflags.xml")
        with tarfile.open(context / _SOURCE_ARCHIVE, "w") as tar:
            tar.add(tree, arcname=".", filter=same_time)


def _packaged_context(root: Path, context: Path) -> None:
    """Fill ``context`` for packaged.Dockerfile."""
    remove_folder(context)
    context.mkdir(parents=True)
    shutil.copytree(root / "patches", context / "patches")
    for file in (file for name in _MODULE_TOOL for file in (root / "harness").glob(name)):
        copy = context / file.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    shutil.copyfile(root / "containers/packaged.Dockerfile", context / "Dockerfile")


def _key(base_id: str, context: Path) -> str:
    """Changes with anything an image is made of; 12 hex digits."""
    digest = hashlib.sha256(base_id.encode())
    for path in sorted(path for path in context.rglob("*") if path.is_file()):
        name = str(path.relative_to(context))
        # What is big is told by the key of the source, which is a file here, too.
        if name != _SOURCE_ARCHIVE and not name.startswith("downloads/"):
            content = hashlib.sha256(path.read_bytes()).digest()
            digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()[:12]


# --- building ---------------------------------------------------------------------------------


def _build(
    engine: Engine,
    flavour: str,
    name: str,
    options: Sequence[str],
    context: Path,
    origin: str,
    log: Path,
) -> None:
    command = ["build", *_format(engine)]
    building = f"{REPOSITORY}:{flavour}-building"
    _run_logged(engine, [*command, *options, "--tag", building, str(context)], log)
    # Only now is known which Asterisk it is.
    asked = engine.run(
        *("run", "--rm", "--network", "none", "--entrypoint", "sh", building),
        *("-c", f"asterisk -V; cat {_APPLIED}"),
        timeout_s=60.0,
    ).splitlines()
    labels = {
        VERSION_LABEL: asked[0].removeprefix("Asterisk "),
        "playback-marks.flavour": flavour,
        PATCHES_LABEL: asked[1],
        "playback-marks.source": origin,
    }
    label_options = [word for item in labels.items() for word in ("--label", "=".join(item))]
    # A build of its own: what was built without the cache is not always found in it.
    _run_logged(
        engine,
        [*command, *label_options, "--tag", name, "--file", "-", str(context / "patches")],
        log,
        dockerfile=f"FROM {building}\n",
    )
    engine.run("rmi", building)


def _format(engine: Engine) -> list[str]:
    """The option of ``build`` that keeps a health check: OCI's own format has none."""
    return ["--format", "docker"] if engine.name == "podman" else []  # docker has but its own


def _run_logged(
    engine: Engine, arguments: Sequence[str], log: Path, dockerfile: str | None = None
) -> None:
    """Run the engine, with ``dockerfile`` as its standard input. Raises EnvironmentFault."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        status = subprocess.run(
            die_with_parent([engine.name, *arguments]),
            input=(dockerfile or "").encode(),
            stdout=output,
            stderr=subprocess.STDOUT,
        ).returncode
    if status != 0:
        lines = log.read_text(errors="backslashreplace").splitlines()[-20:]
        raise EnvironmentFault(
            f"{engine.name} {arguments[0]} failed; the last lines of {log}:\n    "
            + "\n    ".join(lines)
        )
