"""Capture, against real shells and a real bubblewrap, and without one."""

from __future__ import annotations

import concurrent.futures
import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pommel.errors import UpstreamError
from pommel.overlay import capture as capture_module
from pommel.overlay import sandbox, standin
from pommel.overlay.capture import Captured, capture

UPSTREAMS = Path(__file__).parent / "upstreams"


@pytest.fixture(params=["bubblewrap", "bare"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each test runs in the sandbox, and without one as on a host that has no bubblewrap."""
    if request.param == "bare":
        monkeypatch.setattr(capture_module, "bubblewrap", lambda: None)
    return str(request.param)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    folder = tmp_path / "an upstream, with 'odd' name"
    folder.mkdir()
    return folder


def write(upstream: Path, body: str | bytes, *, name: str = "boot.sh", shebang: str = "#!/bin/bash") -> None:
    script = upstream / name
    data = body if isinstance(body, bytes) else body.encode()
    script.write_bytes(shebang.encode() + b"\n" + data + b"\n")
    script.chmod(0o755)


def try_capture(upstream: Path, scratch: Path, *, timeout_s: float = 5.0) -> Captured:
    return capture(upstream, "boot.sh", scratch=scratch, timeout_s=timeout_s, unsandboxed=True)


def sleepers(seconds: str) -> list[int]:
    """Processes `sleep SECONDS`: each test below uses a number of its own."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", seconds.encode()]:
            found.append(int(entry.name))
    return found


@pytest.mark.parametrize("layout", ["code_2m", "code_4m"])
def test_both_layouts(layout: str, way: str, scratch: Path) -> None:
    found = capture(UPSTREAMS / layout, "OpenCore-Boot.sh", scratch=scratch, unsandboxed=True)
    assert found.program == "qemu-system-x86_64"
    assert found.cwd == UPSTREAMS / layout
    assert found.argv[0] == "-enable-kvm"
    assert found.argv[-2:] == ("-device", "vmware-svga")
    assert found.output == ""
    assert found.sandboxed is (way == "bubblewrap")
    assert list(scratch.iterdir()) == []


def test_any_argument_bytes(way: str, upstream: Path, scratch: Path) -> None:
    every = bytes(range(1, 256))
    write(upstream, b"qemu-system-x86_64 '' $'a\\nb' ' -x ' \"$(cat all; printf x)\" '*' '$HOME'")
    (upstream / "all").write_bytes(every)
    argv = try_capture(upstream, scratch).argv
    assert argv == ("", "a\nb", " -x ", os.fsdecode(every + b"x"), "*", "$HOME")


def test_no_arguments_at_all(way: str, upstream: Path, scratch: Path) -> None:
    write(upstream, "qemu-system-x86_64")
    assert try_capture(upstream, scratch).argv == ()


def test_a_very_long_line(way: str, upstream: Path, scratch: Path) -> None:
    write(upstream, 'for i in {1..5000}; do args+=(-device "thing,id=d$i"); done; qemu-system-x86_64 "${args[@]}"')
    argv = try_capture(upstream, scratch).argv
    assert len(argv) == 10000
    assert argv[-1] == "thing,id=d5000"


def test_working_directory_is_where_qemu_was_called(way: str, upstream: Path, scratch: Path) -> None:
    (upstream / "sub").mkdir()
    write(upstream, "cd sub; exec qemu-system-x86_64 -S")
    assert try_capture(upstream, scratch).cwd == upstream / "sub"


def test_clean_environment_and_no_terminal(
    way: str, upstream: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "leak")
    write(upstream, 'tty; (: < /dev/tty); qemu-system-x86_64 "[$SECRET_TOKEN]" "$HOME"')
    found = try_capture(upstream, scratch)
    assert found.argv == ("[]", os.environ["HOME"])
    assert "not a tty" in found.output
    assert "/dev/tty" in found.output


def test_output_is_kept(way: str, upstream: Path, scratch: Path) -> None:
    write(upstream, "echo to stdout; echo to stderr >&2; qemu-system-x86_64 -S")
    assert try_capture(upstream, scratch).output == "to stdout\nto stderr\n"


def test_qemu_in_the_background(way: str, upstream: Path, scratch: Path) -> None:
    write(upstream, "(sleep 0.2; qemu-system-x86_64 -S) >/dev/null 2>&1 &")
    assert try_capture(upstream, scratch).argv == ("-S",)


def test_qemu_kvm_spelling(way: str, upstream: Path, scratch: Path) -> None:
    write(upstream, "qemu-kvm -S")
    assert try_capture(upstream, scratch).program == "qemu-kvm"


def test_never_calls_qemu(way: str, upstream: Path, scratch: Path) -> None:
    write(upstream, "echo nothing to do")
    with pytest.raises(UpstreamError, match=r"boot.sh never calls qemu-system-x86_64; it printed:\nnothing to do"):
        try_capture(upstream, scratch)


def test_calls_it_twice(way: str, upstream: Path, scratch: Path) -> None:
    write(upstream, "qemu-system-x86_64 -m 1; qemu-system-x86_64 -S")
    with pytest.raises(UpstreamError, match=r"more than once:\n.*-m 1\n.*-S"):
        try_capture(upstream, scratch)


def test_a_restart_loop_is_one_machine(way: str, upstream: Path, scratch: Path) -> None:
    write(upstream, "while true; do qemu-system-x86_64 -S; done")
    before = time.monotonic()
    found = try_capture(upstream, scratch, timeout_s=60)
    assert time.monotonic() - before < 30, "it was not left to its deadline"
    assert found.argv == ("-S",)
    assert "starts QEMU again when it ends" in found.notes[0]


def test_loops(way: str, upstream: Path, scratch: Path) -> None:
    write(upstream, "echo waiting; sleep 4711.1")
    with pytest.raises(UpstreamError, match=r"did not start QEMU in 0.5 s; it printed:\nwaiting"):
        try_capture(upstream, scratch, timeout_s=0.5)
    assert sleepers("4711.1") == []
    assert list(scratch.iterdir()) == []


def test_prints_forever(way: str, upstream: Path, scratch: Path) -> None:
    write(upstream, "yes a line that repeats")
    with pytest.raises(UpstreamError, match=r"boot\.sh .*it printed") as told:
        try_capture(upstream, scratch, timeout_s=1)
    assert len(told.value.message) < 2200


def test_fails(way: str, upstream: Path, scratch: Path) -> None:
    write(upstream, "echo no disk >&2; exit 3")
    with pytest.raises(UpstreamError, match=r"failed with exit status 3; it printed:\nno disk"):
        try_capture(upstream, scratch)


def test_fails_after_qemu(way: str, upstream: Path, scratch: Path) -> None:
    write(upstream, "qemu-system-x86_64 -S; false")
    found = try_capture(upstream, scratch)
    assert found.argv == ("-S",)
    assert found.notes == ("after the start of QEMU boot.sh failed with exit status 1",)


def test_is_killed(way: str, upstream: Path, scratch: Path) -> None:
    write(upstream, "kill -KILL $$")
    with pytest.raises(UpstreamError, match="was killed by SIGKILL"):
        try_capture(upstream, scratch)


def test_missing_interpreter(way: str, upstream: Path, scratch: Path) -> None:
    write(upstream, "qemu-system-x86_64 -S", shebang="#!/no/such/shell")
    with pytest.raises(UpstreamError, match=r"(?s)exit status (1|12[67]);.*No such file"):
        try_capture(upstream, scratch)


def test_children_are_ended(pidfds: str, way: str, upstream: Path, scratch: Path) -> None:
    body = "setsid sleep 4711.2 >/dev/null 2>&1 & sleep 4711.3 & qemu-system-x86_64 -S"
    write(upstream, body)
    assert try_capture(upstream, scratch).argv == ("-S",)
    assert sleepers("4711.2") == sleepers("4711.3") == []


def test_children_of_a_script_that_loops_are_ended(way: str, upstream: Path, scratch: Path) -> None:
    write(upstream, "setsid sleep 4711.4 & trap '' TERM; while :; do sleep 0.1; done")
    with pytest.raises(UpstreamError, match="did not start QEMU"):
        try_capture(upstream, scratch, timeout_s=0.5)
    assert sleepers("4711.4") == []


# A Ctrl-C between opening a file of /proc and the `with` that closes it leaves that to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_leaves_nothing(upstream: Path, scratch: Path, way: str) -> None:
    write(upstream, "sleep 4711.5")
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    signal.setitimer(signal.ITIMER_REAL, 0.4)
    try:
        with pytest.raises(KeyboardInterrupt):
            try_capture(upstream, scratch)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    assert sleepers("4711.5") == []
    assert list(scratch.iterdir()) == []


def test_concurrent_captures(way: str, upstream: Path, scratch: Path) -> None:
    for number in range(8):
        write(upstream, f"sleep 0.0{number}; qemu-system-x86_64 -name {number}", name=f"{number}.sh")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: capture(upstream, f"{n}.sh", scratch=scratch, unsandboxed=True), range(8)))
    assert [one.argv for one in found] == [("-name", str(n)) for n in range(8)]
    assert list(scratch.iterdir()) == []


def test_is_missing(upstream: Path) -> None:
    write(upstream, "", name="other.sh")
    with pytest.raises(UpstreamError, match="has no boot script") as told:
        capture(upstream, "boot.sh")
    assert "other.sh" in (told.value.hint or "")
    with pytest.raises(UpstreamError, match="has no boot script"):
        capture(upstream / "nowhere", "boot.sh")


@pytest.mark.parametrize("script", ["../boot.sh", "/bin/true", "a/../../boot.sh"])
def test_is_outside(upstream: Path, script: str) -> None:
    with pytest.raises(UpstreamError, match="is not inside"):
        capture(upstream, script)


def test_is_a_folder(upstream: Path) -> None:
    (upstream / "boot.sh").mkdir()
    with pytest.raises(UpstreamError, match="has no boot script"):
        capture(upstream, "boot.sh")


def test_has_windows_line_ends(upstream: Path) -> None:
    write(upstream, "qemu-system-x86_64\r", shebang="#!/bin/bash\r")
    with pytest.raises(UpstreamError, match="Windows line ends"):
        capture(upstream, "boot.sh")


def test_the_disk_is_read_only_in_the_sandbox(upstream: Path, scratch: Path) -> None:
    write(upstream, "touch evil; touch ~/fine-pommel; touch /usr/evil-pommel; touch /tmp/fine && qemu-system-x86_64 -S")
    found = try_capture(upstream, scratch)
    assert found.sandboxed
    assert found.output.count("Read-only file system") == 1
    assert not (upstream / "evil").exists()
    assert not Path("/tmp/fine").exists()
    assert not Path("~/fine-pommel").expanduser().exists()
    assert found.created == ("evil",)


def test_no_namespace_can_be_made_in_the_sandbox(upstream: Path, scratch: Path) -> None:
    clone = "import ctypes; print('clone', ctypes.CDLL(None, use_errno=True).syscall({}, 0x10000011, 0, 0, 0, 0))"
    number = {"x86_64": 56, "aarch64": 220}[os.uname().machine]
    write(
        upstream,
        f"""unshare -Ur true && echo unshared; bwrap --unshare-user --ro-bind / / true && echo wrapped
        {sys.executable} -c "{clone.format(number)}"; qemu-system-x86_64 -S""",
    )
    output = try_capture(upstream, scratch).output
    assert "clone -1" in output and "unshared" not in output and "wrapped" not in output


def test_a_script_that_must_write_outside_its_folder_is_told_why_it_cannot(upstream: Path, scratch: Path) -> None:
    write(upstream, "set -e; touch /usr/evil-pommel; qemu-system-x86_64 -S")
    with pytest.raises(UpstreamError, match="Read-only file system") as told:
        try_capture(upstream, scratch)
    assert "outside of its folder" in (told.value.hint or "")


def test_programs_on_the_users_path_are_found(
    way: str, upstream: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.bubblewrap()  # asked before PATH changes
    (upstream / "tools").mkdir()
    write(upstream / "tools", "echo mine", name="my-tool")
    monkeypatch.setenv("PATH", f".::{upstream / 'tools'}")
    write(upstream, 'qemu-system-x86_64 "$(my-tool)"')
    assert try_capture(upstream, scratch).argv == ("mine",)


def test_no_network_and_no_other_processes_in_the_sandbox(upstream: Path, scratch: Path) -> None:
    write(
        upstream,
        "qemu-system-x86_64 $(ls /sys/class/net /proc/net/dev >/dev/null; cut -d: -f1 /proc/net/dev | tail -n +3) $$",
    )
    argv = try_capture(upstream, scratch).argv
    assert argv[0] == "lo"
    assert int(argv[-1]) < 100


def test_absolute_paths_are_recorded_in_the_sandbox(upstream: Path, scratch: Path) -> None:
    real = shutil.which("qemu-system-x86_64") or ""
    write(upstream, f"PATH=/usr/bin:/bin; {real} -S -display none")
    found = try_capture(upstream, scratch)
    assert found.argv == ("-S", "-display", "none")
    assert found.program == real


def test_qemu_beside_the_script_is_recorded_in_the_sandbox(upstream: Path, scratch: Path) -> None:
    (upstream / "qemu").mkdir()
    write(upstream / "qemu", "exit 99", name="qemu-system-x86_64")
    write(upstream, "./qemu/qemu-system-x86_64 -S")
    found = try_capture(upstream, scratch)
    assert found.argv == ("-S",)
    assert found.program == "./qemu/qemu-system-x86_64"


@pytest.mark.parametrize(
    "line",
    [
        "/usr/bin/qemu-system-x86_64 -S",
        '"$DIR"/qemu-kvm -S',
        "export PATH=/usr/bin; qemu-system-x86_64",
        "PATH=/usr/bin qemu-system-x86_64",
        "env -i qemu-system-x86_64",
        "command -p qemu-system-x86_64",
    ],
)
def test_without_a_sandbox_what_passes_by_the_stand_in_is_refused(
    line: str, upstream: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture_module, "bubblewrap", lambda: None)
    write(upstream, f"touch ran\n{line}")
    with pytest.raises(UpstreamError, match=re.escape(line)) as told:
        try_capture(upstream, scratch)
    assert "bubblewrap" in (told.value.hint or "")
    assert not (upstream / "ran").exists()


def test_without_a_sandbox_a_folder_that_is_noexec_is_refused(
    upstream: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plant(folder: Path, text: str, **how: Any) -> Path:
        binaries = real_plant(folder, text, **how)
        for name in standin.names_of(binaries):
            (binaries / name).chmod(0o644)  # what access(2) says of a file on a noexec mount
        return binaries

    real_plant = standin.plant
    monkeypatch.setattr(capture_module, "bubblewrap", lambda: None)
    monkeypatch.setattr(standin, "plant", plant)
    write(upstream, "touch ran; qemu-system-x86_64 -S")
    with pytest.raises(UpstreamError, match="noexec"):
        try_capture(upstream, scratch)
    assert not (upstream / "ran").exists()


def test_comments_and_names_like_path_do_not_matter(
    upstream: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture_module, "bubblewrap", lambda: None)
    write(upstream, "# PATH=/usr/bin /usr/bin/qemu-system-x86_64\nREPO_PATH=.\nqemu-system-x86_64 $REPO_PATH")
    assert try_capture(upstream, scratch).argv == (".",)


def test_a_bubblewrap_that_does_not_work_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that forbids user namespaces."""
    refusing = tmp_path / "bwrap"
    refusing.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    sandbox.bubblewrap.cache_clear()
    try:
        assert sandbox.bubblewrap() is None
        monkeypatch.setattr(sandbox, "which", lambda _: "/no/such/bwrap")
        sandbox.bubblewrap.cache_clear()
        assert sandbox.bubblewrap() is None
    finally:
        sandbox.bubblewrap.cache_clear()
