"""What doctor sees of a home that cannot be written to, and of a machine that cannot be reached."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from machine.bare import argv, short_home
from pommel.app.argv.commandline import new_record
from pommel.app.host import doctor
from pommel.app.workspace import Workspace
from pommel.machine import lifecycle, record
from pommel.machine.identity import RANDOM_BYTES
from pommel.paths import MachinePaths
from pommel.process import run


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with short_home() as home:
        yield Workspace(home, home.root.parent, {"HOME": str(home.root.parent)})


@pytest.fixture
def trial(workspace: Workspace) -> MachinePaths:
    paths = workspace.paths("trial")
    paths.directory.mkdir(parents=True)
    made = new_record(workspace.spec("trial"), bytes(RANDOM_BYTES), created="2026-01-01T00:00:00+00:00")
    record.save(paths.record, made)
    return paths


def checks(workspace: Workspace, name: str) -> list[doctor.Check]:
    return [check for check in doctor.doctor("trial", workspace=workspace) if check.name == name]


def test_a_running_machine_whose_sockets_are_gone(workspace: Workspace, trial: MachinePaths) -> None:
    lifecycle.start(trial, argv(trial))
    assert [check.level for check in checks(workspace, "sockets")] == ["ok"]
    shutil.rmtree(trial.runtime)
    (check,) = checks(workspace, "sockets")
    assert check.level == "fail" and f"its sockets are missing in {trial.runtime}" in check.text
    assert "pommel start trial" in str(check.fix)
    assert not trial.runtime.exists()  # it changes nothing


def test_a_home_that_is_read_only(workspace: Workspace, trial: MachinePaths) -> None:
    assert checks(workspace, "home") == []
    run(["mount", "--bind", trial.directory, trial.directory])
    try:
        run(["mount", "-o", "remount,bind,ro", trial.directory])
        (check,) = checks(workspace, "home")
    finally:
        run(["umount", trial.directory])
    assert (check.level, check.text) == (
        "fail",
        f"{trial.directory} cannot be written: its file system is mounted read-only",
    )


def test_the_proxy_in_use_is_told_without_its_password(workspace: Workspace, trial: MachinePaths) -> None:
    assert checks(workspace, "proxy") == []
    login = {"https_proxy": "http://ann:hunter22@p:3128"}
    seen = Workspace(workspace.home, workspace.cwd, {**workspace.env, **login})
    (check,) = checks(seen, "proxy")
    assert (check.level, check.text) == ("ok", "osrecovery.apple.com through the proxy http://p:3128 (https_proxy)")
    left_out = Workspace(workspace.home, workspace.cwd, {**seen.env, "no_proxy": "apple.com"})
    assert [check.text for check in checks(left_out, "proxy")] == ["osrecovery.apple.com without a proxy"]
    socks = Workspace(workspace.home, workspace.cwd, {**workspace.env, "all_proxy": "socks5://ann:hunter22@p:1080"})
    (check,) = checks(socks, "proxy")
    assert check.level == "fail" and "socks5" in check.text and "hunter22" not in check.text + str(check.fix)
