"""Agents of CI systems without a guest: their secrets, and that what a guest runs starts the agent as it should be."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pommel.app.throwaway.agent_systems import Buildkite, Jenkins, commented, unit
from pommel.app.throwaway.github import GitHub
from pommel.app.throwaway.serving import AgentOrder, read_secret
from pommel.errors import NotPermitted, UsageError

SECRET = "s3cret-of-the-agent"


def ran(order: AgentOrder, home: Path, program: str) -> str:
    """What the guest's sh does with the order, where `program` only says how it was called."""
    folder = home / order.folder
    folder.mkdir(parents=True, exist_ok=True)
    tool = folder / program if program == "run.sh" else home / "bin" / program
    tool.parent.mkdir(exist_ok=True)
    tool.write_text('#!/bin/sh\nprintf "%s\\n" "$@"; echo "token=$BUILDKITE_AGENT_TOKEN"\n')
    tool.chmod(0o755)
    for name, data in order.files.items():
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_bytes(data)
    env = {"HOME": str(home), "PATH": f"{home / 'bin'}:/usr/bin:/bin"}
    return subprocess.run(
        ["sh", "-c", order.script], cwd=folder, env=env, check=True, capture_output=True, text=True
    ).stdout


def test_an_agent_of_buildkite_has_its_token_in_its_environment_and_ends_after_a_job(tmp_path: Path) -> None:
    order = Buildkite(SECRET, tags=["queue=macos", "os=14"]).order("buildkite-1")
    said = ran(order, tmp_path, "buildkite-agent").splitlines()
    assert said[:4] == ["start", "--disconnect-after-job", "--name", "buildkite-1"]
    assert said[4:] == ["--tags", "queue=macos,os=14", f"token={SECRET}"]
    assert SECRET not in order.script and not any((tmp_path / name).exists() for name in order.files)
    order = Buildkite(SECRET, tags=[], job="0190-ab").order("buildkite-1")
    assert ran(order, tmp_path, "buildkite-agent").splitlines()[1:3] == ["--acquire-job", "0190-ab"]


def test_an_agent_of_jenkins_reads_its_secret_from_a_file(tmp_path: Path) -> None:
    order = Jenkins("https://ci.example.com/", "mac-1", SECRET, web_socket=True).order("jenkins-1")
    said = ran(order, tmp_path, "java").splitlines()
    assert said[:7] == ["-jar", "agent.jar", "-url", "https://ci.example.com/", "-name", "mac-1", "-noReconnect"]
    where = said[said.index("-secret") + 1]
    assert "-webSocket" in said and where.startswith("@") and Path(where[1:]).read_text() == SECRET
    assert SECRET not in order.script


def test_a_runner_of_github_gets_its_configuration_and_no_file_of_it_stays(tmp_path: Path) -> None:
    order = AgentOrder("g", "actions-runner", "", {})
    made = GitHub("a/b", SECRET, labels=["x"])
    made._request = lambda *_, **__: {"encoded_jit_config": "eyJ4IjoxfQ==", "runner": {"id": 7}}  # type: ignore[method-assign]
    order = made.order("github-1")
    assert ran(order, tmp_path, "run.sh").splitlines()[:2] == ["--jitconfig", "eyJ4IjoxfQ=="]
    assert not any((tmp_path / name).exists() for name in order.files)


@pytest.mark.parametrize("tag", ["queue", "a=b c", "a=$(id)", "=b"])
def test_what_is_no_tag(tag: str) -> None:
    with pytest.raises(UsageError):
        Buildkite(SECRET, tags=[tag])


@pytest.mark.parametrize(
    ("url", "node"), [("ftp://x/", "n"), ("https://", "n"), ("https://x/", "a b"), ("https://x/", "")]
)
def test_what_is_no_node_of_jenkins(url: str, node: str) -> None:
    with pytest.raises(UsageError):
        Jenkins(url, node, SECRET)


def test_a_secret_comes_from_a_file_of_this_user_alone_or_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{SECRET}\n")
    file.chmod(0o644)
    with pytest.raises(NotPermitted, match="other users can read"):
        read_secret(file, {})
    file.chmod(0o600)
    assert read_secret(file, {}) == read_secret(None, {"POMMEL_CI_TOKEN": SECRET}) == SECRET
    for wrong in ("", "a b", "a\x1bb"):
        with pytest.raises(UsageError):
            read_secret(None, {"POMMEL_CI_TOKEN": wrong})
    with pytest.raises(UsageError, match="cannot be read"):
        read_secret(tmp_path / "none", {})


def test_the_unit_says_how_it_ends() -> None:
    text = unit("GitHub", ["/usr/bin/pommel", "ci", "github", "100%"], {"POMMEL_HOME": "/h o"})
    assert 'Environment="POMMEL_HOME=/h o"\n' in text and "100%%" in text and "KillMode=mixed\n" in text
    assert commented("a\n\nb") == "# a\n#\n# b\n"
