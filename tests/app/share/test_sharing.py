"""Folders of this host shared with machines and taken back; which are refused; and what a machine is started with."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from json_keys import offences
from machine import bare, guests
from pommel import trust
from pommel.app.argv import asked_for
from pommel.app.machine import clones
from pommel.app.network import reach
from pommel.app.share import changes as share_changes
from pommel.app.share import folder as share_folder
from pommel.app.share import mounting as share_mounting
from pommel.app.share import sharing
from pommel.app.share.changes import SharePlan
from pommel.app.share.sharing import Shares
from pommel.app.workspace import Workspace
from pommel.errors import ConfigError, MachineError, NotPermitted, PommelError, StateError, UsageError
from pommel.machine import events, lifecycle, permission, record, savestate, shares_added
from pommel.machine.commandline import CommandLine
from pommel.machine.record import MachineRecord
from pommel.machine.rules.shares import devices_on, fsdev
from pommel.machine.shares import new_share, parse_share
from pommel.paths import MachinePaths
from pommel.process import run
from pommel.progress import Progress
from smb import OK
from smbd import served


class Bench:
    """A machine m of a home, and folders beside it."""

    def __init__(self, workspace: Workspace, folders: Path) -> None:
        self.workspace, self.folders = workspace, folders
        self.said: list[str] = []
        paths = bare.make(workspace.home)
        paths.make_runtime()
        uuid = "00000000-0000-4000-8000-000000000000"
        record.save(
            paths.record, MachineRecord("m", "osx-kvm", uuid, "52:54:00:00:00:01", 24950, "2026-01-01T00:00:00")
        )

    @property
    def paths(self) -> MachinePaths:
        return self.workspace.paths("m")

    def settings(self, text: str) -> None:
        (self.workspace.cwd / "pommel.toml").write_text(f"[machine.m]\n{text}\n")
        self.workspace = Workspace(self.workspace.home, self.workspace.cwd, {})

    def folder(self, name: str) -> str:
        (self.folders / name).mkdir(parents=True, exist_ok=True)
        return str(self.folders / name)

    def share(self, folder: str, called: str | None = None, **words: Any) -> dict[str, tuple[str, bool]]:
        told = share_changes.share("m", folder, called=called, workspace=self.workspace, report=self.hear, **words)
        assert isinstance(told, Shares) and not list(offences(told.as_dict()))
        return rows(told)

    def unshare(self, called: str) -> dict[str, tuple[str, bool]]:
        told = share_changes.unshare("m", called, workspace=self.workspace, report=self.hear)
        assert isinstance(told, Shares)
        return rows(told)

    def start(self, shares: str = "10.0.2.4", *words: str) -> None:
        """Start QEMU, and say that its guest was given a file server there, as a start does."""
        argv = bare.argv(self.paths, *words)
        lifecycle.start(self.paths, argv, accel="tcg")
        nine = devices_on(CommandLine.parse(argv[0], argv[1:]))
        told = {"network": reach.as_kept(reach.Network(forward=False, shares=shares, nine=nine))}
        (self.paths.directory / reach.STARTED).write_text(json.dumps(told))

    def hear(self, event: Progress) -> None:
        self.said.append(event.text)


def rows(told: Shares) -> dict[str, tuple[str, bool]]:
    """By whom each is asked for, and whether it is live."""
    return {row.share: (row.origin, row.live) for row in told.shares}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with bare.short_home() as home:
        cwd = tmp_path / "cwd"
        cwd.mkdir()
        (cwd / "pommel.toml").write_text("[machine.m]\n[machine.n]\n")
        monkeypatch.setenv("HOME", str(tmp_path / "user"))
        monkeypatch.chdir(cwd)
        yield Bench(Workspace(home, cwd, {}), tmp_path / "user")


def test_shared_by_command_kept_and_taken_back(bench: Bench) -> None:
    work, songs = bench.folder("work"), bench.folder("My Music")
    assert bench.share(work) == {"work": ("added", False)}
    assert bench.share("~/My Music", read_only=True) == {"work": ("added", False), "My-Music": ("added", False)}
    assert list(map(str, shares_added.load(bench.paths))) == [f"{work} as work", "~/My Music as My-Music read-only"]
    assert shares_added.served(bench.paths)[parse_share(f"{work} as work")] == work
    assert bench.share(work) == rows(sharing.listed("m", workspace=bench.workspace)), "the same again changes nothing"
    assert bench.share(songs, "WORK") == {"My-Music": ("added", False), "WORK": ("added", False)}, (
        "a new one for the name"
    )
    assert bench.unshare("work") == {"My-Music": ("added", False)}
    with pytest.raises(StateError, match="m has no share work") as none:
        bench.unshare("work")
    assert "My-Music" in (none.value.hint or "")
    assert [each.word for each in events.read(bench.paths)] == ["shared", "shared", "shared", "unshared"]
    assert bench.unshare("my-music") == {} and shares_added.served(bench.paths) == {}
    assert Path(work).is_dir() and Path(songs).is_dir()


def test_a_dry_run_says_what_would_be_done_and_does_nothing(bench: Bench) -> None:
    work = bench.folder("work")
    told = share_changes.share("m", work, dry_run=True, workspace=bench.workspace)
    assert isinstance(told, SharePlan) and not list(offences(told.as_dict()))
    assert (told.host_folder, told.guest_folder, told.read_only) == (work, "/Volumes/work", False)
    assert "next start" in told.would[-1] and not (bench.paths.directory / shares_added.FILE).exists()
    bench.share(work)
    gone = share_changes.unshare("m", "work", dry_run=True, workspace=bench.workspace)
    assert isinstance(gone, SharePlan) and len(shares_added.load(bench.paths)) == 1


def test_what_the_settings_share_stands_until_it_is_changed_there(bench: Bench) -> None:
    work, other = bench.folder("work"), bench.folder("other")
    bench.settings('shares = ["~/work", { folder = "~/gone", name = "gone" }]')
    told = sharing.listed("m", workspace=bench.workspace)
    assert rows(told) == {"work": ("settings", False), "gone": ("settings", False)}
    assert [row.problem and "No such file" in row.problem for row in told.shares] == [None, True]
    for wrong in (lambda: bench.unshare("work"), lambda: bench.share(other, "work")):
        with pytest.raises(UsageError, match="settings of m"):
            wrong()
    placed = asked_for.placed(bench.workspace, bench.workspace.spec("m"))
    assert placed["share_command"][-1] == str(bench.paths.directory / shares_added.LIVE)
    assert list(map(str, placed["shares"])) == ["~/work as work", "~/gone as gone"]
    assert len(placed["share_notes"]) == 1 and "gone" in placed["share_notes"][0]
    assert [share.name for share in sharing.serve(bench.workspace, bench.workspace.spec("m"))] == ["work"]
    levels = {text: level for _, level, text, _ in sharing.checks(bench.workspace, bench.workspace.spec("m"))}
    assert levels[f"share work: {work}"] == "ok" and "warn" in levels.values()
    shares_added.save(bench.paths, [parse_share(f"{other} as work")])
    with pytest.raises(ConfigError, match="both shared with m as work") as both:
        sharing.requested(bench.workspace, bench.workspace.spec("m"))
    assert both.value.hint == "pommel unshare m work"
    bench.settings("network = 'passt'")
    with pytest.raises(StateError, match="m has network = passt") as refused:
        bench.share(other)
    assert 'network = "user"' in (refused.value.hint or "")


def test_what_is_not_to_be_shared_is_refused_by_name(bench: Bench, tmp_path: Path) -> None:
    user = bench.folders
    for name in (".ssh/deep", ".config/gh", "work/.hidden", "conf"):
        bench.folder(name)
    (user / "file").touch()
    (user / "way").symlink_to(".ssh")
    home = bench.workspace.home.root
    wanted = {
        "/": "is the system's", "/etc": "is the system's", "/etc/ssl": "is in the system's own", "/proc/self": "system's own",
        "/tmp": "is the system's", "~": "is your home folder", str(tmp_path): "holds your home folder",
        "~/.ssh": "where keys and passwords lie", "~/.ssh/deep": "where keys and passwords lie", "~/way": r"\.ssh\)",
        "~/.config": "holds where keys", str(home): "Pommel's own", str(home.parent): "holds Pommel's own",
        str(bench.paths.directory): "is in Pommel's own", str(bench.workspace.cwd): "holds Pommel's own",
        "~/file": "is not a folder", "~/none": "No such file", "~nobody-of-that-name/x": "no user",
    }  # fmt: skip
    spec = bench.workspace.spec("m")
    for folder, why in wanted.items():
        with pytest.raises(PommelError, match=why) as refused:
            share_folder.checked(bench.workspace, spec, folder, read_only=False)
        assert refused.value.hint, folder
    assert share_folder.checked(bench.workspace, spec, "~/work", read_only=False) == user / "work"
    (user / "to-work").symlink_to("work")
    assert share_folder.checked(bench.workspace, spec, "~/to-work", read_only=False) == user / "work"
    assert share_folder.checked(bench.workspace, spec, str(bench.workspace.cwd), read_only=True)
    if os.geteuid() == 0:
        os.chown(user / "conf", 65534, -1)
        with pytest.raises(NotPermitted, match="belongs to nobody"):
            share_folder.checked(bench.workspace, spec, "~/conf", read_only=True)
    with pytest.raises(UsageError, match="called by a name that SMB takes"):
        bench.share("~/日本")


def test_on_the_running_machine_the_next_connection_gets_it_and_none_after_it_is_taken_back(bench: Bench) -> None:
    work = bench.folder("work")
    bench.start()
    bench.share(work)
    assert "has not mounted it yet" in bench.said[0] and "pommel share m --mount" in bench.said[-1], (
        "its guest has no SSH"
    )
    assert rows(sharing.listed("m", workspace=bench.workspace)) == {"work": ("added", True)}
    with served(bench.paths) as server:  # the part of QEMU, whose guest here has no network
        there = server.connect()
        assert there.connect("work") == OK and there.put("f") == OK
        assert sharing.listed("m", workspace=bench.workspace).connections == 1
        bench.unshare("work")
        with pytest.raises(OSError):
            there.put("g")
    assert [each.name for each in Path(work).iterdir()] == ["f"]
    bare.end(bench.paths.pidfile)
    bench.start(shares="")
    bench.share(work)
    assert "pommel restart m" in bench.said[-1]
    assert rows(sharing.listed("m", workspace=bench.workspace)) == {"work": ("added", False)}
    with pytest.raises(StateError, match="without a file server"):
        share_mounting.mount("m", workspace=bench.workspace)


def test_a_clone_gets_none_and_another_name_keeps_them(bench: Bench) -> None:
    run(["qemu-img", "create", "-q", "-f", "qcow2", str(bench.paths.disk), "1M"])
    bench.share(bench.folder("work"))
    clones.clone("m", "n", workspace=bench.workspace)
    assert rows(sharing.listed("n", workspace=bench.workspace)) == {}
    clones.rename("m", "o", workspace=bench.workspace)
    assert rows(sharing.listed("o", workspace=bench.workspace)) == {"work": ("added", False)}
    sharing.serve(bench.workspace, bench.workspace.spec("o"))
    assert len(shares_added.served(bench.workspace.paths("o"))) == 1


def test_a_host_without_samba_is_told_which_packages(bench: Bench) -> None:
    """In a sandbox that has all of this host but the folder in which smbd is."""
    work = bench.folder("work")
    env = {**os.environ, "POMMEL_HOME": str(bench.workspace.home.root)}
    lacks = ["bwrap", "--dev-bind", "/", "/", "--tmpfs", "/usr/sbin"]
    done = subprocess.run(
        [*lacks, sys.executable, "-P", "-m", "pommel", "share", "m", work],
        env=env, cwd=bench.workspace.cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "sharing folders needs smbd" in done.stderr and "samba" in done.stderr
    assert "--tmpfs" not in done.stderr and not (bench.paths.directory / shares_added.FILE).exists()


def test_a_full_disk_loses_nothing_that_was_shared(bench: Bench) -> None:
    bench.share(bench.folder("work"))
    before, other = (bench.paths.directory / shares_added.FILE).read_text(), bench.folder("other")
    limit, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limit[1]))  # as a disk that has room for ten bytes
    try:
        with pytest.raises(MachineError, match=r"shares\.json cannot be written"):
            bench.share(other)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, ignored)
    assert (bench.paths.directory / shares_added.FILE).read_text() == before


def test_by_9p_a_folder_comes_and_goes_with_a_start_and_nothing_else_is_said(bench: Bench) -> None:
    work, other = bench.folder("work"), bench.folder("other")
    bench.start("")
    assert bench.share(work, by="9p") == {"work": ("added", False)}
    assert bench.said == ["m has work by 9p from its next start on: pommel restart m"], "without Samba's part in it"
    plan = share_changes.share("m", other, by="9p", read_only=True, dry_run=True, workspace=bench.workspace)
    assert isinstance(plan, SharePlan) and not list(offences(plan.as_dict()))
    assert (plan.by, plan.guest_folder) == ("9p", "/mnt/other") and "next start (pommel restart m)" in plan.would[-1]
    (placed,) = asked_for.placed(bench.workspace, bench.workspace.spec("m"))["nine"]
    assert str(placed[0]) == f"{work} as work by 9p" and placed[1] == work
    bare.end(bench.paths.pidfile)
    bench.start("", "-fsdev", fsdev(*placed), "-device", "virtio-9p-pci,fsdev=pommel-9p-work,mount_tag=work")
    (row,) = sharing.listed("m", workspace=bench.workspace).shares
    assert (row.by, row.guest_folder, row.live) == ("9p", "/mnt/work", True)
    levels = dict(check[1:3][::-1] for check in sharing.checks(bench.workspace, bench.workspace.spec("m")))
    assert levels[f"share work: {work}, by 9p, live"] == "ok"
    bench.said.clear()
    assert bench.share(other, "work", by="9p") == {"work": ("taken back", True)}, "QEMU has the other one still"
    told = sharing.listed("m", workspace=bench.workspace)
    assert [(row.host_folder, row.origin, row.live) for row in told.shares] == [
        (other, "added", False),
        (work, "taken back", True),
    ]
    assert "pommel restart m" in bench.said[0]
    assert bench.share(work, "work", by="9p") == {"work": ("added", True)}, "as QEMU has it"
    bench.said.clear()
    assert bench.unshare("work") == {"work": ("taken back", True)}
    assert "could mount it again; pommel restart m" in bench.said[0]
    levels = dict(check[1:3][::-1] for check in sharing.checks(bench.workspace, bench.workspace.spec("m")))
    assert levels["share work: its guest can use it until: pommel restart m"] == "warn"
    bare.end(bench.paths.pidfile)
    assert rows(sharing.listed("m", workspace=bench.workspace)) == {}


def test_by_9p_neither_samba_nor_a_network_of_qemus_own_is_asked_for(bench: Bench) -> None:
    work = bench.folder("work")
    bench.settings("network = 'none'\nmacos = '14'")
    assert bench.share(work, by="9p") == {"work": ("added", False)}
    assert "the Finder copies nothing into it" in bench.said[0] and "sudo mount_9p work" in bench.said[0]
    env = {**os.environ, "POMMEL_HOME": str(bench.workspace.home.root)}
    lacks = ["bwrap", "--dev-bind", "/", "/", "--tmpfs", "/usr/sbin", sys.executable, "-P", "-m", "pommel"]
    done = subprocess.run([*lacks, "share", "m", work, "--by", "9p", "--json"], env=env, cwd=bench.workspace.cwd,
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert json.loads(done.stdout)["shares"][0]["by"] == "9p"


def test_by_9p_what_a_guest_may_write_in_is_marked_at_the_command_and_what_it_may_read_is_not(bench: Bench) -> None:
    work, songs = Path(bench.folder("work")), Path(bench.folder("songs"))
    bench.share(str(work), by="9p")
    bench.share(str(songs), by="9p", read_only=True)
    trusted = {folder: trust.doubt(folder) is None for folder in (work, songs)}
    assert trusted == {work: False, songs: True}


def test_by_9p_a_folder_whose_file_system_keeps_no_attributes_is_refused_by_name(bench: Bench) -> None:
    bench.settings("")
    for read_only in (False, True):
        share = new_share("/proc/self/fdinfo", "x", by="9p", read_only=read_only)
        if read_only:
            share_folder.must_keep_attributes(Path("/proc/self/fdinfo"), share)
        else:
            with pytest.raises(StateError, match="has no extended attributes") as refused:
                share_folder.must_keep_attributes(Path("/proc/self/fdinfo"), share)
            assert "by SMB" in (refused.value.hint or "")


def test_by_9p_nothing_comes_or_goes_while_the_machine_sleeps(bench: Bench) -> None:
    work, other = bench.folder("work"), bench.folder("other")
    bench.share(work, by="9p")
    guests.make_disk(bench.paths.disk)
    bench.start("", *guests.drives(bench.paths))
    savestate.sleep(bench.paths)
    assert permission.sleeps(bench.paths)
    tries: list[Callable[[], object]] = [lambda: bench.share(other, by="9p"), lambda: bench.share(other, "work"),
                                         lambda: bench.unshare("work")]  # fmt: skip
    for each in tries:
        with pytest.raises(StateError, match="m sleeps, and would wake up with other devices") as refused:
            each()
        assert "pommel start m" in (refused.value.hint or "")
    assert bench.share(work, by="9p") == {"work": ("added", False)}, "what is so already"
