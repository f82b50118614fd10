from __future__ import annotations

from pathlib import Path

from pommel.overlay.facts import ProgramCall, facts_of

HERE = Path("/u")


def test_effects_are_told_as_one_types_them_each_once() -> None:
    effects = [
        ProgramCall("modprobe", HERE, ("vfio-pci", "ids=1:2 3")),
        ProgramCall("modprobe", HERE, ("vfio-pci", "ids=1:2 3")),
    ]
    sudo = ProgramCall("sudo", HERE, ("tee", "/sys/x"))
    assert facts_of([], [*effects, sudo], [], "", {}).effects == ("modprobe vfio-pci 'ids=1:2 3'", "sudo tee /sys/x")


def test_a_write_to_the_kernel_that_failed_is_told() -> None:
    output = "boot.sh: line 3: /sys/module/kvm/parameters/ignore_msrs: Read-only file system\nother\n"
    assert facts_of([], [], [], output, {}).effects == ("write to /sys/module/kvm/parameters/ignore_msrs",)


def test_only_what_qemu_reads_is_carried_and_not_what_the_script_was_given() -> None:
    env = (
        ("LD_LIBRARY_PATH", "/l"),
        ("SDL_AUDIODRIVER", "alsa"),
        ("HOME", "/h"),
        ("LD_PRELOAD", "/evil.so"),
        ("QEMU_X", "1"),
    )
    call = ProgramCall("qemu-system-x86_64", HERE, (), env)
    assert facts_of([call], [], [], "", {"QEMU_X": "1"}).environment == {
        "LD_LIBRARY_PATH": "/l",
        "SDL_AUDIODRIVER": "alsa",
    }


def test_wrappers_are_told_without_the_call_that_they_wrap() -> None:
    wrappers = [
        ProgramCall("sudo", HERE, ("-E qemu-system-x86_64 -m 4096 -name qemu-kvm",)),
        ProgramCall("taskset", HERE, ("-c 0 /usr/libexec/qemu-kvm -S",)),
        ProgramCall("nice", HERE, ("-n -5 kvm",)),
    ]
    assert facts_of([], [], wrappers, "", {}).left_out == ("sudo -E", "taskset -c 0", "nice -n -5")


def test_locked_memory_is_told() -> None:
    call = ProgramCall(
        "qemu-system-x86_64", HERE, (), (), (("Max locked memory", "unlimited"), ("Max open files", "1024"))
    )
    assert facts_of([call], [], [], "", {}).left_out == ("ulimit -l unlimited",)
