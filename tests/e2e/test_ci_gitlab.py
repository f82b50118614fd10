"""Jobs of GitLab Runner, by a stand-in that calls Pommel as the runner's documentation says."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import DEVNULL, PIPE

import pytest

from driver import Shell
from isolation import patient
from pommel.app.throwaway import holding
from pommel.app.workspace import Workspace
from pommel.machine import lease
from pommel.paths import Home
from waits import wait_until

from .conftest import UP_S

pytestmark = pytest.mark.e2e
RUNNER = Path(__file__).with_name("gitlab_runner.py")


def runner(shell: Shell, job: str, *variables: str) -> subprocess.Popen[bytes]:
    config = shell.cwd / "config.toml"
    config.write_text(shell.run("ci", "gitlab", "--allow", "trial", "--limit", "1", "--print-config").stdout)
    words = [sys.executable, "-P", str(RUNNER), str(config), job, *variables]
    return subprocess.Popen(words, env=shell.env, cwd=shell.cwd, stdin=PIPE, stdout=PIPE, stderr=PIPE, process_group=0)


def machines(shell: Shell) -> list[str]:
    return [each["name"] for each in shell.json("list")["machines"]]


def test_a_whole_job_runs_in_a_machine_of_its_own_which_is_gone_afterwards(warm: Shell) -> None:
    job = runner(warm, "17", "EVIL=$(touch /tmp/never); `id`", "CI_JOB_ID=16")
    done = warm.ended(job, timeout_s=UP_S, input=b"cd /tmp/builds\ncat source\necho in the job\n")
    assert "fetched\nin the job\n" in done.stdout and "the job runs in gitlab-17" in done.stdout
    assert "status 0 -" in done.stdout and machines(warm) == ["trial"] and warm.processes() == []


def test_a_job_gets_a_warm_machine_if_there_is_one(warm: Shell) -> None:
    warm.run("pool", "trial", "--size", "1", "--wait", timeout_s=UP_S)
    done = warm.ended(runner(warm, "21"), timeout_s=UP_S, input=b"echo in the job\n")
    assert "in the job\n" in done.stdout and "the job runs in warm-" in done.stdout
    warm.run("pool", "--stop")
    assert machines(warm) == ["trial"]
    wait_until(lambda: not warm.processes(), 30, what="the end of all its processes")


def test_a_job_that_fails_tells_its_own_status(warm: Shell) -> None:
    done = warm.ended(runner(warm, "18"), timeout_s=UP_S, input=b"exit 255\n", status=10)
    assert "status 73 255" in done.stdout and machines(warm) == ["trial"]


def test_an_image_that_is_not_allowed_is_the_jobs_failure_and_is_not_tried_again(warm: Shell) -> None:
    done = warm.ended(runner(warm, "19", "CI_JOB_IMAGE=../trial"), input=b"", status=10)
    assert "is not allowed here" in done.stderr and done.stdout.count("stage prepare") == 1


@pytest.mark.parametrize("stage", ["prepare", "run", "cleanup"])
def test_a_runner_that_is_killed_at_any_stage_leaves_nothing_after_the_next_command(warm: Shell, stage: str) -> None:
    job = runner(warm, "20")
    assert job.stdin is not None and job.stdout is not None and job.stderr is not None
    try:
        job.stdin.write(b"exit 0\n" if stage == "cleanup" else b"sleep 600\n")
        job.stdin.close()
        while not (line := job.stdout.readline()).startswith(f"stage {stage}".encode()):
            assert line, job.stderr.read()
        if stage == "prepare":
            wait_until(lambda: (warm.home / "machines" / "gitlab-20").exists(), 60, what="the job's machine")
    finally:
        _kill_all_but_qemu(warm, job)
        job.stdout.close()
        job.stderr.close()
    assert machines(warm) == ["trial"]
    assert {path.name for path in (warm.home / "machines").iterdir()} - {".trial.lock"} == {"trial"}
    wait_until(lambda: not warm.processes(), 30, what="the end of all its processes")
    warm.run("ci", "gitlab", "--allow", "trial", "config", timeout_s=30)


def test_as_many_jobs_as_may_run_at_a_time(warm: Shell, tmp_path: Path) -> None:
    workspace = Workspace(Home.find(warm.env), warm.cwd, warm.env)
    paths = workspace.paths("gitlab-1")
    holding.make(workspace, paths, lease.of_process("trial", "gitlab", os.getpid(), 600))
    try:
        child = warm.popen("ci", "gitlab", "--allow", "trial", "--limit", "1", "prepare", stdin=DEVNULL, stderr=PIPE)
        _, said = child.communicate(timeout=patient(60))
        assert child.returncode == 1 and b"JOB_RESPONSE_FILE" in said  # nobody who is no runner
        (tmp_path / "job").write_text('{"id": 2}')
        warm.env["JOB_RESPONSE_FILE"] = str(tmp_path / "job")
        assert (
            "which is the limit"
            in warm.run("ci", "gitlab", "--allow", "trial", "--limit", "1", "prepare", status=1).stderr
        )
    finally:
        warm.env.pop("JOB_RESPONSE_FILE", None)
        holding.remove(workspace, paths)


def _kill_all_but_qemu(shell: Shell, job: subprocess.Popen[bytes]) -> None:
    """Kill the runner with all that it called, and wait for their end: until then they hold locks.

    The runner is first. What it starts between a look and the kill would outlive one look, and go on with its work.
    """
    job.kill()
    job.wait(patient(20))

    def none_left() -> bool:
        found = [pid for pid in shell.processes() if "qemu-system" not in _words(pid)]
        for pid in found:
            _kill(pid)
        return not found

    wait_until(none_left, 20, what="the end of the killed")


def _words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
