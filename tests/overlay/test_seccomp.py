"""The filter, run by a small interpreter of classic BPF over system calls as the kernel describes them."""

from __future__ import annotations

import struct

import pytest

from pommel.overlay.seccomp import program

ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
X86, ARM = 0xC000003E, 0xC00000B7


def verdict(machine: str, arch: int, number: int, first: int = 0) -> int:
    """What the filter says of a call: struct seccomp_data is the number, the architecture, an address, six arguments."""
    code = program(machine) or b""
    lines = [struct.unpack_from("=HBBI", code, at) for at in range(0, len(code), 8)]
    data = struct.pack("=iIQ6Q", number, arch, 0, first, 0, 0, 0, 0, 0)
    at = held = 0
    while True:
        op, yes, no, value = lines[at]
        at += 1
        if op == 0x20:
            held = struct.unpack_from("=I", data, value)[0]
        elif op == 0x06:
            return value
        else:
            at += yes if {0x15: held == value, 0x35: held >= value, 0x45: bool(held & value)}[op] else no


@pytest.mark.parametrize(
    ("number", "first", "said"),
    [
        (0, 0, ALLOW),  # read
        (59, 0, ALLOW),  # execve
        (41, 1, EPERM),  # socket, AF_UNIX
        (41, 40, EPERM),  # AF_VSOCK
        (41, 2, ALLOW), (41, 10, ALLOW), (41, 16, ALLOW),  # AF_INET, AF_INET6, AF_NETLINK
        (101, 0, EPERM), (272, 0, EPERM), (165, 0, EPERM), (321, 0, EPERM),  # ptrace, unshare, mount, bpf
        (56, 0x01200011, ALLOW), (56, 0x003D0F00, ALLOW),  # clone, as fork(3) and pthread_create(3) call it
        (56, 0x10000011, EPERM), (56, 0x00020011, EPERM), (56, 0x7E020011, EPERM),  # with new namespaces
        (435, 0, ENOSYS),  # clone3
        (0x40000000 | 41, 1, ENOSYS),  # by the x32 ABI
    ],
)  # fmt: skip
def test_x86_64(number: int, first: int, said: int) -> None:
    assert verdict("x86_64", X86, number, first) == said


def test_aarch64() -> None:
    assert verdict("aarch64", ARM, 63) == ALLOW
    assert verdict("aarch64", ARM, 198, 1) == EPERM
    assert verdict("aarch64", ARM, 198, 2) == ALLOW
    assert verdict("aarch64", ARM, 220, 0x01200011) == ALLOW
    assert verdict("aarch64", ARM, 220, 0x10000011) == EPERM


def test_another_architectures_calls_end_the_process() -> None:
    assert verdict("x86_64", 0x40000003, 5) == KILL  # i386


def test_no_filter_is_known_for_others() -> None:
    assert program("riscv64") is None
