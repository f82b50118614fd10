"""Whose word counts for a job of GitLab: the runner's, never the job's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from machine.bare import short_home
from pommel.app.argv.commandline import new_record
from pommel.app.throwaway import gitlab
from pommel.app.workspace import Workspace
from pommel.errors import StateError, UsageError
from pommel.machine import lease, record
from pommel.machine.identity import RANDOM_BYTES
from pommel.progress import ignore

RULES = gitlab.JobRules(("trial",))


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with short_home() as home:
        there = home.root.parent
        yield Workspace(home, there, {"HOME": str(there), "XDG_DATA_HOME": str(there), "POMMEL_HOME": str(home.root)})


def env_of(tmp_path: Path, told: object, **more: str) -> dict[str, str]:
    (tmp_path / "response").write_text(json.dumps(told))
    return {"JOB_RESPONSE_FILE": str(tmp_path / "response"), **{f"CUSTOM_ENV_{key}": more[key] for key in more}}


def test_a_job_that_calls_itself_another_stays_what_the_runner_says(workspace: Workspace, tmp_path: Path) -> None:
    env = env_of(tmp_path, {"id": 17, "token": "secret"}, CI_JOB_ID="16", JOB_RESPONSE_FILE="/etc/passwd")
    assert gitlab.machine_of(workspace, env).name == "gitlab-17"


@pytest.mark.parametrize(
    "told", [{}, {"id": "17"}, {"id": -1}, {"id": True}, {"id": 10**18}, {"id": 1.5}, [], None, "x"]
)
def test_a_runner_that_does_not_say_which_job_it_is(workspace: Workspace, tmp_path: Path, told: object) -> None:
    with pytest.raises(UsageError, match="JOB_RESPONSE_FILE"):
        gitlab.machine_of(workspace, env_of(tmp_path, told))


@pytest.mark.parametrize("env", [{}, {"JOB_RESPONSE_FILE": "/nowhere"}, {"CUSTOM_ENV_CI_JOB_ID": "17"}])
def test_without_the_runners_file_nothing_is_done(workspace: Workspace, env: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="JOB_RESPONSE_FILE"):
        gitlab.machine_of(workspace, env)


def test_a_machine_of_somebodys_own_that_is_called_as_a_jobs_is_let_be(workspace: Workspace, tmp_path: Path) -> None:
    paths = workspace.paths("gitlab-5")
    paths.directory.mkdir(parents=True)
    kept = new_record(workspace.spec("trial"), bytes(RANDOM_BYTES), created="2026-01-01T00:00:00+00:00")
    record.save(paths.record, kept)
    env = env_of(tmp_path, {"id": 5})
    with pytest.raises(StateError, match="gitlab-5 is another machine"):
        gitlab.prepare(workspace, env, RULES, runner=1, report=ignore)
    with pytest.raises(StateError, match="gitlab-5 is another machine"):
        gitlab.cleanup(workspace, env, report=ignore)
    with pytest.raises(StateError, match="gitlab-5 is another machine"):
        gitlab.run_stage(workspace, env, tmp_path / "response")
    assert record.load(paths.record) == kept
    lease.write(paths.directory, lease.of_process("trial", "gitlab", 1, -1))
    gitlab.cleanup(workspace, env, report=ignore)
    assert not paths.directory.exists()
