"""What a boot script sees of people's own folders, in a real bubblewrap."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pommel.overlay import sandbox, shown
from pommel.overlay.capture import ScriptInput, capture

Look = Callable[..., str]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "homes" / "ada"
    (folder / "vms" / "osx").mkdir(parents=True)
    (folder / "secret.txt").write_text("secret")
    (folder / ".ssh").mkdir()
    (folder / ".ssh" / "id").write_text("key")
    (folder / "disks").mkdir()
    (folder / "disks" / "mac.img").write_text("disk")
    (folder / "My VMs").mkdir()
    (folder / "My VMs" / "mac.img").write_text("disk")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USER", "ada")
    return folder


@pytest.fixture
def look(home: Path) -> Look:
    """Run a script in HOME/vms/osx, and return what its `look PATH` calls found: yes, no."""

    def run(text: str, args: tuple[str, ...] = (), **env: str) -> str:
        upstream = home / "vms" / "osx"
        script = upstream / "boot.sh"
        begin = '#!/bin/bash\nlook() { if [ -s "$1" ] && [ -r "$1" ]; then echo -n "yes "; else echo -n "no "; fi; }\n'
        script.write_text(f"{begin}{text}\nexec qemu-system-x86_64 -S\n")
        script.chmod(0o755)
        assert sandbox.bubblewrap() is not None
        found = capture(upstream, "boot.sh", given=ScriptInput(args, env), hidden=(home / "pommel",))
        assert found.sandboxed
        return found.output.strip()

    return run


@pytest.mark.parametrize(
    "path",
    [
        "~/disks/mac.img",
        "$HOME/disks/mac.img",
        '"${HOME}/disks/mac.img"',
        "../../disks/mac.img",
        '"$(dirname "$0")/../../disks/mac.img"',
        '"$HOME/disks/$IMAGE"',
        "~/disks/*.img",
        '"$HOME/My VMs/mac.img"',
        "~/My\\ VMs/mac.img",
    ],
)
def test_what_the_script_names_is_shown(look: Look, path: str) -> None:
    assert look(f"IMAGE=mac.img\nlook {path}") == "yes"


def test_nothing_else_of_a_home_is(look: Look, home: Path) -> None:
    text = "cd ~ && A=secret.txt B=.ssh/id; look $A; look $B; for f in $(ls -A); do echo -n $f,; done"
    assert look(text) == "no no vms,"
    assert look('D=~; look "$D/secret.txt"; look ~/vms/osx/boot.sh') == "no yes"
    assert (home / "secret.txt").read_text() == "secret"


@pytest.mark.parametrize("way", ["~/.ssh/id", '"$HOME/.ssh/$KEY"', "../../.ssh/id"])
def test_keys_are_not_shown_to_a_script_that_names_them(look: Look, way: str) -> None:
    assert look(f"KEY=id\nlook {way}") == "no"


def test_a_link_to_a_key_is_not_followed(look: Look, home: Path) -> None:
    (home / "vms" / "osx" / "notes").symlink_to(home / ".ssh" / "id")
    (home / "disks" / "keys").symlink_to(home / ".ssh")
    assert look("look notes; look ~/disks/keys/id; look ~/disks/mac.img") == "no no yes"


def test_what_links_of_the_upstream_lead_to_is_shown(look: Look, home: Path) -> None:
    (home / "vms" / "osx" / "mac.img").symlink_to("../../disks/mac.img")
    assert look("look mac.img") == "yes"


def test_a_link_on_the_way_stays_one(look: Look, home: Path) -> None:
    (home / "big").symlink_to("disks")
    assert look("look ~/big/mac.img") == "yes"


def test_what_the_user_says_is_shown(look: Look, home: Path) -> None:
    assert (
        look('look "$1"; look "$DISK"', (str(home / "secret.txt"),), DISK=str(home / "disks" / "mac.img")) == "yes yes"
    )


def test_what_a_file_beside_it_names_is_shown(look: Look, home: Path) -> None:
    (home / "vms" / "osx" / "settings.env").write_text("DISK=$HOME/disks/mac.img\n")
    (home / "deeper.env").write_text(f"OTHER={home}/secret.txt\n")
    assert look('. ./settings.env; look "$DISK"; . ~/deeper.env; look "$OTHER"') == "yes yes"


def test_programs_of_a_home_run(look: Look, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "tool" / "bin").mkdir(parents=True)
    (home / "tool" / "share").mkdir()
    (home / "tool" / "share" / "data").write_text("42")
    program = home / "tool" / "bin" / "size-of"
    program.write_text('#!/bin/sh\ncat "$(dirname "$0")/../share/data"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}/tool/bin:{os.environ['PATH']}")
    assert look("size-of") == "42"


def test_a_program_that_is_named_finds_what_lies_beside_it(look: Look, home: Path) -> None:
    (home / "python" / "bin").mkdir(parents=True)
    (home / "python" / "lib").mkdir()
    (home / "python" / "lib" / "data").write_text("42")
    program = home / "python" / "bin" / "say"
    program.write_text('#!/bin/sh\ncat "$(dirname "$(realpath "$0")")/../lib/data"\n')
    program.chmod(0o755)
    (home / "env").mkdir()
    (home / "env" / "say").symlink_to(program)
    assert look("~/env/say") == "42"


@pytest.mark.parametrize("linked", [False, True])
def test_a_qemu_of_a_home_is_met_by_the_stand_in(look: Look, home: Path, linked: bool) -> None:
    (home / "qemu" / "build").mkdir(parents=True)
    program = home / "qemu" / "build" / "qemu-system-x86_64"
    program.write_text('#!/bin/sh\ntouch "$HOME/vms/osx/RAN"\n')
    program.chmod(0o755)
    if linked:
        (home / "mine").symlink_to("qemu/build")
    where = "mine" if linked else "qemu/build"
    upstream = home / "vms" / "osx"
    (upstream / "boot.sh").write_text(f"#!/bin/sh\nexec ~/{where}/qemu-system-x86_64 -S\n")
    (upstream / "boot.sh").chmod(0o755)
    found = capture(upstream, "boot.sh")
    assert found.argv == ("-S",) and "RAN" not in found.created


def test_a_qemu_that_is_not_in_a_home_is_met_too(home: Path) -> None:
    upstream = home / "vms" / "osx"
    (upstream / "boot.sh").write_text("#!/bin/sh\nexec ~/disks/bin/qemu-system-x86_64 -S\n")
    (upstream / "boot.sh").chmod(0o755)
    assert capture(upstream, "boot.sh").argv == ("-S",)


def test_pommels_own_folders_are_empty(look: Look, home: Path) -> None:
    (home / "pommel").mkdir()
    (home / "pommel" / "record").write_text("x")
    assert look("D=~/pom; look ${D}mel/record") == "no"


@pytest.mark.parametrize(
    "way", ["$HOME", "${HOME}", "~/", "{home}", "{home}/", "{home}/.", "/home", "/home/", "../..", "{above}"]
)
def test_no_home_is_shown_whole(home: Path, way: str) -> None:
    upstream = home / "vms" / "osx"
    named = way.replace("{home}", str(home)).replace("{above}", str(home.parent))
    view = shown.shown(shown.hidden(), upstream, text=f'A="{named}"; B={named}; cd {named}\nlook ~/disks/mac.img')
    assert view.binds == (home / "disks" / "mac.img",)
