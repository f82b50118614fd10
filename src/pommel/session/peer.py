"""Decides from facts whether the process at the other end of the socket is accepted. Band: core, no I/O.

`peer_linux` and `peer_macos` collect the facts, and only this module judges them. The daemon judges an agent three
times with the same facts (`judge`, then `judge_answer` after the challenge of `challenge`); the agent judges the
daemon's places once (`judge_daemon`).

What this cannot distinguish: two processes of the same user that run the same program. A user's processes can read the
session's token, and can move into any cgroup below the user's own. A second process is only kept out because it must
have begun after the one that serves. For an agent in Python, the program is the interpreter.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass

from pommel.session.places import Places

ROOT = 0
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
GONE = -1  # the kernel's pid of a process that has ended (pidfd_open(2), fdinfo)


@dataclass(frozen=True, slots=True)
class Program:
    """The file that a process runs. It is compared by `device` and `inode`; `path` is for people."""

    path: str
    device: int
    inode: int
    owner: int
    mode: int

    @property
    def file(self) -> tuple[int, int]:
        """The two numbers that identify the file."""
        return self.device, self.inode


@dataclass(frozen=True, slots=True)
class Process:
    """A process as /proc shows it.

    `started` is its start time in clock ticks since boot; `uids` its real, effective, saved and file system uid;
    `image` changes with every exec; `cgroups` are the paths in systemd's hierarchies.
    """

    pid: int
    started: int
    uids: frozenset[int]
    program: Program
    image: str
    cgroups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Code:
    """The result for the running code on macOS: whether it meets the pinned requirement, and its CDHash in hex."""

    meets_requirement: bool
    cdhash: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Peer:
    """The facts about a peer at one moment.

    `uid` and `pid` are from the socket. `kernel_pid` is the pid of the process of which the kernel has a handle,
    `GONE` after its end, None without such handles. `seen` is the time of the accept, in the unit of
    `Process.started`. `process` is None if it is not visible, `code` and `audit_token` are macOS's.
    """

    uid: int
    pid: int
    kernel_pid: int | None = None
    seen: int | None = None
    process: Process | None = None
    code: Code | None = None
    audit_token: bytes = b""


@dataclass(frozen=True, slots=True)
class Expected:
    """The agent that is admitted: `uid`'s.

    On Linux: `programs` are the files that it may run, `unit` the systemd unit to which it must belong (None: started
    by hand). On macOS: the collector has the requirement, `cdhash` is the strict option. `serving` is the agent that
    serves now.
    """

    uid: int
    programs: frozenset[tuple[int, int]] = frozenset()
    unit: str | None = None
    signed: bool = False
    cdhash: str | None = None
    serving: Peer | None = None


@dataclass(frozen=True, slots=True)
class PeerVerdict:
    """`reason` completes "agent refused: …"; it is empty when `accepted`."""

    accepted: bool
    reason: str = ""


def judge(peer: Peer, expected: Expected) -> PeerVerdict:
    """Judge a peer by the facts that are known before any message."""
    return _verdict(_objections(peer, expected))


def judge_answer(before: Peer, after: Peer, expected: Expected, sender: int | None) -> PeerVerdict:
    """Judge a peer that has answered the challenge; `sender` is the sender of the answer, if the kernel reports it.

    `before` and `after` are the facts before the challenge was sent and after the answer came.
    """
    return _verdict(_second_objections(before, after, expected, sender))


@dataclass(frozen=True, slots=True)
class EntryFacts:
    """A directory entry as lstat(2) shows it: kind of file, permissions and owner."""

    mode: int
    owner: int


def judge_daemon(
    directory: EntryFacts, socket: EntryFacts, daemon_uid: int, owners: frozenset[int], uid: int
) -> PeerVerdict:
    """Judge the daemon from the agent's side. `owners` are the uids that a daemon may have, `uid` is our own.

    `daemon_uid` is the uid of the listener, from the connection.
    """
    return _verdict(_daemon_objections(directory, socket, daemon_uid, owners, uid))


def describe(peer: Peer) -> str:
    """The facts in one line for the log."""
    words = [f"uid={peer.uid}", f"pid={peer.pid}"]
    if peer.kernel_pid is not None:
        words.append(f"kernel_pid={peer.kernel_pid}")
    if peer.process is not None:
        program = peer.process.program
        words += [f"program={program.path!r}", f"owner={program.owner}", f"mode={program.mode & 0o7777:o}"]
        words += [f"started={peer.process.started}", f"cgroup={','.join(peer.process.cgroups)!r}"]
    if peer.code is not None:
        words += [f"cdhash={peer.code.cdhash}", f"signature={peer.code.detail or 'valid'!r}"]
    return " ".join(words)


def unit_of(cgroup: str) -> tuple[int | None, str]:
    """Parse a cgroup's path: the user of its user manager (None: the system's), and the innermost unit's name.

    /user.slice/user-1000.slice/user@1000.service/app.slice/x.service is (1000, "x.service"). A path that is not below
    a unit has the name "".
    """
    parts = [part for part in cgroup.split("/") if part]
    managers = [index for index, part in enumerate(parts) if part.startswith("user@") and part.endswith(".service")]
    below = parts[managers[0] + 1 :] if managers else parts
    # The outermost service: cgroups that a unit's own process makes below its cgroup still belong to the unit.
    units = [part for part in below if part.endswith((".service", ".scope"))]
    owner = parts[managers[0]].removeprefix("user@").removesuffix(".service") if managers else ""
    return int(owner) if owner.isascii() and owner.isdigit() else None, units[0] if units else ""


def _verdict(objections: Iterator[str]) -> PeerVerdict:
    first = next(objections, None)
    return PeerVerdict(first is None, first or "")


def _objections(peer: Peer, expected: Expected) -> Iterator[str]:
    if peer.uid != expected.uid:
        yield f"it runs as uid {peer.uid}, the session is uid {expected.uid}'s"
    if peer.pid <= 0:
        yield "its process is not visible (another pid namespace)"
    if peer.kernel_pid == GONE:
        yield "the process that connected has ended"
    elif peer.kernel_pid is not None and peer.kernel_pid != peer.pid:
        yield f"the kernel reports pid {peer.kernel_pid}, the socket pid {peer.pid}"
    if expected.signed or expected.cdhash is not None:
        yield from _code_objections(peer.code, expected)
    else:
        yield from _process_objections(peer, expected)
    yield from _second_agent(peer, expected.serving)


def _code_objections(code: Code | None, expected: Expected) -> Iterator[str]:
    if code is None:
        yield "signature: it could not be read"
    elif not code.meets_requirement:
        yield f"signature: {code.detail or 'it does not meet the requirement of the installation'}"
    elif expected.cdhash is not None and code.cdhash.lower() != expected.cdhash.lower():
        yield "signature: it is another build (CDHash)"


def _process_objections(peer: Peer, expected: Expected) -> Iterator[str]:
    process = peer.process
    if process is None or process.pid != peer.pid:
        yield "its process could not be checked"
        return
    if peer.seen is not None and process.started > peer.seen:
        yield f"pid {peer.pid} belongs to a process that started after the connection"
    if process.uids != {expected.uid}:
        yield f"its process has the uids {sorted(process.uids)}"
    if process.program.file not in expected.programs:
        yield f"it runs another program: {process.program.path}"
    if process.program.owner not in (ROOT, expected.uid) or process.program.mode & _WRITABLE_BY_OTHERS:
        yield f"other users can change the program that it runs: {process.program.path}"
    if expected.unit is not None and (expected.uid, expected.unit) not in map(unit_of, process.cgroups):
        yield f"it does not belong to {expected.unit} of uid {expected.uid}"


def _second_agent(peer: Peer, serving: Peer | None) -> Iterator[str]:
    if serving is None:
        return
    if _is_same(peer, serving):
        yield "this process already serves"
    elif peer.process and serving.process and peer.process.started < serving.process.started:
        yield "a newer agent already serves"


def _is_same(peer: Peer, other: Peer) -> bool:
    return (peer.pid, peer.process and peer.process.started, peer.audit_token) == (
        other.pid,
        other.process and other.process.started,
        other.audit_token,
    )


def _second_objections(before: Peer, after: Peer, expected: Expected, sender: int | None) -> Iterator[str]:
    if sender is not None and sender != before.pid:
        yield f"pid {sender} answers on a descriptor that pid {before.pid} opened"
    if after.kernel_pid == GONE:
        yield "the process that connected has ended"
    if before.audit_token != after.audit_token:
        yield "another process has used its descriptor since then"
    if before != after:
        yield "its process has been replaced by another one"
    yield from _objections(after, expected)


def _daemon_objections(
    directory: EntryFacts, socket: EntryFacts, daemon_uid: int, owners: frozenset[int], uid: int
) -> Iterator[str]:
    if not stat.S_ISDIR(directory.mode):
        yield "the socket's directory is not a directory"
    if directory.owner not in owners:
        yield f"the socket's directory belongs to uid {directory.owner}"
    if directory.mode & _WRITABLE_BY_OTHERS:
        yield "other users can write to the socket's directory"
    if not stat.S_ISSOCK(socket.mode):
        yield "the socket's path is not a socket"
    if socket.owner not in owners | {uid}:
        yield f"the socket belongs to uid {socket.owner}"
    if socket.mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield "other users can use the socket"
    if daemon_uid not in owners:
        yield f"uid {daemon_uid} listens on the socket"


def agent_expected(places: Places, uid: int, programs: frozenset[tuple[int, int]], *, by_systemd: bool) -> Expected:
    """The agent that is admitted on Linux: `uid`'s, one of `programs`, in Pommel's unit if systemd runs it."""
    return Expected(uid, programs, unit=places.agent_unit if by_systemd else None)
