"""Launchers: run by a real shell from PATH, and nobody else's program touched."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pommel.errors import BuildError, StateError
from pommel.host import commands
from pommel.host.commands import Launcher

USUAL = "/usr/bin:/bin"


def program(path: Path, text: str = 'printf "%s|" "$0" "$@"\n') -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)
    return path


def one(home: Path, *argv: object, path: str = USUAL, name: str = "pommel") -> Launcher:
    (launcher,) = commands.plan(home, path, {name: [str(word) for word in argv]})
    return launcher


def test_a_launcher_starts_pommel_with_its_words(tmp_path: Path) -> None:
    door = program(tmp_path / 'a $(folder)\'s "name"' / "pommel")
    launcher = one(tmp_path, door, "clip it")
    assert (launcher.path, launcher.state) == (tmp_path / ".local" / "bin" / "pommel", "missing")
    assert commands.apply(launcher) is True
    path = f"{launcher.path.parent}:{USUAL}"
    done = subprocess.run(["pommel", "a b", "", "$x"], env={"PATH": path}, capture_output=True, text=True)
    assert done.stdout == f"{door}|clip it|a b||$x|"
    assert one(tmp_path, door, "clip it", path=path).state == "placed"
    assert commands.apply(launcher) is False


def test_a_launcher_of_a_python_takes_its_exit_status(tmp_path: Path) -> None:
    launcher = one(tmp_path, sys.executable, "-c", "import sys; sys.exit(7)")
    commands.apply(launcher)
    assert subprocess.run([launcher.path]).returncode == 7


def test_a_launcher_whose_pommel_is_gone_says_so(tmp_path: Path) -> None:
    door = program(tmp_path / "b c" / "pommel")
    launcher = one(tmp_path, door)
    commands.apply(launcher)
    door.unlink()
    done = subprocess.run([launcher.path], capture_output=True, text=True)
    assert done.returncode == 127
    assert done.stderr.startswith(f"error: {door} does not exist\nhint: ")


def test_the_launcher_of_another_place_is_replaced(tmp_path: Path) -> None:
    commands.apply(one(tmp_path, program(tmp_path / "old" / "pommel")))
    launcher = one(tmp_path, program(tmp_path / "new" / "pommel"))
    assert launcher.state == "outdated"
    assert commands.apply(launcher) is True
    assert one(tmp_path, tmp_path / "new" / "pommel").state == "placed"


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    theirs = program(commands.folder(tmp_path) / "pommel")
    launcher = one(tmp_path, program(tmp_path / "pommel"))
    assert launcher.state == "foreign"
    with pytest.raises(StateError, match="is not Pommel's") as refusal:
        commands.apply(launcher)
    assert refusal.value.hint == f"to let Pommel replace it: rm {theirs}"
    assert commands.remove(launcher) is False
    assert theirs.read_text().startswith("#!/bin/sh\nprintf")


def test_what_somebody_edited_stays(tmp_path: Path) -> None:
    launcher = one(tmp_path, program(tmp_path / "pommel"))
    commands.apply(launcher)
    launcher.path.write_text(launcher.text.replace("exec", "nice exec"))
    assert one(tmp_path, tmp_path / "pommel").state == "edited"
    with pytest.raises(StateError, match="was edited"):
        commands.apply(launcher)
    assert commands.remove(launcher) is False
    assert "nice" in launcher.path.read_text()


@pytest.mark.parametrize("there", ["nothing", "folder", "pipe"])
def test_what_is_no_plain_file_stays(there: str, tmp_path: Path) -> None:
    place = commands.folder(tmp_path) / "pommel"
    place.parent.mkdir(parents=True)
    {"nothing": lambda: place.symlink_to("/nothing"), "folder": place.mkdir, "pipe": lambda: os.mkfifo(place)}[there]()
    launcher = one(tmp_path, program(tmp_path / "pommel"))
    assert launcher.state == "foreign"
    assert commands.remove(launcher) is False
    assert os.path.lexists(place)


def test_ours_is_removed_and_a_second_time_is_fine(tmp_path: Path) -> None:
    launcher = one(tmp_path, program(tmp_path / "pommel"))
    commands.apply(launcher)
    assert commands.remove(one(tmp_path, "/another/pommel")) is True
    assert commands.remove(launcher) is False
    assert not launcher.path.exists()


def test_a_link_to_this_pommel_needs_no_launcher(tmp_path: Path) -> None:
    door = program(tmp_path / "checkout" / "pommel")
    link = commands.folder(tmp_path) / "pommel"
    link.parent.mkdir(parents=True)
    link.symlink_to(door)
    launcher = one(tmp_path, door, path=f"{link.parent}:{USUAL}")
    assert launcher.state == "on-path"
    assert commands.apply(launcher) is False
    assert commands.remove(launcher) is False
    assert link.is_symlink()


def test_a_link_to_the_front_door_is_not_one_of_its_commands(tmp_path: Path) -> None:
    door = program(tmp_path / "checkout" / "pommel")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "vm-clip").symlink_to(door)
    assert one(tmp_path, door, "clip", name="vm-clip", path=f"{tmp_path}/bin").state == "missing"


@pytest.mark.parametrize(
    "start",
    [
        "#!{python}\nimport sys\n",
        "#!/bin/sh\n'''exec' {python} \"$0\" \"$@\"\n' '''\nimport sys\n",
        "#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''\nimport sys\n",
    ],
)
def test_pips_script_for_this_python_needs_no_launcher(start: str, tmp_path: Path) -> None:
    script = program(tmp_path / "venv" / "bin" / "pommel")
    script.write_text(start.format(python=sys.executable))
    path = f"{script.parent}:{USUAL}"
    assert one(tmp_path, sys.executable, "-P", "-m", "pommel", path=path).state == "on-path"
    assert one(tmp_path, "/another/python", "-P", "-m", "pommel", path=path).state == "missing"
    assert one(tmp_path, sys.executable, "-m", "pip", path=path).state == "missing"
    # pipx puts a link to it into ~/.local/bin
    (link := commands.folder(tmp_path) / "pommel").parent.mkdir(parents=True)
    link.symlink_to(script)
    assert one(tmp_path, sys.executable, "-P", "-m", "pommel", path=f"{link.parent}").state == "on-path"


def test_the_script_that_pip_made_here_is_known(tmp_path: Path) -> None:
    made = Path(sys.executable).parent
    assert one(tmp_path, sys.executable, "-P", "-m", "pommel", path=f"{made}:{USUAL}").state == "on-path"


def test_a_launcher_of_the_same_words_elsewhere_will_do(tmp_path: Path) -> None:
    door = program(tmp_path / "pommel")
    launcher = one(tmp_path, door, "-v")
    elsewhere = tmp_path / "usr" / "pommel"
    elsewhere.parent.mkdir()
    elsewhere.write_text(launcher.text)
    elsewhere.chmod(0o755)
    assert one(tmp_path, door, "-v", path=str(elsewhere.parent)).state == "on-path"
    assert one(tmp_path, door, "-x", path=str(elsewhere.parent)).state == "missing"


def test_another_program_that_comes_first_is_named(tmp_path: Path) -> None:
    other, door = program(tmp_path / "usr" / "pommel"), program(tmp_path / "pommel")
    mine = commands.folder(tmp_path)
    commands.apply(one(tmp_path, door))
    assert one(tmp_path, door, path=f"{other.parent}:{mine}").shadowed_by == other
    assert one(tmp_path, door, path=f"{mine}:{other.parent}").shadowed_by is None


def test_what_to_type_where_the_folder_is_not_on_path(tmp_path: Path) -> None:
    where = commands.folder(tmp_path)
    where.mkdir(parents=True)
    for shell in ("/bin/bash", "/usr/bin/zsh", ""):
        what, how = commands.advice(tmp_path, USUAL, shell) or ("", "")
        assert what == f"{where} is not on PATH"
        env = {"HOME": str(tmp_path), "PATH": USUAL}
        profile = how.partition(">> ")[2].partition(";")[0].replace("~", str(tmp_path))
        done = subprocess.run(
            ["sh", "-c", f"{how}; . {shlex.quote(profile)}; echo $PATH"], env=env, capture_output=True
        )
        assert done.stdout.decode().startswith(f"{where}:{where}:")
    assert commands.advice(tmp_path, USUAL, "/usr/bin/fish") == (f"{where} is not on PATH", f"fish_add_path {where}")
    assert commands.advice(tmp_path, f"{USUAL}:{where}/") is None


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / ".local").touch()
    launcher = one(tmp_path, "/x/pommel")
    assert launcher.state == "missing"
    with pytest.raises(BuildError, match="cannot be written"):
        commands.apply(launcher)


def test_a_path_that_is_no_text(tmp_path: Path) -> None:
    door = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")) / "pommel"
    program(door, "echo there\n")
    launcher = one(tmp_path, door)
    commands.apply(launcher)
    assert subprocess.run([launcher.path], capture_output=True).stdout == b"there\n"
    assert one(tmp_path, door).state == "placed"
