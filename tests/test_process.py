"""Real programs: run to their end, streamed, attached, set free; and nothing left of those that are not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from isolation import patient
from pommel import process
from pommel.errors import CommandFailed, DeadlineError, MissingProgram
from waits import wait_until


def gone(pidfile: Path) -> bool:
    """Whether the process whose pid stands in the file has ended; a zombie has."""
    try:
        stat = Path(f"/proc/{pidfile.read_text().strip()}/stat").read_text()
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def test_which_looks_in_sbin_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert process.which("ldconfig").endswith("sbin/ldconfig")
    (tmp_path / "ldconfig").write_text("#!/bin/sh\n")
    (tmp_path / "ldconfig").chmod(0o755)
    assert process.which("ldconfig") == f"{tmp_path}/ldconfig"  # PATH comes first
    assert process.which("ldconfig", path="/nonexistent").endswith("sbin/ldconfig")
    with pytest.raises(MissingProgram, match="no-such-program is not installed") as failure:
        process.which("no-such-program", hint="get it")
    assert failure.value.hint == "get it"


def test_run_keeps_both_streams() -> None:
    done = process.run(["sh", "-c", "cat; echo err >&2"], input=b"in\xff\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"in\xff\n", b"err\n")
    assert done.text == "in\ufffd\n" and done.output == "in\ufffd\nerr\n"


def test_run_has_no_terminal_no_input_and_the_environment_it_is_given(tmp_path: Path) -> None:
    done = process.run(["sh", "-c", 'cat; echo "$X"; pwd; ps -o tty= -p $$ || true'], env={"X": "1"}, cwd=tmp_path)
    assert done.text.splitlines()[:2] == ["1", str(tmp_path)]


def test_a_failure_carries_what_was_printed() -> None:
    with pytest.raises(CommandFailed, match="exit status 3: bad") as failure:
        process.run(["sh", "-c", "echo out; echo bad >&2; exit 3"], hint="mend it")
    assert (failure.value.output, failure.value.hint) == ("out\nbad\n", "mend it")
    assert process.run(["sh", "-c", "exit 3"], check=False).returncode == 3


@pytest.mark.parametrize("cwd", [None, Path("/")])
def test_a_program_that_is_not_there(cwd: Path | None) -> None:
    with pytest.raises(MissingProgram, match="no-such-program is not installed"):
        process.run(["no-such-program"], cwd=cwd)


def test_a_deadline_ends_the_child_with_all_that_it_started(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineError, match=r"did not finish in 0\.3 s:\nso far") as failure:
        process.run(
            ["sh", "-c", f"echo so far; sh -c 'echo $$ > {tmp_path}/pid; exec sleep 60' & wait"],
            timeout_s=0.3,
            hint="wait longer",
        )
    assert failure.value.hint == "wait longer" and time.monotonic() - began < 30
    wait_until(lambda: gone(tmp_path / "pid"))


RUNNER = """
import sys
from pathlib import Path
from pommel import process
{call}
"""


@pytest.mark.parametrize("call", ["process.run(sys.argv[1:])", "process.stream(sys.argv[1:], print)"])
def test_ctrl_c_ends_the_child_with_all_that_it_started(tmp_path: Path, call: str) -> None:
    script = f"sh -c 'echo $$ > {tmp_path}/pid; exec sleep 60' & wait"
    ours = subprocess.Popen(
        [sys.executable, "-c", RUNNER.format(call=call), "sh", "-c", script], stderr=subprocess.DEVNULL
    )
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    ours.send_signal(signal.SIGINT)
    assert ours.wait(20) == -signal.SIGINT
    wait_until(lambda: gone(tmp_path / "pid"))


def test_a_child_has_time_to_tidy_up(tmp_path: Path) -> None:
    script = f"trap 'sleep 0.3; touch {tmp_path}/tidied; exit' TERM; echo ready; while :; do sleep 0.05; done"

    def stop(_: str) -> None:
        raise RuntimeError("seen enough")

    with pytest.raises(RuntimeError, match="seen enough"):
        process.stream(["sh", "-c", script], stop)
    assert (tmp_path / "tidied").exists()


def test_a_child_that_will_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_TERM_GRACE_S", 0.2)

    def stop(_: str) -> None:
        raise RuntimeError("seen enough")

    script = f"trap '' TERM; echo $$ > {tmp_path}/pid; echo ready; while :; do sleep 0.05; done"
    with pytest.raises(RuntimeError, match="seen enough"):
        process.stream(["sh", "-c", script], stop)
    assert gone(tmp_path / "pid")


def test_stream_hands_on_lines_of_both_streams() -> None:
    lines: list[str] = []
    process.stream(["sh", "-c", "echo one; echo two >&2; printf 'no end'"], lines.append)
    assert lines == ["one", "two", "no end"]


def test_a_failed_stream_carries_its_last_lines() -> None:
    with pytest.raises(CommandFailed, match="exit status 9: 1000") as failure:
        process.stream(["sh", "-c", "seq 1000; exit 9"], lambda _: None)
    assert failure.value.output.splitlines() == [str(n) for n in range(801, 1001)]


def test_attach_has_our_streams_and_gives_the_status(capfd: pytest.CaptureFixture[str]) -> None:
    assert process.attach(["sh", "-c", "echo out; echo err >&2; exit 4"]) == 4
    assert capfd.readouterr() == ("out\n", "err\n")
    with pytest.raises(MissingProgram):
        process.attach(["no-such-program"])


def test_ctrl_c_is_the_attached_programs(tmp_path: Path) -> None:
    # The terminal sends it to the whole group: to us, who wait on, and to the program, which may obey it.
    script = f"kill -INT {os.getpid()}; sleep 0.2; touch {tmp_path}/went-on; kill -INT $$; sleep 30"
    assert process.attach(["sh", "-c", script]) == -signal.SIGINT
    assert (tmp_path / "went-on").exists()
    with pytest.raises(KeyboardInterrupt):  # and afterwards it is ours again
        os.kill(os.getpid(), signal.SIGINT)


DETACH = """
import sys, time
from pathlib import Path
from pommel import process
child = process.spawn_detached(["sleep", "60"], Path(sys.argv[1]))
child.release()
print(child.pid, flush=True)
time.sleep(60)
"""


def test_one_that_ends_with_us_does_so_at_a_kill_9_too(tmp_path: Path) -> None:
    code = DETACH.replace("Path(sys.argv[1]))", "Path(sys.argv[1]), ends_with_us=True)").replace(
        "child.release()\n", ""
    )
    ours = subprocess.Popen([sys.executable, "-c", code, tmp_path / "log"], stdout=subprocess.PIPE)
    assert ours.stdout is not None
    pid = int(ours.stdout.readline())
    (tmp_path / "pid").write_text(str(pid))
    wait_until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
    ours.kill()
    ours.communicate()
    wait_until(lambda: gone(tmp_path / "pid"))


def test_a_detached_program_outlives_us(tmp_path: Path) -> None:
    ours = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", DETACH, tmp_path / "log"], stdout=subprocess.PIPE, start_new_session=True
    )
    assert ours.stdout is not None
    pid = int(ours.stdout.readline())
    os.killpg(ours.pid, signal.SIGHUP)
    ours.communicate()
    assert os.getpgid(pid) == os.getsid(pid) == pid
    os.kill(pid, signal.SIGKILL)


def test_a_detached_program_appends_to_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    child = process.spawn_detached(["sh", "-c", "pwd; echo err >&2; exit 5"], log, cwd=tmp_path, env={})
    wait_until(lambda: child.exit_status() is not None)
    assert child.exit_status() == 5
    assert log.read_text() == f"before\n{tmp_path}\nerr\n"


def test_a_detached_program_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    script = f"sh -c 'echo $$ > {tmp_path}/pid; exec sleep 60' & wait"
    child = process.spawn_detached(["sh", "-c", script], tmp_path / "log")
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    assert child.exit_status() is None
    child.kill()
    assert child.exit_status() == -signal.SIGKILL
    wait_until(lambda: gone(tmp_path / "pid"))
    child.kill()  # of one that is gone: fine
    with pytest.raises(MissingProgram):
        process.spawn_detached(["no-such-program"], tmp_path / "log")


def test_ending_a_group_that_is_gone() -> None:
    child = subprocess.Popen(["true"], start_new_session=True)
    child.wait()
    process.end_group(child.pid, signal.SIGTERM)


def test_running_in_a_thread() -> None:
    ends: list[str] = []
    worker = threading.Thread(target=lambda: ends.append(process.run(["echo", "hi"]).text))
    worker.start()
    worker.join()
    assert ends == ["hi\n"]


async def test_spawn_piped_talks_leads_a_group_and_is_ended_whole() -> None:
    complaints, theirs = os.pipe()
    child = await process.spawn_piped(["sh", "-c", "sleep 1000 & echo $!; cat; echo oops >&2"], stderr=theirs)
    os.close(theirs)
    try:
        assert child.stdin is not None and child.stdout is not None
        grandchild = int(await child.stdout.readline())
        assert os.getpgid(child.pid) == child.pid == os.getpgid(grandchild)
        child.stdin.write(b"said\n")
        assert await child.stdout.readline() == b"said\n"
        child.stdin.close()
        assert await asyncio.to_thread(os.read, complaints, 100) == b"oops\n"
    finally:
        os.close(complaints)
        process.end_group(child.pid, signal.SIGKILL)
    assert await child.stdout.read() == b""
    await child.wait()
    wait_until(lambda: not Path(f"/proc/{grandchild}").exists() or "Z" in Path(f"/proc/{grandchild}/stat").read_text())


async def test_spawn_piped_has_the_environment_it_is_given_and_says_what_is_missing() -> None:
    child = await process.spawn_piped(["env"], stderr=subprocess.DEVNULL, env={"X": "1"})
    out, _ = await child.communicate()
    assert (out, child.returncode) == (b"X=1\n", 0)
    with pytest.raises(MissingProgram, match="no-such-program"):
        await process.spawn_piped(["no-such-program"], stderr=subprocess.DEVNULL)


def test_what_is_tethered_does_not_begin_once_its_parent_is_another() -> None:
    """A parent may be killed before the kernel has been asked for the signal, and then none is sent."""
    argv = process.tethered(["echo", "it runs"], "KILL")
    assert subprocess.run(argv, capture_output=True, check=True).stdout == b"it runs\n"
    orphan = ["sh", "-c", '"$@"; exit $?', "sh", *argv]  # it has another parent than the one that made the words
    assert subprocess.run(orphan, capture_output=True, check=False).stdout == b""


def test_a_deadline_holds_where_somebody_else_keeps_the_pipes_open(tmp_path: Path) -> None:
    """As the master of a shared ssh connection does: it gets the pipes of its clients, and is not killed with them."""
    keeps = "import os, time; os.setsid(); print('said', flush=True); time.sleep(120)"
    argv = ["sh", "-c", '"$0" -c "$1" & echo $! >pid; wait', sys.executable, keeps]
    began = time.monotonic()
    try:
        with pytest.raises(DeadlineError, match="did not finish in 2 s:\nsaid"):
            process.run(argv, cwd=tmp_path, timeout_s=2)
        assert time.monotonic() - began < patient(60)
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


@pytest.mark.parametrize("sign", ["TERM", "KILL"])
def test_what_is_tethered_dies_with_a_parent_that_is_killed(sign: str) -> None:
    starts = (
        "import subprocess, sys\nfrom pommel.process import tethered\n"
        "print(subprocess.Popen(tethered(sys.argv[2:], sys.argv[1])).pid, flush=True)\ninput()"
    )
    argv = [sys.executable, "-c", starts, sign, "sleep", "1000"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        # It is tethered once it is what it is to be.
        wait_until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n", what="the program")
        os.kill(parent.pid, signal.SIGKILL)
    wait_until(
        lambda: not Path(f"/proc/{pid}").exists() or "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text(),
        what="its end",
    )
