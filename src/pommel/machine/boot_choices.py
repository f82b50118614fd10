"""The choices for one start, and whether the installer is attached. Band: core, no I/O.

Choices are not settings: they last for one run. The facts about the disk are an argument; `installation` finds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pommel.errors import StateError
from pommel.settings import format_size

_GIB = 1 << 30
# Before an installation a disk has an empty volume, well under 1 GiB. Recovery then downloads 12 to 18 GB onto it, and
# an installed Sequoia has been seen to use 32.8 GiB. So from this size on there is a system, or most of one.
INSTALLED_BYTES = 12 * _GIB


@dataclass(frozen=True, slots=True)
class BootChoice:
    """One start: whether the installer is attached, all writes are discarded, and the guest prints more messages.

    `shows`: a boot disk that starts only Recovery, or only an installed macOS, without waiting for a key.
    """

    installer: Literal["auto", "yes", "no"] = "auto"
    throwaway: bool = False
    verbose: bool = False  # it is set in OpenCore's configuration, not in QEMU's arguments
    shows: Literal["recovery", "macos"] | None = None  # set there too


ORDINARY = BootChoice()


def judge_installed(word: bool | None, grown_bytes: int) -> tuple[bool, str]:
    """Whether macOS is installed, and the reason: the user's `word`, or else the size to which the disk has grown."""
    if word is not None:
        return word, "it is marked as installed" if word else "it is marked as not installed"
    grown, limit = format_size(grown_bytes), format_size(INSTALLED_BYTES)
    if grown_bytes >= INSTALLED_BYTES:
        return True, f"its disk has grown to {grown}, and an installation needs {limit} or more"
    return False, (
        f"its disk has grown to {grown}, but an installation needs {limit} or more, so macOS is not installed yet"
    )


def choose_installer(choice: BootChoice, image: str | None, installed: tuple[bool, str]) -> tuple[str | None, str]:
    """The installer to attach (None: none), and the reason. `image` is the existing one.

    Raises:
        StateError: the installer is requested, but does not exist.
    """
    if choice.installer == "yes" and image is None:
        raise StateError(
            "there is no recovery image to boot from", hint="to download one: pommel recovery fetch VERSION"
        )
    if choice.installer == "no":
        return None, "asked for: start without the installer"
    if choice.installer == "yes":
        return image, "asked for: start with the installer"
    there, why = installed
    if there:
        return None, f"not attached, because {why}; to attach it: start --recovery"
    if image is None:
        return None, "there is no recovery image to attach, and QEMU does not start without the file"
    return image, why
