"""Downloading an official release of Asterisk, verified against its published checksum."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

CONNECT_TIMEOUT_S = 5.0
"""How long the official site may stay silent before the next source is tried."""


class NotAvailable(Exception):
    """This way of getting the source does not work here; the next one may."""


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
