"""Throw-away machines without a guest: whose they are, and that those which nobody holds go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from machine.bare import argv, qemus, short_home
from machine.guests import make_disk
from pommel import process
from pommel.app.argv.commandline import new_record
from pommel.app.machine import machines
from pommel.app.throwaway import base as bases
from pommel.app.throwaway import holding
from pommel.app.workspace import Workspace
from pommel.errors import CommandFailed, DeadlineError, StateError, UsageError
from pommel.machine import lease, lifecycle, record
from pommel.machine.identity import RANDOM_BYTES
from pommel.paths import MachinePaths
from waits import wait_until

CREATED = "2026-01-01T00:00:00+00:00"


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with short_home() as home:
        there = home.root.parent
        yield Workspace(home, there, {"HOME": str(there), "XDG_DATA_HOME": str(there), "POMMEL_HOME": str(home.root)})


@pytest.fixture(autouse=True)
def base(workspace: Workspace) -> MachinePaths:
    paths = workspace.paths("trial")
    paths.directory.mkdir(parents=True)
    record.save(paths.record, new_record(workspace.spec("trial"), bytes(RANDOM_BYTES), created=CREATED))
    make_disk(paths.disk)
    return paths


def left(workspace: Workspace) -> set[str]:
    return {path.name for path in workspace.home.machines.iterdir()}


def test_a_held_machine_is_a_linked_clone_with_an_identity_of_its_own_and_is_gone_afterwards(
    workspace: Workspace, base: MachinePaths
) -> None:
    with holding.held(workspace, "trial") as paths:
        kept, of_base = record.load(paths.record), record.load(base.record)
        assert kept.clone_of == "trial" and kept.uuid != of_base.uuid and kept.mac != of_base.mac
        assert lease.read(paths) == lease.Lease("trial", "run")
        assert holding.sweep(workspace) == []  # somebody holds it
        lifecycle.start(paths, argv(paths))
    assert left(workspace) == {"trial", ".trial.lock"} and qemus(paths) == []


def test_settings_of_the_base_hold_for_it_but_not_what_is_the_bases_own(workspace: Workspace) -> None:
    (workspace.cwd / "pommel.toml").write_text('[machine.trial]\nmemory = "1G"\nssh_port = 2300\nshares = ["/srv"]\n')
    workspace = replace(workspace)  # which has not read that file yet
    with holding.held(workspace, "trial") as paths:
        spec = workspace.spec(paths.name)
        assert spec.memory_bytes == 1 << 30 and spec.ssh_port is None and spec.shares == ()


def test_one_that_is_kept_is_a_machine_like_any_other(workspace: Workspace) -> None:
    with holding.held(workspace, "trial") as paths:
        lease.forget(paths)
    assert holding.sweep(workspace) == [] and paths.record.exists()
    assert left(workspace) == {"trial", ".trial.lock", paths.name, f".{paths.name}.lock"}


HOLD = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from machine.bare import argv
from pommel.app.throwaway import holding
from pommel.app.workspace import Workspace
from pommel.machine import lease, lifecycle
from pommel.paths import Home
root = Path(sys.argv[1])
workspace = Workspace(Home(root / "h", root / "r", root / "c"), root, dict(os.environ))
with holding.held(workspace, "trial") as paths:
    lifecycle.start(paths, argv(paths), ends=lifecycle.Ends(with_us=True))
    print(paths.name, flush=True)
    sys.stdin.read()
"""


def test_a_holder_that_is_killed_takes_qemu_along_and_the_next_command_takes_the_rest_away(
    workspace: Workspace,
) -> None:
    root, tests = str(workspace.home.root.parent), str(Path(__file__).parents[2])
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, root, tests], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ
    )
    assert child.stdout is not None and child.stdin is not None
    paths = workspace.paths(child.stdout.readline().decode().strip())
    assert qemus(paths)
    child.kill()
    child.wait()
    child.stdout.close()
    child.stdin.close()
    wait_until(lambda: not qemus(paths), what="the end of its QEMU")
    assert paths.name not in {each.name for each in machines.list_machines(workspace=workspace)}
    assert left(workspace) == {"trial", ".trial.lock"}


def test_a_lock_without_a_machine_is_of_a_command_that_was_killed_before_it_made_one(workspace: Workspace) -> None:
    lease.lock_of(workspace.paths("run-1")).touch()
    assert holding.sweep(workspace) == [] and left(workspace) == {"trial"}


@pytest.mark.parametrize("why", ["dead", "late", "another boot"])
def test_a_lease_of_a_process_ends_with_it_or_when_its_time_is_up(workspace: Workspace, why: str) -> None:
    paths = workspace.paths("job-1")
    child = subprocess.Popen(["sleep", "600"])
    told = lease.of_process("trial", "job", child.pid, 600)
    holding.make(workspace, paths, told)
    assert holding.sweep(workspace) == []
    if why == "dead":
        child.send_signal(signal.SIGKILL)
        child.wait()
    elif why == "late":
        lease.write(paths.directory, lease.of_process("trial", "job", child.pid, -1))
    else:
        told = lease.of_process("trial", "job", child.pid, 600)
        lease.write(paths.directory, lease.Lease("trial", "job", told.pid, told.ticks, "another", told.until))
    assert holding.sweep(workspace) == ["job-1"] and left(workspace) == {"trial", ".trial.lock"}
    child.kill()
    child.wait()


def test_a_lease_that_cannot_be_read_is_nobodys(workspace: Workspace) -> None:
    paths = workspace.paths("run-1")
    holding.make(workspace, paths, lease.Lease("trial", "run"))
    (paths.directory / lease.FILE).write_text("{")
    assert holding.sweep(workspace) == ["run-1"]


def test_an_image_that_is_not_there_or_runs_is_refused_and_nothing_is_left(
    workspace: Workspace, base: MachinePaths
) -> None:
    with pytest.raises(UsageError, match="there is no machine called"):
        bases.resolve(workspace, "nothing")
    lifecycle.start(base, argv(base))
    with pytest.raises(StateError, match="is running"), holding.held(workspace, "trial"):
        pass
    assert {name for name in left(workspace) if "run-" in name} == set()


def test_what_a_program_says_and_is_told_goes_through_pipes() -> None:
    heard = process.drain(["sh", "-c", "echo out; echo err >&2"], lambda pipe: pipe.read(), timeout_s=20)
    assert heard == b"out\n"
    process.feed(["grep", "-q", "x"], lambda pipe: pipe.write(b"x\n") and None, timeout_s=20)
    with pytest.raises(CommandFailed, match="status 3: err"):
        process.drain(["sh", "-c", "echo err >&2; exit 3"], lambda pipe: pipe.read(), timeout_s=20)
    with pytest.raises(CommandFailed):  # one that has gone before it was told all
        process.feed(["false"], lambda pipe: pipe.write(bytes(1 << 20)) and None, timeout_s=20)
    with pytest.raises(DeadlineError):
        process.drain(["sleep", "600"], lambda pipe: pipe.read(), timeout_s=0.3)
