"""The menu's keys, pressed at real machines."""

from __future__ import annotations

import os
import signal

import pytest

from pommel import locks
from pommel.app.machine import machines, power
from pommel.app.workspace import Workspace
from pommel.menu.calls import Calls
from pommel.menu.widgets import Rows
from pommel.progress import Report, warn

from .stage import Slow, aside, at_the_menu, make, run


async def test_the_list_says_how_machines_are(workspace: Workspace) -> None:
    run(make(workspace, "busy", disk=True))
    make(workspace, "idle").log.write_text("")
    crashed = make(workspace, "lost")
    crashed.pidfile.write_text("1")
    async with at_the_menu(workspace) as seat:
        await seat.reads("● running", "○ stopped", "✕ crashed", "· absent", "3 machines, 1 running")
        rows = {line.split()[0]: line for line in seat.text().splitlines() if line.strip()}
        assert "running" in rows["busy"] and "2201" in rows["busy"] and "/8M" in rows["busy"] and "%" in rows["busy"]
        assert "2202" not in rows["idle"]


async def test_a_crash_and_a_new_machine_are_seen_without_a_key(workspace: Workspace) -> None:
    paths = make(workspace, "m")
    pid = run(paths)
    async with at_the_menu(workspace) as seat:
        await seat.reads("● running")
        os.kill(pid, signal.SIGKILL)
        make(workspace, "another")
        await seat.reads("✕ crashed", "another")


async def test_the_choice_outlives_every_refresh(workspace: Workspace) -> None:
    for name in ("b", "d"):
        make(workspace, name)
    async with at_the_menu(workspace) as seat:
        await seat.choose("d")
        for name in ("a", "c", "e"):
            make(workspace, name)
        await seat.reads("\n e ")
        assert seat.rows.chosen and seat.rows.chosen.name == "d"
        machines.delete("d", workspace=workspace)
        await seat.until(lambda: seat.state("d") is None)
        assert seat.rows.chosen and seat.rows.chosen.name == "e"  # what stands in its place


async def test_a_refresh_without_news_draws_nothing(workspace: Workspace) -> None:
    make(workspace, "m")
    async with at_the_menu(workspace) as seat:
        before = [option.prompt for option in seat.rows.options]
        await seat.home._look()
        assert all(old is new.prompt for old, new in zip(before, seat.rows.options, strict=True))


async def test_stop_powers_the_guest_down(workspace: Workspace) -> None:
    paths = make(workspace, "m")
    run(paths)
    async with at_the_menu(workspace) as seat:
        await seat.choose("m")
        await seat.press("x")
        await seat.reads("○ stopped", "m has stopped (acpi)")
        await seat.press("x")
        await seat.reads("error: m is not running")
    assert locks.holder(paths.pidfile) is None


async def test_stop_again_is_by_force_and_asks(workspace: Workspace) -> None:
    paths = make(workspace, "m")
    run(paths, presses=9)  # a guest that does not obey
    async with at_the_menu(workspace) as seat:
        await seat.choose("m")
        await seat.press("x")
        await seat.reads("◐ stopping", "power button pressed: waiting for the guest")
        await seat.press("x")
        await seat.reads("Stop m by force?")
        await seat.press("enter")  # is no yes
        await seat.press("n")
        assert seat.state("m") == "running"
        await seat.press("x")
        await seat.reads("Stop m by force?")
        await seat.press("y")
        await seat.reads("m has stopped (quit)", "○ stopped")
        await seat.until(lambda: not seat.home.work.jobs)


async def test_delete_takes_the_whole_name(workspace: Workspace) -> None:
    paths = make(workspace, "m")
    async with at_the_menu(workspace) as seat:
        await seat.choose("m")
        await seat.press("d")
        await seat.reads("Type its name to continue")
        await seat.type("n")
        await seat.press("enter")
        await seat.reads("this is not its name")
        await seat.press("escape")
        assert paths.directory.exists()
        await seat.press("d")
        await seat.reads("Type its name to continue")
        await seat.type("m")
        await seat.press("enter")
        await seat.reads("m is deleted")
        assert seat.state("m") is None
    assert not paths.directory.exists()


async def test_a_running_machine_is_not_deleted(workspace: Workspace) -> None:
    run(make(workspace, "m"))
    async with at_the_menu(workspace) as seat:
        await seat.choose("m")
        await seat.press("d")
        await seat.reads("m is running; press x to stop it")


async def test_snapshots_are_saved_chosen_and_loaded(workspace: Workspace) -> None:
    paths = make(workspace, "m", disk=True)
    async with at_the_menu(workspace) as seat:
        await seat.choose("m")
        await seat.press("L")
        await seat.reads("m has no snapshots; press S to save one")
        for tag in ("first", "second"):
            await seat.press("S")
            await seat.reads("Save a snapshot of m")
            await seat.type(tag)
            await seat.press("enter")
            await seat.reads(f"m is saved as {tag}")
        await seat.press("S")
        await seat.reads("Save a snapshot of m")
        await seat.type("7")
        await seat.press("enter")
        await seat.reads("error: '7' cannot be a snapshot's name", "hint: ")
        await seat.press("L")
        await seat.reads("Snapshots of m", "first", "second")
        await seat.press("down", "enter")
        await seat.reads("Load first?")
        await seat.press("y")
        await seat.reads("m is restored to first")
    assert paths.directory.exists()


async def test_an_error_stays_until_the_next_key(workspace: Workspace) -> None:
    async with at_the_menu(workspace) as seat:
        await seat.choose("trial")
        await seat.press("x")
        await seat.reads("error: trial is not running")
        await seat.pilot.pause(1.5)  # a refresh or two
        assert "error: trial is not running" in seat.said
        await seat.press("home")
        assert seat.said == ""


async def test_start_shows_how_far_it_is(workspace: Workspace) -> None:
    calls = Slow(workspace)
    async with at_the_menu(workspace, calls) as seat:
        await seat.choose("trial")
        await seat.press("enter")
        await seat.reads("◐ making", "trial: making · fetching the recovery image · 120 MiB of 700 MiB")
        await seat.press("s")
        await seat.reads("trial: making; when that is done, press the key again")
        calls.ends.set()
        await seat.reads("trial is running; press c to open its screen")
    assert calls.asked == [("up", "trial")]


async def test_a_desktop_is_waited_for_and_the_next_key_does_not_wait(workspace: Workspace) -> None:
    calls = Slow(workspace)
    calls.ends.set()
    async with at_the_menu(workspace, calls) as seat:
        await seat.choose("trial")
        await seat.press("s")
        await seat.reads("◐ waiting", "trial: waiting · waiting for the desktop · 1 of 300 s · its screen is blank")
        calls.desktop.set()
        await seat.reads("trial: its login window is there; press c to open its screen")
        calls.desktop.clear()
        await seat.press("s")
        await seat.reads("◐ waiting")
        await seat.press("x")
        await seat.reads("error: trial is not running")
        await seat.until(lambda: not seat.home.work.jobs)
        await seat.press("s")
        await seat.reads("◐ waiting")
        await seat.press("q")
        await seat.until(lambda: seat.menu.return_code == 0)


async def test_new_asks_which_and_says_what_it_takes(workspace: Workspace) -> None:
    make(workspace, "sequoia")
    calls = Slow(workspace)
    async with at_the_menu(workspace, calls) as seat:
        await seat.press("n")
        await seat.reads("Which macOS?", "sonoma (recommended)", "tahoe")
        offered = [option.id for option in seat.menu.screen.query_one(Rows).options]
        assert "sonoma" in offered and "sequoia" not in offered
        await seat.press("enter")
        await seat.reads("To create sonoma:", "clone OSX-KVM")
        await seat.press("escape")
        assert calls.asked == []
        await seat.press("n")
        await seat.reads("Which macOS?")
        await seat.press("enter")
        await seat.reads("To create sonoma:")
        await seat.press("enter")
        await seat.until(lambda: calls.asked == [("up", "sonoma")])


async def test_the_host_is_never_changed_from_here(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}
    monkeypatch.setattr("pommel.app.machine.up.up", lambda name, **options: asked.update(options))
    Calls(workspace).up("m", lambda _: None)
    assert asked["consent"](None) is False


async def test_restart_asks_first(workspace: Workspace) -> None:
    run(make(workspace, "m"))
    calls = Slow(workspace)
    async with at_the_menu(workspace, calls) as seat:
        await seat.choose("m")
        await seat.press("r")
        await seat.reads("Restart m?")
        await seat.press("n")
        assert calls.asked == []
        await seat.press("r")
        await seat.reads("Restart m?")
        await seat.press("y")
        await seat.reads("m has been restarted")
        assert calls.asked == [("restart", "m")]
        await seat.choose("trial")
        await seat.press("r")
        await seat.reads("trial is not running; press s to start it")


async def test_a_paused_machine_goes_on(workspace: Workspace) -> None:
    paths = make(workspace, "m")
    run(paths)
    aside(lambda: power.suspend("m", workspace=workspace))
    async with at_the_menu(workspace) as seat:
        await seat.reads("‖ paused")
        await seat.choose("m")
        await seat.press("s")
        await seat.reads("m goes on", "● running")


async def test_the_console_is_served_and_its_address_shown(workspace: Workspace) -> None:
    paths = make(workspace, "m")
    run(paths)
    console = {**workspace.env, "PATH": os.environ["PATH"], "SSH_CONNECTION": "1.2.3.4 5 6.7.8.9 22"}
    console["XDG_RUNTIME_DIR"] = str(workspace.home.runtime.parent)
    calls = Calls(Workspace(workspace.home, workspace.cwd, console))
    calls.console = lambda name: _served(name)  # type: ignore[method-assign]
    async with at_the_menu(workspace, calls) as seat:
        await seat.choose("m")
        await seat.press("c")
        await seat.reads("The screen of m", "http://127.0.0.1:41231/?token=abc", "ssh -L 41231:127.0.0.1:41231")
        await seat.press("c")
        assert seat.menu.clipboard == "http://127.0.0.1:41231/?token=abc"
        await seat.press("escape")
        assert seat.menu.screen is seat.home


def _served(name: str) -> object:
    from pommel.app.console.page import Console

    fields = {"name": name, "url": "http://127.0.0.1:41231/?token=abc", "ws": "ws://127.0.0.1:41231/ws", "pid": 1}
    return Console(**fields)


async def test_without_a_machine_to_show_the_console_says_so(workspace: Workspace) -> None:
    async with at_the_menu(workspace) as seat:
        await seat.choose("trial")
        await seat.press("c")
        await seat.reads("error: trial is not running", "hint: pommel up trial")


async def test_the_pane_can_be_hidden(workspace: Workspace) -> None:
    paths = make(workspace, "m")
    async with at_the_menu(workspace) as seat:
        await seat.choose("m")
        await seat.reads(f"folder   {paths.directory}")
        await seat.press("i")
        assert "folder" not in seat.text()
        await seat.press("i")
        await seat.reads("folder")


async def test_the_log_follows_and_leads_back(workspace: Workspace) -> None:
    paths = make(workspace, "m")
    async with at_the_menu(workspace) as seat:
        await seat.choose("m")
        await seat.press("l")
        await seat.reads("error: m has no log")
        paths.log.write_text("first\n")
        await seat.press("l")
        await seat.reads("log  m", "first")
        with paths.log.open("a") as log:
            log.write("\x1b[2Jsecond\x07 [b]no markup[/b]\n")
        await seat.reads("first", "second [b]no markup[/b]")
        for back in ("q", "escape"):
            await seat.press(back)
            await seat.until(lambda: seat.menu.screen is seat.home)
            await seat.press("l")
            await seat.reads("second")


async def test_who_scrolled_up_in_the_log_is_left_there(workspace: Workspace) -> None:
    paths = make(workspace, "m")
    paths.log.write_text("".join(f"line {number}.\n" for number in range(100)))
    async with at_the_menu(workspace) as seat:
        await seat.choose("m")
        await seat.press("l")
        await seat.reads("line 99.")
        await seat.press("home")
        await seat.reads("line 0.")
        with paths.log.open("a") as log:
            log.write("news\n")
        await seat.pilot.pause(1.2)
        assert "line 0." in seat.text() and "news" not in seat.text()
        await seat.press("end")
        await seat.reads("news")


async def test_warnings_are_not_lost(workspace: Workspace) -> None:
    class Warns(Slow):
        def up(self, name: str, report: Report) -> machines.Status:
            for number in range(3):
                warn(report, f"mind {number}")
            return machines.Status(name, "running")

    async with at_the_menu(workspace, Warns(workspace)) as seat:
        await seat.choose("trial")
        await seat.press("s")
        await seat.reads("trial is running", "warning: mind 0", "warning: mind 1", "warning: mind 2")


async def test_a_broken_configuration_is_told_for_as_long_as_it_is_broken(workspace: Workspace) -> None:
    make(workspace, "m")
    file = workspace.cwd / "pommel.toml"
    async with at_the_menu(workspace) as seat:
        file.write_text("[machine.m\n")
        await seat.reads("error: ", "is not valid TOML")
        await seat.press("down")
        assert "is not valid TOML" in seat.said
        assert seat.state("m") == "stopped"  # what was known stays
        file.write_text("[machine.named]\n")
        await seat.reads("named")
        assert seat.said == ""


async def test_the_hosts_own_errors_are_told_too(workspace: Workspace) -> None:
    class Full(Slow):
        def up(self, name: str, report: Report) -> machines.Status:
            raise OSError(28, "No space left on device", "/there")

    async with at_the_menu(workspace, Full(workspace)) as seat:
        await seat.choose("trial")
        await seat.press("s")
        await seat.reads("error: /there: No space left on device", "hint: free some space")


@pytest.mark.parametrize("size", [(80, 24), (40, 12), (200, 60), (20, 6)])
async def test_it_fits_whatever_the_size(workspace: Workspace, size: tuple[int, int]) -> None:
    run(make(workspace, "m"))
    make(workspace, "a-machine-whose-name-is-forty-chars-long")
    async with at_the_menu(workspace, size=size) as seat:
        await seat.reads("m  ", "● r")
        await seat.pilot.resize_terminal(80, 24)
        await seat.reads("STATE", "SCREEN", "q quit")


async def test_without_colours_the_choice_is_in_reverse(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    make(workspace, "m")
    async with at_the_menu(workspace, NO_COLOR="1") as seat:
        await seat.choose("m")
        await seat.press("n")
        await seat.reads("Which macOS?")
        await seat.press("escape")
        strips = [strip for line in range(24) for strip in [seat.menu.screen._compositor.render_strips()[line]]]
        chosen = next(strip for strip in strips if strip.text.startswith(" m "))
        other = next(strip for strip in strips if strip.text.startswith(" trial "))
        assert all(segment.style and segment.style.reverse for segment in chosen)
        assert not any(segment.style and segment.style.reverse for segment in other)
        assert seat.menu.native_ansi_color and seat.menu.no_color


async def test_q_quits_and_machines_go_on(workspace: Workspace) -> None:
    paths = make(workspace, "m")
    pid = run(paths)
    async with at_the_menu(workspace) as seat:
        await seat.press("q")
        await seat.until(lambda: seat.menu.return_code == 0)
    assert locks.holder(paths.pidfile) == pid


async def test_quitting_over_work_asks_and_lets_it_clean_up(workspace: Workspace) -> None:
    calls = Slow(workspace)
    async with at_the_menu(workspace, calls) as seat:
        await seat.choose("trial")
        await seat.press("s")
        await seat.reads("fetching")
        await seat.press("q")
        await seat.reads("Quit anyway?", "this work would be aborted")
        await seat.press("n")
        assert not calls.tidied
        await seat.press("q")
        await seat.reads("Quit anyway?")
        await seat.press("y")
        await seat.until(lambda: seat.menu.return_code == 0)
    assert calls.tidied


@pytest.mark.parametrize("dialog", [(), ("n",), ("d",)])
async def test_ctrl_c_leaves_off_everything_and_quits(workspace: Workspace, dialog: tuple[str, ...]) -> None:
    calls = Slow(workspace)
    make(workspace, "m")
    async with at_the_menu(workspace, calls) as seat:
        await seat.choose("trial")
        await seat.press("s")
        await seat.reads("fetching")
        await seat.choose("m")
        await seat.press(*dialog, "ctrl+c")
        await seat.until(lambda: seat.menu.return_code == 130)
    assert calls.tidied


async def test_work_that_does_not_listen_cannot_hold_the_screen(workspace: Workspace) -> None:
    class Deaf(Slow):
        def up(self, name: str, report: Report) -> machines.Status:
            self.ends.wait()
            return machines.Status(name, "running")

    calls = Deaf(workspace)
    try:
        async with at_the_menu(workspace, calls) as seat:
            await seat.choose("trial")
            await seat.press("s")
            await seat.reads("◐ making")
            await seat.press("ctrl+c")
            await seat.reads("trial: making · leaving off")
            assert seat.menu.return_code is None
            await seat.press("ctrl+c")
            await seat.until(lambda: seat.menu.return_code == 130)
    finally:
        calls.ends.set()


async def test_a_fault_of_ours_is_not_hidden(workspace: Workspace) -> None:
    class Faulty(Slow):
        def up(self, name: str, report: Report) -> machines.Status:
            raise ZeroDivisionError("a bug")

    with pytest.raises(Exception, match="a bug"):
        async with at_the_menu(workspace, Faulty(workspace)) as seat:
            await seat.choose("trial")
            await seat.press("s")
            await seat.until(lambda: seat.menu.return_code == 1)
