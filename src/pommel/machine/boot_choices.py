"""What a person may choose for one start, and whether the installer is attached. Band: core, no I/O.

Choices are no settings: they last for one run. What is known of the disk is an argument; `installation` looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pommel.errors import StateError
from pommel.settings import format_size

_GIB = 1 << 30
# Before an installation a disk holds an empty volume, well under 1 GiB. Recovery then streams 12 to 18 GB onto it, and
# a Sequoia, once installed, has been seen to take 32.8 GiB. So from here up there is a system or most of one.
INSTALLED_BYTES = 12 * _GIB


@dataclass(frozen=True, slots=True)
class BootChoice:
    """One start: whether the installer is attached, whether all writes are discarded, whether the guest tells more."""

    installer: Literal["auto", "yes", "no"] = "auto"
    throwaway: bool = False
    verbose: bool = False  # what it takes is in OpenCore's configuration, not in QEMU's arguments


ORDINARY = BootChoice()


def judge_installed(word: bool | None, grown_bytes: int) -> tuple[bool, str]:
    """Whether macOS is on the disk, and how that is known: by the user's `word`, else by what the disk has grown to."""
    if word is not None:
        return word, "it is marked as installed" if word else "it is marked as not installed"
    grown, limit = format_size(grown_bytes), format_size(INSTALLED_BYTES)
    if grown_bytes >= INSTALLED_BYTES:
        return True, f"its disk has grown to {grown}, and an installation needs {limit} or more"
    return False, (
        f"its disk has grown to {grown}, but an installation needs {limit} or more, so macOS is not installed yet"
    )


def choose_installer(choice: BootChoice, image: str | None, installed: tuple[bool, str]) -> tuple[str | None, str]:
    """The installer to attach (None: none), and why. `image` is the one there is.

    Raises:
        StateError: it is asked for, and there is none.
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
