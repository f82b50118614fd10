"""Plans: the commands a person would type, and the ones we run."""

from __future__ import annotations

from typing import get_args

import pytest

from pommel.errors import MissingProgram
from pommel.host.distribution import Family, System
from pommel.host.needs import RUN_NEEDS, Need, plan_install

FAMILIES = get_args(Family)
OURS = [family for family in FAMILIES if family not in ("emerge", "nix")]  # the others are told what to do


@pytest.mark.parametrize("family", FAMILIES)
def test_every_need_has_a_package_everywhere_and_a_reason(family: Family) -> None:
    for need in RUN_NEEDS:
        assert need.any_of and need.packages[family] and need.why
    if family not in OURS:
        return
    plan = plan_install(RUN_NEEDS, System("X", family), stale=True, is_root=True)
    assert len(plan.reasons) == len({need.packages[family] for need in RUN_NEEDS})
    assert all(package in plan.command for package in plan.packages)


@pytest.mark.parametrize(
    ("family", "typed"),
    [
        ("apt", "sudo apt-get update && sudo apt-get install --no-install-recommends qemu-utils ovmf"),
        ("dnf", "sudo dnf install --setopt=install_weak_deps=False qemu-img edk2-ovmf"),
        ("rhel", "sudo dnf install --setopt=install_weak_deps=False qemu-img edk2-ovmf"),
        ("apk", "sudo apk update && sudo apk add qemu-img ovmf"),
        ("xbps", "sudo xbps-install -S && sudo xbps-install qemu"),
        ("pacman", "sudo pacman -Sy && sudo pacman -S --needed qemu-img edk2-ovmf"),
        ("zypper", "sudo zypper install --no-recommends qemu-img qemu-ovmf-x86_64"),
    ],
)
def test_what_to_type(family: Family, typed: str) -> None:
    plan = plan_install(RUN_NEEDS[1:3], System("X", family), stale=True, is_root=False)
    assert plan.needs_root
    assert plan.as_text == typed
    assert plan.typed(sudo=False) == typed.replace("sudo ", "")
    assert plan_install(RUN_NEEDS[1:3], System("X", family), stale=True, is_root=True).as_text == typed.replace(
        "sudo ", ""
    )


def test_fresh_lists_are_not_fetched_again() -> None:
    plan = plan_install(RUN_NEEDS[1:2], System("X", "apt"), stale=False, is_root=True)
    assert plan.refresh == ()
    assert plan.as_text == "apt-get install --no-install-recommends qemu-utils"


def test_apt_asks_nothing_and_waits_for_others() -> None:
    command = plan_install(RUN_NEEDS[:1], System("X", "apt"), stale=False, is_root=True).command
    assert "DEBIAN_FRONTEND=noninteractive" in command and "-y" in command
    assert "DPkg::Lock::Timeout=120" in command and "--no-install-recommends" in command


def test_a_package_that_two_need_is_named_once() -> None:
    one = Need(("a",), {"apt": ("x", "y")}, "does a")
    two = Need(("b",), {"apt": ("y", "z")}, "does b")
    plan = plan_install([one, two], System("X", "apt"), stale=False, is_root=True)
    assert plan.packages == ("x", "y", "z")
    assert plan.reasons == ("x y does a", "y z does b")


def test_a_distribution_we_do_not_know() -> None:
    with pytest.raises(MissingProgram, match=r"qemu-system-x86_64 \(runs the machine\); qemu-img") as failure:
        plan_install(RUN_NEEDS[:2], System("Plan 9"), stale=True, is_root=True)
    assert failure.value.hint == "install them with the package manager of Plan 9, which Pommel does not know"


def test_a_package_we_do_not_know_there() -> None:
    known, unknown = Need(("a",), {"apt": ("x",)}, "does a"), Need(("b",), {"dnf": ("y",)}, "does b")
    with pytest.raises(MissingProgram, match=r"missing here: b \(does b\)$"):
        plan_install([known, unknown], System("X", "apt"), stale=False, is_root=True)
