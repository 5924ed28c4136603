"""What scenarios can be run on, by the names that the command line and the reports use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputFault
from harness.targets.lab_file import load_lab

NATIVE = ("patched", "stock", "patched-tls", "stock-tls")
CONTAINERS = ("container-source", "container-packaged")
LAB_PREFIX = "lab:"


@dataclass(frozen=True)
class TargetName:
    """``patched`` and ``stock``: the harness's own build with either module, also with encrypted
    media connections (``-tls``). Or a container's flavour, or ``lab:<lab file>``."""

    text: str

    def __post_init__(self) -> None:
        """Raises InputFault for a name that is none."""
        if self.text not in (*NATIVE, *CONTAINERS) and not self.text.startswith(LAB_PREFIX):
            raise InputFault(
                f"there is no target {self.text!r}",
                f"Use {', '.join((*NATIVE, *CONTAINERS))} or {LAB_PREFIX}FILE.",
            )

    @property
    def stock(self) -> bool:
        """Whether it is there to fail: the harness's own build with the stock module."""
        return self.text in ("stock", "stock-tls")

    @property
    def patched(self) -> bool:
        """Whether it was made with the patch, whatever its MEDIA_START says."""
        return not self.stock and self.lab_file is None

    @property
    def lab_file(self) -> Path | None:
        """The lab file of a lab PBX."""
        if not self.text.startswith(LAB_PREFIX):
            return None
        return Path(self.text.removeprefix(LAB_PREFIX))

    def check(self) -> None:
        """Raises InputFault when its file cannot be used."""
        if self.lab_file is not None:
            load_lab(self.lab_file)

    @property
    def parallel(self) -> bool:
        """Whether several of it can be run at once: of a lab PBX there is but one."""
        return self.lab_file is None
