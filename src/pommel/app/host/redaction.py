"""Remove private data from a text, for support archives. Band: core, no I/O.

First the known private values are replaced, in all their spellings. Then rules replace everything that has the form of
private data, such as a token. It removes too much rather than too little, because strangers read an archive. A guest
may have written a part of the text, so each rule must take time in proportion to the text.
"""

from __future__ import annotations

import ipaddress
import json
import re
import string
from collections.abc import Callable, Mapping
from urllib.parse import quote

USER, HOST, HOME, SECRET = "<user>", "<host>", "~", "<secret>"
SERIAL, UUID, MAC, MESH = "<serial>", "<uuid>", "<mac>", "<mesh id>"
Instead = str | Callable[[re.Match[str]], str]

_LABEL = r"<[a-z~_ ]+>"  # a placeholder
_GAP = r"[-:. ]?"  # programs separate the digits of an address or an id in different ways
_SAID = r"""\\?["']?\s*[=:]\s*\\?["']?"""  # between a key and its value, in TOML, JSON and a shell
_ID_DIGITS = (12, 32, 64, 96)  # hexadecimal digits of a MAC address and a ROM, a UUID, hashes
_LOCAL = "local|lan|home|internal|intranet|localdomain|corp|box"
_LONG = 8  # a value of at least so many characters is also replaced inside longer words
_GENERIC = {
    "root",
    "trial",
    "pommel",
    "localhost",
    "user",
    "true",
    "false",
    "none",
    "null",
    "default",
    "auto",
    "yes",
    "off",
}


def _rule(pattern: str, instead: Instead, flags: int = re.IGNORECASE) -> tuple[re.Pattern[str], Instead]:
    return re.compile(pattern, flags), instead


def _address(found: re.Match[str]) -> str:
    """Replace an IPv6 address, unless every host has it: loopback, unspecified, and QEMU's network (fec0::/64)."""
    try:
        told = ipaddress.IPv6Address(found[0].partition("%")[0])
    except ValueError:
        return found[0]
    ours = told.is_loopback or told.is_unspecified or told in ipaddress.IPv6Network("fec0::/64")
    return found[0] if ours else "<address>"


# letters of Apple's serial numbers; see `smbios`
_BASE34, _HALF_YEARS, _WEEKS = "0-9A-HJ-NP-Z", "CDFGHJ-NP-TV-Z", "1-9CDFGHJ-NP-RTV-Y"
_HEX = "[0-9A-F]{2}"

_RULES = (
    _rule(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", "<private key>", re.DOTALL),
    _rule(r"\b(osk=)(?!<)[^\s,\"']+", r"\1<osk>"),
    _rule(rf"\b((?:set-)?cookie{_SAID})(?!<)[^\r\n\"']+", r"\1<secret>"),
    _rule(rf"\b((?:proxy-)?authorization{_SAID})(?!<)[^\r\n\"',]+", r"\1<secret>"),
    _rule(r"\b(bearer )(?!<)[\w.~+/=-]{4,}", r"\1<secret>"),
    # -object secret,…,data=… (qemu-options.hx), in one word or in a list of words.
    _rule(r"(\bsecret\b[^\s\"']{0,200}?\bdata=)(?!<)[^\s,\"']+", r"\1<secret>"),
    _rule(r"(\bsecret\b[^\n]{0,200}?\bdata\\?\" ?: ?\\?\")(?!<)[^\"\\]+", r"\1<secret>"),
    _rule(
        rf"((?<![^\W_])(?:token|passw(?:or)?d|passphrase|pwd|secret|key|ticket)\b{_SAID})(?!<)[^\s\"'&,;}}]{{4,}}",
        r"\1<secret>",
    ),
    _rule(r"\b(pass(?:word|phrase) is [\"']?)(?!<)[^\s\"',;]{4,}", r"\1<secret>"),
    _rule(r"\b(https?://[^\s\"'#<>]{0,300}#)(?!<)[\w.~-]{8,}", r"\1<secret>"),
    # Up to the last @ before the path, because a password may contain an @.
    _rule(r"\b([a-z][a-z0-9+.-]{0,30}://)[^\s/\"']+@", r"\1<user>@"),
    _rule(r"\b((?:https?|all)_proxy\b[\"']?\s*[=:]\s*[\"']?(?:[a-z0-9+.-]{1,30}://)?)[^\s\"']{1,2048}@", r"\1<user>@"),
    _rule(
        r"\b(?:gh[a-z]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[a-z]-[\w-]{10,}|AKIA[A-Z0-9]{16})", "<secret>"
    ),
    _rule(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*", "<secret>"),
    _rule(r"\b(ssh-(?:ed25519|rsa|dss)|sk-[a-z0-9@.-]+|ecdsa-[a-z0-9-]+) [A-Za-z0-9+/=]{20,}", r"\1 <key>", 0),
    _rule(r"\bSHA256:[A-Za-z0-9+/]{43}=?", "<key>"),
    # MeshCentral: the ids of nodes, groups and users, and the ids in a .msh file.
    _rule(r"\b((?:node|mesh|user)/[\w.-]*/)(?!<)[A-Za-z0-9@$]{20,}", r"\1<mesh id>"),
    _rule(rf"\b((?:server|mesh|node)_?id{_SAID})(?!<)(?:0x)?[0-9A-F]{{32,}}", r"\1<mesh id>"),
    _rule(r"\b[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}\b", "<uuid>"),
    _rule(rf"(?<![\w:-])(?:(?:{_HEX}:){{5}}|(?:{_HEX}-){{5}}){_HEX}(?![\w:-])", "<mac>"),
    _rule(rf"\b(rom\b[\"']?\s*[=:]?\s*)[<\"']*(?:{_HEX}[ :-]?){{5}}{_HEX}\b>?", r"\1<serial>"),
    _rule(
        rf"(serial\w{{0,10}}(?:[ -](?:number|no)\b\.?)?(?: ?\([^)\n]{{0,20}}\))?{_SAID}"
        rf"|\b(?:mlb|sn|rom)\b{_SAID})(?!<)[A-Z0-9]{{6,}}",
        r"\1<serial>",
    ),
    # A serial number of a Mac or a logic board without a key before it: recognised by the letters that Apple uses.
    _rule(
        rf"\b(?=[{_BASE34}]{{3}}[{_HALF_YEARS}][{_WEEKS}][{_BASE34}]{{7}}\b)(?=\w*\d)(?=\w*[A-Z])\w{{12}}"
        rf"|\b(?=[{_BASE34}]{{3}}\d{{6}}[{_BASE34}]{{8}}\b)(?=\w*[A-Z])\w{{17}}",
        "<serial>",
        0,
    ),
    _rule(
        r"(?<![\w:.])(?:[0-9A-F]{0,4}:){2,7}(?:(?:\d{1,3}\.){3}\d{1,3}|[0-9A-F]{0,4})(?:%\w+(?:[.-]\w+)*)?(?![\w:])",
        _address,
    ),
    _rule(r"\b(?!127\.|0\.0\.0\.0\b|10\.0\.2\.)(?:\d{1,3}\.){3}\d{1,3}\b", "<address>"),
    _rule(r"\b(B?SSID\b[\"']?\s*[=:]?\s*)(?:\"[^\"<\n]*\"|'[^'<\n]*'|[^\s,<\"']+)", r"\1<network>"),
    _rule(r"((?:/var)?/home/|/Users/|\\Users\\)(?!<|Shared\b|trial\b)[^/\\\s\"':,;]+", r"\1<user>"),
    _rule(r"(/run/user/)\d+", r"\1<uid>"),
    _rule(
        rf"((?<![^\W_])(?:user(?:_?name)?|login|logname){_SAID})(?!<|(?:trial|root)\b)[a-z_][\w.-]*",
        r"\1<user>",
    ),
    _rule(r"(?<![/\w.+-])(?:<user>|[\w.+-]+)@[\w-]+\.[\w.]+\b", "<mail>"),
)


def redact(text: str, values: Mapping[str, str]) -> str:
    """Replace all private data: each key of `values` by its placeholder, and everything that matches a rule.

    `values` maps a private value (a user's name, a serial number, a token) to its placeholder, such as `<user>`. Case
    does not matter; in an address or an id, nor do the separators between the digits.
    """
    known = {value: label for value, label in values.items() if len(value) > 1 and value.casefold() not in _GENERIC}
    if known:
        labels = list(known.values())
        ordered = "|".join(
            f"(?P<v{number}>{_pattern(value, label)})"
            for number, (value, label) in sorted(enumerate(known.items()), key=lambda one: -len(one[1][0]))
        )

        def instead(found: re.Match[str]) -> str:
            return found[0] if found.lastgroup is None else labels[int(found.lastgroup[1:])]

        text = re.sub(f"{_LABEL}|{ordered}", instead, text, flags=re.IGNORECASE)
    for pattern, put in _RULES:
        text = pattern.sub(put, text)
    return text


def _pattern(value: str, label: str) -> str:
    digits = re.sub(r"[-:. ]", "", value)
    if len(digits) in _ID_DIGITS and set(digits) <= set(string.hexdigits):
        pairs = [digits[at : at + 2] for at in range(0, len(digits), 2)]
        return rf"(?<![0-9A-Fa-f]){_GAP.join(pairs)}(?![0-9A-Fa-f])"
    spelled = {value, quote(value), value.replace(",", ",,"), json.dumps(value)[1:-1]}
    words = "|".join(map(re.escape, sorted(spelled, key=len, reverse=True)))
    if label == HOST:
        return rf"(?<![^\W_])(?:{words})(?:(?:\.[a-z0-9-]+){{2,}}|\.(?:{_LOCAL})\b)?(?![^\W_])"
    if label in (USER, HOME) or len(value) < _LONG:
        return rf"(?<![^\W_])(?:{words})(?![^\W_])"
    return f"(?:{words})"
