"""A runner of GitHub Actions in a real guest: a stand-in of its API, and of its `run.sh`, as their documentation says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.throwaway.github_server import TOKEN, Server
from driver import Shell
from isolation import patient
from pommel.app.throwaway import serving
from pommel.app.throwaway.github import GitHub
from pommel.app.throwaway.serving import AgentOrder, EndRequest, Rules
from pommel.app.workspace import Workspace
from pommel.paths import Home
from waits import wait_until

from .conftest import UP_S

pytestmark = pytest.mark.e2e

# Y29uZmlnIDI= is "config 2": the first has a job that ends, the second waits for one, as nobody has a job for it.
RUN = b"""#!/bin/sh
[ "$1" = --jitconfig ] || exit 9
case "$2" in
    Y29uZmlnIDI=) exit 0 ;;
    *) exec sleep 600 ;;
esac
"""


class Installed(GitHub):
    """The trial machine has no runner: one is brought along."""

    def order(self, name: str) -> AgentOrder:
        order = super().order(name)
        files = {**order.files, "actions-runner/run.sh": RUN}
        return replace(order, files=files, script=f"chmod +x run.sh\n{order.script}")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(tmp_path / "tls") as there:
        monkeypatch.setenv("SSL_CERT_FILE", str(there.certificate.cert))
        yield there


def test_a_job_has_a_machine_of_its_own_and_an_idle_one_goes_when_no_more_are_wanted(
    warm: Shell, server: Server
) -> None:
    workspace = Workspace(Home.find(warm.env), warm.cwd, warm.env)
    system, ask, ended = Installed("ann/app", TOKEN, labels=["macos-vm"], api=server.api), EndRequest(), list[int]()
    server.answers = [(503, {})]  # which is no reason to give up: the next try is in five seconds
    rules = Rules("trial", prefix="github")
    thread = threading.Thread(target=lambda: ended.append(serving.serve(workspace, system, rules, ask)))
    thread.start()
    try:
        wait_until(lambda: server.configs == 3, UP_S, what="the second job's configuration")
        wait_until(lambda: _runs_something(warm), UP_S, what="the second machine's agent")
    finally:
        ask.drain.set()
        thread.join(patient(UP_S))
    assert ended == [1] and not thread.is_alive()
    asked = [(method, path.rpartition("/")[2]) for method, path, _ in server.asked]
    assert asked[:3] == [("POST", "generate-jitconfig"), ("POST", "generate-jitconfig"), ("DELETE", "2")]
    assert ("DELETE", "3") in asked
    assert {path.name for path in (warm.home / "machines").iterdir()} - {".trial.lock"} == {"trial"}
    wait_until(lambda: not warm.processes(), 30, what="the end of all its processes")


def _runs_something(shell: Shell) -> bool:
    """Whether there is an ssh that has a guest run its script."""
    for pid in shell.processes():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if words.partition(b"\0")[0].endswith(b"ssh") and b"exec sh .pommel-run/script" in words:
            return True
    return False
