"""A machine in the menu: valid by desktop-file-validate, started by its Exec line, and nobody else's file touched."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pommel.errors import BuildError, StateError, UsageError
from pommel.host import desktop
from pommel.progress import Progress

from .test_desktop_entry import value_of

COMMAND = ("/opt/a pommel/pommel",)


def planned(data_home: Path, name: str = "sonoma", title: str = "macOS Sonoma (sonoma)") -> desktop.DesktopEntry:
    return desktop.plan(name, command=COMMAND, title=title, data_home=data_home)


def test_an_entry_is_written_valid_and_then_done(tmp_path: Path) -> None:
    entry = planned(tmp_path, title="50% \\n of it;\n[x] ünï")
    said: list[Progress] = []
    assert not desktop.is_done(entry)
    assert desktop.apply(entry, report=said.append) == [entry.icon_path, entry.path]
    assert said == []
    assert desktop.is_done(entry)
    assert desktop.apply(entry) == []
    assert entry.path == tmp_path / "applications" / "pommel-sonoma.desktop"
    assert entry.icon_path == tmp_path / "icons" / "hicolor" / "scalable" / "apps" / "pommel.svg"
    done = subprocess.run(["desktop-file-validate", entry.path], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert value_of(entry.path.read_text(), "Name") == "50% \\n of it; [x] ünï"


def test_the_icon_is_a_square_picture_by_its_theme_name(tmp_path: Path) -> None:
    entry = planned(tmp_path)
    root = ElementTree.fromstring(entry.icon)
    assert root.get("viewBox") == "0 0 64 64"
    assert value_of(entry.text, "Icon") == entry.icon_path.stem


def test_each_line_starts_pommel_and_holds_the_window_when_it_fails(tmp_path: Path) -> None:
    (tmp_path / "a $(pommel)").mkdir()
    program = tmp_path / "a $(pommel)" / "pom%mel"
    program.write_text('#!/bin/sh\necho "$@"\nexit "$STATUS"\n')
    program.chmod(0o755)
    entry = desktop.plan("m", command=(str(program), "--x=%u"), title="M", data_home=tmp_path)
    lines = [line for line in entry.text.split("\n") if line.startswith("Exec=")]
    for line, words in zip(lines, ("up m", "console m", "stop m"), strict=True):
        run = value_of(line, "Exec").replace("%%", "%")
        for status in ("0", "1"):
            env = {**os.environ, "STATUS": status}
            done = subprocess.run(["sh", "-c", run], env=env, input="\n", capture_output=True, text=True, check=True)
            assert done.stdout == f"--x=%u {words}\n"
            assert ("Press Return" in done.stderr) == (status == "1")


def test_a_folder_is_where_it_is_started(tmp_path: Path) -> None:
    entry = desktop.plan("m", command=COMMAND, title="M", data_home=tmp_path, folder=Path("/my config"))
    assert value_of(entry.text, "Path") == "/my config"
    assert desktop.validate(entry.text) == []
    assert "Path=" not in planned(tmp_path).text


@pytest.mark.parametrize(
    ("name", "command", "title", "folder"),
    [
        ("../x", COMMAND, "t", None),
        ("m", ("/x/\udcff",), "t", None),
        ("m", COMMAND, "\n", None),
        ("m", COMMAND, "t", Path("/x/\udcff")),
    ],
)
def test_what_the_format_cannot_hold(
    name: str, command: tuple[str, ...], title: str, folder: Path | None, tmp_path: Path
) -> None:
    with pytest.raises(UsageError):
        desktop.plan(name, command=command, title=title, data_home=tmp_path, folder=folder)


def test_an_older_pommels_entry_and_icon_are_replaced(tmp_path: Path) -> None:
    old = planned(tmp_path, title="old")
    desktop.apply(old)
    new = planned(tmp_path)
    assert new.state == "outdated"
    assert not desktop.is_done(new)
    assert desktop.apply(new) == [new.path]
    new.icon_path.unlink()
    assert not desktop.is_done(new)
    assert desktop.apply(new) == [new.icon_path]


@pytest.mark.parametrize("text", ["[Desktop Entry]\nName=Mine\n", ""])
def test_somebody_elses_entry_stays(text: str, tmp_path: Path) -> None:
    entry = planned(tmp_path)
    entry.path.parent.mkdir(parents=True)
    entry.path.write_text(text)
    with pytest.raises(StateError, match="is not Pommel's") as refusal:
        desktop.apply(entry)
    assert refusal.value.hint == f"to let Pommel replace it: rm {entry.path}"
    assert not desktop.is_done(entry)
    assert entry.path.read_text() == text
    assert desktop.remove_all(tmp_path).kept == (entry.path,)
    assert os.listdir(entry.path.parent) == [entry.path.name]


def test_an_edited_entry_stays_and_counts_as_done(tmp_path: Path) -> None:
    entry = planned(tmp_path)
    desktop.apply(entry)
    mine = entry.path.read_text().replace("Name=", "Name=My ", 1)
    entry.path.write_text(mine)
    assert desktop.is_done(planned(tmp_path, title="newer"))
    with pytest.raises(StateError, match="was edited"):
        desktop.apply(entry)
    assert desktop.remove("sonoma", data_home=tmp_path) == desktop.Removal((), (entry.path,))
    assert entry.path.read_text() == mine
    assert entry.icon_path.exists(), "the entry that stays shows it"


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    entry = planned(tmp_path)
    entry.path.parent.mkdir(parents=True)
    entry.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError):
        desktop.apply(entry)
    assert not (tmp_path / "elsewhere").exists()
    assert entry.path.is_symlink()


def test_the_icon_goes_with_the_last_entry(tmp_path: Path) -> None:
    one, two = planned(tmp_path, "one"), planned(tmp_path, "two")
    desktop.apply(one)
    desktop.apply(two)
    assert desktop.remove("one", data_home=tmp_path).removed == (one.path,)
    assert desktop.remove("one", data_home=tmp_path) == desktop.Removal((), ())
    assert desktop.remove("two", data_home=tmp_path).removed == (two.path, two.icon_path)
    desktop.apply(one)
    desktop.apply(two)
    assert desktop.remove_all(tmp_path).removed == (one.path, two.path, one.icon_path)
    assert desktop.remove_all(tmp_path) == desktop.Removal((), ())


def test_without_the_validator_our_own_check_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda n, path=None: None if n.startswith("desktop-") else which(n, path=path))
    entry = planned(tmp_path)
    with pytest.raises(BuildError, match="would not be valid: line 1 is neither a group"):
        desktop.apply(replace(entry, text="nonsense"))
    assert not entry.path.exists()
    desktop.apply(entry)
    assert desktop.is_done(entry)


def test_what_the_validator_says_is_passed_on(tmp_path: Path) -> None:
    entry = planned(tmp_path)
    said: list[Progress] = []
    desktop.apply(replace(entry, text=entry.text.replace("Emulator;", "Nonsense;")), report=said.append)
    assert len(said) == 1 and said[0].warning
    assert "Nonsense" in said[0].text and str(tmp_path) not in said[0].text


def test_a_data_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BuildError, match="cannot be written"):
        desktop.apply(planned(tmp_path / "file"))
