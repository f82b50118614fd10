"""Recipes against a real QEMU whose guest of a few bytes writes each key on its screen and on its serial port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.machine.test_waiting import workspace as workspace
from machine import bare, guests
from pommel.app.machine import hands
from pommel.app.recipe import files, position, run
from pommel.app.recipe.run import Begin
from pommel.app.workspace import Workspace
from pommel.errors import BusyError, ConfigError, DeadlineError, StateError, UsageError
from pommel.machine import events, lifecycle
from pommel.progress import Progress
from waits import wait_until

# sti; then for ever: int 16h to read a key, int 10h to write it, and out to COM1; after a Return a line feed too.
ECHOES = bytes.fromhex("fb b400cd16 bb0700b40ecd10 baf803ee 3c0d75ed b00ab40ecd10ee ebe4")

GREETS = """
title = "A greeting"
needs = ["name"]

[[state]]
name = "screen"
says = "waiting for the screen"
until = { rest_s = 1 }
within_s = 60

[[state]]
name = "line"
says = "typing a line"
do = [{ type = "hello {name}\\n", pause_s = 0.02 }, { press = "x" }]
until = { changed = 0.0, serial = "^hello World$", rest_s = 0.5 }
within_s = 60
by_hand = "type hello {name}"
"""


@pytest.fixture
def running(workspace: Workspace) -> Workspace:
    paths = workspace.paths("m")
    sector = paths.directory / "sector"
    sector.write_bytes(guests.sector(ECHOES))
    more = ["-vga", "std", "-vnc", f"unix:{paths.vnc}", "-serial", f"file:{paths.serial_log}"]
    lifecycle.start(paths, bare.argv(paths, "-drive", f"format=raw,file={sector}", *more))
    return workspace


def recipe(workspace: Workspace, text: str) -> str:
    file = workspace.cwd / "r.toml"
    file.write_text(text)
    return str(file)


def test_a_recipe_types_sees_the_answer_and_is_done(running: Workspace) -> None:
    told: list[Progress] = []
    file = recipe(running, GREETS)
    ran = run.run("m", file, values={"name": "World"}, workspace=running, report=told.append)
    assert [(visit.name, visit.tries) for visit in ran.states] == [("screen", 1), ("line", 1)]
    assert ran.title == "A greeting" and ran.seconds >= 1
    assert [event.step for event in told if event.finished] == ["waiting for the screen", "typing a line"]
    assert position.load(running.paths("m")) is None
    noted = [event.text for event in events.read(running.paths("m")) if event.word == "recipe"]
    assert noted == ["screen: waiting for the screen", "line: typing a line", "A greeting: done"]


def test_what_does_not_come_stops_it_with_what_to_do_and_it_goes_on_from_there(running: Workspace) -> None:
    file = recipe(running, GREETS.replace("within_s = 60\nby_hand", "within_s = 2\ntries = 2\nby_hand"))
    with pytest.raises(
        DeadlineError, match=r"stopped in the state 'line' \(typing a line\): .* 2 s in 2 tries"
    ) as late:
        run.run("m", file, values={"name": "Moon"}, workspace=running)
    assert "no such line on its serial port" in late.value.message
    assert late.value.hint == "type hello Moon; then run the recipe again: it goes on from there"
    kept = position.load(running.paths("m"))
    assert kept is not None and (kept.state, kept.attempt) == ("line", 2)
    told: list[Progress] = []
    ran = run.run("m", file, values={"name": "World"}, workspace=running, report=told.append)
    assert [visit.name for visit in ran.states] == ["line"]
    assert "beginning with the state 'line' (it stopped in the state 'line'" in told[0].text


def test_it_goes_on_after_kill_9_and_meanwhile_nobody_else_may_run_one(running: Workspace) -> None:
    file = recipe(running, GREETS.replace('name = "line"', 'name = "line"\nresume = "screen"'))
    code = f"""
from pathlib import Path
from pommel.app.recipe import run
from pommel.app.workspace import Workspace
from pommel.paths import Home
home = Home(*map(Path, {[str(running.home.root), str(running.home.runtime), str(running.home.cache)]!r}))
run.run("m", {file!r}, values={{"name": "Nobody"}}, workspace=Workspace(home, Path({str(running.cwd)!r}), {{}}))
"""
    child = subprocess.Popen([sys.executable, "-P", "-c", code])
    try:
        wait_until(lambda: (kept := position.load(running.paths("m"))) is not None and kept.state == "line", 60)
        with pytest.raises(BusyError, match="a recipe is already being run with m"):
            run.run("m", file, values={"name": "World"}, workspace=running)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    found = run.plan("m", file, values={"name": "World"}, begin=Begin(), workspace=running)[1]
    assert found.begin == "screen" and "it stopped in the state 'line'" in found.why
    hands.press_key("m", "return", workspace=running)  # what was typed when it was killed is a line of its own
    ran = run.run("m", file, values={"name": "World"}, workspace=running)
    assert [visit.name for visit in ran.states] == ["screen", "line"]


def test_where_it_begins(running: Workspace) -> None:
    file, paths = recipe(running, GREETS), running.paths("m")

    def begin(state: str | None = None, *, restart: bool = False) -> str:
        return run.plan("m", file, values={"name": "x"}, begin=Begin(state, restart), workspace=running)[1].begin

    assert begin() == "screen" and begin("line") == "line"
    position.save(paths, position.Position.now(str(Path(file).absolute()), "line", 1))
    assert begin() == "line" and begin(restart=True) == "screen"
    position.save(paths, position.Position.now(file, "gone", 1))
    assert begin() == "screen"
    position.save(paths, position.Position.now("/another", "line", 1))
    assert begin() == "screen"
    (paths.directory / "recipe.json").write_text("{")
    assert begin() == "screen"
    with pytest.raises(UsageError, match="no state 'lin'"):
        begin("lin")
    with pytest.raises(UsageError, match="possible only while macOS is installed without a person") as refused:
        run.plan("m", "macos-unattended", begin=Begin(), workspace=running)
    assert refused.value.hint == "pommel up m --unattended --recipe macos-unattended"


SEES = """
title = "Looks"
[[state]]
name = "like"
says = "looking"
first = { like = { picture = "before.png" } }
do = [{ type = "HELLO 4711\\n" }, { type = "HELLO 4711\\n" }]
until = { text = "4711", region = [0, 0, 720, 200] }
within_s = 90
[[state]]
name = "other"
says = "looking again"
until = { like = { picture = "before.png", tolerance = 0.0001 } }
within_s = 2
otherwise = "ends"
[[state]]
name = "ends"
says = "ending it"
do = [{ call = "end" }]
until = { running = false }
"""


def test_a_reference_picture_text_on_the_screen_and_the_end_of_the_machine(running: Workspace) -> None:
    run.run("m", recipe(running, GREETS), values={"name": "World"}, workspace=running)
    hands.screenshot("m", running.cwd / "before.png", workspace=running)
    ran = run.run("m", recipe(running, SEES), workspace=running)
    assert [visit.name for visit in ran.states] == ["like", "other", "ends"]
    with pytest.raises(StateError, match="m is not running, and the recipe waits for it in the state 'like'"):
        run.run("m", recipe(running, SEES), workspace=running)


def test_a_picture_that_cannot_be_used_is_refused_before_anything_is_done(workspace: Workspace) -> None:
    file = recipe(workspace, SEES)
    with pytest.raises(ConfigError, match=r"before\.png"):
        files.load(file)
    (workspace.cwd / "before.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    with pytest.raises(ConfigError, match="not a PNG that can be read"):
        files.load(file)


def test_a_state_takes_its_branch_by_what_the_guest_reports(running: Workspace) -> None:
    from pommel.app.recipe.signs import Report

    text = """
title = "Reports"
[[state]]
name = "one"
says = "waiting"
until = { told = "done" }
within_s = 30
branch = [{ when = { told = "again" }, go = "two" }, { when = { told = "failed" }, why = "the guest says no" }]
[[state]]
name = "two"
says = "waiting more"
until = { told = "done" }
branch = [{ when = { told = "failed" }, why = "the guest says no" }]
within_s = 30
"""
    loaded = files.load(recipe(running, text))
    said = [[Report("again", "", 0.0)], [], [Report("failed", "", 0.0)]]
    with pytest.raises(DeadlineError, match=r"in the state 'two' .* the guest says no"):
        heard = run.Beside(hear=lambda: said.pop(0) if said else [])
        run.carry_out(loaded, loaded.recipe, running, running.paths("m"), Begin(), beside=heard)
    assert json.loads((running.paths("m").directory / "recipe.json").read_text())["state"] == "two"


def test_a_heartbeat_that_says_the_same_as_before_is_no_news(running: Workspace) -> None:
    from pommel.app.recipe.signs import Report

    text = """
title = "Reports"
[[state]]
name = "one"
says = "waiting"
until = { told = "done" }
within_s = 60
branch = [{ when = { silent_s = 2 }, why = "nothing new is heard" }]
"""
    loaded = files.load(recipe(running, text))
    began, told = time.monotonic(), list[float]()

    def hear() -> list[Report]:
        told.append(time.monotonic())
        moves = told[-1] - began < 4
        return [Report("alive", f"Preparing: {len(told) if moves else 99}%", told[-1])]

    with pytest.raises(DeadlineError, match="nothing new is heard"):
        run.carry_out(loaded, loaded.recipe, running, running.paths("m"), Begin(), beside=run.Beside(hear=hear))
    assert told[-1] - began >= 5  # while the percentage moved it was not silent
