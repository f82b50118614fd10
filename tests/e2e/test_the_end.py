"""How the trial machine ends, by accident and on purpose. By its name this file runs after the others."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from PIL import Image

import pommel
from free_ports import free_port
from isolation import patient
from waits import wait_until

from .conftest import UP_S, Trial
from .forwarded import TWO_AT_ONCE, answer_twice, echoing, said_back

pytestmark = pytest.mark.e2e


def test_kill_9_of_qemu_is_seen_and_start_cleans_up(trial: Trial) -> None:
    trial.guest("echo kept > precious; sync")
    added, asked = free_port(), free_port()
    trial.shell.run("forward", "trial", "add", f"{added}:8080", f"{added}:8053/udp")
    added_folder, asked_folder, quick_folder = (trial.shell.root / name for name in ("added", "asked", "quick"))
    for folder in (added_folder, asked_folder, quick_folder):
        folder.mkdir()
        (folder / "name").write_text(folder.name)
    trial.shell.run("share", "trial", str(added_folder), "--as", "one")
    later = trial.shell.run("share", "trial", str(quick_folder), "--by", "9p")
    assert "trial has quick by 9p from its next start on" in later.stderr and "quick" not in trial.guest("ls /mnt")
    # As root, for who runs these tests may have another number than the guest's user: by 9p that counts.
    trial.shell.config(
        f'[machine.trial]\nssh_user = "root"\nforwards = ["{asked}:8080"]\n'
        f'reverse = ["7000:{trial.shell.root}/service"]\n'
        f'shares = [{{ folder = "{asked_folder}", name = "two", read_only = true }}]\n'
    )
    assert len(smbds(trial)) > 1
    os.kill(trial.shell.json("status", "trial")["pid"], signal.SIGKILL)
    wait_until(lambda: trial.shell.json("status", "trial")["state"] == "crashed", 10)
    wait_until(lambda: not smbds(trial), 20)
    assert trial.shell.json("start", "trial")["state"] == "running"
    # Right after a start: it waits for the guest, says so in a line, and comes back with what was asked.
    done = trial.shell.run("ssh", "trial", "--", "cat ~trial/precious", timeout_s=UP_S)
    assert done.stdout == "kept\n"
    assert done.stderr == "waiting for trial to answer SSH ...\n"
    listed = trial.shell.json("forward", "trial")["forwards"]
    assert {each["port"] for each in listed if each["live"]} == {added, asked, trial.ssh_port}
    with echoing(trial, 8080, 8053):
        assert [said_back(added), said_back(asked), said_back(added, "udp")] == [b"HELLO"] * 3
    # What was shared by command is there as the guest comes up, and what the settings say as soon as it lets us in.
    wait_until(lambda: trial.guest("cat /mnt/one/name /mnt/two/name", status=None) == "addedasked", 180, 2.0)
    wait_until(lambda: trial.guest("cat /mnt/quick/name", status=None) == "quick", 180, 2.0)
    told = trial.guest(
        "echo more > /mnt/quick/made; ln -s made /mnt/quick/way; cat /mnt/quick/way; grep -c ' 9p ' /proc/mounts"
    )
    assert told == "more\n1\n" and (quick_folder / "made").read_text() == "more\n"
    assert (quick_folder / "made").stat().st_uid == os.geteuid() and not (quick_folder / "way").is_symlink()
    why = trial.shell.run("snapshot", "save", "trial", "quick", "--ram", status=1).stderr
    assert f"its guest has {quick_folder} mounted by 9p, as quick" in why
    trial.shell.run("unshare", "trial", "quick")
    assert "quick" not in trial.guest("ls /mnt")
    (still,) = (each for each in trial.shell.json("share", "trial")["shares"] if each["share"] == "quick")
    assert (still["origin"], still["live"]) == ("taken back", True)
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(str(trial.shell.root / "service"))
        service.listen()
        threading.Thread(target=answer_twice, args=(service,), daemon=True).start()
        # Both connections are open at once, and each is answered.
        assert trial.guest(TWO_AT_ONCE).split() == ["second", "first"]


def smbds(trial: Trial) -> list[str]:
    """The processes that were started for the guest's connections to its folders."""
    mark = f"SHARES_OF={trial.shell.machine('trial') / 'shared.json'}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found += [process.name] if mark in (process / "environ").read_bytes().split(b"\0") else []
    return found


def test_the_example_of_the_python_api_runs_and_nothing_is_left_behind_by_its_stop(trial: Trial) -> None:
    assert pommel.__doc__ is not None
    example = textwrap.dedent(pommel.__doc__[pommel.__doc__.index("    from pommel import") :])
    done = subprocess.run([sys.executable, "-c", example], env=trial.shell.env, cwd=trial.shell.cwd, capture_output=True,
                          text=True, stdin=subprocess.DEVNULL, check=True, timeout=patient(UP_S))  # fmt: skip
    assert f"{trial.ssh_port} Linux 6." in done.stdout
    with Image.open(trial.shell.cwd / "trial.png") as picture:
        assert picture.size == (1280, 800)
    assert trial.shell.json("status", "trial")["state"] == "stopped"
    assert "trial is not running" in trial.shell.run("stop", "trial", status=3).stderr
    assert (
        "the guest shut down after its power button was pressed" in trial.shell.run("log", "trial", "-n", "400").stdout
    )
    # The console sees that its machine has gone and, after a while in which it might come back, goes too.
    wait_until(lambda: not trial.shell.processes(), 40)
