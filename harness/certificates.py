"""Certificates for calls over TLS on a PBX of the harness's own, and TLS's settings for both sides.

They are made anew for each run and are worth nothing outside of it.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

import trustme

from harness.errors import InputFault


class Certificates:
    """A certificate authority with a certificate for each name, as files in a folder."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        """``names`` are host names or IP addresses."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.ca)
        for name in names:
            # Asterisk looks for an IP address in the common name alone.
            certificate = authority.issue_cert(name, common_name=name)
            certificate.private_key_and_cert_chain_pem.write_to_path(self.certificate(name))

    @property
    def ca(self) -> Path:
        """What the others are verified by."""
        return self._folder / "ca.pem"

    def certificate(self, name: str) -> Path:
        """Key and certificate of a name, in one file."""
        return self._folder / f"{name}.pem"


def server_tls(certificate: Path, key: Path | None = None) -> ssl.SSLContext:
    """TLS for a server with this certificate; ``key`` when it is in another file.

    Raises InputFault when they cannot be used.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise InputFault(
            f"{certificate} cannot be used as a certificate with its key"
            + (f" in {key}" if key else "")
            + f": {error}",
            "Both must be PEM files that belong together; the key must have no pass phrase.",
        ) from error
    return context


def note_secrets(context: ssl.SSLContext, file: Path) -> None:
    """Have the secrets of connections made from now on written to ``file``, for a capture."""
    context.minimum_version = ssl.TLSVersion.TLSv1_3  # which is what a capture can be read of
    context.keylog_filename = str(file)


def client_tls(ca: Path | None = None) -> ssl.SSLContext:
    """TLS for a client that verifies the server by ``ca``, by default the machine's own ones.

    Raises InputFault when it cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise InputFault(
            f"{ca} cannot be used as the certificate of an authority: {error}",
            "Give a PEM file with the certificate that signed the PBX's.",
        ) from error
