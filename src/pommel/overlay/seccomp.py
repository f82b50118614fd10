"""A filter of system calls for a third-party script: no Unix sockets, no new namespaces. Band: core, no I/O.

A read-only view of the disk does not prevent a script from connecting to the Unix sockets on it (Docker's, the QMP of
another machine), which equals running a program outside. So it can make none, and no vsock; it only has sockets of its
own empty network.

The filter is a classic BPF program over `struct seccomp_data` (seccomp(2), linux/seccomp.h, linux/filter.h).
"""

from __future__ import annotations

import struct

_SOCKET = {"x86_64": 41, "aarch64": 198}
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435  # its flags are in memory, which a filter cannot read; after ENOSYS glibc uses clone(2)
# CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET (linux/sched.h)
_NEW_NAMESPACES = 0x7E020000
_FAMILIES = (2, 10, 16)  # AF_INET, AF_INET6, AF_NETLINK (linux/socket.h)
# linux/audit.h, and the system call tables of the kernel (arch/x86/entry/syscalls/syscall_64.tbl, asm-generic/unistd.h)
_ARCHITECTURES = {
    "x86_64": (
        0xC000003E,
        {"ptrace": 101, "unshare": 272, "setns": 308, "mount": 165,
         "keyctl": 250, "add_key": 248, "request_key": 249, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323,
         "io_uring_setup": 425, "process_vm_writev": 311, "open_by_handle_at": 304, "kexec_load": 246,
         "init_module": 175, "finit_module": 313, "pidfd_getfd": 438, "move_mount": 429, "fsopen": 430},
    ),
    "aarch64": (
        0xC00000B7,
        {"ptrace": 117, "unshare": 97, "setns": 268, "mount": 40,
         "keyctl": 219, "add_key": 217, "request_key": 218, "bpf": 280, "perf_event_open": 241, "userfaultfd": 282,
         "io_uring_setup": 425, "process_vm_writev": 271, "open_by_handle_at": 265, "kexec_load": 104,
         "init_module": 105, "finit_module": 273, "pidfd_getfd": 438, "move_mount": 429, "fsopen": 430},
    ),
}  # fmt: skip
# BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_JMP|BPF_JGE|BPF_K, BPF_JMP|BPF_JSET|BPF_K, BPF_RET
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _FIRST = 0, 4, 16  # offsets in struct seccomp_data; of an argument, its low half
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_X32 = 0x40000000  # calls of the x32 ABI have the same architecture value


def program(machine: str) -> bytes | None:
    """The filter for the processor `machine` (as in uname(1)), ready for `bwrap --seccomp`; None: there is none for it.

    A forbidden call fails with EPERM. A call with another architecture's numbers ends the process.
    """
    if machine not in _ARCHITECTURES:
        return None
    arch, calls = _ARCHITECTURES[machine]
    lines = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, arch), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, _NUMBER)]
    if machine == "x86_64":
        lines += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
    for number in sorted(calls.values()):
        lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    lines += [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
    lines += [(_EQUAL, 0, 4, _CLONE[machine]), (_LOAD, 0, 0, _FIRST), (_ANY_BIT, 0, 1, _NEW_NAMESPACES)]
    lines += [(_RETURN, 0, 0, _ERRNO | _EPERM), (_RETURN, 0, 0, _ALLOW)]
    allowed = [(_EQUAL, len(_FAMILIES) - place, 0, family) for place, family in enumerate(_FAMILIES)]
    lines += [(_EQUAL, 0, len(_FAMILIES) + 2, _SOCKET[machine]), (_LOAD, 0, 0, _FIRST), *allowed]
    lines += [(_RETURN, 0, 0, _ERRNO | _EPERM), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)
