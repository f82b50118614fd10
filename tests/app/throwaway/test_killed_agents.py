"""`pommel ci github|buildkite|jenkins` killed at each stage, with real QEMUs and a real sshd: nothing of it stays."""

from __future__ import annotations

from collections.abc import Iterator
from subprocess import Popen

import pytest

from waits import wait_until

from .github_server import TOKEN, Server
from .small_home import SmallHome

# What a guest has of each system; it waits for a job where there is a file `waits`, and has had one otherwise.
AGENT = """#!/bin/sh
echo "$0 $*" > "$HOME/started"
[ ! -e {root}/waits ] || exec sleep 600
"""
SYSTEMS = {
    "github": ("actions-runner/run.sh", "--repo", "ann/app"),
    "buildkite": ("bin/buildkite-agent",),
    "jenkins": ("bin/java", "--url", "http://127.0.0.1:1/", "--node", "mac-1"),
}
THROWAWAY = "pommel.app.throwaway"
# Where the command kills itself (`small_guest`), by what it would do next or has just done.
STAGES = {
    "before it takes a machine": f"{THROWAWAY}.obtaining:machine",
    "before its clone is made": f"{THROWAWAY}.holding:make",
    "while its clone is made": ":pommel.machine.lease:write",
    "before it starts": "pommel.machine.lifecycle:start",
    "while QEMU starts": "pommel.machine.state:mark_running",
    "before its agent is ordered": f":{THROWAWAY}.starting:start",
    "before its agent is sent": f"{THROWAWAY}.starting:send",
    "while its agent is sent": ":tarfile:TarFile.addfile",
    "after its agent": f"{THROWAWAY}.holding:remove",
    "before its folder goes": "pommel.app.machine.machines:delete",
    "while its folder goes": "pommel.machine.folder:finish_taking",
    "after its folder went": ":pommel.machine.folder:take_away",
    "after all of it went": ":pommel.app.machine.machines:delete",
}
WAITS = "while its agent waits for a job"
BEFORE_THE_ORDER = list(STAGES)[:6]
# The runner has no job, and GitHub removes it when it was not connected for a day; any other was taken back.
ORDERED = ["before its agent is sent", "while its agent is sent", WAITS]


class Agents(SmallHome):
    """With agents of all systems in its guests."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server
        self.env |= {"POMMEL_CI_TOKEN": TOKEN, "SSL_CERT_FILE": str(server.certificate.cert)}
        for program, *_ in SYSTEMS.values():
            self.program(program, AGENT.format(root=self.root))

    def agents(self, system: str, where: str = "-") -> Popen[bytes]:
        words = ["ci", system, "trial", "--once", *SYSTEMS[system][1:]]
        words += ["--api", self.server.api] if system == "github" else []
        return self.start_command(*words, killed=where)

    def kill(self, system: str, where: str) -> list[int]:
        """Have it killed; the ports that its machine had."""
        if where != WAITS:
            self.ended(self.agents(system, STAGES[where]), status=-9)
            return self.ports()
        (self.root / "waits").touch()
        child = self.agents(system)
        try:
            wait_until(lambda: self.guests("started") or child.poll() is not None, 60, what="its agent")
            ports = self.ports()
        finally:
            child.kill()
            self.ended(child, status=-9)
            (self.root / "waits").unlink()
        return ports


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    with Server(tmp_path_factory.mktemp("tls")) as server:
        shell = Agents(server)
        try:
            yield shell
        finally:
            shell.close()


@pytest.mark.parametrize("where", [*STAGES, WAITS])
def test_the_next_list_takes_away_what_a_killed_one_left_and_github_can_end_its_runner(
    home: Agents, where: str
) -> None:
    home.server.asked.clear()
    ports = home.kill("github", where)
    assert [each["name"] for each in home.json("list")["machines"]] == ["trial"]
    home.assert_as_before(ports)
    asked = [method for method, _, _ in home.server.asked]
    assert asked == ([] if where in BEFORE_THE_ORDER else ["POST"] if where in ORDERED else ["POST", "DELETE"])


@pytest.mark.parametrize("where", ["while QEMU starts", "before its agent is sent", WAITS, "while its folder goes"])
@pytest.mark.parametrize(("system", "then"), [("buildkite", "jenkins"), ("jenkins", "github"), ("github", "buildkite")])
def test_the_next_agents_take_away_what_killed_ones_left(home: Agents, system: str, then: str, where: str) -> None:
    ports = home.kill(system, where)
    said = home.ended(home.agents(then)).stderr
    assert "1 agent has ended" in said and ("was left over" in said) == (where != "while its folder goes")
    home.assert_as_before(ports)
