"""The house: no room imports from one above it, and what needs python3 alone needs nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HARNESS = ROOT / "harness"
# From the ground up; those of one line do not know each other.
FLOORS = (
    ("errors", "__init__"),
    ("child_process",),
    ("strict_yaml", "certificates", "host_lock"),
    ("capture", "install", "retry"),
    ("media",),
    ("caller", "application"),
    ("network_impairment", "judge", "asterisk"),
    ("record", "targets"),
    ("bench",),
    ("agents", "torture", "load"),
    ("scenarios",),
    ("report",),
    ("commands",),
    ("__main__",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def room_of(file: Path) -> str:
    return file.relative_to(HARNESS).parts[0].removesuffix(".py")


def imported_rooms(file: Path) -> set[str]:
    """The rooms of harness/ that a file imports from, its own not among them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("harness.")}
    return found - {room_of(file)}


@pytest.mark.parametrize(
    "file", sorted(HARNESS.rglob("*.py")), ids=lambda file: str(file.relative_to(HARNESS))
)
def test_no_import_runs_upwards(file: Path) -> None:
    floor = FLOOR_OF[room_of(file)]
    above = {room for room in imported_rooms(file) if FLOOR_OF[room] >= floor}
    assert not above, f"{file.relative_to(ROOT)} imports from {', '.join(sorted(above))}"


def test_the_client_package_needs_websockets_alone() -> None:
    """Of all that is installed here it loads nothing else, and little memory."""
    program = (
        "import resource, sys\n"
        "def resident_kib():\n"
        "    with open('/proc/self/statm') as file:\n"
        "        return int(file.read().split()[1]) * resource.getpagesize() // 1024\n"
        "before = resident_kib()\n"
        "import chan_websocket\n"
        "print(resident_kib() - before)\n"
        "tops = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*sorted(tops - sys.stdlib_module_names))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=True, cwd=ROOT, timeout=60, capture_output=True, text=True)
    grown_kib, loaded = done.stdout.splitlines()
    others = {name for name in loaded.split() if not name.startswith(("_", "__editable__"))}
    assert others - {"chan_websocket", "websockets", "distutils-precedence"} == set()
    assert 1024 < int(grown_kib) < 25 * 1024


def test_installing_and_patching_needs_python3_alone() -> None:
    """`-S`: no site-packages, so that none of the harness's requirements can be found."""
    tools = sorted(
        f"harness.install.{file.stem}" for file in (HARNESS / "install").glob("[!_]*.py")
    )
    program = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    subprocess.run([sys.executable, "-S", "-c", program, *tools], check=True, cwd=ROOT, timeout=60)
