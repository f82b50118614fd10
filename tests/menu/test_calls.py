"""What the menu asks of the app, where that is more than passing it on. (The rest: test_home, at real machines.)"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pommel.app.workspace import Workspace
from pommel.menu.calls import Calls
from waits import wait_until

URL = "http://127.0.0.1:41231/?token=abc"


def a_desktop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with an xdg-open that keeps what it was given, and writes where a terminal would be."""
    said = tmp_path / "said"
    program = tmp_path / "bin" / "xdg-open"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho noise; echo noise >&2\nprintf %s "$1" > {said}.part; mv {said}.part {said}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return said


@pytest.mark.parametrize("display", ["DISPLAY", "WAYLAND_DISPLAY"])
def test_a_desktop_opens_the_page_and_is_not_heard(
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    display: str,
) -> None:
    said = a_desktop(tmp_path, monkeypatch)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    assert Calls(replace(workspace, env={display: ":0", "PATH": "/usr/bin:/bin"})).browse(URL)
    wait_until(said.exists, 10)
    assert said.read_text() == URL
    assert capfd.readouterr() == ("", "")


def test_where_there_is_no_desktop_nothing_is_started(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = a_desktop(tmp_path, monkeypatch)
    assert not Calls(workspace).browse(URL)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not Calls(replace(workspace, env={"DISPLAY": ":0"})).browse(URL)  # a desktop without xdg-open
    assert not said.exists()


def test_a_changed_pommel_toml_is_seen(workspace: Workspace) -> None:
    calls = Calls(workspace)
    assert [seen.name for seen in calls.machines()] == ["trial"]
    (workspace.cwd / "pommel.toml").write_text("[machine.late]\n")
    assert [seen.name for seen in calls.machines()] == ["late", "trial"]
