"""quickemu's configurations, as quickget writes them and as people change them."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.adopt import quickemu
from pommel.adopt.found import QEMU_MAC
from pommel.errors import PommelError, StateError, UsageError

CONF = """#!/usr/bin/quickemu --vm
guest_os="macos"
disk_img="macos-sonoma/disk.qcow2"
img="macos-sonoma/RecoveryImage.img"
macos_release="sonoma"
disk_size="128G"
"""
NAMES = frozenset({"disk.qcow2", "OVMF_CODE.fd", "OVMF_VARS-1920x1080.fd", "OpenCore.qcow2", "RecoveryImage.img"})


def test_what_quickget_writes() -> None:
    conf = quickemu.parse(CONF, "macos-sonoma.conf")
    found = quickemu.machine(conf, "macos-sonoma", "macos-sonoma.conf", names=NAMES)
    assert (found.name, found.disk, found.nvram, found.firmware, found.boot_disk) == (
        "macos-sonoma",
        "macos-sonoma/disk.qcow2",
        "macos-sonoma/OVMF_VARS-1920x1080.fd",
        "macos-sonoma/OVMF_CODE.fd",
        "macos-sonoma/OpenCore.qcow2",
    )
    assert found.facts["macos"].value == "sonoma" and found.facts["mac"].value == QEMU_MAC
    assert found.settings == {} and found.warnings == ()


def test_what_people_add() -> None:
    text = (
        CONF + 'ram="8G"  # plenty\ncpu_cores=4\nmacaddr=52:54:00:AA:bb:cc\nnetwork=br0\nport_forwards=("8123:8123")\n'
    )
    found = quickemu.machine(quickemu.parse(text, "a.conf"), "a", "a.conf", names=NAMES)
    assert {key: taken.value for key, taken in found.settings.items()} == {"memory": "8G", "threads": 4}
    assert found.facts["mac"].value == "52:54:00:aa:bb:cc"
    assert found.warnings == (
        "port_forwards = 8123:8123 of quickemu is not adopted",
        "network = br0 of quickemu is not adopted",
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("disk_img=$HOME/disk.qcow2", "x.conf:1: '$HOME/disk.qcow2' needs a shell to compute"),
        ('ram="$(free -g)"', "x.conf:1: '\"$(free -g)\"' needs a shell to compute"),
        ("a=`id`", "needs a shell to compute"),
        ("rm -rf /", "x.conf:1: 'rm -rf /' is not an assignment"),
        ("a=1 touch x", "is more than a value"),
        ("a=1; touch x", "is more than a value"),
        ("a='open", "cannot be read"),
        ("if true; then", "is not an assignment"),
    ],
)
def test_nothing_is_executed_and_what_would_be_is_refused(line: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        quickemu.parse(line, "x.conf")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("guest_os=windows\ndisk_img=a", UsageError, "x is for windows, but only machines with macOS can be adopted"),
        ("disk_img=a", UsageError, "x is for linux"),
        ("guest_os=macos", StateError, "x contains no disk of a Mac"),
        ("guest_os=macos\ndisk_img=a\nram=much", UsageError, "ram is 'much', no size such as 8G"),
        ("guest_os=macos\ndisk_img=a\ncpu_cores=all", UsageError, "cpu_cores is 'all', no number"),
    ],
)
def test_what_cannot_be_adopted_says_why(text: str, error: type[PommelError], said: str) -> None:
    with pytest.raises(error) as refused:
        quickemu.machine(quickemu.parse(text, "x"), "x", "x", names=frozenset())
    assert said in str(refused.value)


def test_the_script_of_the_last_start() -> None:
    script = (
        "#!/usr/bin/env bash\n/usr/bin/qemu-system-x86_64 \\\n    -m 8G \\\n    -smp cores=2,threads=2 2>/dev/null\n"
    )
    assert quickemu.argv_of(script) == ["-m", "8G", "-smp", "cores=2,threads=2"]
    assert quickemu.argv_of("echo 'open") is None and quickemu.argv_of("true") is None


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    quickemu.argv_of(text)
    try:
        found = quickemu.parse(text, "x")
    except UsageError:
        return
    assert all("`" not in value or "'" in text for value in found.values())


def test_a_conf_with_a_nul_is_no_text() -> None:
    with pytest.raises(UsageError, match="NUL"):
        quickemu.parse(CONF.replace("disk.qcow2", "disk\0.qcow2"), "a.conf")


@pytest.mark.parametrize("ram", ["0", "0G", "00", "9" * 400, "9" * 5000, "\u0663G"])
def test_memory_that_is_none(ram: str) -> None:
    with pytest.raises(UsageError, match="no size"):
        quickemu.machine(quickemu.parse(CONF + f"ram={ram}\n", "a.conf"), "a", "a.conf", names=NAMES)


def test_a_word_without_end_holds_up_nothing() -> None:
    begun = time.process_time()
    for word in ("a" * 65_000, "a" * 1_000_000, "'" + "a" * 65_000 + "'", "a" * 4_000_000):
        with contextlib.suppress(UsageError):
            quickemu.parse(f"x={word}", "a.conf")
        quickemu.argv_of(f"qemu-kvm {word}")
    assert time.process_time() - begun < 10
