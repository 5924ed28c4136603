"""The lines of Asterisk's configuration that a lab PBX needs for its lab file."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from harness.asterisk.configuration import (
    CONTEXT,
    Extension,
    confbridge_conf,
    extensions_conf,
    websocket_client_conf,
)
from harness.media.codecs import CODECS
from harness.targets.lab_file import Lab, LabFile


def lab_lines(lab: Lab) -> dict[str, str]:
    """What is to be added to the PBX's configuration, by file name.

    Something in angle brackets is to be replaced by whoever pastes it: passwords and paths of the
    PBX are not ours to know.
    """
    file = lab.file
    found = {
        "extensions.conf": extensions_conf(
            _once_each([*file.extensions]), note_connections=False
        ).rstrip(),
        "pjsip.conf": _pjsip_lines(lab),
    }
    if any(bridge.startswith("conference") for bridge in file.calls.bridges):
        found["confbridge.conf"] = confbridge_conf()
    if file.listen:
        found["websocket_client.conf"] = websocket_client_conf(
            file.listen.uri, "<a copy of the certificate that signed the application's>"
        )
    if file.connect or file.ari:
        found["http.conf"] = _http_lines(file)
    if file.ari:
        found["ari.conf"] = (
            "[general]\nenabled = yes\n\n"
            f"[{file.ari.user}]\ntype = user\nread_only = no\n"
            f"password = <the value of {file.ari.password_from}>\n"
        )
    return {name: text.rstrip() + "\n" for name, text in found.items()}


def _once_each(extensions: Sequence[Extension]) -> list[Extension]:
    return list({extension.name: extension for extension in extensions}.values())


def _pjsip_lines(lab: Lab) -> str:
    sip = lab.file.sip
    codecs = [codec for codec in CODECS if codec in lab.file.calls.codecs]
    text = (
        f"; A transport of the type {sip.transport} on port {sip.port} is needed, too.\n"
        f"[{sip.user}]\n"
        "type = endpoint\n"
        f"context = {CONTEXT}\n"
        "disallow = all\n"
        f"allow = {','.join(codecs)}\n"
        "direct_media = no\n"
        "timers = no\n"
    )
    if sip.transport != "udp":
        # Asterisk would else open a connection of its own to hang up.
        text += "rewrite_contact = yes\n"
    if sip.password_from:
        return text + (
            f"auth = {sip.user}\n\n"
            f"[{sip.user}]\n"
            "type = auth\n"
            "auth_type = userpass\n"
            f"username = {sip.user}\n"
            f"password = <the value of {sip.password_from}>\n"
        )
    return text + (
        f"\n[{sip.user}]\ntype = identify\nendpoint = {sip.user}\n"
        f"match = <the address of the machine that runs the harness>\n"
    )


def _http_lines(file: LabFile) -> str:
    uris = [urlsplit(part.uri) for part in (file.connect, file.ari) if part]
    plain = [uri for uri in uris if uri.scheme in ("ws", "http")]
    secure = [uri for uri in uris if uri.scheme in ("wss", "https")]
    text = "[general]\nenabled = yes\n"
    if plain:
        text += f"bindaddr = {plain[0].hostname}\nbindport = {plain[0].port}\n"
    if secure:
        text += (
            f"tlsenable = yes\ntlsbindaddr = {secure[0].hostname}:{secure[0].port}\n"
            f"tlscertfile = <a certificate for {secure[0].hostname}, PEM>\n"
            "tlsprivatekey = <its key, PEM>\n"
        )
    return text
