"""The host's apt settings, as apt prints them."""

from __future__ import annotations

import pytest

from pommel.trial.apt import download_options, source_lines

KEYS = "/keys.gpg"
BOOKWORM = """\
http://mirror.lan/debian/|bookworm|main|Debian
http://mirror.lan/debian/|bookworm|non-free|Debian
http://mirror.lan/debian/|bookworm-updates|main|Debian
http://mirror.lan/security/|bookworm-security|main|Debian
http://mirror.lan/debian/|bookworm-backports|main|Debian Backports
https://vendor.example/apt/|bookworm|main|Vendor
"""


def line(uri: str, suite: str) -> str:
    return f"deb [signed-by={KEYS}] {uri} {suite} main"


HERE = [
    line("http://mirror.lan/debian/", "bookworm"),
    line("http://mirror.lan/debian/", "bookworm-updates"),
    line("http://mirror.lan/security/", "bookworm-security"),
]


@pytest.mark.parametrize(
    ("printed", "lines"),
    [
        (BOOKWORM, HERE),
        (BOOKWORM + BOOKWORM, HERE),
        (BOOKWORM.replace("bookworm", "trixie"), HERE),
        (BOOKWORM + "http://mirror.lan/debian/|sid|main|Debian\n", HERE),
        (BOOKWORM.replace("|Debian\n", "|Ubuntu\n"), []),
        ("", []),
        ("E: something|odd\n", []),
    ],
    ids=["debian 12", "listed twice", "another release", "two releases", "ubuntu", "no apt", "noise"],
)
def test_sources_are_the_hosts_own_for_the_guests_suite(printed: str, lines: list[str]) -> None:
    assert source_lines(printed, "bookworm", KEYS) == lines


def test_only_settings_that_say_how_to_reach_a_server_are_taken() -> None:
    printed = """\
Acquire "";
Acquire::Languages "none";
Acquire::GzipIndexes "true";
Acquire::http "";
Acquire::http::Proxy "http://proxy.lan:3128";
Acquire::http::Proxy::mirror.lan "DIRECT";
Acquire::https::CAInfo "/etc/ssl/lan.pem";
Acquire::Retries "5";
"""
    assert download_options(printed) == [
        'Acquire::http::Proxy "http://proxy.lan:3128"',
        'Acquire::http::Proxy::mirror.lan "DIRECT"',
        'Acquire::https::CAInfo "/etc/ssl/lan.pem"',
        'Acquire::Retries "5"',
    ]
