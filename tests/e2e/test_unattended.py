"""`up --unattended` as a whole: two Recoveries, an installer that really installs, a login by SSH, with a stand-in.

The recipe is the one that ships, with shorter times. The command is killed once, while the installer works. Then what
goes wrong on demand: docs/unattended.md has the table of these faults.
By emulation it takes more than an hour, so `./test` leaves it out, and continuous integration runs it once a night:
`POMMEL_TEST_UNATTENDED=1 ./test -n 0 tests/e2e/test_unattended.py`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator

import pytest

from driver import Shell
from isolation import patient
from pommel import process
from unattended import quick
from waits import wait_until

from .conftest import BUILD_S, UP_S

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif("POMMEL_TEST_UNATTENDED" not in os.environ, reason="set POMMEL_TEST_UNATTENDED: it takes long"),
]

INSTALL_S = 900
# One vCPU: with the four of the boot script, emulation takes more than twice the processor time to Recovery's window.
CONFIG = '[machine.mini]\nupstream = "trial"\ndisk = "2G"\nmemory = "1G"\nthreads = 1\n'
# The recipe's times for what has come to a standstill, where a fault has it do so: longer than anything stands still
# that works, and than the 30 s until the installer restarts.
STANDSTILLS = {
    "silent_s = 1800, disk_rest_s = 1800, rest_s = 1800": "silent_s = 120, disk_rest_s = 120, rest_s = 120",
    "rest_s = 600 }, go": "rest_s = 75 }, go",
    "rest_s = 900, disk_rest_s = 900, silent_s = 900": "rest_s = 240, disk_rest_s = 240, silent_s = 240",
}


@pytest.fixture
def shell() -> Iterator[Shell]:
    made = Shell(share_base=True)
    made.config(CONFIG)
    process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", made.root / "key"])
    yield made
    made.close()


def up(shell: Shell, *words: str) -> subprocess.Popen[bytes]:
    words = ("up", "mini", "--unattended", *words, "--headless", "--wait", "ssh", "--json")
    return shell.popen(*words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def user(shell: Shell) -> tuple[str, ...]:
    return ("--user", "ada", "--full-name", "Ada King", "--ssh-key", str(shell.root / "key.pub"), "--locale", "de_DE")


def begin(shell: Shell, faults: str = "") -> subprocess.Popen[bytes]:
    # The installed system shows its Setup Assistant after one restart of its own.
    installed = 'told = "restarted", serial = "Setup Assistant"'
    stands = STANDSTILLS if faults else {}
    text = quick.recipe(settles=3, listens=3, opens=3, window=True, installed=installed, **stands)
    (shell.root / "quick.toml").write_text(text)
    if faults:
        words = json.dumps(["-fw_cfg", f"name=opt/org.pommel/faults,string={faults}"])
        shell.config(f"{CONFIG}qemu_args = {words}\n")
    return up(shell, *user(shell), "--accept-apple-licence", "--recipe", str(shell.root / "quick.toml"))


def reaches(shell: Shell, child: subprocess.Popen[bytes], wanted: str, serial: str = "") -> None:
    """Wait until the recipe is in the state `wanted`, with a line on the serial port; then kill the command."""

    def there() -> bool:
        assert child.poll() is None, child.communicate()
        with contextlib.suppress(OSError, ValueError):
            state = json.loads((shell.machine("mini") / "recipe.json").read_text())["state"]
            return state == wanted and serial in (shell.machine("mini") / "serial.log").read_text(errors="replace")
        return False

    wait_until(there, BUILD_S + INSTALL_S)
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate()


def visited(shell: Shell) -> list[str]:
    """The states of the recipe in all runs, each as often as it was entered or tried."""
    lines = (shell.machine("mini") / "events.log").read_text().splitlines()
    told = [event["text"] for event in map(json.loads, lines) if event["event"] == "recipe"]
    return [found[1] for found in (re.match(r"([a-z-]+)(?:, try \d+ of \d+)?: ", text) for text in told) if found]


def lets_its_user_in(shell: Shell) -> None:
    said = shell.run("ssh", "mini", "--", "id -un; sw_vers -productVersion; ls -ld ~/.ssh; cat ~/.ssh/authorized_keys")
    lines = said.stdout.splitlines()
    assert lines[0] == "ada" and lines[2].startswith("drwx------")
    assert (shell.root / "key.pub").read_text().strip() in lines
    assert [path.name for path in shell.machine("mini").glob("unattended.*")] == ["unattended.lock"]
    assert [each["tag"] for each in shell.json("snapshot", "list", "mini")["snapshots"]] == ["installed"]


@pytest.mark.timeout(patient(BUILD_S + INSTALL_S + UP_S))
def test_a_machine_is_installed_set_up_and_lets_its_user_in(shell: Shell) -> None:
    reaches(shell, begin(shell), "install")
    report = shell.root / "report.txt"
    done = shell.ended(up(shell, "--report", str(report)), timeout_s=INSTALL_S)
    told = json.loads(done.stdout.splitlines()[-1])
    names = [state["name"] for state in told["installation"]["states"]]
    assert names[0] == "install" and names[-1] == "first-start", names
    assert [name for name in names if name in ("macos", "set-up")] == ["macos", "set-up"]
    lets_its_user_in(shell)
    assert "restarted:" in report.read_text() and "Ada King" not in report.read_text()
    refused = shell.run("up", "mini", "--unattended", *user(shell), "--accept-apple-licence", status=3).stderr
    assert "mini is running" in refused


@pytest.mark.timeout(patient(BUILD_S + 2 * INSTALL_S + UP_S))
def test_with_a_fault_in_each_part_it_gets_there_with_one_question_to_the_person(shell: Shell) -> None:
    first = begin(shell, "no-terminal=1 drops=2 crash=1 wedge stage2-hang=1 no-data=1")
    told = json.loads(shell.ended(first, timeout_s=2 * INSTALL_S, status=1).stdout.splitlines()[-1])
    assert "cannot be mounted; FileVault must be off" in told["error"]
    assert "pommel up mini --unattended" in told["hint"]
    shell.ended(up(shell), timeout_s=INSTALL_S)
    names = visited(shell)
    for before, after in (("line", "line-lost"), ("restart-hangs", "macos"), ("macos-hangs", "macos")):
        assert (before, after) in itertools.pairwise(names), names
    lets_its_user_in(shell)


@pytest.mark.timeout(patient(BUILD_S + INSTALL_S + UP_S))
@pytest.mark.parametrize(
    ("faults", "passed"),
    [
        ("no-network wedge", ["line", "install", "restart", "restart-hangs", "macos"]),
        ("stuck", ["line", "install", "restart", "restart-hangs", "macos"]),
        ("no-terminal=3", ["terminal", "terminal", "terminal", "terminal-by-menu", "line", "install", "restart", "macos"]),
        ("drops=2 crash=2 delay=1", ["line", "line-lost", "terminal", "line", "install", "restart", "macos"]),
    ],
)  # fmt: skip
def test_it_recovers_and_macos_installs_itself(shell: Shell, faults: str, passed: list[str]) -> None:
    reaches(shell, begin(shell, faults), "macos", "recovery: stage 2, part 1")
    names = visited(shell)
    assert names[-len(passed) :] == passed, names


@pytest.mark.timeout(patient(BUILD_S + INSTALL_S))
@pytest.mark.parametrize(
    ("faults", "error", "hint"),
    [
        ("hang", "the installer has said nothing new", "Reinstall macOS yourself"),
        ("no-terminal=always", "'terminal-by-menu'", "open Utilities > Terminal on the console page, and type there"),
        ("crash=always", "startosinstall ended with 255", "pommel up mini --unattended: it goes on from there"),
    ],
)
def test_it_says_what_a_person_can_do(shell: Shell, faults: str, error: str, hint: str) -> None:
    done = shell.ended(begin(shell, faults), timeout_s=BUILD_S + INSTALL_S, status=1)
    told = json.loads(done.stdout.splitlines()[-1])
    assert error in told["error"] and hint in told["hint"], told
    assert (shell.machine("mini") / "unattended.png").exists()
