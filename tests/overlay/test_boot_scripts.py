"""Boot scripts as people write them: each has one peculiarity, and all of them give the machine that bash would start."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from pommel.errors import UpstreamError
from pommel.overlay import capture as capture_module
from pommel.overlay.capture import Captured, ScriptInput, capture

QEMU = "qemu-system-x86_64"
REAL = shutil.which(QEMU)


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    folder = tmp_path / "OSX KVM"
    folder.mkdir()
    return folder


def write(
    upstream: Path, body: str, *, shebang: str = "#!/bin/bash\n", name: str = "boot.sh", mode: int = 0o755
) -> None:
    (upstream / name).write_text(f"{shebang}{body}\n")
    (upstream / name).chmod(mode)


def run(upstream: Path, *args: str, timeout_s: float = 10.0, input: tuple[str, ...] = (), **env: str) -> Captured:
    given = ScriptInput(args, env, input)
    return capture(upstream, "boot.sh", given=given, timeout_s=timeout_s, real=Path(REAL) if REAL else None)


def state(folder: Path) -> str:
    names = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(bytes(path) + path.read_bytes() for path in names)).hexdigest()


@pytest.mark.parametrize(
    "ask",
    [
        f"{QEMU} --version | head -1",
        f"{QEMU} -version",
        f"{QEMU} -cpu help | grep Penryn",
        f"{QEMU} -machine help",
        f"{QEMU} --machine help",
        f"{QEMU} -accel help; {QEMU} -device help | head -3",
        f"{QEMU} -device ide-hd,help",
        f"V=$(/usr/bin/{QEMU} --version); echo $V",
        "kvm --version; qemu-kvm --version",
    ],
)
def test_questions_are_answered_by_the_real_qemu_and_are_no_start(upstream: Path, ask: str) -> None:
    write(upstream, f"set -e\n{ask}\n{QEMU} -S")
    found = run(upstream)
    assert found.argv == ("-S",)
    assert found.output.strip(), "the script got an answer"


def test_the_answer_is_the_real_one(upstream: Path) -> None:
    write(upstream, f'{QEMU} -S "$({QEMU} --version | head -1)"')
    assert run(upstream).argv[1].startswith("QEMU emulator version ")


@pytest.mark.parametrize(
    "after",
    [
        "pkill nothing-of-that-name || exit 1",
        "sleep 60",
        "exit 7",
        "wait; kill -0 $! || exit 1",
        "false",
        "rm -rf ./*",
        "cat no-such-file",
        "no-such-command",
    ],
)
def test_what_comes_after_the_whole_call_is_a_note_at_most(upstream: Path, after: str) -> None:
    write(upstream, f"{QEMU} -S\n{after}")
    assert run(upstream).argv == ("-S",)


def test_in_the_background_and_looked_for(upstream: Path) -> None:
    write(upstream, f"{QEMU} -S & P=$!\nsleep 0.2\nkill -0 $P || {{ echo gone; exit 1; }}")
    assert run(upstream).argv == ("-S",)


def test_a_pidfile_is_there_for_whoever_reads_it(upstream: Path) -> None:
    write(upstream, f"{QEMU} -S -daemonize -pidfile q.pid\ncat q.pid || exit 1")
    found = run(upstream)
    assert found.argv == ("-S", "-daemonize", "-pidfile", "q.pid")
    assert found.notes == ()


def test_a_hundred_captures_are_all_the_same(upstream: Path) -> None:
    write(upstream, f"({QEMU} -m 1 -S &) ; sleep 0.01; {QEMU} --version >/dev/null; exit 3")
    assert {(found.argv, found.program, found.cwd) for found in (run(upstream) for _ in range(100))} == {
        (("-m", "1", "-S"), QEMU, upstream)
    }


@pytest.mark.parametrize(
    "program",
    [
        "/usr/libexec/qemu-kvm",
        "/opt/qemu/bin/qemu-system-x86_64",
        "/opt/my+qemu@4,2/bin/qemu-system-x86_64",
        '"$HOME"/no-such-qemu/build/qemu-system-x86_64',
        "~/no-such-qemu/build/qemu-system-x86_64",
        "./build/qemu-system-x86_64",
        "/no/such/folder/qemu-system-x86_64",
        "kvm",
        "/usr/bin/kvm",
        "qemu-kvm",
        "qemu-system-x86_64-10.1",
        "/usr/local/bin/qemu-system-x86_64",
    ],
)
def test_a_qemu_by_any_path_is_met_whether_it_is_there_or_not(upstream: Path, program: str) -> None:
    write(upstream, f"echo begun > here\n{program} -S -name 'a b'")
    found = run(upstream)
    assert found.argv == ("-S", "-name", "a b")
    assert found.cwd == upstream
    assert found.program.endswith(program.rpartition("/")[2])


def test_what_lies_beside_a_qemu_that_is_not_there_stays_there(upstream: Path) -> None:
    write(upstream, "/usr/local/no-such/qemu-system-x86_64 -S $(ls /usr/local)")
    words = run(upstream).argv
    assert set(words) >= {"-S", "bin", "lib"}


def test_a_name_that_the_script_puts_together_is_met_too(upstream: Path) -> None:
    write(upstream, "Q=qemu-system; exec $Q-x86_64-of_mine -S")
    found = run(upstream)
    assert (found.argv, found.program) == (("-S",), "qemu-system-x86_64-of_mine")


def test_more_effects_than_anybody_counts_are_all_told_in_order(upstream: Path) -> None:
    write(upstream, f"for n in $(seq 1 70); do sudo modprobe m$n; done\n{QEMU} -S")
    assert run(upstream).facts.effects == tuple(f"sudo modprobe m{n}" for n in range(1, 71))


def test_kvms_device_is_no_qemu(upstream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = f"[ -e /dev/kvm ] || echo no KVM; ls /sys/module/kvm/ >/dev/null 2>&1; {QEMU} -S"
    write(upstream, body)
    assert run(upstream).argv == ("-S",)
    monkeypatch.setattr(capture_module, "bubblewrap", lambda: None)
    assert capture(upstream, "boot.sh", unsandboxed=True).argv == ("-S",)
    monkeypatch.undo()
    write(upstream, "echo 'cannot open /dev/kvm-of-mine/kvm: No such file'; exit 1")
    with pytest.raises(UpstreamError, match=r"failed with exit status 1"):
        run(upstream)


def test_without_a_sandbox_nothing_is_tried_as_root(upstream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_module, "bubblewrap", lambda: None)
    target = upstream.parent / "made-as-root"
    write(upstream, f"sudo touch {target}; sudo {QEMU} -S")
    found = capture(upstream, "boot.sh", unsandboxed=True)
    assert found.argv == ("-S",)
    assert found.facts.effects == (f"sudo touch {target}",)
    assert not target.exists()


def test_another_architecture_is_refused_by_name(upstream: Path) -> None:
    write(upstream, "qemu-system-aarch64 -M virt")
    with pytest.raises(UpstreamError, match=r"boot\.sh starts qemu-system-aarch64"):
        run(upstream)


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("sudo {q}", "sudo"),
        ("sudo -E -u root FOO=1 {q}", "sudo"),
        ("doas {q}", "doas"),
        ("pkexec --user root {q}", "pkexec"),
        ("nice -n -5 {q}", "nice"),
        ("ionice -c 2 -n 0 {q}", "ionice"),
        ("taskset -c 0,1 {q}", "taskset"),
        ("taskset 0x3 {q}", "taskset"),
        ("numactl --membind 0 {q}", "numactl"),
        ("chrt -f 99 {q}", "chrt"),
        ("systemd-run --user --scope -p CPUQuota=50% {q}", "systemd-run"),
        ("systemd-inhibit --what=sleep {q}", "systemd-inhibit"),
        ("sudo nice -n -5 taskset -c 0 {q}", "sudo"),
        ("sudo bash -c '{q}'", "sudo"),
    ],
)
def test_what_stands_around_the_call_is_left_out_and_said(upstream: Path, line: str, left: str) -> None:
    write(upstream, line.format(q=f"{QEMU} -S -m 4G"))
    found = run(upstream)
    assert found.argv == ("-S", "-m", "4G")
    assert found.program == QEMU
    assert any(each.startswith(left) for each in found.facts.left_out), found.facts


@pytest.mark.parametrize(
    "line", ["env -u FOO {q}", "setsid {q}", "nohup {q}", "exec {q}", "timeout 9 {q}", "time {q}", "env A=1 {q}"]
)
def test_common_prefixes_are_no_obstacle(upstream: Path, line: str) -> None:
    write(upstream, line.format(q=f"{QEMU} -S"))
    assert run(upstream).argv == ("-S",)


def test_what_a_script_does_to_the_host_is_said_and_not_done(upstream: Path) -> None:
    lines = [
        "set -e",
        "sudo modprobe vfio-pci ids=10de:1381",
        "modprobe kvm",
        "sudo ip tuntap add dev tap0 mode tap",
        "sudo brctl addif br0 tap0",
        "sudo virsh nodedev-detach pci_0000_01_00_0",
        "sudo sysctl -w vm.nr_hugepages=4096",
        "sudo systemctl stop gdm",
        "sysctl -n kernel.ostype",
        "ip addr show >/dev/null",
        f"sudo {QEMU} -S",
        "sudo systemctl start gdm",
    ]
    write(upstream, "\n".join(lines))
    found = run(upstream)
    assert found.argv == ("-S",)
    assert "Linux" in found.output
    assert found.facts.effects == (
        "sudo modprobe vfio-pci ids=10de:1381", "modprobe kvm", "sudo ip tuntap add dev tap0 mode tap",
        "sudo brctl addif br0 tap0", "sudo virsh nodedev-detach pci_0000_01_00_0", "sudo sysctl -w vm.nr_hugepages=4096",
        "sudo systemctl stop gdm", "sudo systemctl start gdm",
    )  # fmt: skip


def test_writes_to_the_kernels_files_are_said(upstream: Path) -> None:
    write(
        upstream,
        f"echo 1 > /sys/module/kvm/parameters/ignore_msrs\necho 0 | sudo tee /proc/sys/vm/swappiness\n{QEMU} -S",
    )
    found = run(upstream)
    assert found.argv == ("-S",)
    assert any("/sys/module/kvm/parameters/ignore_msrs" in each for each in found.facts.effects)
    assert any("tee /proc/sys/vm/swappiness" in each for each in found.facts.effects)


def test_what_qemu_needs_of_the_environment_is_kept(upstream: Path) -> None:
    exports = "export LD_LIBRARY_PATH=/opt/qemu/lib QEMU_AUDIO_DRV=pa SDL_VIDEODRIVER=x11 PRIVATE=no"
    write(upstream, f"{exports}\n{QEMU} -S")
    assert run(upstream).facts.environment == {
        "LD_LIBRARY_PATH": "/opt/qemu/lib", "QEMU_AUDIO_DRV": "pa", "SDL_VIDEODRIVER": "x11",
    }  # fmt: skip


def test_a_limit_that_qemu_is_given_is_said(upstream: Path) -> None:
    write(upstream, f"ulimit -l unlimited\n{QEMU} -S")
    found = run(upstream)
    if "cannot modify limit" not in found.output and "Operation not permitted" not in found.output:
        assert "ulimit -l unlimited" in found.facts.left_out


WRITES = """\
cd "$(dirname "$0")"
echo begun >> vm.log
echo $$ > vm.pid
[ -f vars.fd ] || cp OVMF_VARS.fd vars.fd
[ -f data/new.qcow2 ] || qemu-img create -q -f qcow2 data/new.qcow2 1G
: > disk.img
T=$(mktemp -d) && touch "$T/x"
qemu-system-x86_64 -drive file=vars.fd -drive file="$PWD/data/new.qcow2" -S
"""


@pytest.mark.parametrize("way", ["bubblewrap", "bare"])
def test_the_folder_is_writable_and_nothing_in_it_changes(
    upstream: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "bare":
        monkeypatch.setattr(capture_module, "bubblewrap", lambda: None)
    (upstream / "data").mkdir()
    (upstream / "vm.log").write_text("old\n")
    (upstream / "OVMF_VARS.fd").write_bytes(b"v" * 540672)
    (upstream / "disk.img").write_bytes(b"d" * 100)
    with (upstream / "big.img").open("wb") as big:
        big.truncate(64 << 30)
    write(upstream, "set -e\n" + WRITES)
    before = state(upstream / "data"), (upstream / "vm.log").read_text(), (upstream / "disk.img").stat().st_size
    found = capture(upstream, "boot.sh", unsandboxed=True)
    assert found.argv == ("-drive", "file=vars.fd", "-drive", f"file={upstream}/data/new.qcow2", "-S")
    assert found.created == ("data/new.qcow2", "vars.fd", "vm.pid")
    assert (
        state(upstream / "data"),
        (upstream / "vm.log").read_text(),
        (upstream / "disk.img").stat().st_size,
    ) == before
    assert not (upstream / "vars.fd").exists()


def test_sizes_and_headers_of_large_images_can_be_asked_for(upstream: Path) -> None:
    import subprocess

    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", upstream / "mac.qcow2", "80G"], check=True)
    with (upstream / "mac.qcow2").open("r+b") as disk:
        disk.truncate(20 << 20)
    write(upstream, f"set -e\n{QEMU} -S $(stat -c %s mac.qcow2) $(qemu-img info mac.qcow2 | grep -c '80 GiB')")
    assert run(upstream).argv == ("-S", str(20 << 20), "1")


@pytest.mark.parametrize("shebang", ["", "#!/usr/bin/env bash\n", "#!/bin/sh\n", "# a comment\n"])
@pytest.mark.parametrize("mode", [0o644, 0o755])
def test_scripts_without_run_bit_or_interpreter_run(upstream: Path, shebang: str, mode: int) -> None:
    body = f'A=(-S -m); {QEMU} "${{A[@]}}" 1' if "sh" not in shebang or "bash" in shebang else f"{QEMU} -S -m 1"
    write(upstream, body, shebang=shebang, mode=mode)
    assert run(upstream).argv == ("-S", "-m", "1")


def test_python_and_sourced_scripts(upstream: Path) -> None:
    write(
        upstream,
        f"import subprocess, sys\nsys.exit(subprocess.call(['{QEMU}', '-S', *sys.argv[1:]]))",
        shebang="#!/usr/bin/env python3\n",
    )
    assert run(upstream, "-m", "2").argv == ("-S", "-m", "2")
    write(upstream, "RAM=3\n", name="settings.sh", mode=0o644)
    write(upstream, f'. "$(dirname "$0")/settings.sh"; exec {QEMU} -m $RAM')
    assert run(upstream).argv == ("-m", "3")


GETOPTS = f"""\
while getopts "m:i" o; do case $o in m) R=$OPTARG;; i) I=1;; *) exit 2;; esac; done
[ $# -eq 0 ] && {{ echo "usage: $0 [-m MB] [-i]"; exit 2; }}
{QEMU} -m "$R"
"""


def hint_of(upstream: Path, **kw: object) -> str:
    with pytest.raises(UpstreamError) as told:
        run(upstream, **kw)  # type: ignore[arg-type]
    return told.value.hint or ""


def test_arguments(upstream: Path) -> None:
    write(upstream, GETOPTS)
    assert "boot_args" in hint_of(upstream)
    assert run(upstream, "-m", "4096").argv == ("-m", "4096")
    write(upstream, f"set -u\n{QEMU} -m $1")
    assert "boot_args" in hint_of(upstream)
    write(upstream, 'if (( $# < 3 )); then echo "Usage: $0 <disk> <osk> <port>"; exit 1; fi')
    assert "boot_args" in hint_of(upstream)


@pytest.mark.parametrize(
    "body",
    [
        f"set -u\n{QEMU} -m $SYSTEM_DISK",
        f': "${{SYSTEM_DISK:?}}"; {QEMU} -m $SYSTEM_DISK',
        f'[ -n "$SYSTEM_DISK" ] || {{ echo "Please set the SYSTEM_DISK environment variable"; exit 1; }}; {QEMU} -m $SYSTEM_DISK',
        f'[ -n "$SYSTEM_DISK" ] || {{ echo "SYSTEM_DISK is not set"; exit 1; }}; {QEMU} -m $SYSTEM_DISK',
    ],
)
def test_variables(upstream: Path, body: str) -> None:
    write(upstream, body)
    assert "boot_env" in hint_of(upstream)
    assert "SYSTEM_DISK" in hint_of(upstream)
    assert run(upstream, SYSTEM_DISK="7").argv == ("-m", "7")


@pytest.mark.parametrize(
    "body",
    [
        f'read -p "Which macOS (1-3)? " C; {QEMU} -m $C',
        f'read -rp "Which macOS (1-3)? " C && {QEMU} -m $C',
        f'PS3="Which macOS (1-3)? "; select C in a b; do {QEMU} -m $REPLY; break; done',
    ],
)
def test_a_question_is_answered_or_shown(upstream: Path, body: str) -> None:
    write(upstream, body)
    with pytest.raises(UpstreamError, match=r"(?s)boot.sh asks a question.*Which macOS \(1-3\)\?") as told:
        run(upstream)
    assert "boot_input" in (told.value.hint or "")
    assert run(upstream, input=("2",)).argv == ("-m", "2")


def test_a_slow_script_is_waited_for_and_one_that_is_too_slow_is_told_what_to_set(upstream: Path) -> None:
    write(upstream, f"sleep 1.2; {QEMU} -S")
    assert run(upstream).argv == ("-S",)
    with pytest.raises(UpstreamError, match=r"did not start QEMU in 0\.3 s") as told:
        run(upstream, timeout_s=0.3)
    assert "boot_timeout" in (told.value.hint or "")


def test_without_a_sandbox_nothing_runs_for_a_look(upstream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_module, "bubblewrap", lambda: None)
    write(upstream, f"touch ran; {QEMU} -S")
    with pytest.raises(UpstreamError, match="no bubblewrap to run it safely") as told:
        run(upstream)
    assert "install bubblewrap" in (told.value.hint or "")
    assert not (upstream / "ran").exists()


@pytest.mark.skipif(os.uname().machine not in ("x86_64", "aarch64"), reason="no filter is known for this processor")
def test_a_script_reaches_no_socket(upstream: Path, tmp_path: Path) -> None:
    import socket

    place = Path.home() / f".pommel-test-{os.getpid()}.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place))
    listener.listen(1)
    try:
        code = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect('{place}'); print('in')"
        write(upstream, f'{QEMU} -S "$(python3 -c "{code}" 2>&1 | tail -1)"')
        assert "PermissionError" in run(upstream).argv[1]
    finally:
        listener.close()
        place.unlink()
