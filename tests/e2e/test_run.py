"""`pommel run` with a real guest: one boot, and all that a command sees and leaves."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from subprocess import DEVNULL, PIPE

import pytest

import json_keys
from driver import Shell
from isolation import patient
from waits import wait_until

from .conftest import UP_S

pytestmark = pytest.mark.e2e


def left(shell: Shell) -> tuple[set[str], set[str], list[int]]:
    """What there is of machines, of sockets (but for those of the base, which has run), and of processes."""
    machines = {path.name for path in (shell.home / "machines").iterdir()}
    sockets = {str(path.relative_to(shell.home / "run")) for path in (shell.home / "run").rglob("*")}
    own = {name for name in sockets if name.partition("/")[0] in ("trial", ".pool")}
    return machines - {".trial.lock"}, sockets - own, shell.processes()


NOTHING = ({"trial"}, set(), [])
SCRIPT = """
printf '%s\n' "$WORD"; cat; cat sub/data; readlink sub/link
mkdir -p out && cp -a sub out/ && ln -s /etc/passwd out/bad && dd if=/dev/zero of=out/big bs=1M count=3 status=none
exit 255
"""


def test_a_command_sees_what_it_was_given_and_what_it_made_comes_back(warm: Shell) -> None:
    sub = warm.cwd / "in" / "sub"
    sub.mkdir(parents=True)
    (sub / "data").write_text("the data\n")
    (sub / "link").symlink_to("data")
    words = ["--copy-in", "in", "--copy-out", "out=back", "--env", "WORD=it's $HOME", "--keep-on-failure"]
    child = warm.popen("run", "trial", *words, "--", "sh", "-c", SCRIPT, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    done = warm.ended(child, timeout_s=UP_S, input=b"from standard input\n", status=None)
    # 255 is what ssh says of its own failures too.
    assert done.returncode == 255, done.stderr
    assert done.stdout == "it's $HOME\nfrom standard input\nthe data\ndata\n"
    back = warm.cwd / "back" / "out"
    assert (back / "sub" / "data").read_text() == "the data\n" and (back / "sub" / "link").readlink() == Path("data")
    assert (back / "big").stat().st_size == 3 << 20
    assert not os.path.lexists(back / "bad") and "not copied out: 1" in done.stderr
    # It failed, and was to be kept: a machine like any other, which still runs.
    (kept,) = (each for each in warm.json("list")["machines"] if each["name"].startswith("run-"))
    assert kept["state"] == "running" and f"{kept['name']} is kept" in done.stderr
    assert "the data" in warm.run("ssh", kept["name"], "--", "cat pommel-run/out/sub/data").stdout
    warm.run("stop", kept["name"], "--force")
    warm.run("delete", kept["name"], "--yes")


def test_it_goes_on_from_memory_at_the_right_time_and_nothing_stays(warm: Shell) -> None:
    shell_words = ["sh", "-c", "date +%s; cat /proc/sys/kernel/random/boot_id; head -c 8 /dev/urandom | od -An -tx1"]
    told = []
    for _ in range(2):
        child = warm.popen("run", "trial", "--json", "--", *shell_words, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
        done = warm.ended(child, timeout_s=UP_S)
        outcome = json.loads(done.stdout)
        assert list(json_keys.offences(outcome)) == [] and outcome["from_memory"] and outcome["exit"] == 0
        told.append(done.stderr.splitlines()[-3:])
    (one_time, one_boot, one_random), (_, two_boot, two_random) = told
    assert abs(time.time() - float(one_time)) < patient(UP_S)
    assert one_boot == two_boot and one_random != two_random  # one memory, and not the same random numbers
    assert left(warm) == NOTHING


def test_a_command_that_takes_too_long_is_ended(warm: Shell) -> None:
    child = warm.popen("run", "trial", "--timeout", "3", "--", "sleep", "600", stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    assert "it took longer than 3 s" in warm.ended(child, timeout_s=UP_S, status=124).stderr
    assert left(warm) == NOTHING


def test_other_memory_is_a_boot_and_says_so(warm: Shell) -> None:
    child = warm.popen("run", "trial", "--memory", "1G", "--", "true", stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    line = b""
    assert child.stderr is not None
    while b"does not fit" not in line:
        line = child.stderr.readline()
        assert line
    child.send_signal(signal.SIGTERM)
    assert warm.ended(child, timeout_s=60, status=143)
    assert left(warm) == NOTHING


def test_a_warm_machine_is_used_and_goes_with_whoever_took_it(warm: Shell) -> None:
    warm.run("pool", "trial", "--size", "2", "--wait", timeout_s=UP_S)
    child = warm.popen("run", "trial", "--json", "--", "sh", "-c", "exit 7", stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    outcome = json.loads(warm.ended(child, timeout_s=UP_S, status=7).stdout)
    assert list(json_keys.offences(outcome)) == [] and outcome["from_pool"] and outcome["from_memory"]
    # The second, whose `run` is killed: the kernel ends its QEMU, and the pool's process removes it.
    child = warm.popen("run", "trial", "--", "sh", "-c", "echo there; sleep 600", stdin=DEVNULL, stdout=PIPE)
    assert child.stdout is not None and child.stdout.readline() == b"there\n"
    (mine,) = (each.parent for each in (warm.home / "machines").glob("*/lease.json") if '"run"' in each.read_text())
    child.kill()
    child.wait()
    child.stdout.close()
    wait_until(lambda: not mine.exists(), 60, what="the end of the machine")
    # What is said of the next one, and the end of all.
    told = warm.json("pool")
    assert told["pool_pid"] and told["pools"][0]["pool_size"] == 2
    warm.run("pool", "--stop")
    assert left(warm) == NOTHING
