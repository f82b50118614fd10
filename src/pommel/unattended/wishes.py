"""The user's wishes for an unattended installation, each value checked when it is made. Band: core, no I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pommel.errors import UsageError

_USER = re.compile(r"[a-z][a-z0-9_-]{0,30}")
_LOCALE = re.compile(r"[a-z]{2,3}_[A-Z]{2}")
_ZONE = re.compile(r"[A-Z][A-Za-z0-9_+-]{0,30}(/[A-Z][A-Za-z0-9_+-]{0,30}){0,2}")
_KEY = re.compile(
    r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-[a-z0-9@.-]+) [A-Za-z0-9+/=]{20,8000}( [ -~]{0,200})?"
)
_TAKEN = frozenset({"root", "daemon", "nobody", "guest", "admin", "staff", "wheel", "shared", "everyone"})
_NAME_MAX = 100
# Names and numbers of keyboard layouts, as in com.apple.HIToolbox.plist; they were not checked on a Mac.
KEYBOARDS = {
    "us": ("U.S.", 0),
    "gb": ("British", 2),
    "fr": ("French", 1),
    "de": ("German", 3),
    "it": ("Italian", 4),
    "ch-fr": ("Swiss French", 18),
    "ch-de": ("Swiss German", 19),
    "es": ("Spanish - ISO", 87),
}


@dataclass(frozen=True, slots=True)
class Wishes:
    """The account and the regional settings of an unattended installation. None: Apple's installer decides.

    Raises:
        UsageError: a value that cannot be used.
    """

    user: str
    full_name: str
    ssh_keys: tuple[str, ...]
    locale: str | None = None
    keyboard: str | None = None
    timezone: str | None = None

    def __post_init__(self) -> None:
        if not _USER.fullmatch(self.user) or self.user in _TAKEN:
            raise UsageError(
                f"{self.user!r} cannot be the user's name on a Mac",
                hint="use 1 to 31 of a-z 0-9 _ - and begin with a letter; names such as admin are taken",
            )
        if not self.full_name or len(self.full_name) > _NAME_MAX or not self.full_name.isprintable():
            raise UsageError(f"{self.full_name!r} cannot be a full name", hint=f"use 1 to {_NAME_MAX} letters")
        if wrong := next((key for key in self.ssh_keys if not _KEY.fullmatch(key)), None):
            raise UsageError(
                f"{wrong[:40]!r} is not a public key of SSH", hint="it begins with a word such as ssh-ed25519"
            )
        _check("--locale", self.locale, _LOCALE, "such as de_DE")
        _check("--timezone", self.timezone, _ZONE, "such as Europe/Berlin")
        if self.keyboard is not None and self.keyboard not in KEYBOARDS:
            raise UsageError(f"no keyboard {self.keyboard!r} is known", hint=f"one of {', '.join(KEYBOARDS)}")


def _check(option: str, value: str | None, pattern: re.Pattern[str], wanted: str) -> None:
    if value is not None and not pattern.fullmatch(value):
        raise UsageError(f"{option} cannot be {value!r}", hint=f"write it {wanted}")
