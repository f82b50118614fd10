"""How long everyday commands take: list over fifty machines, start over bare QEMU, a linked clone. Whole processes, medians.

    python bench/living.py [RUNS]

Peers in the same run: bare QEMU with the very same argv, until QMP greets; `qemu-img create -b` for a clone; and, where a
libvirtd answers, `virsh list --all` over as many domains of which as many run. The machines that run are real QEMUs
whose guest is held.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

MACHINES, RUNNING = 50, 10
POMMEL = [sys.executable, "-m", "pommel"]
UPSTREAM = Path(__file__).parents[1] / "tests" / "overlay" / "upstreams" / "code_2m"


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    root = Path(tempfile.mkdtemp(prefix="pmb-"))
    (root / "run").mkdir(mode=0o700)
    env = {
        **os.environ,
        "POMMEL_HOME": str(root / "h"),
        "XDG_RUNTIME_DIR": str(root / "run"),
        "XDG_CACHE_HOME": str(root / "c"),
    }
    children: list[subprocess.Popen[bytes]] = []
    peer = False
    try:
        make_upstream(root)
        make_machines(root, env)
        children = [run_one(root, env, f"m{number:02}") for number in range(RUNNING)]
        peer = make_domains(root)
        taken = measure(root, env, runs, peer)
    finally:
        if peer:
            remove_domains()
        for child in children:
            child.kill()
            child.wait()
        for pidfile in (root / "h" / "machines").glob("*/qemu.pid"):
            end(int(pidfile.read_text()))
        shutil.rmtree(root, ignore_errors=True)
    print(f"{'':42} median ms  worst ms   ({runs} runs)")
    for name, times in taken.items():
        print(f"{name:42} {statistics.median(times):9.0f} {max(times):9.0f}")


def measure(root: Path, env: dict[str, str], runs: int, peer: bool) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {}

    def take(name: str, work: Callable[[], object]) -> None:
        began = time.perf_counter()
        work()
        taken.setdefault(name, []).append((time.perf_counter() - began) * 1000)

    argv = json.loads(sh(root, env, *POMMEL, "argv", "start", "--json"))["argv"]
    for _ in range(runs):  # in turn, so that a busy moment hits all alike
        take(f"pommel list, {MACHINES} machines, {RUNNING} run", lambda: sh(root, env, *POMMEL, "list", "--json"))
        take("pommel start, to QMP", lambda: sh(root, env, *POMMEL, "start", "start"))
        sh(root, env, *POMMEL, "stop", "start", "--force")
        take("bare QEMU, the same argv, to QMP", lambda: bare(argv))
        take("pommel clone --linked", lambda: sh(root, env, *POMMEL, "clone", "base", "copy", "--linked"))
        sh(root, env, *POMMEL, "delete", "copy", "--yes")
        over = root / "over.qcow2"
        base = root / "h" / "machines" / "base" / "mac_hdd_ng.img"
        words = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", "qcow2", str(over)]
        take("qemu-img create -b", lambda words=words: sh(root, env, *words))  # type: ignore[misc]
        if peer:
            take(f"virsh list --all, {MACHINES} domains, {RUNNING} run", lambda: virsh("list", "--all"))
    return taken


def virsh(*words: str) -> bool:
    command = ["virsh", "-q", "-c", "qemu:///system", *words]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def make_domains(root: Path) -> bool:
    """As many domains of libvirt's, as many of them held in memory; False where there is no libvirtd to ask."""
    if not shutil.which("virsh") or not virsh("list"):
        return False
    for number in range(MACHINES):
        name, xml = f"bench{number:02}", root / "domain.xml"
        xml.write_text(
            f"<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>"
            "<os><type arch='x86_64' machine='q35'>hvm</type></os>"
            "<devices><emulator>/usr/bin/qemu-system-x86_64</emulator></devices></domain>"
        )
        virsh("define", str(xml))
        if number < RUNNING:
            virsh("start", "--paused", name)
    return True


def remove_domains() -> None:
    for number in range(MACHINES):
        virsh("destroy", f"bench{number:02}")
        virsh("undefine", f"bench{number:02}")


def make_upstream(root: Path) -> None:
    shutil.copytree(UPSTREAM, root / "up")
    shutil.copy("/usr/share/OVMF/OVMF_CODE.fd", root / "up" / "OVMF_CODE.fd")
    shutil.copy("/usr/share/OVMF/OVMF_VARS.fd", root / "up" / "OVMF_VARS-1920x1080.fd")
    (root / "up" / "OpenCore").mkdir(exist_ok=True)
    for image in ("OpenCore/OpenCore.qcow2", "mac_hdd_ng.img"):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", root / "up" / image, "1G"], check=True)
    (root / "up" / "BaseSystem.img").write_bytes(bytes(1 << 20))
    names = [*(f"m{number:02}" for number in range(MACHINES - 2)), "base", "start"]
    (root / "pommel.toml").write_text(
        "".join(
            f'[machine.{name}]\nupstream = "up"\naccel = "tcg"\nmemory = "64M"\nthreads = 1\ncores = 1\n'
            for name in names
        )
    )


def make_machines(root: Path, env: dict[str, str]) -> None:
    """One by the command, the others as copies of it with identities of their own."""
    sh(root, env, *POMMEL, "up", "m00", "--dry-run")
    subprocess.run([sys.executable, "-c", MAKE, "m00"], env=env, cwd=root, check=True)
    first = root / "h" / "machines" / "m00"
    for number, name in enumerate([*(f"m{n:02}" for n in range(1, MACHINES - 2)), "base", "start"], 1):
        folder = first.with_name(name)
        shutil.copytree(first, folder)
        kept = json.loads((folder / "machine.json").read_text())
        kept |= {
            "name": name,
            "uuid": str(uuid.uuid4()),
            "mac": f"52:54:00:00:01:{number:02x}",
            "ssh_port": 23000 + number,
        }
        (folder / "machine.json").write_text(json.dumps(kept))


MAKE = """
import sys
from pommel.app.machine import making
from pommel.app.workspace import Workspace
workspace = Workspace.current()
making.make(workspace, workspace.spec(sys.argv[1]), report=lambda _: None)
"""


def run_one(root: Path, env: dict[str, str], name: str) -> subprocess.Popen[bytes]:
    argv = json.loads(sh(root, env, *POMMEL, "argv", name, "--json"))["argv"]
    runtime = Path(
        next(word for word in argv if word.startswith("unix:") and "vnc.sock" in word)[5:].split(",")[0]
    ).parent
    runtime.mkdir(parents=True, exist_ok=True)
    nvram = root / "h" / "machines" / name / "nvram.fd"
    shutil.copy(root / "up" / "OVMF_VARS-1920x1080.fd", nvram)
    child = subprocess.Popen([*argv, "-S"], cwd=root / "up", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    greeted(runtime / "qmp.sock")
    return child


def bare(argv: list[str]) -> None:
    sock = Path(next(word for word in argv if word.startswith("unix:") and "qmp.sock" in word)[5:].split(",")[0])
    sock.parent.mkdir(parents=True, exist_ok=True)
    child = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        greeted(sock)
    finally:
        child.kill()
        child.wait()


def greeted(sock: Path) -> None:
    while True:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(sock))
                if client.recv(4096):
                    return
            except OSError:
                time.sleep(0.002)


def end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def sh(root: Path, env: dict[str, str], *words: str) -> str:
    done = subprocess.run(words, env=env, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
