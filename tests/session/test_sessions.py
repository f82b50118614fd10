"""Which session is active, asked of the real libsystemd over logind's state made for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from pommel.process import run

ASK = (
    "import json,dataclasses,sys;from pommel.session.sessions import logind_session;s=logind_session();"
    "print(json.dumps(s and dataclasses.astuple(s)))"
)


def asked(folder: Path, seats: Mapping[str, str], sessions: Mapping[str, str]) -> list[object] | None:
    """What is active when logind has written `seats` and `sessions` (file names and contents)."""
    for name, files in (("seats", seats), ("sessions", sessions), ("users", {}), ("machines", {})):
        (folder / name).mkdir()
        for file, text in files.items():
            (folder / name / file).write_text(text)
    # libsystemd believes that logind runs where this directory is (sd_booted(3)).
    bare = [
        "bwrap",
        "--bind",
        "/",
        "/",
        "--dev-bind",
        "/dev",
        "/dev",
        "--tmpfs",
        "/run",
        "--dir",
        "/run/systemd/system",
    ]
    done = run([*bare, "--bind", folder, "/run/systemd", sys.executable, "-c", ASK], timeout_s=60)
    answer: list[object] | None = json.loads(done.text)
    return answer


def session(uid: int, kind: str, *, active: bool = True, seat: str = "seat0", began: int = 1) -> str:
    seated = f"SEAT={seat}\n" if seat else ""
    state = "active" if active else "online"
    return (
        f"UID={uid}\nUSER=u{uid}\nACTIVE={int(active)}\nIS_DISPLAY=1\nSTATE={state}\nREMOTE=0\nTYPE={kind}\n"
        f"ORIGINAL_TYPE={kind}\nCLASS=user\n{seated}REALTIME={began}\nMONOTONIC={began}\nLEADER=1\n"
    )


SEAT = "IS_SEAT0=1\nCAN_MULTI_SESSION=1\nCAN_TTY=1\nCAN_GRAPHICAL=1\nACTIVE={0}\nACTIVE_UID={1}\nSESSIONS=1 2\n"


@pytest.mark.parametrize(("active", "uid"), [("2", 1000), ("c1", 42)])
def test_the_seats_active_session(tmp_path: Path, active: str, uid: int) -> None:
    sessions = {"2": session(1000, "x11"), "c1": session(42, "wayland", active=False)}
    found = asked(tmp_path, {"seat0": SEAT.format(active, uid)}, sessions)
    assert found is not None
    assert found[:2] == [uid, active]


def test_the_newest_screen_without_a_seat(tmp_path: Path) -> None:
    sessions = {
        "3": session(1000, "x11", seat="", began=10),
        "4": session(1001, "x11", seat="", began=20),
        "5": session(1002, "tty", seat="", began=30),
        "6": session(1003, "x11", seat="", began=40, active=False),
    }
    assert asked(tmp_path, {"seat0": "IS_SEAT0=1\n"}, sessions) == [1001, "4", "x11"]


def test_nobody(tmp_path: Path) -> None:
    assert asked(tmp_path, {}, {}) is None
