"""The user's own text over the managed upstream: told from the upstream's, never tuned, told with its file's name."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from overlay.repos import NEW, OLD, SCRIPT, Upstream, bytes_of
from pommel.app.argv import command_shown, commandline
from pommel.app.upstream import origins, overlay, upstreams
from pommel.app.workspace import Workspace
from pommel.machine.origins import PRISTINE
from pommel.paths import Home
from pommel.progress import ignore

KNOBS = {
    OLD: [("ram=4096", "ram=16384"), ("threads=4", "threads=12"), ("cores=2", "cores=6"), ("Penryn,kvm", "Haswell-noTSX,kvm")],
    NEW: [
        ("ram=4096", "ram=16384"), ("threads=4", "threads=12"), ("cores=2", "cores=6"),
        ("Skylake-Client,-hle,-rtm", "Haswell-noTSX"),
    ],
}  # fmt: skip


def changed(text: str, *pairs: tuple[str, str]) -> str:
    for before, after in pairs:
        assert before in text, before
        text = text.replace(before, after, 1)
    return text


def patch(before: str, after: str, name: str = SCRIPT) -> str:
    lines = before.splitlines(keepends=True), after.splitlines(keepends=True)
    return "".join(difflib.unified_diff(*lines, f"a/{name}", f"b/{name}"))


class Repo:
    """A config repo over a real upstream in one of the two layouts."""

    def __init__(self, folder: Path, layout: Path, toml: str = "") -> None:
        upstream = Upstream(folder / "u")
        other = folder / "other.sh"
        other.write_text("#!/bin/sh\n")
        other.chmod(0o755)
        files: dict[str, str | bytes | Path | None] = {SCRIPT: layout / SCRIPT, "other.sh": other}
        variables = bytes_of("vars", 64)
        commit = upstream.commit({**files, "OVMF_VARS-1920x1080.fd": variables})
        self.folder = folder / "mac"
        (self.folder / "patches").mkdir(parents=True)
        (self.folder / "files").mkdir()
        self.text = (layout / SCRIPT).read_text()
        known = hashlib.sha256(variables).hexdigest()
        pin = f'[upstream]\nurl = "{upstream.url}"\ncommit = "{commit}"\nsha256 = {{ "OVMF_VARS-1920x1080.fd" = "{known}" }}\n'
        (self.folder / "pommel.toml").write_text(f'{pin}[machine.mac]\nmacos = "sonoma"\n{toml}')
        self.home = Home(folder / "h", folder / "r", folder / "c")

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.home, self.folder, {})

    def lay(self) -> Path:
        upstreams.lay(self.workspace, self.workspace.file, report=ignore)
        return self.workspace.checkout(self.workspace.file)

    def followed(self) -> origins.Followed:
        return commandline.followed(self.workspace, self.workspace.spec("mac"))

    def written(self) -> dict[str, str]:
        return {a.name: a.written for a in self.followed().traced.line.arguments}


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repo]:
    yield Repo(tmp_path, NEW)


@pytest.mark.parametrize("layout", [OLD, NEW], ids=["2m", "4m"])
def test_a_patched_config_repo_keeps_its_effect(tmp_path: Path, layout: Path) -> None:
    repo = Repo(tmp_path, layout)
    (repo.folder / "patches" / "knobs.patch").write_text(patch(repo.text, changed(repo.text, *KNOBS[layout])))
    repo.lay()
    planned = commandline.command_line(repo.workspace, "mac", {"accel": "tcg"})
    line = planned.overlaid.command_line
    assert [a.value for a in line.find("m")] == ["16384"]
    (smp,) = line.find("smp")
    assert smp.sub.head == "12"
    assert smp.sub.get("cores") == "6"
    (cpu,) = line.find("cpu")
    assert cpu.sub.head == "Haswell-noTSX"
    assert cpu.origin.startswith("patches/knobs.patch")
    assert "patches/knobs.patch" in [
        origin for argument, origin, _ in command_shown.explained(planned) if argument == "-m 16384"
    ]
    assert any(line.startswith("patches/knobs.patch: -smp 12") for line in planned.warnings)


def test_settings_stand_before_the_users_text(repo: Repo) -> None:
    (repo.folder / "patches" / "ram.patch").write_text(patch(repo.text, changed(repo.text, ("ram=4096", "ram=16384"))))
    repo.lay()
    line = commandline.command_line(repo.workspace, "mac", {"accel": "tcg", "memory": "3G"}).overlaid.command_line
    assert [a.value for a in line.find("m")] == ["3072"]


def test_what_nobody_wrote_is_chosen_for_the_host(repo: Repo) -> None:
    repo.lay()
    assert set(repo.written().values()) == {PRISTINE}
    planned = commandline.command_line(repo.workspace, "mac", {"accel": "tcg"})
    assert planned.spec.reasons.keys() >= {"cpu", "memory", "cores"}
    assert planned.differences == ()


def test_each_patch_and_file_is_told_with_what_it_changes(repo: Repo) -> None:
    one = changed(repo.text, ("ram=4096", "ram=6144"))
    (repo.folder / "patches" / "01-ram.patch").write_text(patch(repo.text, one))
    two = changed(one, ("usb-tablet", "usb-mouse"))
    (repo.folder / "patches" / "02-mouse.patch").write_text(patch(one, two))
    (repo.folder / "patches" / "03-other.patch").write_text(patch("#!/bin/sh\n", "#!/bin/sh\n# mine\n", "other.sh"))
    repo.lay()
    found = overlay.with_argv(repo.workspace, overlay.status(repo.workspace)).argv
    assert [(c.script, [(d.origin, str(d)) for d in c.differences]) for c in found] == [
        (SCRIPT, [
            ("patches/01-ram.patch", "-m 4096 → -m 6144"),
            ("patches/02-mouse.patch", "-device usb-tablet,bus=xhci.0 → -device usb-mouse,bus=xhci.0"),
        ]),
    ]  # fmt: skip


def test_a_file_in_the_scripts_place_is_told(repo: Repo) -> None:
    own = repo.folder / "files" / SCRIPT
    own.write_text(changed(repo.text, ("ram=4096", "ram=6144")))
    own.chmod(0o755)
    repo.lay()
    assert repo.written()["m"] == f"files/{SCRIPT}"
    assert repo.written()["cpu"] == PRISTINE


def test_an_edit_in_the_checkout_is_the_users_word_too(repo: Repo) -> None:
    script = repo.lay() / SCRIPT
    script.write_text(changed(repo.text, ("ram=4096", "ram=6144")))
    assert repo.written()["m"] == f"{SCRIPT} edited in the checkout"
    line = commandline.command_line(repo.workspace, "mac", {"accel": "tcg"}).overlaid.command_line
    assert [a.value for a in line.find("m")] == ["6144"]


def test_a_patch_that_is_not_applied_yet_counts_for_nothing(repo: Repo) -> None:
    repo.lay()
    (repo.folder / "patches" / "ram.patch").write_text(patch(repo.text, changed(repo.text, ("ram=4096", "ram=6144"))))
    assert repo.written()["m"] == PRISTINE
    repo.lay()
    assert repo.written()["m"] == "patches/ram.patch"


def test_the_pristine_upstream_is_captured_once(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.lay()
    first = repo.followed()

    def never(*_: object) -> None:
        raise AssertionError("the pristine upstream was laid out again")

    monkeypatch.setattr(origins.pristine, "laid_out", never)
    assert repo.followed().traced.line.words == first.traced.line.words
    for kept in (repo.home.cache / "origins").iterdir():
        kept.write_text("{damaged")
    with pytest.raises(AssertionError, match="laid out again"):
        repo.followed()


def test_where_the_pristine_upstream_gives_nothing_all_of_it_is_the_users(tmp_path: Path) -> None:
    repo = Repo(tmp_path, NEW, 'boot_script = "other.sh"\n')
    (repo.folder / "patches" / "own.patch").write_text(
        patch("#!/bin/sh\n", "#!/bin/sh\nexec qemu-system-x86_64 -m 5000\n", "other.sh")
    )
    repo.lay()
    followed = repo.followed()
    assert {a.written for a in followed.traced.line.arguments} == {"patches/own.patch"}
    assert "gives no command line without your patches and files" in followed.notes[0]


def test_in_a_folder_of_ones_own_every_word_is_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / SCRIPT).write_text((NEW / SCRIPT).read_text())
    (own / SCRIPT).chmod(0o755)
    (tmp_path / "pommel.toml").write_text('[machine.mac]\nupstream = "own"\nmacos = "sonoma"\n')
    workspace = Workspace(Home(tmp_path / "h", tmp_path / "r", tmp_path / "c"), tmp_path, {})
    followed = commandline.followed(workspace, workspace.spec("mac"))
    assert {a.written for a in followed.traced.line.arguments} == {SCRIPT}
