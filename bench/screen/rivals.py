"""Start what is to be measured, and stop it again: an X display, Pommel, TigerVNC, and the real MeshAgent with its server."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

USER, PASSWORD = "bench", f"Bench-{os.getpid()}"
_SERVER_S, _AGENT_S = 90.0, 30.0


@dataclass(frozen=True)
class Rival:
    """One server: how a viewer of ours reaches it, and whose CPU is its cost."""

    name: str
    viewer: str  # the script beside this one
    where: str
    pids: list[int] = field(default_factory=list)
    options: tuple[str, ...] = ()


@contextlib.contextmanager
def process(words: list[str], **options: object) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(words, text=True, start_new_session=True, **options)  # type: ignore[call-overload]
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextlib.contextmanager
def display(size: str = "1920x1080") -> Iterator[str]:
    """An X display of its own; DISPLAY names it for the time of the block."""
    read, write = os.pipe()
    words = ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{size}x24", "-ac", "-nolisten", "tcp", "-noreset"]
    with process(words, pass_fds=[write], stderr=subprocess.DEVNULL):
        os.close(write)
        with os.fdopen(read) as told:
            name = f":{told.readline().strip()}"
        os.environ["DISPLAY"] = name
        yield name


@contextlib.contextmanager
def pommel() -> Iterator[Rival]:
    words = [sys.executable, "-m", "pommel", "kvm", "serve", "--json", "--listen", f"127.0.0.1:{free_port()}"]
    with process(words, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        yield Rival("Pommel", "kvm.py", json.loads(child.stdout.readline())["ws"], [child.pid])


@contextlib.contextmanager
def relayed(agent: Rival, work: Path) -> Iterator[Rival]:
    """Pommel as a device beside `agent` on the same server, which relays what both send; `work` is `mesh_agent`'s."""
    words = [sys.executable, "-m", "pommel", "kvm", "serve", "--json", "--listen", f"127.0.0.1:{free_port()}"]
    words += ["--msh", str(work / "agent" / "meshagent.msh")]
    server = agent.where.rpartition(",")[0]
    with process(words, stdout=subprocess.PIPE, env={**os.environ, "POMMEL_HOME": str(work / "pommel")}) as child:
        assert child.stdout is not None
        json.loads(child.stdout.readline())
        name = f"{socket.gethostname()} {os.environ['DISPLAY']}"
        yield Rival("Pommel, relayed", "kvm.py", f"{server},{name}", [child.pid])


@contextlib.contextmanager
def tigervnc() -> Iterator[Rival]:
    port = free_port()
    words = [
        "X0tigervnc",
        "-display",
        os.environ["DISPLAY"],
        "-rfbport",
        str(port),
        "-SecurityTypes",
        "None",
        "-localhost=1",
    ]
    with process(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        _await(lambda: _listens(port), 10, "TigerVNC")
        yield Rival("TigerVNC", "rfb.py", f"127.0.0.1:{port}", [child.pid])


@contextlib.contextmanager
def mesh_agent(folder: Path, work: Path) -> Iterator[Rival]:
    """The agent and its server; `folder` is where `npm install meshcentral` was run, `work` takes what they write."""
    port = free_port()
    shutil.copytree(folder, work / "server", symlinks=True, ignore=shutil.ignore_patterns("meshcentral-*"))
    _configure(work / "server", port)
    main = "node_modules/meshcentral"
    for words in (
        ["--createaccount", USER, "--pass", PASSWORD, "--email", "bench@example.org"],
        ["--adminaccount", USER],
    ):
        _quietly(["node", main, *words], work / "server")
    with process(["node", main], cwd=work / "server", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        _await(lambda: _listens(port), _SERVER_S, "MeshCentral")
        agent = _agent(work, port)
        with process(
            [str(agent), "connect"], cwd=agent.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as child:
            time.sleep(5)
            where = f"wss://127.0.0.1:{port},{USER},{PASSWORD},{socket.gethostname()}"
            yield Rival("MeshAgent", "kvm.py", where, [child.pid])


def _configure(server: Path, port: int) -> None:
    data = server / "meshcentral-data"
    data.mkdir()
    settings = {"cert": "127.0.0.1", "WANonly": True, "port": port, "redirPort": 0, "mpsPort": 0, "selfUpdate": False}
    settings |= {"ignoreAgentHashCheck": True, "noAgentUpdate": 1}
    (data / "config.json").write_text(json.dumps({"settings": settings, "domains": {"": {"newAccounts": True}}}))


def _agent(work: Path, port: int) -> Path:
    folder = work / "agent"
    folder.mkdir()
    control = ["node", "node_modules/meshcentral/meshctrl.js", "--url", f"wss://127.0.0.1:{port}", "--loginuser", USER]
    said = _quietly([*control, "--loginpass", PASSWORD, "AddDeviceGroup", "--name", "bench"], work / "server")
    group = said.split("mesh//")[1].split()[0]
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with urllib.request.urlopen(f"https://127.0.0.1:{port}/meshsettings?id={group}", context=context) as answer:
        (folder / "meshagent.msh").write_bytes(answer.read())
    agent = folder / "meshagent"
    shutil.copy(work / "server/node_modules/meshcentral/agents/meshagent_x86-64", agent)
    agent.chmod(0o755)
    return agent


def _quietly(words: list[str], folder: Path) -> str:
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True, timeout=180).stdout


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _await(ready: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not come up within {seconds:g} s")
        time.sleep(0.1)
