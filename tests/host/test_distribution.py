"""os-release files as distributions ship them: their fields, from each one's own documentation or package."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.errors import MissingProgram
from pommel.host.distribution import System, family_of, parse_os_release, system_of
from pommel.host.needs import MACOS_NEEDS, RUN_NEEDS, plan_install

ORDINARY = {
    "Debian": ('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nID=debian\n', "apt"),
    "Ubuntu": ('PRETTY_NAME="Ubuntu 24.04.1 LTS"\nNAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\n', "apt"),
    "Linux Mint": ('NAME="Linux Mint"\nID=linuxmint\nID_LIKE="ubuntu debian"\nPRETTY_NAME="Linux Mint 22"\n', "apt"),
    "Pop!_OS": ('NAME="Pop!_OS"\nID=pop\nID_LIKE="ubuntu debian"\nPRETTY_NAME="Pop!_OS 22.04 LTS"\n', "apt"),
    "Raspberry Pi OS": ('PRETTY_NAME="Raspbian GNU/Linux 12 (bookworm)"\nID=raspbian\nID_LIKE=debian\n', "apt"),
    "Fedora": ('NAME="Fedora Linux"\nID=fedora\nVARIANT_ID=workstation\nPRETTY_NAME="Fedora Linux 41"\n', "dnf"),
    "Nobara": ('NAME="Nobara Linux"\nID=nobara\nID_LIKE="fedora"\n', "dnf"),
    "RHEL": ('NAME="Red Hat Enterprise Linux"\nID="rhel"\nID_LIKE="fedora"\nPLATFORM_ID="platform:el9"\n', "rhel"),
    "CentOS Stream": ('NAME="CentOS Stream"\nID="centos"\nID_LIKE="rhel fedora"\n', "rhel"),
    "AlmaLinux": ('NAME="AlmaLinux"\nID="almalinux"\nID_LIKE="rhel centos fedora"\n', "rhel"),
    "Rocky Linux": ('NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\n', "rhel"),
    "Oracle Linux": ('NAME="Oracle Linux Server"\nID="ol"\nID_LIKE="fedora"\n', "rhel"),
    "Arch": ('NAME="Arch Linux"\nID=arch\nBUILD_ID=rolling\n', "pacman"),
    "Manjaro": ('NAME="Manjaro Linux"\nPRETTY_NAME="Manjaro Linux"\nID=manjaro\nID_LIKE=arch\n', "pacman"),
    "EndeavourOS": ('NAME="EndeavourOS"\nID="endeavouros"\nID_LIKE="arch"\n', "pacman"),
    "CachyOS": ('NAME="CachyOS Linux"\nID=cachyos\nID_LIKE=arch\n', "pacman"),
    "openSUSE Tumbleweed": ('NAME="openSUSE Tumbleweed"\nID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n', "zypper"),
    "openSUSE Leap": ('NAME="openSUSE Leap"\nID="opensuse-leap"\nID_LIKE="suse opensuse"\n', "zypper"),
    "SLES": ('NAME="SLES"\nID="sles"\nID_LIKE="suse"\n', "zypper"),
    "Alpine": ('NAME="Alpine Linux"\nID=alpine\n', "apk"),
    "Void": ('NAME="Void"\nID="void"\nPRETTY_NAME="Void Linux"\n', "xbps"),
}  # fmt: skip
SILVERBLUE = 'NAME="Fedora Linux"\nID=fedora\nVARIANT_ID=silverblue\nPRETTY_NAME="Fedora Linux 41 (Silverblue)"\n'
BAZZITE = 'NAME="Bazzite"\nID=bazzite\nID_LIKE="fedora"\nPRETTY_NAME="Bazzite"\nVARIANT_ID=bazzite\n'
MICROOS = (
    'NAME="openSUSE MicroOS"\nID="opensuse-microos"\nID_LIKE="suse opensuse opensuse-tumbleweed microos sl-micro"\n'
)
STEAMOS = 'NAME="SteamOS"\nPRETTY_NAME="SteamOS"\nID=steamos\nID_LIKE=arch\nVARIANT_ID=steamdeck\n'
ENDLESS = 'NAME="Endless"\nID=endless\nID_LIKE=debian\nPRETTY_NAME="Endless OS 6"\n'
NIXOS = 'NAME=NixOS\nID=nixos\nPRETTY_NAME="NixOS 24.11 (Vicuna)"\n'
GENTOO = 'NAME=Gentoo\nID=gentoo\nPRETTY_NAME="Gentoo Linux"\n'


@pytest.mark.parametrize("name", ORDINARY)
def test_where_pommel_installs_by_itself(name: str) -> None:
    text, family = ORDINARY[name]
    found = system_of(parse_os_release(text))
    assert (found.family, found.instead) == (family, None)
    plan = plan_install([*RUN_NEEDS, MACOS_NEEDS[0]], found, stale=True, is_root=False)
    assert plan.as_text.startswith("sudo ")
    assert ("qemu-kvm" in plan.packages) == (family == "rhel")


@pytest.mark.parametrize(
    ("text", "ostree", "said"),
    [
        (SILVERBLUE, True, "Fedora Linux 41 (Silverblue): sudo rpm-ostree install --idempotent qemu-system-x86 qemu-img,"),
        (BAZZITE, True, "Bazzite: sudo rpm-ostree install --idempotent qemu-system-x86 qemu-img, then restart"),
        (MICROOS, False, "openSUSE MicroOS: sudo transactional-update pkg install qemu-x86 qemu-img, then restart"),
        (STEAMOS, False, "SteamOS: its system files are read-only"),
        (ENDLESS, True, "Endless OS 6: its system files are read-only"),
        (NIXOS, False, "NixOS 24.11 (Vicuna): nix-shell -p qemu "),
        (GENTOO, False, "Gentoo Linux: sudo emerge --ask --noreplace app-emulation/qemu "),
    ],
)  # fmt: skip
def test_where_its_owner_has_to(text: str, ostree: bool, said: str) -> None:
    found = system_of(parse_os_release(text), ostree=ostree)
    with pytest.raises(MissingProgram, match="missing here: qemu-system-x86_64") as refusal:
        plan_install(RUN_NEEDS[:2], found, stale=False, is_root=False)
    assert (refusal.value.hint or "").startswith(said)


def test_a_toolbox_on_such_a_host_is_installed_into() -> None:
    """Its os-release is Fedora's, and it was not booted."""
    text = 'NAME="Fedora Linux"\nID=fedora\nVARIANT_ID=container\n'
    assert system_of(parse_os_release(text)) == System("Fedora Linux", "dnf")


@pytest.mark.parametrize("text", ["", "ID=plan9\nNAME='Plan 9'\n"])
def test_one_that_is_not_known(text: str) -> None:
    found = system_of(parse_os_release(text))
    assert found.family is None
    with pytest.raises(MissingProgram) as refusal:
        plan_install(RUN_NEEDS[:1], found, stale=False, is_root=True)
    assert f"the package manager of {found.name}, which Pommel does not know" in (refusal.value.hint or "")


def test_quotes_escapes_comments_and_noise() -> None:
    text = '# ID=no\n\n  A=plain  \nB="two words"\nC=\'$x\'\nD="a\\"b\\$"\nE=\nF="open\nnot a line\n9X=1\nG=x=y\n'
    assert parse_os_release(text) == {"A": "plain", "B": "two words", "C": "$x", "D": 'a"b\\$', "E": "", "G": "x=y"}


def test_a_value_without_end_is_passed_over() -> None:
    begun = time.process_time()
    assert parse_os_release(f"ID=debian\nNAME={'a' * 2_000_000}\nID_LIKE=x\n") == {"ID": "debian", "ID_LIKE": "x"}
    assert time.process_time() - begun < 5


@given(st.text(), st.booleans(), st.booleans())
def test_any_text_is_read(text: str, ostree: bool, transactional: bool) -> None:
    fields = parse_os_release(text)
    assert system_of(fields, ostree=ostree, transactional=transactional).family == family_of(fields)
