"""Probing: with the real QEMU and the host's own KVM, and with QEMUs that fail in every way one can."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pommel.errors import MissingProgram
from pommel.host.accel import KvmAnswer, probe_kvm
from pommel.host.kvm_probe import EXIT_YES
from pommel.host.kvm_state import refusal, surroundings

ANYTHING = Path("/dev/null")  # opens for reading and writing, like a /dev/kvm that may be used


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    """Where the fake QEMUs write a line a run."""
    return tmp_path / "asked"


def fake_qemu(tmp_path: Path, asked: Path, kvm: str, tcg: str = "sleep 60") -> str:
    """A QEMU whose guest ends the way the shell lines say."""
    path = tmp_path / "qemu"
    path.write_text(f'#!/bin/sh\necho "$2" >> {asked}\nif [ "$2" = kvm ]; then {kvm}; else {tcg}; fi\n')
    path.chmod(0o755)
    return str(path)


def times(asked: Path) -> list[str]:
    return asked.read_text().split() if asked.exists() else []


def probe(
    tmp_path: Path, qemu: str, limit_s: float = 20, fresh: bool = False, host_is_guest: bool | None = None
) -> KvmAnswer:
    return probe_kvm(
        tmp_path / "cache",
        qemu=qemu,
        device=ANYTHING,
        limit_s=limit_s,
        fresh=fresh,
        modules=tmp_path / "modules",
        host_is_guest=host_is_guest,
    )


def test_the_real_thing_on_this_host(tmp_path: Path) -> None:
    answer = probe_kvm(tmp_path, qemu="qemu-system-x86_64")
    assert answer.reason and not answer.cached
    if not answer.works:
        assert answer.reason != "KVM runs guest code"
    if (tmp_path / "kvm.json").exists():
        again = probe_kvm(tmp_path, qemu="qemu-system-x86_64")
        assert again == KvmAnswer(answer.works, answer.reason, cached=True)


def test_a_yes_is_remembered(tmp_path: Path, asked: Path) -> None:
    qemu = fake_qemu(tmp_path, asked, f"exit {EXIT_YES}")
    assert probe(tmp_path, qemu) == KvmAnswer(True, "KVM runs guest code")
    assert probe(tmp_path, qemu) == KvmAnswer(True, "KVM runs guest code", cached=True)
    assert times(asked) == ["kvm"]
    assert not probe(tmp_path, qemu, fresh=True).cached
    assert times(asked) == ["kvm", "kvm"]


def test_an_abort_is_a_no(tmp_path: Path, asked: Path) -> None:
    qemu = fake_qemu(tmp_path, asked, "echo 'error: failed to set MSR 0x10a to 0x69' >&2; kill -ABRT $$")
    answer = probe(tmp_path, qemu)
    assert answer == KvmAnswer(False, "KVM cannot set up a virtual CPU: failed to set MSR 0x10a")
    assert probe(tmp_path, qemu) == answer
    assert times(asked) == ["kvm", "kvm"]


def test_an_internal_error_is_a_no_at_once(tmp_path: Path, asked: Path) -> None:
    qemu = fake_qemu(tmp_path, asked, "echo 'KVM internal error. Suberror: 1' >&2; exec sleep 60")
    answer = probe(tmp_path, qemu, limit_s=50)  # the limit is not waited for: the test would run into its own
    assert answer == KvmAnswer(False, "KVM stopped the guest at once: KVM internal error. Suberror: 1")
    assert times(asked) == ["kvm"]


BUSY = "qemu: failed to initialize kvm: Device or resource busy"


def test_a_no_of_a_minute_is_not_remembered(tmp_path: Path, asked: Path) -> None:
    """VirtualBox runs a machine, and ends it."""
    there = tmp_path / "modules" / "vboxdrv"
    there.mkdir(parents=True)
    qemu = fake_qemu(tmp_path, asked, f"[ ! -e {there} ] || {{ echo '{BUSY}' >&2; exit 1; }}; exit {EXIT_YES}")
    answer = probe(tmp_path, qemu)
    assert (answer.works, answer.reason) == (False, BUSY.removeprefix("qemu: "))
    assert answer.hint == "VirtualBox may be using the processor: stop its machines, then try again"
    there.rmdir()
    assert probe(tmp_path, qemu) == KvmAnswer(True, "KVM runs guest code")
    assert probe(tmp_path, qemu).cached


def test_a_yes_is_asked_again_when_a_module_or_its_option_is_another(tmp_path: Path, asked: Path) -> None:
    qemu = fake_qemu(tmp_path, asked, f"exit {EXIT_YES}")
    option = tmp_path / "modules" / "kvm_intel" / "parameters" / "ept"
    option.parent.mkdir(parents=True)
    for value in ("Y", "N"):
        option.write_text(value)
        assert not probe(tmp_path, qemu).cached
        assert probe(tmp_path, qemu).cached
    (tmp_path / "modules" / "vboxdrv").mkdir()
    assert not probe(tmp_path, qemu).cached


@pytest.mark.parametrize("host_is_guest", [True, False])
def test_kvm_late_and_tcg_not_is_kept_where_only_a_restart_changes_it(
    tmp_path: Path, asked: Path, host_is_guest: bool
) -> None:
    qemu = fake_qemu(tmp_path, asked, "exec sleep 60", f"exit {EXIT_YES}")
    answer = probe(tmp_path, qemu, limit_s=0.3, host_is_guest=host_is_guest)
    assert not answer.works and "KVM is emulated" in answer.reason
    assert probe(tmp_path, qemu, limit_s=0.3, host_is_guest=host_is_guest).cached == host_is_guest
    assert times(asked) == ["kvm", "tcg"] * (1 if host_is_guest else 2)
    an_hour_ago = time.time() - 3601
    if host_is_guest:
        os.utime(tmp_path / "cache" / "kvm.json", (an_hour_ago, an_hour_ago))
        assert not probe(tmp_path, qemu, limit_s=0.3, host_is_guest=True).cached


def test_kvm_that_begins_no_machine_is_a_no_whatever_was_remembered(
    tmp_path: Path, asked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the kernel answers while another hypervisor has the processor; there is none here to ask."""
    qemu = fake_qemu(tmp_path, asked, f"exit {EXIT_YES}")
    assert probe(tmp_path, qemu).works

    def busy(fd: int, request: int, argument: int) -> int:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    with monkeypatch.context() as patch:
        patch.setattr("pommel.host.kvm_state.fcntl.ioctl", busy)
        assert probe(tmp_path, qemu) == KvmAnswer(False, "KVM cannot start a machine: Device or resource busy")
    assert probe(tmp_path, qemu).cached and times(asked) == ["kvm"]


def test_looking_at_kvm_leaves_nothing_open() -> None:
    before = os.listdir("/proc/self/fd")
    refusal(Path("/dev/kvm"))
    refusal(ANYTHING)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="there is no KVM to ask")
def test_the_real_kvm_begins_a_machine() -> None:
    assert refusal(Path("/dev/kvm")) is None
    assert "kvm" in surroundings()


@pytest.mark.parametrize("tcg", ["exec sleep 60", "exit 1"])
def test_both_late_may_be_a_busy_host_and_is_asked_again(tmp_path: Path, asked: Path, tcg: str) -> None:
    qemu = fake_qemu(tmp_path, asked, "exec sleep 60", tcg)
    answer = probe(tmp_path, qemu, limit_s=0.3)
    assert not answer.works and "too busy" in answer.reason
    assert not probe(tmp_path, qemu, limit_s=0.3).cached
    assert times(asked) == ["kvm", "tcg"] * 2


def test_what_hangs_is_ended(tmp_path: Path, asked: Path) -> None:
    pidfile = tmp_path / "pid"
    probe(tmp_path, fake_qemu(tmp_path, asked, f"echo $$ > {pidfile}; exec sleep 60"), limit_s=0.3)
    assert not Path(f"/proc/{pidfile.read_text().strip()}").exists()


def test_another_qemu_or_another_boot_or_damage_asks_again(tmp_path: Path, asked: Path) -> None:
    qemu = fake_qemu(tmp_path, asked, f"exit {EXIT_YES}")
    store = tmp_path / "cache" / "kvm.json"
    probe(tmp_path, qemu)
    kept = json.loads(store.read_text())
    fake_qemu(tmp_path, asked, f"exit  {EXIT_YES}")
    assert not probe(tmp_path, qemu).cached
    for damage in (
        "",
        "[]",
        "{}",
        json.dumps(kept | {"works": "yes"}),
        json.dumps(kept | {"key": ["another boot", *kept["key"][1:]]}),
    ):
        store.write_text(damage)
        assert not probe(tmp_path, qemu).cached
        assert probe(tmp_path, qemu).cached
    assert not probe_kvm(tmp_path / "cache", qemu=qemu, cpu="Penryn", device=ANYTHING).cached


def test_a_cache_that_cannot_be_written_is_no_failure(tmp_path: Path, asked: Path) -> None:
    (tmp_path / "cache").touch()
    qemu = fake_qemu(tmp_path, asked, f"exit {EXIT_YES}")
    assert probe(tmp_path, qemu).works
    assert probe(tmp_path, qemu).works


def test_no_device_is_a_no_that_is_not_remembered(tmp_path: Path, asked: Path) -> None:
    qemu = fake_qemu(tmp_path, asked, f"exit {EXIT_YES}")
    answer = probe_kvm(tmp_path / "cache", qemu=qemu, device=tmp_path / "kvm")
    assert (answer.works, answer.denied, answer.reason) == (False, False, f"there is no {tmp_path}/kvm")
    assert answer.hint and "modprobe" in answer.hint
    assert times(asked) == [] and not (tmp_path / "cache").exists()


def test_a_device_that_does_not_open(tmp_path: Path, asked: Path) -> None:
    answer = probe_kvm(tmp_path / "cache", qemu=fake_qemu(tmp_path, asked, "exit 0"), device=tmp_path)
    assert answer.reason == f"{tmp_path} cannot be opened: Is a directory"


@pytest.fixture
def somebody() -> Iterator[None]:
    """Root is refused nothing, so be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


@pytest.fixture
def closed_device(tmp_path: Path) -> Path:
    device = tmp_path / "kvm"
    device.touch(mode=0o000)
    return device


def test_a_device_that_this_user_may_not_open(closed_device: Path, somebody: None) -> None:
    answer = probe_kvm(Path("/nonexistent"), qemu="true", device=closed_device)
    assert (answer.works, answer.denied, answer.cached) == (False, True, False)
    assert answer.reason == f"you have no permission to open {closed_device}"
    assert answer.hint


def test_no_qemu_here(tmp_path: Path) -> None:
    with pytest.raises(MissingProgram, match="qemu-system-nonesuch is not installed"):
        probe_kvm(tmp_path, qemu="qemu-system-nonesuch", device=ANYTHING)
