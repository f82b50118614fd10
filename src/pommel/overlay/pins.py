"""The pinned commit of an upstream, and the hashes of its binaries. Band: core, no I/O.

A pin is data from pommel.toml (`[upstream] url, commit, sha256 = {file = hash}`) or one of those shipped here.
The upstream rewrites its history, so a branch's name pins nothing; a commit does, and the hashes are added because
a commit's id is only SHA-1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from pommel.errors import ConfigError

OSX_KVM = "https://github.com/kholia/OSX-KVM"
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class Pin:
    """An upstream at one commit; `sha256` maps files of it to the hash that each must have.

    Raises:
        ConfigError: a part of it cannot be used.
    """

    url: str
    commit: str
    sha256: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.url or self.url.startswith("-") or not self.url.isprintable():
            raise ConfigError(f"upstream.url {self.url!r} is not an address that git can fetch from")
        if not _COMMIT.match(self.commit):
            raise ConfigError(
                f"upstream.commit {self.commit!r} is not a whole commit id",
                hint="give all 40 digits; the meaning of a branch or a short id can change",
            )
        for name, digest in self.sha256.items():
            check_inside(name, "upstream.sha256")
            if not _SHA256.match(digest):
                raise ConfigError(f"upstream.sha256 of {name} is not 64 hexadecimal digits in lower case")


def check_inside(name: str, where: str) -> str:
    """Return `name` if it is a plain relative path inside a checkout, and not git's own.

    Raises:
        ConfigError: it leads outside, or into `.git`. The message begins with `where`.
    """
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or "\0" in name or ".." in parts or name.endswith("/"):
        raise ConfigError(f"{where}: {name!r} is not a file inside the upstream's checkout")
    if any(part.lower() == ".git" for part in parts):
        raise ConfigError(f"{where}: {name!r} belongs to git and cannot be changed")
    return name


# The three files of variables that upstream ships have the same bytes under three names.
_VARS = "6ed987af3a3c155be71665f510eae3e007eda9b8b94afd59d45e91c4a11565cc"

OCTOBER_2025 = Pin(
    OSX_KVM,
    "da4b23b5e92c5b939568700034367e8b7649fe90",
    {
        "OVMF_CODE.fd": "52a625db5a45329bf8005232db33e94781787d92ae8d088f2f73332dd4ded3a9",
        "OVMF_VARS.fd": _VARS,
        "OVMF_VARS-1024x768.fd": _VARS,
        "OVMF_VARS-1920x1080.fd": _VARS,
    },
)

JANUARY_2026 = Pin(
    OSX_KVM,
    "4c378a4b5e0b219783683012bec680325eb40719",
    {
        "OpenCore/OpenCore.qcow2": "6ed36c0c2a4206ccc695f6b1a734a1cc6f94d288b0517c705d351c63cb92a6f3",
        "OVMF_CODE_4M.fd": "7decd7fa9965e7f943a1f79d1d05ce6d881540d625cc2a9641a57f89721b4577",
        "OVMF_VARS-1920x1080.fd": _VARS,
    },
)

SHIPPED = {pin.commit: pin for pin in (OCTOBER_2025, JANUARY_2026)}
DEFAULT = JANUARY_2026


def pin_of(url: str | None = None, commit: str | None = None, sha256: Mapping[str, str] | None = None) -> Pin:
    """The pin of a config's `[upstream]`; missing parts are those that we ship.

    The shipped hashes are valid for the shipped commits from any url. Given hashes replace them.

    Raises:
        ConfigError: a part of it cannot be used, or there is another url but no commit.
    """
    if commit is None and url not in (None, OSX_KVM):
        raise ConfigError("upstream.url is set but upstream.commit is not", hint="set upstream.commit too")
    commit = DEFAULT.commit if commit is None else commit
    shipped = SHIPPED[commit].sha256 if commit in SHIPPED else {}
    return Pin(url or OSX_KVM, commit, shipped if sha256 is None else sha256)
