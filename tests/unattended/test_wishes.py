"""What a person may want of an unattended installation."""

from __future__ import annotations

from typing import Any

import pytest

from pommel.errors import UsageError
from pommel.unattended.wishes import Wishes

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEmcJ0yXJ0yXJ0yXJ0yXJ0yXJ0yXJ0yXJ0yXJ0yXJ0yX ada@host"


def wishes(**more: Any) -> Wishes:
    return Wishes(**{"user": "ada", "full_name": "Ada Lovelace", "ssh_keys": (KEY,), **more})


def test_what_is_usual_is_taken() -> None:
    made = wishes(locale="de_DE", keyboard="de", timezone="America/Argentina/Buenos_Aires")
    assert made.timezone == "America/Argentina/Buenos_Aires"
    assert wishes(timezone="UTC", full_name="Ærøskøbing 東京", ssh_keys=()).locale is None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"user": "Ada"}, "'Ada' cannot be the user's name"),
        ({"user": "a b"}, "cannot be the user's name"),
        ({"user": "ada\n"}, "cannot be the user's name"),
        ({"user": "../x"}, "cannot be the user's name"),
        ({"user": "root"}, "cannot be the user's name"),
        ({"user": "a" * 32}, "cannot be the user's name"),
        ({"full_name": ""}, "cannot be a full name"),
        ({"full_name": "a\x1b[m"}, "cannot be a full name"),
        ({"ssh_keys": ("-----BEGIN OPENSSH PRIVATE KEY-----",)}, "not a public key"),
        ({"ssh_keys": (KEY + "\nssh-rsa AAAA",)}, "not a public key"),
        ({"locale": "de"}, "--locale cannot be 'de'"),
        ({"timezone": "../../etc/passwd"}, "--timezone cannot be"),
        ({"timezone": "Europe/../x"}, "--timezone cannot be"),
        ({"keyboard": "dvorak"}, "no keyboard 'dvorak' is known"),
    ],
)
def test_what_cannot_be_is_refused_by_name(more: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as refusal:
        wishes(**more)
    assert refusal.value.hint
