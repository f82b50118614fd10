"""The pool without a guest: who has a machine, that nobody gets it twice, and what a kill -9 leaves."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from isolation import patient
from machine.bare import qemus, short_home
from machine.guests import make_disk
from pommel import locks
from pommel.app.argv.commandline import new_record
from pommel.app.throwaway import base as bases
from pommel.app.throwaway import handing, holding, pool
from pommel.app.throwaway.pool import PoolWish
from pommel.app.workspace import Workspace
from pommel.errors import StateError, UsageError
from pommel.machine import lease, record
from pommel.machine.identity import RANDOM_BYTES
from pommel.paths import MachinePaths
from waits import wait_until

from .pooled import workspace_at

TESTS = Path(__file__).parents[2]
POOLED = Path(__file__).with_name("pooled.py")
CREATED = "2026-01-01T00:00:00+00:00"


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with short_home() as home:
        yield workspace_at(home.root.parent)


@pytest.fixture(autouse=True)
def base(workspace: Workspace) -> MachinePaths:
    paths = workspace.paths("trial")
    paths.directory.mkdir(parents=True)
    record.save(paths.record, new_record(workspace.spec("trial"), bytes(RANDOM_BYTES), created=CREATED))
    make_disk(paths.disk)
    return paths


class Process:
    """The pool's process, ended at the end whatever became of it."""

    def __init__(self, workspace: Workspace) -> None:
        words = [sys.executable, str(POOLED), str(workspace.home.root.parent)]
        self.child = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(TESTS)})

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        self.child.send_signal(how)
        self.child.wait(patient(30))


@contextlib.contextmanager
def serving(workspace: Workspace, size: int) -> Iterator[Process]:
    wish(workspace, size)
    process = Process(workspace)
    try:
        wait_until(lambda: warm(workspace) == size, 60, what=f"{size} warm machines")
        yield process
    finally:
        process.kill()


def wish(workspace: Workspace, size: int, memory: str | None = None) -> None:
    workspace.home.pool.make()
    with pool.changing(workspace.home) as wanted:
        wanted["trial"] = PoolWish(size, memory, str(workspace.cwd))


def warm(workspace: Workspace) -> int:
    return sum(row.warm for row in pool.listed(workspace=workspace).pools)


def take(workspace: Workspace) -> contextlib.AbstractContextManager[pool.WarmMachine | None]:
    return pool.taken(workspace, "trial", None, lease.of_process("trial", "run", os.getpid()))


def left(workspace: Workspace) -> set[str]:
    return {path.name for path in workspace.home.machines.iterdir()} - {".trial.lock"}


def test_each_machine_is_given_once_and_another_takes_its_place(workspace: Workspace) -> None:
    with serving(workspace, 2):
        with contextlib.ExitStack() as held, ThreadPoolExecutor(4) as threads:
            # Four at once, and two that are ready; others may have been made meanwhile.
            found = list(threads.map(lambda _: held.enter_context(take(workspace)), range(4)))
            names = [each.paths.name for each in found if each is not None]
            assert 2 <= len(names) == len(set(names))
            for each in filter(None, found):
                told = lease.read(each.paths)
                assert told is not None and (told.purpose, told.pid) == ("run", os.getpid())
                assert qemus(each.paths)
            assert holding.sweep(workspace) == []
        wait_until(lambda: not any(qemus(workspace.paths(name)) for name in names), what="the end of what was let go")
        wait_until(lambda: warm(workspace) == 2, 60, what="two more")
        for name in names:
            holding.remove(workspace, workspace.paths(name))


def test_a_killed_pool_takes_its_machines_along_and_not_those_that_were_taken(workspace: Workspace) -> None:
    with serving(workspace, 2) as process, take(workspace) as mine:
        assert mine is not None
        process.kill()
        wait_until(lambda: all(name == mine.paths.name or not qemus(workspace.paths(name))
                               for name in workspace.home.names()), what="the end of the pool's QEMUs")  # fmt: skip
        assert holding.sweep(workspace)
        assert left(workspace) - {f".{mine.paths.name}.lock", f".{mine.paths.name}.lease"} == {"trial", mine.paths.name}
        assert qemus(mine.paths)
        holding.remove(workspace, mine.paths)


TAKE = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from app.throwaway.pooled import workspace_at
from pommel.app.throwaway import pool
from pommel.machine import lease
with pool.taken(workspace_at(Path(sys.argv[1])), "trial", None, lease.of_process("trial", "run", os.getpid())) as mine:
    print(mine.paths.name, flush=True)
    if sys.argv[3:]:
        mine.let_go_on()
        print("kept", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("kept", [False, True], ids=["taken", "let go on"])
def test_a_taker_that_is_killed_before_it_did_anything(workspace: Workspace, kept: bool) -> None:
    with serving(workspace, 1):
        words = [sys.executable, "-c", TAKE, str(workspace.home.root.parent), str(TESTS), *(["kept"] if kept else [])]
        child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdin is not None and child.stdout is not None
        paths = workspace.paths(child.stdout.readline().decode().strip())
        assert qemus(paths)
        if kept:
            assert child.stdout.readline() == b"kept\n"
            lease.forget(paths)
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()
        if not kept:
            # By the kernel, and its files by the pool, which looks again by itself.
            wait_until(lambda: warm(workspace) == 1 and not paths.directory.exists(), 60, what="the end of the machine")
            return
        wait_until(lambda: warm(workspace) == 1, 60, what="another warm one")
        assert qemus(paths) and paths.record.exists()


def test_what_would_be_made_otherwise_now_is_not_given_and_is_replaced(workspace: Workspace) -> None:
    with serving(workspace, 1):
        before = left(workspace)
        other = pool.taken(workspace, "trial", {"memory": "1G"}, lease.of_process("trial", "run", os.getpid()))
        with other as found:
            assert found is None
        (workspace.cwd / "pommel.toml").write_text('[machine.trial]\nmemory = "1G"\n')
        changed = replace(workspace)  # which has not read that file yet
        with take(changed) as found:
            assert found is None
        wait_until(lambda: warm(changed) == 1 and not before & left(changed) - {"trial"}, 60, what="another one")
        with take(changed) as found:
            assert found is not None
            holding.remove(changed, found.paths)


def test_one_whose_qemu_has_died_is_not_given(workspace: Workspace) -> None:
    with serving(workspace, 1):
        (name,) = (each for each in workspace.home.names() if each != "trial")
        (pid,) = qemus(workspace.paths(name))
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: locks.holder(workspace.paths(name).pidfile) is None)
        with take(workspace) as found:
            assert found is None
        wait_until(lambda: warm(workspace) == 1 and name not in left(workspace), 60, what="another one")


def test_no_more_wishes_are_the_end_of_the_process_and_of_all_its_machines(workspace: Workspace) -> None:
    with serving(workspace, 2) as process:
        told = pool.resize("trial", 0, workspace=workspace)
        assert (told.pool_pid, told.pools) == (None, [])
        assert process.child.wait(patient(30)) is not None
    assert left(workspace) == {"trial"}
    with pytest.raises(StateError, match="no machine of trial"):
        pool.resize("trial", 0, workspace=workspace)


def test_sigterm_takes_all_machines_along_and_the_wish_stays(workspace: Workspace) -> None:
    with serving(workspace, 1) as process:
        process.kill(signal.SIGINT)
        assert left(workspace) == {"trial"}
        (row,) = pool.listed(workspace=workspace).pools
        assert (row.pool_size, row.warm) == (1, 0) and row.problem and "its process has ended" in row.problem
    assert pool.stop(workspace=workspace) and not pool.stop(workspace=workspace)


def test_a_pool_that_cannot_be_is_refused_by_name(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="no machine called 'nothing'"):
        pool.resize("nothing", 1, workspace=workspace)
    with pytest.raises(StateError, match="more memory than this host has"):
        pool.plan("trial", 64, "4096G", workspace=workspace)
    assert pool.wishes(workspace.home) == {}
    assert pool.plan("trial", 1, workspace=workspace) == ["keep 1 linked clones of trial started, in the background"]


def test_a_base_with_warm_machines_says_what_ends_them(workspace: Workspace) -> None:
    holding.make(workspace, workspace.paths("warm-1"), lease.of_process("trial", lease.POOL, os.getpid()))
    from pommel.app.machine import power

    with pytest.raises(StateError) as refusal:
        power.start("trial", workspace=workspace)
    assert refusal.value.hint is not None and "pommel pool" in refusal.value.hint


def test_a_question_is_answered_with_a_descriptor_and_nonsense_with_none(tmp_path: Path) -> None:
    read, write = os.pipe()

    def answer(question: object, send: object) -> None:
        assert callable(send)
        send({"heard": question}, write)

    with handing.answering(tmp_path / "sock", answer):
        told, fd = handing.ask(tmp_path / "sock", {"long": "x" * 20_000})
        assert told == {"heard": {"long": "x" * 20_000}} and fd is not None
        os.write(fd, b"y")
        os.close(fd)
        assert os.read(read, 1) == b"y"
        with pytest.raises((OSError, ValueError)):
            handing.ask(tmp_path / "sock", ["no object"])  # type: ignore[arg-type]
    with pytest.raises(OSError):
        handing.ask(tmp_path / "sock", {})
    os.close(read)
    os.close(write)


class Gone(socket.socket):
    """A connection whose other side has gone once it had its answer."""

    def sendall(self, data: object, flags: int = 0) -> None:
        raise BrokenPipeError


def test_who_has_the_whole_answer_may_go_at_once() -> None:
    """Else a machine would be taken away from whoever has just got it."""
    ours, theirs = socket.socketpair()
    with Gone(fileno=ours.detach()) as link, theirs:
        handing._sender(link)({"name": "m"}, None)
        assert theirs.recv(100) == b'{"name": "m"}\n'


def test_what_makes_a_clone_another(workspace: Workspace, base: MachinePaths) -> None:
    one = bases.fingerprint(workspace, "trial")
    assert one == bases.fingerprint(workspace, "trial", {}) == bases.fingerprint(workspace, "trial", {"memory": "2G"})
    assert one != bases.fingerprint(workspace, "trial", {"memory": "1G"})
    os.utime(base.disk)
    assert one != bases.fingerprint(workspace, "trial")
