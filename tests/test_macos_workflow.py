"""The workflow for Macs names what is there, and what it runs does here what does not take a Mac."""

from __future__ import annotations

import contextlib
import json
import plistlib
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import macos_check
import macos_metadata
from screen.test_macos_names import ALIASES

ROOT = Path(__file__).parents[1]
WORKFLOW = ROOT / ".github" / "workflows" / "macos.yml"


@pytest.fixture(scope="module")
def steps() -> list[dict[str, str]]:
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def test_it_is_a_workflow(steps: list[dict[str, str]]) -> None:
    whole = yaml.safe_load(WORKFLOW.read_text())
    assert whole[True] == {"push": None, "pull_request": None, "workflow_dispatch": None}  # YAML 1.1 reads `on` so
    assert whole["jobs"]["mac"]["strategy"]["matrix"]["runner"] == ["macos-14", "macos-15"]
    assert all(("run" in step) != ("uses" in step) for step in steps)


def test_every_file_it_names_is_there(steps: list[dict[str, str]]) -> None:
    named = [word for step in steps for word in re.findall(r"\btests/[\w./]+", step.get("run", ""))]
    assert len(named) > 20
    assert [word for word in named if not (ROOT / word).exists()] == []


def test_every_test_of_macos_is_in_it(steps: list[dict[str, str]]) -> None:
    commands = " ".join(step.get("run", "") for step in steps)
    here = [str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*macos*.py")]
    assert len(here) >= 7
    assert [path for path in here if path not in commands] == []


def test_every_check_is_run_as_it_is_called(steps: list[dict[str, str]]) -> None:
    commands = " ".join(step.get("run", "") for step in steps)
    assert set(re.findall(r"macos_check\.py (\w+)", commands)) == set(macos_check.CHECKS)


def test_the_extras_it_installs_are_declared(steps: list[dict[str, str]]) -> None:
    wanted = re.findall(r"\[([\w,]+)\]", " ".join(step.get("run", "") for step in steps))
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {extra for words in wanted for extra in words.split(",")} <= set(declared)
    named = {re.split(r"[>=; ]", line)[0] for line in declared["macos"]}
    pinned = {line.split("==")[0] for line in macos_metadata.PINNED}
    assert named == pinned - {"pyobjc-core"}, "what is checked is what is installed"


def test_the_files_that_call_a_framework_are_the_ones_that_are_checked() -> None:
    assert macos_check.CALLERS == ALIASES


def test_plists(tmp_path: Path) -> None:
    script = ROOT / "tests" / "macos_check.py"
    subprocess.run([sys.executable, str(script), "plists", str(tmp_path)], check=True, timeout=60)
    jobs = {path.name: plistlib.loads(path.read_bytes()) for path in tmp_path.iterdir()}
    assert {f"{job['Label']}.plist" for job in jobs.values()} == set(jobs)
    assert "meshagent-kvm1.plist" in jobs


@pytest.mark.parametrize(
    ("failed", "passes"),
    [
        (set(), True),
        ({"permissions", "screen"}, True),
        ({"screen"}, False),
        ({"permissions", "launcher"}, False),
    ],
)
def test_only_a_missing_permission_is_forgiven(tmp_path: Path, failed: set[str], passes: bool) -> None:
    pieces = ("system", "launcher", "permissions", "screen", "socket, peer and agent")
    report = tmp_path / "selftest.json"
    report.write_text(json.dumps({"checks": [{"piece": p, "ok": p not in failed, "text": ""} for p in pieces]}))
    with contextlib.nullcontext() if passes else pytest.raises(SystemExit, match="these do not work"):
        macos_check.report(str(report))


def test_a_self_test_that_tried_nothing(tmp_path: Path) -> None:
    report = tmp_path / "selftest.json"
    report.write_text('{"checks": []}')
    with pytest.raises(SystemExit, match="no piece"):
        macos_check.report(str(report))


def test_the_peer_program_connects_and_waits(tmp_path: Path) -> None:
    program = tmp_path / "peer"
    subprocess.run(["cc", "-Wall", "-Werror", "-o", program, ROOT / "tests" / "peer.c"], check=True, timeout=60)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(f"{tmp_path}/s")
        door.listen()
        door.settimeout(10)
        with subprocess.Popen([program, f"{tmp_path}/s"]) as child:
            connection, _ = door.accept()
            with connection:
                assert connection.recv(9) == b"x"
                assert child.poll() is None
            child.kill()
