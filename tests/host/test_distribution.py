"""os-release files as distributions ship them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.host.distribution import family_of, parse_os_release


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n', "apt"),
        ("NAME=Ubuntu\nID=ubuntu\nID_LIKE=debian\n", "apt"),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', "apt"),
        ("ID=pop\nID_LIKE='ubuntu debian'\n", "apt"),
        ("NAME='Fedora Linux'\nID=fedora\n", "dnf"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "dnf"),
        ("ID=arch\n", "pacman"),
        ("ID=manjaro\nID_LIKE=arch\n", "pacman"),
        ('ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n', "zypper"),
        ('ID="opensuse-leap"\n', "zypper"),
        ("ID=sles\n", "zypper"),
        ("ID=alpine\n", None),
        ("ID=nixos\n", None),
        ("", None),
    ],
)
def test_the_family(text: str, family: str | None) -> None:
    assert family_of(parse_os_release(text)) == family


def test_quotes_escapes_comments_and_noise() -> None:
    text = '# ID=no\n\n  A=plain  \nB="two words"\nC=\'$x\'\nD="a\\"b\\$"\nE=\nF="open\nnot a line\n9X=1\nG=x=y\n'
    assert parse_os_release(text) == {"A": "plain", "B": "two words", "C": "$x", "D": 'a"b\\$', "E": "", "G": "x=y"}


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    family_of(parse_os_release(text))
