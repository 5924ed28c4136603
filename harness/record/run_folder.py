"""The folder a run of the harness writes to: ``out/<time>``, and ``out/latest`` leading to it."""

from __future__ import annotations

import itertools
import time
from pathlib import Path


def new_run_folder(out: Path) -> Path:
    """Make the folder of a run that begins now, and lead ``out/latest`` to it."""
    folder = new_folder(out)
    lead_latest_to(folder)
    return folder


def lead_latest_to(folder: Path) -> None:
    """Lead ``latest``, beside the folder of a run, to it."""
    latest = folder.with_name(f".latest-{folder.name}")
    latest.symlink_to(folder.name)
    latest.replace(folder.with_name("latest"))


def new_folder(out: Path) -> Path:
    """Make a folder ``out/<time>`` for what is not a run; ``out/latest`` stays where it leads."""
    out.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
    for number in itertools.count(1):
        folder = out / (stamp if number == 1 else f"{stamp}_{number}")
        try:
            folder.mkdir()
        except FileExistsError:  # another run began in the same second
            continue
        break
    return folder
