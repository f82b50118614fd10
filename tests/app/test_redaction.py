"""Nothing private gets into a support archive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.app.redaction import redact

NAMES = {"/home/ada": "~", "ada": "<user>", "engine": "<host>"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("-device isa-applesmc,osk=abcdefgh", "-device isa-applesmc,osk=<osk>"),
        ("http://127.0.0.1:8600/?token=jtpFb1Cv1E38", "http://127.0.0.1:8600/?token=<secret>"),
        ('{"token": "jtpFb1Cv1E38"}', '{"token": "<secret>"}'),
        ("mac=52:54:00:12:ab:ef,x", "mac=<mac>,x"),
        ("-uuid 12345678-1234-4234-8234-123456789abc", "-uuid <uuid>"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIabcdef ada@engine", "ssh-ed25519 <key> <user>@<host>"),
        ("/home/ada/pommel.toml of ada", "~/pommel.toml of <user>"),
        ("canada and engineer stay", "canada and engineer stay"),
        ("from 192.168.1.7 to 127.0.0.1 and 10.0.2.15", "from <address> to 127.0.0.1 and 10.0.2.15"),
        ("https://ada:pw@example.org/x.git", "https://<user>@example.org/x.git"),
        ("write to ada@example.org", "write to <mail>"),
        ("serial=C02ABCDEFGH1 mlb: C02123456789ABCDE", "serial=<serial> mlb: <serial>"),
        ("password: hunter22", "password: <secret>"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----\nrest", "<private key>\nrest"),
        ("-----BEGIN RSA PRIVATE KEY-----\ncut off", "<private key>"),
    ],
)
def test_what_is_taken_out(text: str, wanted: str) -> None:
    assert redact(text, NAMES) == wanted


@given(st.text(), st.sampled_from(["/home/ada", "52:54:00:12:ab:ef", "12345678-1234-4234-8234-123456789abc"]))
def test_it_is_gone_wherever_it_stands(around: str, private: str) -> None:
    assert private not in redact(f"{around} {private} {around}".replace(private, f" {private} "), NAMES)


@given(st.text(alphabet=st.characters(blacklist_categories=["Cs"])))
def test_twice_is_as_good_as_once(text: str) -> None:
    once = redact(text, NAMES)
    assert redact(once, NAMES) == once
