"""What happens when programs are missing, as root and as somebody else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from driver import Shell
from pommel.app.consent import ConsentRequest
from pommel.app.host import needs
from pommel.app.workspace import Workspace
from pommel.errors import NotPermitted
from pommel.progress import Progress


def as_somebody(shell: Shell, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `pommel` as uid 1000 with nothing on PATH: no sudo, no QEMU."""
    empty = shell.root / "empty"
    empty.mkdir(exist_ok=True)
    return subprocess.run(
        ["/usr/bin/bwrap", "--dev-bind", "/", "/", "--unshare-user", "--uid", "1000", "--gid", "1000",
         sys.executable, "-P", "-m", "pommel", *words],
        env={**shell.env, "PATH": str(empty)}, cwd=shell.cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def test_without_root_the_command_to_type_is_printed(shell: Shell) -> None:
    done = as_somebody(shell, "up", "trial")
    assert done.returncode == 1
    assert "missing: qemu-system-x86 runs the machine" in done.stderr
    assert "hint: type: sudo apt-get " in done.stderr
    assert "sudo apt-get install --no-install-recommends qemu-system-x86 qemu-utils" in done.stderr
    assert list(shell.home.iterdir()) == []


def test_without_sudo_yes_is_of_no_use_and_says_so(shell: Shell) -> None:
    done = as_somebody(shell, "up", "trial", "--yes")
    assert done.returncode == 1
    assert "there is no sudo here" in done.stderr
    assert "hint: as root: apt-get " in done.stderr


def test_dry_run_tells_what_is_missing(shell: Shell) -> None:
    out = as_somebody(shell, "up", "trial", "--dry-run").stdout
    assert "would  install packages: sudo apt-get " in out
    assert "qemu-utils creates and reads its disks, and writes the disks" in out


def test_consent_is_asked_with_the_plan_and_a_no_installs_nothing(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(shell.cwd))
    workspace = Workspace.current()
    asked, told = list[ConsentRequest](), list[Progress]()
    with pytest.raises(NotPermitted) as refusal:
        needs.provide(
            workspace.spec("trial"), made=False, consent=lambda request: bool(asked.append(request)), report=told.append
        )
    assert "qemu-system-x86" in asked[0].what
    assert "apt-get install" in str(refusal.value.hint)
    assert any("runs the machine" in event.text for event in told)


def test_a_made_machine_needs_no_builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    spec = Workspace.current().spec("trial")
    to_make, to_run = needs.plan(spec, made=False), needs.plan(spec, made=True)
    assert to_make is not None and "mmdebstrap" in to_make.packages
    assert to_run is not None and "mmdebstrap" not in to_run.packages
