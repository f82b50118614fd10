"""How machines are laid out: within the width, in columns, with words for what colours say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.app.machine.machines import Status
from pommel.menu import layout

NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,39}", fullmatch=True)
STATES = st.sampled_from(
    ["absent", "stopped", "asleep", "starting", "installing", "running", "paused", "crashed", "unheard-of"]
)
BYTES = st.none() | st.integers(0, 1 << 50)
MACHINES = st.builds(
    Status,
    name=NAMES,
    state=STATES,
    pid=st.none() | st.integers(1, 1 << 22),
    uptime_s=st.none() | st.floats(0, 1e8),
    detail=st.text(max_size=200),
    accel=st.sampled_from([None, "kvm", "tcg"]),
    ssh_port=st.none() | st.integers(1, 65535),
    ssh_user=st.none() | NAMES,
    url=st.none() | st.integers(1, 65535).map(lambda port: f"http://127.0.0.1:{port}/?token={'t' * 43}"),
    directory=st.none() | st.just("/a/folder"),
    cpu_percent=st.none() | st.floats(0, 6400),
    memory_bytes=BYTES,
    disk_used_bytes=BYTES,
    disk_size_bytes=BYTES,
    viewers=st.none() | st.integers(0, 9),
)
FULL = Status(
    "sonoma", "running", pid=7, uptime_s=7543, accel="kvm", ssh_port=2222, ssh_user="me",
    url="http://127.0.0.1:41231/?token=abc", directory="/m/sonoma", cpu_percent=183.4, memory_bytes=8 << 30,
    disk_used_bytes=42 << 30, disk_size_bytes=128 << 30, viewers=1,
)  # fmt: skip


@given(st.lists(MACHINES, min_size=1, max_size=5), st.integers(10, 250))
def test_every_line_fits_and_columns_stand_under_their_titles(machines: list[Status], width: int) -> None:
    names = [seen.name for seen in machines]
    lines = [layout.line(seen, width, names).plain for seen in machines]
    assert {len(line) for line in (layout.header(width, names).plain, *lines)} <= {len(lines[0])}
    assert len(lines[0]) <= width


@given(MACHINES, st.integers(24, 250))
def test_the_state_is_a_word(seen: Status, width: int) -> None:
    assert seen.state[:8] in layout.line(seen, width, [seen.name]).plain
    assert "stopping" in layout.line(seen, width, [seen.name], doing="stopping").plain


@given(MACHINES, st.integers(30, 250))
def test_the_pane_keeps_to_its_width_but_for_addresses(seen: Status, width: int) -> None:
    lines = layout.details(seen, width).plain.splitlines()
    assert all(len(line) <= width or " " not in line.strip()[9:].strip() for line in lines)
    if seen.url and seen.pid:
        assert sum(seen.url in line for line in lines) == 1  # whole, so that it can be copied


@given(st.text(st.characters(codec="utf-8")))
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    left = layout.plain(text)
    assert all(char == "\n" or (char >= " " and not "\x7f" <= char <= "\x9f") for char in left)
    assert layout.plain(left) == left


@pytest.mark.parametrize(
    ("raw", "left"),
    [
        ("\x1b[31;1mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("a\rb\x08c", "abc"),
        ("a\tb", "a       b"),
    ],
)
def test_escape_sequences_go_whole(raw: str, left: str) -> None:
    assert layout.plain(raw) == left


def test_80_columns_show_everything() -> None:
    line = layout.line(FULL, 80, ["sonoma", "high-sierra"]).plain
    assert line.split() == ["sonoma", "●", "running", "2h", "5m", "183%", "8G", "42G/128G", "2222", ":41231"]


def test_a_wide_screen_shows_the_address_without_its_token() -> None:
    line = layout.line(FULL, 120, ["sonoma"]).plain
    assert "http://127.0.0.1:41231" in line and "token" not in line


def test_markup_in_what_others_say_is_text() -> None:
    crashed = Status("m", "crashed", detail="[red]no[/red] [@click=app.quit]x[/]", directory="/m")
    assert "[red]no[/red] [@click=app.quit]x[/]" in layout.details(crashed, 80).plain


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ([], "no machines yet"),
        (["absent"], "no machines yet"),
        (["stopped", "absent"], "1 machine, none running"),
        (["running", "paused", "crashed"], "3 machines, 2 running"),
    ],
)
def test_summary(states: list[str], said: str) -> None:
    assert layout.summary([Status(f"m{n}", state) for n, state in enumerate(states)]) == said
