"""Opening, waiting on and closing X displays: real servers, and none at all."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path

import pytest
from Xlib import X
from Xlib.error import BadWindow
from Xlib.ext import damage, randr, xfixes

from pommel import x11_display
from pommel.errors import NotPermitted, StateError
from screen.x_server import authority, x_server

HINT = "start one"


def descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


def test_two_servers_with_other_numbers_are_each_spoken_to_in_their_own() -> None:
    with x_server() as all_of_it, x_server("-extension", "MIT-SHM", "-extension", "SHAPE") as less:
        displays = [x11_display.opened(server.name, hint=HINT) for server in (all_of_it, less)]
        numbers = [
            {name: one.display.get_extension_major(name) for name in (randr.extname, xfixes.extname, damage.extname)}
            for one in displays
        ]
        assert numbers[0] != numbers[1]
        assert [one.has_extension("MIT-SHM") for one in displays] == [True, False]
        for one in (*displays, *displays):  # in turn: the second has not taken the first one's place
            assert randr.query_version(one).major_version == 1
            assert xfixes.query_version(one).major_version == 4  # as much as python-xlib asks for
        for one in displays:
            xfixes.select_selection_input(one, one.screen().root, one.intern_atom("CLIPBOARD"), 1)
            owner = one.screen().root.create_window(0, 0, 1, 1, 0, X.CopyFromParent)
            owner.set_selection_owner(one.intern_atom("CLIPBOARD"), X.CurrentTime)
            one.sync()
            assert isinstance(one.next_event(), xfixes.SelectionNotify)
            x11_display.close(one)


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # python-xlib loses what it could not connect
@pytest.mark.parametrize("name", ["nonsense", ":4242", ":99999", "localhost:4242", "unix/:4242"])
def test_nothing_stays_open_where_there_is_no_server(name: str) -> None:
    gc.disable()  # what is forgotten is closed at once, not when the collector comes by
    try:
        before = descriptors()
        with pytest.raises(StateError, match=f"no X server at {name}: ") as caught:
            x11_display.opened(name, hint=HINT)
        assert caught.value.hint == HINT and descriptors() == before
    finally:
        gc.enable()


def test_nothing_stays_open_where_we_are_not_let_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = authority(tmp_path / "theirs")
    monkeypatch.setenv("XAUTHORITY", str(tmp_path / "none"))
    with x_server("-auth", str(theirs)) as server:
        before = descriptors()
        with pytest.raises(NotPermitted, match=f"{server.name} refuses the connection: .*uthori"):
            x11_display.opened(server.name, hint=HINT)
        assert descriptors() == before


def test_a_connection_that_had_an_error_is_closed_all_the_same() -> None:
    with x_server() as server:
        before = descriptors()
        display = x11_display.opened(server.name, hint=HINT)
        with pytest.raises(BadWindow):
            display.create_resource_object("window", 0x12345).get_attributes()
        x11_display.close(display)
        assert descriptors() == before


def test_waiting_ends_by_the_pipe_by_the_server_or_by_the_clock() -> None:
    awake, wake = os.pipe2(os.O_NONBLOCK)
    with x_server() as server:
        display = x11_display.opened(server.name, hint=HINT)
        window = display.screen().root.create_window(0, 0, 9, 9, 0, X.CopyFromParent, event_mask=X.PropertyChangeMask)
        display.sync()
        began = time.monotonic()
        assert not x11_display.wait(display, awake, 0.05) and time.monotonic() - began >= 0.04
        os.write(wake, b"!!")
        assert x11_display.wait(display, awake, None)
        with pytest.raises(BlockingIOError):
            os.read(awake, 1)
        window.change_property(display.intern_atom("A"), display.intern_atom("B"), 8, b"")  # unsent until we wait
        assert not x11_display.wait(display, awake, None)
        assert display.next_event().type == X.PropertyNotify
        x11_display.close(display)
    os.close(awake)
    os.close(wake)
