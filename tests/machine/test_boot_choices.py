"""Whether the installer is attached, and why."""

from __future__ import annotations

import pytest

from pommel.errors import StateError
from pommel.machine.boot_choices import INSTALLED_BYTES, BootChoice, choose_installer, judge_installed

NO_IMAGE = "there is no recovery image to attach, and QEMU does not start without the file"
THERE, NOT_THERE = (True, "there it is"), (False, "not yet")


@pytest.mark.parametrize("grown", [0, INSTALLED_BYTES - 1, INSTALLED_BYTES, 1 << 40])
def test_the_users_word_counts_most(grown: int) -> None:
    assert judge_installed(True, grown) == (True, "it is marked as installed")
    assert judge_installed(False, grown) == (False, "it is marked as not installed")
    assert judge_installed(None, grown)[0] == (grown >= INSTALLED_BYTES)


def test_the_growth_is_told() -> None:
    assert "grown to 32.8 GiB" in judge_installed(None, int(32.8 * (1 << 30)))[1]
    assert "grown to 196 KiB" in judge_installed(None, 196 << 10)[1]


@pytest.mark.parametrize(
    ("wanted", "image", "installed", "chosen", "why"),
    [
        ("auto", "/i", NOT_THERE, "/i", "not yet"),
        ("auto", "/i", THERE, None, "not attached, because there it is; to attach it: start --recovery"),
        ("auto", None, NOT_THERE, None, NO_IMAGE),
        ("auto", None, THERE, None, "not attached, because there it is; to attach it: start --recovery"),
        ("yes", "/i", THERE, "/i", "asked for: start with the installer"),
        ("no", "/i", NOT_THERE, None, "asked for: start without the installer"),
        ("no", None, NOT_THERE, None, "asked for: start without the installer"),
    ],
)
def test_the_choice(wanted: str, image: str | None, installed: tuple[bool, str], chosen: str | None, why: str) -> None:
    assert choose_installer(BootChoice(wanted), image, installed) == (chosen, why)  # type: ignore[arg-type]


def test_recovery_without_an_image() -> None:
    with pytest.raises(StateError, match="no recovery image"):
        choose_installer(BootChoice("yes"), None, THERE)
