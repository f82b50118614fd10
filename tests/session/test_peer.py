"""The table of attacks, and the laws of the policy."""

from __future__ import annotations

import stat
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.session.peer import (
    GONE,
    Code,
    EntryFacts,
    Expected,
    Peer,
    Process,
    Program,
    agent_expected,
    describe,
    judge,
    judge_answer,
    judge_daemon,
    unit_of,
)
from pommel.session.places import Places

UID = 1000
OURS = Program("/usr/bin/python3", 8, 42, 0, 0o755)
CGROUP = "/user.slice/user-1000.slice/user@1000.service/app.slice/pommel-kvm-agent.service"
PROCESS = Process(77, 500, frozenset({UID}), OURS, "image-1", (CGROUP,))
PEER = Peer(UID, 77, kernel_pid=77, seen=900, process=PROCESS)
EXPECTED = agent_expected(Places.of("linux"), UID, frozenset({OURS.file}), by_systemd=True)
SIGNED = Expected(501, signed=True)
MAC = Peer(501, 88, code=Code(True, "aa" * 20), audit_token=b"t" * 32)


def process(**changes: object) -> Peer:
    return replace(PEER, process=replace(PROCESS, **changes))  # type: ignore[arg-type]


def cgroup(path: str) -> Peer:
    return process(cgroups=(path,))


ATTACKS: dict[str, tuple[Peer, Expected, str]] = {
    "other uid": (replace(PEER, uid=1001), EXPECTED, "runs as uid 1001"),
    "root in a user's session": (replace(PEER, uid=0), EXPECTED, "runs as uid 0"),
    "other binary": (
        process(program=replace(OURS, path="/bin/evil", inode=43)),
        EXPECTED,
        "another program: /bin/evil",
    ),
    "the same inode of another device": (process(program=replace(OURS, device=9)), EXPECTED, "another program"),
    "the same name, another file": (process(program=replace(OURS, inode=1)), EXPECTED, "another program"),
    "a program of somebody else": (process(program=replace(OURS, owner=1001)), EXPECTED, "other users can change"),
    "a program that all may write to": (process(program=replace(OURS, mode=0o777)), EXPECTED, "other users can change"),
    "pid reuse, seen by the start time": (process(started=901), EXPECTED, "started after the connection"),
    "pid reuse, seen by the handle": (replace(PEER, kernel_pid=GONE), EXPECTED, "has ended"),
    "a handle of another process": (replace(PEER, kernel_pid=78), EXPECTED, "kernel reports pid 78"),
    "a process of another uid": (process(uids=frozenset({UID, 0})), EXPECTED, "uids [0, 1000]"),
    "a process that has gone": (replace(PEER, process=None), EXPECTED, "could not be checked"),
    "another pid namespace": (replace(PEER, pid=0), EXPECTED, "is not visible"),
    "not in our unit": (cgroup("/user.slice/user-1000.slice/session-3.scope"), EXPECTED, "does not belong to"),
    "in another unit": (cgroup(CGROUP.replace("pommel-kvm-agent", "evil")), EXPECTED, "does not belong to"),
    "in another user's unit": (cgroup(CGROUP.replace("user@1000", "user@1001")), EXPECTED, "does not belong to"),
    "in a system unit of that name": (cgroup("/system.slice/pommel-kvm-agent.service"), EXPECTED, "does not belong to"),
    "in a unit inside another": (
        cgroup(CGROUP.replace("app.slice", "evil.service")),
        EXPECTED,
        "does not belong to",
    ),
    "the agent that serves, once more": (PEER, replace(EXPECTED, serving=PEER), "already serves"),
    "an older agent": (PEER, replace(EXPECTED, serving=process(started=600)), "newer agent already serves"),
    "no signature": (replace(MAC, code=None), SIGNED, "signature"),
    "another's signature": (replace(MAC, code=Code(False, "aa" * 20, "not ours")), SIGNED, "signature: not ours"),
    "another build": (MAC, replace(SIGNED, cdhash="bb" * 20), "another build"),
    "strict, with no code to look at": (PEER, replace(EXPECTED, cdhash="bb" * 20), "signature"),
}


def test_the_agent_itself_is_let_in() -> None:
    assert judge(PEER, EXPECTED).accepted
    assert judge_answer(PEER, PEER, EXPECTED, sender=77).accepted
    assert judge(MAC, SIGNED).accepted
    assert judge(MAC, replace(SIGNED, cdhash="AA" * 20)).accepted
    assert judge_answer(MAC, MAC, SIGNED, sender=None).accepted


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack(attack: str) -> None:
    peer, expected, said = ATTACKS[attack]
    verdict = judge(peer, expected)
    assert not verdict.accepted
    assert said in verdict.reason
    assert not judge_answer(peer, peer, expected, sender=peer.pid).accepted


LATER: dict[str, tuple[Peer, int, str]] = {
    "exec between connect and answer": (process(image="image-2"), 77, "been replaced by another"),
    "exec of another program": (process(program=replace(OURS, inode=1)), 77, "been replaced by another"),
    "inherited descriptor": (PEER, 78, "pid 78 answers on a descriptor that pid 77 opened"),
    "left after the challenge": (replace(PEER, kernel_pid=GONE), 77, "has ended"),
    "pid reused meanwhile": (process(started=501), 77, "been replaced by another"),
    "setuid meanwhile": (process(uids=frozenset({UID, 0})), 77, "been replaced by another"),
}


@pytest.mark.parametrize("attack", LATER)
def test_attack_during_the_challenge(attack: str) -> None:
    after, sender, said = LATER[attack]
    verdict = judge_answer(PEER, after, EXPECTED, sender)
    assert not verdict.accepted
    assert said in verdict.reason


def test_a_descriptor_passed_on_to_the_true_agent_on_macos() -> None:
    after = replace(MAC, audit_token=b"u" * 32)
    assert "another process has used" in judge_answer(MAC, after, SIGNED, None).reason


def test_a_newer_agent_takes_over() -> None:
    newer = replace(PEER, pid=79, kernel_pid=79, process=replace(PROCESS, pid=79, started=700))
    assert judge(newer, replace(EXPECTED, serving=PEER)).accepted


def test_started_by_hand_no_unit_is_asked_for() -> None:
    expected = agent_expected(Places.of("linux"), UID, frozenset({OURS.file}), by_systemd=False)
    assert judge(cgroup("/user.slice/user-1000.slice/session-3.scope"), expected).accepted


def test_an_old_kernel_without_handles() -> None:
    assert judge(replace(PEER, kernel_pid=None), EXPECTED).accepted


def test_no_program_is_expected_no_program_is_let_in() -> None:
    assert not judge(PEER, replace(EXPECTED, programs=frozenset())).accepted


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        (CGROUP, (1000, "pommel-kvm-agent.service")),
        (CGROUP + "/below", (1000, "pommel-kvm-agent.service")),
        ("/system.slice/sshd.service", (None, "sshd.service")),
        ("/user.slice/user-1000.slice/session-2.scope", (None, "session-2.scope")),
        ("/", (None, "")),
        ("", (None, "")),
        ("/user@x.service/a.service", (None, "a.service")),
        ("/user@1000.service", (1000, "")),
    ],
)
def test_unit_of(path: str, unit: tuple[int | None, str]) -> None:
    assert unit_of(path) == unit


DIRECTORY, SOCKET = EntryFacts(stat.S_IFDIR | 0o711, 0), EntryFacts(stat.S_IFSOCK | 0o600, UID)


@pytest.mark.parametrize(
    ("directory", "socket", "daemon", "said"),
    [
        (EntryFacts(stat.S_IFLNK | 0o777, 0), SOCKET, 0, "not a directory"),
        (replace(DIRECTORY, owner=1001), SOCKET, 0, "directory belongs to uid 1001"),
        (replace(DIRECTORY, owner=UID), SOCKET, 0, "directory belongs to"),
        (EntryFacts(stat.S_IFDIR | 0o1777, 0), SOCKET, 0, "write to the socket's directory"),
        (DIRECTORY, EntryFacts(stat.S_IFLNK | 0o777, 0), 0, "the socket's path is not a socket"),
        (DIRECTORY, EntryFacts(stat.S_IFREG | 0o600, UID), 0, "is not a socket"),
        (DIRECTORY, replace(SOCKET, owner=1001), 0, "socket belongs to uid 1001"),
        (DIRECTORY, EntryFacts(stat.S_IFSOCK | 0o777, UID), 0, "other users can use the socket"),
        (DIRECTORY, SOCKET, 1001, "uid 1001 listens"),
        (DIRECTORY, SOCKET, UID, "listens"),
    ],
)
def test_a_daemon_that_is_none(directory: EntryFacts, socket: EntryFacts, daemon: int, said: str) -> None:
    verdict = judge_daemon(directory, socket, daemon, frozenset({0}), UID)
    assert not verdict.accepted
    assert said in verdict.reason


def test_the_daemon_itself_is_trusted() -> None:
    assert judge_daemon(DIRECTORY, SOCKET, 0, frozenset({0}), UID).accepted


def test_the_log_has_the_facts() -> None:
    line = describe(PEER)
    assert all(word in line for word in ("uid=1000", "pid=77", "/usr/bin/python3", CGROUP))
    assert "cdhash=aaaa" in describe(MAC)


numbers = st.integers(-1, 4)
programs = st.builds(Program, st.just("p"), numbers, numbers, numbers, st.sampled_from([0o755, 0o777, 0o775]))
processes = st.builds(
    Process,
    numbers,
    numbers,
    st.frozensets(numbers, max_size=2),
    programs,
    st.sampled_from("ab"),
    st.tuples(st.sampled_from([CGROUP, "/", "/user@1.service/pommel-kvm-agent.service"])),
)
peers = st.builds(
    Peer, numbers, numbers, kernel_pid=st.none() | numbers, seen=st.none() | numbers, process=st.none() | processes
)
expectations = st.builds(
    Expected,
    numbers,
    st.frozensets(st.tuples(numbers, numbers), max_size=3),
    unit=st.none() | st.just("pommel-kvm-agent.service"),
    serving=st.none() | peers,
)


@settings(max_examples=300, deadline=None)
@given(peers, expectations)
def test_whoever_is_let_in_is_who_is_expected(peer: Peer, expected: Expected) -> None:
    verdict = judge(peer, expected)
    assert verdict.accepted == (not verdict.reason)
    if verdict.accepted:
        found = peer.process
        assert found is not None
        assert peer.uid == expected.uid
        assert found.uids == {expected.uid}
        assert found.pid == peer.pid
        assert found.program.file in expected.programs


@settings(max_examples=300, deadline=None)
@given(peers, peers, expectations, st.none() | numbers)
def test_an_answer_is_never_judged_more_mildly(
    before: Peer, after: Peer, expected: Expected, sender: int | None
) -> None:
    if judge_answer(before, after, expected, sender).accepted:
        assert before == after
        assert judge(before, expected).accepted
        assert sender in (None, before.pid)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_cgroup_path_is_read(path: str) -> None:
    owner, unit = unit_of(path)
    assert owner is None or owner >= 0
    assert unit in path
