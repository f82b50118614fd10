"""Living with the trial machine from the command line; its end and its accidents come last."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from driver import Shell
from waits import wait_until

from .conftest import UP_S, Trial

pytestmark = pytest.mark.e2e


def test_status_list_and_second_start(trial: Trial) -> None:
    seen = trial.shell.json("status", "trial")
    assert seen["state"] == "running"
    assert seen["accel"] in ("tcg", "kvm")
    assert seen["url"] == trial.url
    assert os.readlink(f"/proc/{seen['pid']}/exe").rpartition("/")[2].startswith("qemu-system-x86_64")
    assert [m["state"] for m in trial.shell.json("list")["machines"]] == ["running"]
    done = trial.shell.run("start", "trial", status=3)
    assert f"trial is already running (pid {seen['pid']})" in done.stderr


def test_up_came_back_with_the_desktop_and_not_before(trial: Trial) -> None:
    waited = trial.told["waited"]
    assert (waited["until"], waited["known"], waited["short"]) == ("desktop", True, False)
    assert trial.progress.count("waiting for") == 1 and "waiting for the desktop of trial ..." in trial.progress
    # Whether that was so then is seen by the tests of this room that type at once; here, that it is told again in no time.
    began = time.monotonic()
    assert trial.shell.json("up", "trial", "--wait", "desktop")["waited"]["known"]
    assert time.monotonic() - began < 30


def test_up_again_makes_nothing_anew_even_without_the_base(trial: Trial) -> None:
    before = trial.shell.json("status", "trial")
    base = trial.shell.home / "trial"
    base.rename(base.with_name("elsewhere"))
    told = trial.shell.json("up", "trial")
    base.with_name("elsewhere").rename(base)
    after = trial.shell.json("status", "trial")
    assert (after["pid"], told["pid"], told["url"]) == (before["pid"], before["pid"], before["url"])


def test_argv_explains_every_argument(trial: Trial) -> None:
    told = trial.shell.json("argv", "trial")
    assert told["argv"][0] == "qemu-system-x86_64"
    pid = trial.shell.json("status", "trial")["pid"]
    running = Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    assert running[1:] == told["argv"][1:], "what is shown is what runs"
    assert all(row["origin"] and row["reason"] for row in told["arguments"])
    table = trial.shell.run("argv", "trial", "--explain").stdout
    assert "-smbios type=2" in table and "removed" in table


SYMBOLS = "~!@#$%^&*()_+{}|:\"<>?'`-=[]\\;,./ aZ09"


def test_type_key_click_and_screenshot(trial: Trial) -> None:
    trial.shell.run("click", "trial", "320", "400")
    trial.shell.run("type", "trial", "-", input=f"cat > symbols\n{SYMBOLS}\n".encode())
    trial.shell.run("key", "trial", "ctrl-d")
    assert wait_until(lambda: trial.guest("cat symbols", status=None), 20) == SYMBOLS + "\n"
    trial.shell.run("key", "trial", *"echo", "space", "shift-a", "greater", "space", "k", "return", status=2)
    trial.shell.run("key", "trial", *"echo", "space", "shift-a", "shift-dot", "k", "return")
    assert wait_until(lambda: trial.guest("cat k", status=None), 20) == "A\n"
    trial.shell.run("key", "trial", "cmd-q", "ctrl-u")  # xterm takes Super-q for a q
    shot = trial.shell.cwd / "shot.png"
    told = trial.shell.json("screenshot", "trial", str(shot))
    assert (told["width"], told["height"]) == (1280, 800)
    with Image.open(shot) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (1280, 800))
        assert len(picture.getcolors(1 << 24) or ()) > 3
    assert ("is not a file that can be written") in trial.shell.run(
        "screenshot", "trial", "/nowhere/x.png", status=2
    ).stderr
    assert "1280" in trial.shell.run("click", "trial", "5000", "400", status=2).stderr


def test_ssh_keeps_to_the_machines_own_files_and_exit_status(trial: Trial) -> None:
    assert trial.guest("whoami") == "trial\n"
    assert trial.shell.run("ssh", "trial", "exit 7", status=7).returncode == 7
    home = trial.shell.root / "elsewhere"
    home.mkdir()
    env = {**trial.shell.env, "HOME": str(home)}
    done = subprocess.run([sys.executable, "-P", "-m", "pommel", "ssh", "trial", "true"], env=env, cwd=trial.shell.cwd, check=False,
                          stdin=subprocess.DEVNULL)  # fmt: skip
    assert done.returncode == 0
    assert list(home.rglob("known_hosts")) == []


def test_the_guests_clipboard_is_the_x_clipboard_and_keeps_every_byte(trial: Trial) -> None:
    text = "zwei\nZeilen, ünïcode ☃, und am Ende:\n\n".encode()
    trial.shell.run("ssh", "trial", "pbcopy", input=text)
    again = subprocess.run([sys.executable, "-P", "-m", "pommel", "ssh", "trial", "pbpaste"], env=trial.shell.env, cwd=trial.shell.cwd,
                           capture_output=True, stdin=subprocess.DEVNULL, check=True)  # fmt: skip
    assert again.stdout == text
    assert trial.guest("DISPLAY=:0 xclip -selection clipboard -o").encode() == text


def test_foreground_console_shows_status_and_ctrl_c_leaves_the_machine(trial: Trial) -> None:
    trial.shell.run("console", "trial", "--stop")
    ours, theirs = pty.openpty()
    child = trial.shell.popen("up", "trial", "--no-open", stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=None)
    os.close(theirs)
    seen = read_until(ours, r"trial running for .*ssh on port \d+", 120)
    assert "?token=" in seen
    os.kill(child.pid, signal.SIGINT)
    seen = read_until(ours, "trial is still running", 20)
    assert child.wait(20) == 0
    os.close(ours)
    status = trial.shell.json("status", "trial")
    assert (status["state"], status["url"]) == ("running", None)
    assert trial.shell.json("console", "trial")["url"] == trial.url, "same place, same token"


def read_until(fd: int, pattern: str, timeout_s: float) -> str:
    """Read a terminal until what it shows matches."""
    seen, deadline = "", time.monotonic() + timeout_s
    while not re.search(pattern, seen):
        assert time.monotonic() < deadline, seen
        try:
            seen += os.read(fd, 4096).decode(errors="replace")
        except OSError:
            break
    assert re.search(pattern, seen), seen
    return seen


def test_kill_9_of_the_console_leaves_the_machine_and_the_way_back(trial: Trial) -> None:
    first = trial.shell.json("console", "trial")
    os.kill(first["console_pid"], signal.SIGKILL)
    wait_until(lambda: trial.shell.json("status", "trial")["url"] is None, 10)
    again = trial.shell.json("console", "trial")
    assert again["console_pid"] != first["console_pid"] and again["pid"] == first["pid"]
    assert again["url"] == first["url"]
    assert trial.shell.json("status", "trial")["state"] == "running"


def test_a_wanted_port_that_is_busy_is_told_and_remembered(trial: Trial) -> None:
    other = Shell()
    try:
        taken = trial.shell.json("status", "trial")["ssh_port"]
        (other.home / "trial").symlink_to((trial.shell.home / "trial").resolve())
        other.config(f"[machine.second]\nupstream = 'trial'\nmemory = '512M'\nssh_port = {taken}\n")
        done = other.run("up", "second", "--json", "--wait", "screen", timeout_s=UP_S)
        told = json.loads(done.stdout.splitlines()[-1])
        assert told["ssh_port"] != taken
        assert f"port {taken} is in use on this host: second gets {told['ssh_port']}" in done.stderr
        assert other.json("stop", "second", "--force")["state"] == "stopped"
        assert other.run("delete", "second", "--yes").stdout == "second is deleted\n"
        assert not other.machine("second").exists()
        wait_until(lambda: not other.processes(), 30)
    finally:
        other.close()
