"""A guest's clock measured and set over a real ssh, of guests that are Linux or a Mac by their programs alone.

Their `date` tells this host's time and what it was set to since; no test sets this host's clock. That a real guest's
clock is right after a rest, `e2e/test_living.py` shows.
"""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clipboard.conftest import Sshd, programs
from machine import bare
from pommel.app.guest import clock, clock_rest
from pommel.app.guest.clock import Clock
from pommel.app.guest.clock_rest import HostSleep
from pommel.app.workspace import Workspace
from pommel.errors import CommandFailed, DeadlineError, ProtocolError
from pommel.machine import events, lifecycle
from pommel.machine.events import Word, note_event

# `shift` is by how much the guest's clock is ahead. As a Mac's, it knows no %N, and is set by [mmddHHMMccyy.SS].
_DATE = """#!/bin/sh
root={root}
case "$*" in
+%s.%N) if [ -e $root/mac ]; then echo "$(/bin/date +%s).N"; exit; fi
    /bin/date +%s.%N | awk -v by="$(cat $root/shift)" '{{ printf "%.6f\\n", $1 + by }}' ;;
+%s) echo $(( $(/bin/date +%s) + $(cat $root/shift) )) ;;
"-u -s @"*) echo "$*" >> $root/calls; [ -e $root/mac ] && exit 1
    to=${{3#@}}; /bin/date +%s.%N | awk -v to="$to" '{{ printf "%.6f\\n", to - $1 }}' > $root/shift; /bin/date ;;
"-u "*.[0-9][0-9]) echo "$*" >> $root/calls; [ -e $root/mac ] || exit 1
    to=$(echo "$2" | sed 's/\\(..\\)\\(..\\)\\(..\\)\\(..\\)\\(....\\)\\.\\(..\\)/\\5-\\1-\\2 \\3:\\4:\\6/')
    /bin/date +%s.%N | awk -v to="$(/bin/date -u -d "$to" +%s)" '{{ printf "%.6f\\n", to - $1 }}' > $root/shift ;;
*) echo "date: $*" >&2; exit 1 ;;
esac
"""
_PERL = """#!/bin/sh
/bin/date +%s.%N | awk -v by="$(cat {root}/shift)" '{{ printf "%.6f", $1 + by }}'
"""
_ROOTS = {"sudo": '[ "$1" = -n ] && shift; exec "$@"', "refuses": 'echo "sudo: a password is required" >&2; exit 1'}


class Guest:
    """What answers by SSH as a guest would, with a clock of its own."""

    def __init__(self, root: Path, *, system: str, sudo: str) -> None:
        self.root = root
        path = programs(root / "bin", "tail", "sed")
        self.program("date", _DATE.format(root=root))
        self.program("perl", _PERL.format(root=root))
        self.program("uname", f"#!/bin/sh\necho {system}\n")
        self.program("id", '#!/bin/sh\n[ "$1" = -u ] && echo 501 || echo ada\n')
        self.program("sudo", f"#!/bin/sh\n{_ROOTS[sudo]}\n")
        if system == "Darwin":
            (root / "mac").touch()
        self.shift(0)
        self.sshd = Sshd(root, {"PATH": path})

    def program(self, name: str, text: str) -> None:
        path = self.root / "bin" / name
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def shift(self, seconds: float) -> None:
        (self.root / "shift").write_text(f"{seconds}\n")

    def was_set(self) -> bool:
        return (self.root / "calls").exists()

    def talk(self, *, sets: bool = True, lost_s: float | None = None, timeout_s: float = 30) -> Clock:
        return asyncio.run(clock._timed(self.sshd.target, "m", sets, lost_s, timeout_s))


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Callable[..., Guest]]:
    made: list[Guest] = []

    def make(system: str = "Linux", sudo: str = "sudo") -> Guest:
        (tmp_path / system).mkdir()
        made.append(Guest(tmp_path / system, system=system, sudo=sudo))
        return made[-1]

    yield make
    for each in made:
        each.sshd.close()


@pytest.mark.parametrize("system", ["Linux", "Darwin"])
def test_a_clock_that_is_behind_is_set_and_one_that_is_right_is_not(guest: Callable[..., Guest], system: str) -> None:
    there = guest(system)
    found = there.talk()
    assert not found.off and found.after_s is None and not there.was_set()
    there.shift(-3600)
    found = there.talk(sets=False)
    assert found.off and -3602 < found.offset_s < -3598 and not there.was_set()
    found = there.talk()
    assert found.after_s is not None and abs(found.after_s) < 2 and not found.off and found.why == ""
    assert there.was_set() and not there.talk().off


def test_only_what_a_rest_took_is_given_back(guest: Callable[..., Guest]) -> None:
    there = guest()
    for shift, touched in ((-86400.0, False), (50.0, False), (-70.0, True)):
        there.shift(shift)
        found = there.talk(lost_s=60)
        assert there.was_set() is touched and bool(found.why) is not touched
    assert "was not changed" in (there.shift(-1e8), there.talk(lost_s=60))[1].why
    assert not there.talk(lost_s=None).off, "by hand it is set whatever it shows"


def test_who_may_not_set_it_is_told_so(guest: Callable[..., Guest]) -> None:
    there = guest(sudo="refuses")
    there.shift(-60)
    found = there.talk()
    assert found.off and found.after_s is None and not there.was_set()
    assert found.why == "setting the clock needs root in the guest (sudo: a password is required)"


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ("echo pommel-clock time never; cat", ProtocolError),
        ("echo pommel-clock time nan; cat", ProtocolError),
        ("echo pommel-clock time 1e300; cat", ProtocolError),
        ("/usr/bin/yes", ProtocolError),
        ("/usr/bin/yes | tr -d '\\n'", ProtocolError),
        ("sleep 60", DeadlineError),
        ("exit 3", CommandFailed),
    ],
)
def test_a_guest_that_talks_nonsense(guest: Callable[..., Guest], says: str, error: type[Exception]) -> None:
    there = guest()
    there.program("sh", f"#!/bin/dash\necho pommel-clock ready Linux ada\n{says}\n")
    with pytest.raises(error):
        there.talk(timeout_s=8)


def test_nobody_who_lets_us_in(guest: Callable[..., Guest]) -> None:
    there = guest()
    (there.root / "authorized").write_text("")
    with pytest.raises(CommandFailed, match="Permission denied"):
        there.talk()


def test_how_it_is_spelled() -> None:
    assert [clock.spell(each) for each in (0.0, -0.44, 61.26, -3.0)] == [
        "right, within 0.1 s", "right, within 0.4 s", "61.3 s ahead", "3.0 s behind",
    ]  # fmt: skip


def test_a_suspended_host_is_seen_by_its_clocks(tmp_path: Path) -> None:
    times = iter([(100.0, 90.0), (105.0, 95.0), (3710.0, 100.0), (3715.0, 105.0), (3700.0, 105.0)])
    host = HostSleep(lambda: next(times))
    assert [host.since_last_s() for _ in range(4)] == [0.0, 3600.0, 0.0, 0.0]
    assert HostSleep().since_last_s() < 1.0
    with bare.short_home() as home:
        paths, workspace = bare.make(home), Workspace(home, tmp_path, {})
        times = iter([(100.0, 100.0), (160.0, 101.0), (161.0, 102.0)])
        tick = clock_rest.ticker(workspace, "m", HostSleep(lambda: next(times)))
        tick(), tick()  # type: ignore[func-returns-value]
        assert [(each.word, each.text) for each in events.read(paths)] == [("host was suspended", "for 59 s")]


def test_how_long_a_machine_was_held(tmp_path: Path) -> None:
    with bare.short_home() as home:
        paths = bare.make(home)
        lifecycle.start(paths, bare.argv(paths), accel="tcg")
        assert clock_rest.held_for_s(paths) < 60
        note_event(paths, Word.SUSPENDED)
        old = paths.events_log.read_text()
        hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        last = old.splitlines()[-1]
        paths.events_log.write_text(old.replace(last, last.replace(last.split('"')[3], hour_ago)))
        assert 3590 < clock_rest.held_for_s(paths) < 3700
    assert clock_rest.since_s("nonsense") == clock_rest.since_s("2026-01-01") == 0.0
