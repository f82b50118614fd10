"""`up` and `up --dry-run` refuse the same, before anything is done."""

from __future__ import annotations

import random
import socket
from pathlib import Path

import pytest

from app.upstream.test_origins import Repo, changed, patch
from endurance import operations
from endurance.world import SCRIPT as BOOTS
from endurance.world import world
from host.test_qemu_devices import without
from overlay.repos import NEW, SCRIPT
from pommel.app.host import doctor
from pommel.app.machine import foresight, making, up
from pommel.app.workspace import Workspace
from pommel.errors import ConfigError, PommelError, StateError, UpstreamError
from pommel.machine import disk
from pommel.paths import Home


def own(tmp_path: Path, toml: str, body: str = "") -> Workspace:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / SCRIPT).write_text(body or (NEW / SCRIPT).read_text())
    (tmp_path / "pommel.toml").write_text(f'[machine.mac]\nupstream = "own"\naccel = "tcg"\n{toml}')
    return Workspace(Home(tmp_path / "h", tmp_path / "r", tmp_path / "c"), tmp_path, {})


def refusals(workspace: Workspace) -> tuple[PommelError, PommelError]:
    """What `up` and its dry run raise; neither has made anything."""
    found = []
    for call in (up.plan, up.up):
        with pytest.raises(PommelError) as told:
            call("mac", workspace=workspace)
        found.append(told.value)
    assert not workspace.paths("mac").directory.exists()
    return found[0], found[1]


@pytest.mark.parametrize(
    ("toml", "kind", "said"),
    [
        ("", StateError, "no setting says which macOS to install"),
        ('macos = "sonoma"\ndisk = "20G"\n', ConfigError, "too small to install macOS"),
        ('macos = "sonoma"\nnetwork = "bridge:br-none"\n', PommelError, "there is no bridge br-none"),
        ('macos = "sonoma"\nqemu = "/no/qemu"\n', PommelError, "qemu is /no/qemu"),
        ('macos = "sonoma"\nboot_script = "none.sh"\n', UpstreamError, "has no boot script none.sh"),
        ('macos = "sonoma"\ncores = 5\n', ConfigError, "macOS hangs"),
    ],
)
def test_both_refuse_the_same(tmp_path: Path, toml: str, kind: type[PommelError], said: str) -> None:
    dry, real = refusals(own(tmp_path, toml))
    assert (str(dry), dry.hint, type(dry)) == (str(real), real.hint, type(real))
    assert isinstance(dry, kind) and said in dry.message


def test_a_qemu_without_a_device_is_refused_by_both_and_told_by_doctor(tmp_path: Path) -> None:
    rhel = without(tmp_path, "applesmc")
    workspace = own(tmp_path, f'macos = "sonoma"\nqemu = "{rhel}"\n')
    dry, real = refusals(workspace)
    assert (str(dry), dry.hint) == (str(real), real.hint)
    assert f"{rhel} has no device isa-applesmc, which macOS needs to start" in dry.message
    assert "set qemu to it" in (dry.hint or "")
    (told,) = [each for each in doctor.doctor("mac", workspace=workspace) if each.name == "devices"]
    assert told.level == "fail" and told.text == dry.message and told.fix == dry.hint


def test_a_start_is_refused_as_well_before_qemu_is_started() -> None:
    with world() as here:
        (here.root / "own" / "OpenCore-Boot.sh").write_text(BOOTS.rstrip() + " -device usb-ehci,id=u\n")
        first = operations.adopt(here, {}, random.Random(1))
        assert first is not None and here.run(first.words).status == 0
        lacking = without(here.root, 'name "usb-ehci"')
        toml = here.cwd / "pommel.toml"
        toml.write_text(toml.read_text().replace("]\n", f']\nqemu = "{lacking}"\n'))
        done = here.run(("start", first.name))
        assert done.status == 1 and f"error: {lacking} has no device usb-ehci" in done.said
        assert here.qemu(first.name) is None


def test_a_used_disk_is_refused_by_both(tmp_path: Path) -> None:
    workspace = own(tmp_path, 'macos = "sonoma"\n')
    used = tmp_path / "own" / "mac_hdd_ng.img"
    disk.create(used, 1 << 30)
    disk.qemu_img("convert", "-f", "raw", "-O", "qcow2", str(_data(tmp_path)), str(used))
    dry, real = refusals(workspace)
    assert dry.message == real.message and "there is data on it" in dry.message
    assert "pommel adopt" in (dry.hint or "") and 'disk_file = "own"' in (dry.hint or "")


def _data(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(b"data" * (1 << 20))
    return path


def test_a_conflict_in_the_config_repo_is_refused_by_both(tmp_path: Path) -> None:
    repo = Repo(tmp_path, NEW)
    repo.lay()
    (repo.folder / "patches" / "old.patch").write_text(patch("ram=1\nx\n", "ram=2\nx\n"))
    dry, real = refusals(repo.workspace)
    assert dry.message == real.message and "conflicts with the upstream" in dry.message


def test_what_is_to_be_laid_on_first_is_a_step(tmp_path: Path) -> None:
    repo = Repo(tmp_path, NEW)
    repo.lay()
    (repo.folder / "patches" / "ram.patch").write_text(patch(repo.text, changed(repo.text, ("ram=4096", "ram=6144"))))
    steps = up.steps("mac", workspace=repo.workspace)
    assert [(step.what, step.needed) for step in steps if "patches" in step.what] == [("apply patches/ram.patch", True)]


def test_warnings_of_the_start_are_told_by_the_dry_run(tmp_path: Path) -> None:
    workspace = own(tmp_path, 'macos = "sonoma"\n', (NEW / SCRIPT).read_text().replace("ram=4096", "ram=9999999"))
    assert any("is more than the" in line for line in up.plan("mac", workspace=workspace).warnings)


def test_a_busy_ssh_port_is_no_obstacle_and_one_that_the_script_forwards_is(tmp_path: Path) -> None:
    """The SSH port is Pommel's to choose: the next free one is taken, as when another machine runs."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        workspace = own(tmp_path, f'macos = "sonoma"\nssh_port = {port}\n')
        assert up.plan("mac", workspace=workspace).steps
        script = tmp_path / "own" / SCRIPT
        script.write_text(
            script.read_text().replace("hostfwd=tcp::2222-:22", f"hostfwd=tcp::{port + 1}-:22,hostfwd=tcp::{port}-:80")
        )
        (tmp_path / "pommel.toml").write_text((tmp_path / "pommel.toml").read_text().replace(f"ssh_port = {port}", ""))
        dry, real = refusals(workspace=Workspace(workspace.home, tmp_path, {}))
        assert dry.message == real.message and f"port {port}, which the boot script forwards" in dry.message


def test_nothing_is_looked_into_that_is_not_there_yet(tmp_path: Path) -> None:
    (tmp_path / "pommel.toml").write_text('[machine.mac]\nmacos = "sonoma"\n')
    workspace = Workspace(Home(tmp_path / "h", tmp_path / "r", tmp_path / "c"), tmp_path, {})
    assert foresight.look(workspace, workspace.spec("mac"), None) == foresight.Foreseen()
    (tmp_path / "pommel.toml").write_text("[machine.mac]\n")
    unknown = Workspace(workspace.home, tmp_path, {})
    with pytest.raises(StateError, match="no setting says which macOS"):
        making.refuse(unknown, unknown.spec("mac"))
    with pytest.raises(StateError, match="no setting says which macOS"):
        up.plan("mac", workspace=unknown)
