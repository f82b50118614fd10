"""Taking out of a text what is nobody's business but its owner's. Band: core, no I/O.

For support archives. It errs on the side of taking out too much: an archive is read by strangers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        "<private key>",
    ),
    (re.compile(r"(?i)\b(osk=)[^\s,\"']+"), r"\1<osk>"),
    (
        re.compile(r"(?i)\b((?:token|password|passwd|secret|key)\b[\"']?\s*[=:]\s*[\"']?)(?!<)[^\s\"'&,;}]{4,}"),
        r"\1<secret>",
    ),
    (re.compile(r"\b(ssh-(?:ed25519|rsa)|ecdsa-[a-z0-9-]+) [A-Za-z0-9+/=]{20,}"), r"\1 <key>"),
    (re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"), "<uuid>"),
    (re.compile(r"\b(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\b"), "<mac>"),
    (re.compile(r"(?i)\b((?:serial|mlb|sn|rom)\b[\"']?\s*[=:]\s*[\"']?)[A-Z0-9]{6,}"), r"\1<serial>"),
    (re.compile(r"\b(?!127\.|0\.0\.0\.0\b|10\.0\.2\.)(?:\d{1,3}\.){3}\d{1,3}\b"), "<address>"),
    (re.compile(r"(?i)\b(https?://)[^\s/@]+@"), r"\1<user>@"),
    (re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.]+\b"), "<mail>"),
)


def redact(text: str, names: Mapping[str, str]) -> str:
    """Take out keys, tokens, serials, hardware and network addresses, and each of `names` for what it stands for.

    `names` maps what is private here (home folder, user, host name) to what is put in its place.
    """
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    for private in sorted(names, key=len, reverse=True):
        if len(private) >= 2:
            text = re.sub(rf"(?<![\w-]){re.escape(private)}(?![\w-])", names[private].replace("\\", r"\\"), text)
    return text
