"""The modules' options: on roots of our own in every state that they may be in, and once on the real one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from pommel.errors import CommandFailed, NotPermitted, StateError
from pommel.host import modules
from pommel.host.modules import ModulesState, RunAsRoot, apply, look, restore, to_restore
from pommel.progress import Progress

THEIRS = "# mine\noptions kvm halt_poll_ns=0\n"


class Killed(BaseException):
    """What a kill -9 is to whoever is killed: nothing after it runs."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host whose kvm module is loaded, as distributions have it."""
    root = tmp_path / "host"
    module = root / "sys/module/kvm"
    (module / "parameters").mkdir(parents=True)
    (module / "initstate").write_text("live\n")
    (module / "parameters/ignore_msrs").write_text("N\n")
    (module / "parameters/report_ignored_msrs").write_text("Y\n")
    (root / "etc/modprobe.d").mkdir(parents=True)
    (root / "proc").mkdir()
    (root / "proc/cmdline").write_text("root=/dev/sda1 quiet\n")
    return root


def conf(root: Path) -> Path:
    return root / "etc/modprobe.d/pommel.conf"


def live(root: Path, name: str = "ignore_msrs") -> str:
    # A file, unlike the kernel, keeps what is longer than what is written over it.
    return (root / "sys/module/kvm/parameters" / name).read_text()[0]


def everything(root: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (root / "etc/modprobe.d").iterdir()}


def really(argv: Sequence[str]) -> None:
    subprocess.run(argv, check=True, capture_output=True)


@pytest.fixture(params=["root", "user"])
def hand(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> RunAsRoot | None:
    """As root, and as a user who may run commands as root."""
    if request.param == "root":
        return None
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return really


def said(do: Callable[..., None], *args: object, **kw: object) -> tuple[list[str], list[str]]:
    events: list[Progress] = []
    do(*args, report=events.append, **kw)
    return [e.text for e in events if not e.warning], [e.text for e in events if e.warning]


# --- done and undone -------------------------------------------------------------------------------------------------


def test_from_nothing_to_done_and_back(root: Path, hand: RunAsRoot | None) -> None:
    before = look("amd", root=root)
    assert not before.is_done and before.loaded and not before.built_in and before.conf is None
    assert before.live == {"ignore_msrs": "N", "report_ignored_msrs": "Y"}
    assert not to_restore(root)
    notes, warnings = said(apply, before, run_as_root=hand)
    assert notes == [f"wrote {conf(root)}", "set kvm.ignore_msrs to 1", "set kvm.report_ignored_msrs to 0"]
    assert warnings == []
    assert everything(root) == {"pommel.conf": before.wanted}
    assert conf(root).stat().st_mode & 0o777 == 0o644
    assert (live(root), live(root, "report_ignored_msrs")) == ("1", "0")
    after = look("amd", root=root)
    assert after.is_done and after.conf == after.wanted and after.diff == "" and after.remarks == ()
    assert said(apply, after, run_as_root=hand) == ([], [])
    assert to_restore(root)
    notes, warnings = said(restore, root, run_as_root=hand)
    assert notes == [
        f"removed {conf(root)}",
        "kvm.ignore_msrs stays on until KVM is loaded again, or the host restarts",
    ]
    assert warnings == [] and everything(root) == {}
    assert said(restore, root, run_as_root=hand) == ([], [])


def test_no_folder_yet(root: Path, hand: RunAsRoot | None) -> None:
    (root / "etc/modprobe.d").rmdir()
    assert said(restore, root, run_as_root=hand) == ([], [])
    apply(look("amd", root=root), run_as_root=hand)
    assert look("amd", root=root).is_done


def test_a_file_of_that_name_that_is_not_ours_comes_back(root: Path, hand: RunAsRoot | None) -> None:
    conf(root).write_text(THEIRS)
    conf(root).chmod(0o640)
    before = look("intel", root=root)
    assert f"--- {conf(root)}\n+++ {conf(root)}\n" in before.diff
    assert "-options kvm halt_poll_ns=0\n" in before.diff
    assert "+options kvm ignore_msrs=1 report_ignored_msrs=0\n" in before.diff
    notes, _ = said(apply, before, run_as_root=hand)
    assert notes[0] == f"saved the old {conf(root)} as {conf(root)}.pommel-saved"
    assert "when that module is loaded again" in notes[2]
    assert everything(root) == {"pommel.conf": before.wanted, "pommel.conf.pommel-saved": THEIRS}
    notes, _ = said(restore, root, run_as_root=hand)
    assert notes[0] == f"{conf(root)} is restored to its contents before pommel"
    assert everything(root) == {"pommel.conf": THEIRS}
    assert conf(root).stat().st_mode & 0o777 == 0o640


def test_two_such_files_and_neither_is_lost(root: Path, hand: RunAsRoot | None) -> None:
    for text in (THEIRS, THEIRS + "# again\n", THEIRS + "# and again\n"):
        conf(root).write_text(text)
        apply(look("amd", root=root), run_as_root=hand)
    saved = "pommel.conf.pommel-saved"
    assert set(everything(root)) == {"pommel.conf", saved, f"{saved}.2", f"{saved}.3"}
    _, warnings = said(restore, root, run_as_root=hand)
    assert warnings == [
        f"{conf(root)}.pommel-saved{end} existed before pommel, so it is not removed" for end in ("", ".2")
    ]
    assert everything(root)["pommel.conf"].endswith("# and again\n")
    assert everything(root)[saved] == THEIRS


def test_our_file_with_edits_stays(root: Path) -> None:
    apply(look("amd", root=root))
    edited = conf(root).read_text() + "options kvm halt_poll_ns=0\n"
    conf(root).write_text(edited)
    assert look("amd", root=root).is_done and not to_restore(root)
    assert said(restore, root) == ([], [f"{conf(root)} was edited after pommel wrote it, so it is not removed"])
    assert everything(root) == {"pommel.conf": edited}


def test_edits_that_break_it_are_kept_aside(root: Path) -> None:
    apply(look("amd", root=root))
    edited = conf(root).read_text().replace("ignore_msrs=1", "ignore_msrs=0")
    conf(root).write_text(edited)
    state = look("amd", root=root)
    assert state.missing == ("kvm.ignore_msrs=1",)
    apply(state)
    assert everything(root) == {"pommel.conf": state.wanted, "pommel.conf.pommel-saved": edited}


def test_an_older_file_of_ours_is_replaced(root: Path) -> None:
    apply(look("amd", root=root))
    state = look("amd", root=root, nested=True)
    assert state.missing == ("kvm_amd.nested=1",) and "+options kvm_amd nested=1\n" in state.diff
    apply(state)
    assert everything(root) == {"pommel.conf": state.wanted}


def test_a_link_to_nothing_is_kept(root: Path, hand: RunAsRoot | None) -> None:
    conf(root).symlink_to("/nowhere/at/all")
    apply(look("amd", root=root), run_as_root=hand)
    assert not conf(root).is_symlink() and look("amd", root=root).is_done
    restore(root, run_as_root=hand)
    assert os.readlink(conf(root)) == "/nowhere/at/all"


@pytest.mark.parametrize(
    ("name", "text", "vendor"),
    [
        # As the config repository and as OSX-KVM set it.
        ("kvm-macos.conf", "options kvm_amd nested=1\noptions kvm ignore_msrs=1 report_ignored_msrs=0\n", "amd"),
        (
            "kvm.conf",
            "options kvm_intel nested=1\noptions kvm_intel emulate_invalid_guest_state=0\n"
            "options kvm ignore_msrs=1 report_ignored_msrs=0\n",
            "intel",
        ),
    ],
)
def test_what_another_file_sets_counts(root: Path, name: str, text: str, vendor: str) -> None:
    (root / "etc/modprobe.d" / name).write_text(text)
    state = look(vendor, root=root)
    assert state.missing == () and not state.is_done  # the loaded module has not heard of it
    apply(state)
    assert everything(root) == {name: text}
    assert look(vendor, root=root).is_done


# --- what stands in the way ------------------------------------------------------------------------------------------


def test_a_file_that_is_read_after_ours(root: Path) -> None:
    other = root / "etc/modprobe.d/zfs.conf"
    other.write_text("options kvm ignore_msrs=0\n")
    _, warnings = said(apply, look("amd", root=root))
    assert warnings == [f"{other} sets kvm.ignore_msrs=0; it is read after Pommel's file, so it must be removed"]
    state = look("amd", root=root)
    assert not state.is_done and state.conf == state.wanted and not state.to_write


def test_a_file_that_is_read_before_ours(root: Path) -> None:
    (root / "usr/lib/modprobe.d").mkdir(parents=True)
    other = root / "usr/lib/modprobe.d/kvm.conf"
    other.write_text("options kvm ignore_msrs=0\n")
    apply(look("amd", root=root))
    state = look("amd", root=root)
    assert state.is_done
    assert state.remarks == (
        f"{other} sets kvm.ignore_msrs=0; it is read before Pommel's file, so Pommel's file is used",
    )
    (root / "etc/modprobe.d/kvm.conf").write_text("")  # and hides the one in /usr/lib
    assert look("amd", root=root).conflicts == ()


def test_no_kvm_loaded(root: Path, hand: RunAsRoot | None) -> None:
    shutil.rmtree(root / "sys/module/kvm")
    state = look("amd", root=root)
    assert not state.loaded and not state.built_in and set(state.live.values()) == {None}
    notes, warnings = said(apply, state, run_as_root=hand)
    assert notes == [f"wrote {conf(root)}"]
    assert warnings == ["KVM is not loaded, so nothing can be set now; the file is used when KVM is loaded"]
    assert look("amd", root=root).is_done


def test_kvm_in_the_kernel_itself(root: Path) -> None:
    (root / "sys/module/kvm/initstate").unlink()
    _, warnings = said(apply, look("amd", root=root))
    assert len(warnings) == 1 and "add kvm.ignore_msrs=1 kvm.report_ignored_msrs=0 to its command line" in warnings[0]
    assert not look("amd", root=root).is_done
    (root / "proc/cmdline").write_text("quiet kvm.ignore_msrs=1 kvm.report_ignored_msrs=N\n")
    assert look("amd", root=root).is_done and look("amd", root=root).remarks == ()


def test_a_kernel_without_the_second_parameter(root: Path) -> None:
    (root / "sys/module/kvm/parameters/report_ignored_msrs").unlink()
    apply(look("amd", root=root))
    assert look("amd", root=root).is_done
    assert not (root / "sys/module/kvm/parameters/report_ignored_msrs").exists()


def test_a_parameter_that_cannot_be_set(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parameter = root / "sys/module/kvm/parameters/ignore_msrs"

    def refuse(argv: Sequence[str]) -> None:
        if str(parameter) in argv:
            raise CommandFailed(argv, 1, "tee: Read-only file system\n")
        really(argv)

    state = look("amd", root=root)
    parameter.unlink()  # as little to be opened as a read-only one; root may open anything else
    wanted = f"on the host itself: echo 1 | sudo tee {parameter}"
    _, warnings = said(apply, state)
    assert warnings == [f"kvm.ignore_msrs cannot be set now (No such file or directory); {wanted}"]
    assert not parameter.exists()
    conf(root).unlink()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    _, warnings = said(apply, state, run_as_root=refuse)
    assert warnings == [f"kvm.ignore_msrs cannot be set now (tee: Read-only file system); {wanted}"]
    assert conf(root).exists()


def test_nobody_who_is_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    conf(root).write_text(THEIRS)
    state = look("amd", root=root)
    with pytest.raises(NotPermitted, match="needs root") as refused:
        apply(state)
    assert everything(root) == {"pommel.conf": THEIRS}
    # What is to be typed does the same; without sudo, since we are root.
    subprocess.run(["sh", "-ec", (refused.value.hint or "").replace("sudo ", "")], check=True, capture_output=True)
    assert look("amd", root=root).is_done
    assert everything(root) == {"pommel.conf": state.wanted, "pommel.conf.pommel-saved": THEIRS}
    with pytest.raises(NotPermitted) as refused:
        restore(root)
    subprocess.run(["sh", "-ec", (refused.value.hint or "").replace("sudo ", "")], check=True)
    assert everything(root) == {"pommel.conf": THEIRS}
    restore(root)  # nothing is left to do, so no root is needed


def test_only_what_a_killed_write_left_is_removed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf(root).write_text(THEIRS)
    left = conf(root).with_name(".pommel.conf.new")
    left.write_text("half")
    assert to_restore(root)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NotPermitted) as refused:
        restore(root)
    assert refused.value.hint == f"sudo rm {left}"
    restore(root, run_as_root=really)
    assert everything(root) == {"pommel.conf": THEIRS}


def test_a_file_that_changed_after_it_was_shown(root: Path) -> None:
    state = look("amd", root=root)
    conf(root).write_text(THEIRS)
    with pytest.raises(StateError, match="has changed in the meantime"):
        apply(state)
    assert everything(root) == {"pommel.conf": THEIRS}


def test_files_that_we_may_not_read(root: Path) -> None:
    secret = root / "etc/modprobe.d/secret.conf"
    secret.write_text("options kvm ignore_msrs=1\n")
    secret.chmod(0)
    root.chmod(0o755)
    parent = root.parent
    modes = {}
    while parent != Path("/tmp") and parent != Path("/"):
        modes[parent] = parent.stat().st_mode
        parent.chmod(0o755)
        parent = parent.parent
    os.seteuid(65534)  # root may read anything
    try:
        state = look("amd", root=root)
    finally:
        os.seteuid(0)
        for folder, mode in modes.items():
            folder.chmod(mode)
    assert state.unreadable == (str(secret),)
    assert state.remarks == (f"{secret} cannot be read, so its settings are unknown",)


# --- killed ----------------------------------------------------------------------------------------------------------


class Mortal:
    """Runs commands, and is killed before the one with this number, or after it."""

    def __init__(self, number: int, after: bool) -> None:
        self.left, self.after = number, after

    def __call__(self, argv: Sequence[str]) -> None:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Killed
        really(argv)
        if self.left == 0:
            raise Killed


def until_survived(root: Path, do: Callable[[RunAsRoot], None], check: Callable[[], None]) -> Iterator[int]:
    """Do something on copies of `root`, killed at every command of it in turn; check each end, after a second try."""
    start = root.with_name("start")
    shutil.copytree(root, start)
    for number in range(1, 100):
        for after in (False, True):
            shutil.rmtree(root)
            shutil.copytree(start, root)
            try:
                do(Mortal(number, after))
            except Killed:
                check()
                yield number
            else:
                return


def test_killed_while_applying(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    conf(root).write_text(THEIRS)

    def check() -> None:
        assert THEIRS in everything(root).values()
        apply(look("amd", root=root), run_as_root=really)
        state = look("amd", root=root)
        assert state.is_done
        assert everything(root) == {"pommel.conf": state.wanted, "pommel.conf.pommel-saved": THEIRS}

    deaths = list(until_survived(root, lambda run: apply(look("amd", root=root), run_as_root=run), check))
    assert max(deaths) == 6  # move aside, install, sync, rename, and two parameters


def test_killed_while_applying_and_then_uninstalled(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    conf(root).write_text(THEIRS)

    def check() -> None:
        restore(root, run_as_root=really)
        assert everything(root) == {"pommel.conf": THEIRS}

    assert list(until_survived(root, lambda run: apply(look("amd", root=root), run_as_root=run), check))


def test_killed_while_restoring(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf(root).write_text(THEIRS)
    apply(look("amd", root=root))
    (root / "etc/modprobe.d/.pommel.conf.abc").write_text("half a fi")  # what a killed write leaves
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    def check() -> None:
        restore(root, run_as_root=really)
        assert everything(root) == {"pommel.conf": THEIRS}

    assert max(until_survived(root, lambda run: restore(root, run_as_root=run), check)) == 2


def test_a_full_disk_while_writing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf(root).write_text(THEIRS)

    def full(path: Path, text: str, *, mode: int) -> None:
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(modules, "write_atomic", full)
        with pytest.raises(OSError, match="No space"):
            apply(look("amd", root=root))
    restore(root)
    assert everything(root) == {"pommel.conf": THEIRS}


# --- the real one ----------------------------------------------------------------------------------------------------


@pytest.fixture
def real() -> Iterator[None]:
    """This host's own modprobe.d and parameters, as they were afterwards."""
    folder, parameters = Path("/etc/modprobe.d"), Path("/sys/module/kvm/parameters")
    there = folder.exists()
    files = {path: path.read_bytes() for path in folder.glob("*pommel.conf*")}
    live = {
        path: path.read_text()
        for name in ("ignore_msrs", "report_ignored_msrs")
        if (path := parameters / name).exists()
    }
    for path in files:
        path.unlink()
    yield
    for path in folder.glob("*pommel.conf*"):
        path.unlink()
    for path, data in files.items():
        path.write_bytes(data)
    for path, text in live.items():
        if path.read_text() != text:
            path.write_text(text)
    if not there and folder.exists():
        folder.rmdir()


def test_the_real_modprobe_d_and_the_real_kernel(real: None) -> None:
    kvm = Path("/sys/module/kvm")
    state: ModulesState = look("amd")
    assert state.loaded == kvm.is_dir()
    assert state.loaded == any(value in ("Y", "N") for value in state.live.values())
    if not state.missing:  # another file sets it already
        assert not state.to_write
        return
    to_set = state.to_set
    _, warnings = said(apply, state)
    assert Path("/etc/modprobe.d/pommel.conf").read_text() == state.wanted
    after = look("amd")
    # Each is either set by now, or its command stands in a warning.
    for name in to_set:
        assert (name in after.to_set) == any(f"kvm.{name} cannot be set now" in line for line in warnings)
    if not state.loaded:
        assert any("not loaded" in line for line in warnings)
    assert after.built_in == any("built into" in line for line in warnings)
    assert to_restore()
    restore()
    assert not Path("/etc/modprobe.d/pommel.conf").exists()
