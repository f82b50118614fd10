"""The order of the questions to Security.framework, by a stand-in with pyobjc's signatures; not run on a Mac."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from pommel.errors import MissingProgram, NotPermitted, UsageError
from pommel.session.peer import Code, Expected, judge
from pommel.session.peer_macos import CodeCheck
from pommel.session.sessions import Session, console_session, framework_of

REQUIREMENT = 'identifier "com.example.pommel" and anchor apple generic'
TOKEN = struct.pack("=8I", 501, 501, 20, 501, 20, 4242, 100005, 7)
HASH = bytes(range(20))


class Security:
    """Security.framework as pyobjc 12.2 shows it: statuses first, what an out argument got after them."""

    kSecGuestAttributeAudit = "audit"
    kSecCodeInfoUnique = "unique"

    def __init__(self, *, guest: int = 0, valid: int = 0, info: int = 0) -> None:
        self._guest, self._valid, self._info = guest, valid, info

    def SecRequirementCreateWithString(self, text: str, flags: int, out: None) -> tuple[int, Any]:
        return (0, ("requirement", text)) if "anchor" in text else (-67030, None)

    def SecCodeCopyGuestWithAttributes(
        self, host: None, asked: dict[str, bytes], flags: int, out: None
    ) -> tuple[int, Any]:
        assert host is None
        assert asked == {"audit": TOKEN}
        return self._guest, ("code" if self._guest == 0 else None)

    def SecCodeCheckValidity(self, code: Any, flags: int, requirement: Any) -> int:
        assert (code, flags, requirement) == ("code", 0, ("requirement", REQUIREMENT))
        return self._valid

    def SecCodeCopySigningInformation(self, code: Any, flags: int, out: None) -> tuple[int, Any]:
        return self._info, ({"unique": HASH} if self._info == 0 else None)

    def SecCopyErrorMessageString(self, status: int, reserved: None) -> str:
        return "code failed to satisfy specified code requirement(s)"


def test_valid_code() -> None:
    peer = CodeCheck(REQUIREMENT, Security()).facts(TOKEN, 501)
    assert (peer.uid, peer.pid, peer.audit_token) == (501, 4242, TOKEN)
    assert peer.code == Code(True, HASH.hex())
    assert judge(peer, Expected(501, signed=True, cdhash=HASH.hex())).accepted


def test_code_that_does_not_meet_the_requirement() -> None:
    peer = CodeCheck(REQUIREMENT, Security(valid=-67050)).facts(TOKEN, 501)
    verdict = judge(peer, Expected(501, signed=True))
    assert "-67050" in verdict.reason
    assert verdict.reason.startswith("signature: code failed")


def test_code_that_cannot_be_found() -> None:
    peer = CodeCheck(REQUIREMENT, Security(guest=100001)).facts(TOKEN, 501)
    assert not judge(peer, Expected(501, signed=True)).accepted


def test_code_without_a_hash_is_not_the_strict_ones() -> None:
    peer = CodeCheck(REQUIREMENT, Security(info=-1)).facts(TOKEN, 501)
    assert not judge(peer, Expected(501, signed=True, cdhash=HASH.hex())).accepted


def test_a_token_that_names_another_user() -> None:
    with pytest.raises(NotPermitted, match="uid 501 uses"):
        CodeCheck(REQUIREMENT, Security()).facts(TOKEN, 502)


def test_a_short_token() -> None:
    with pytest.raises(NotPermitted, match="32 bytes"):
        CodeCheck(REQUIREMENT, Security()).facts(TOKEN[:-1], 501)


def test_no_requirement() -> None:
    with pytest.raises(UsageError, match="code requirement"):
        CodeCheck("nonsense", Security())


class Configuration:
    """SystemConfiguration as pyobjc shows it."""

    def __init__(self, name: str | None, uid: int) -> None:
        self._answer = name, uid, 20

    def SCDynamicStoreCopyConsoleUser(self, store: None, uid: None, gid: None) -> tuple[str | None, int, int]:
        return self._answer


@pytest.mark.parametrize(
    ("name", "uid", "session"),
    [
        ("ann", 501, Session(501, "ann", "aqua")),
        ("loginwindow", 0, Session(0, "loginwindow", "login")),
        (None, 0, Session(0, "loginwindow", "login")),
    ],
)
def test_the_consoles_user(name: str | None, uid: int, session: Session) -> None:
    assert console_session(Configuration(name, uid)) == session


def test_without_pyobjc() -> None:
    with pytest.raises(MissingProgram, match="pyobjc"):
        framework_of("NoSuchFrameworkAnywhere")
