"""What can only be tried on a Mac, for a continuous integration that has one: python macos_check.py WHAT…

plists FOLDER    write the service's property lists there, for plutil and launchctl to read
names            ask the real pyobjc for every name that Pommel uses of it
peer PROGRAM ID  start PROGRAM, which connects to the socket named by its argument, and have the peer check judge it:
                 signed with the identifier ID it is let in, with another it is not
screen           take one picture of this session, and post an event that does nothing
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import macos_metadata as pyobjc
from pommel.errors import NotPermitted
from pommel.screen.actions import MovePointer
from pommel.screen.geometry import whole
from pommel.screen.seams import Update
from pommel.screen.sources.macos import connect_macos, permissions
from pommel.screen.sources.macos_permissions import explain
from pommel.session.peer import Expected, describe, judge
from pommel.session.peer_macos import CodeCheck
from pommel.session.places import Places
from pommel.session.service_files import files

SRC = Path(pyobjc.__file__).parents[1] / "src" / "pommel"
# The files that call a framework, and what they call it besides its name.
CALLERS: dict[str, dict[str, str]] = {
    "screen/sources/macos_frameworks.py": {"_quartz": "Quartz"},
    "screen/sources/macos_pixels.py": {"_quartz": "Quartz"},
    "screen/sinks/macos_events.py": {"_quartz": "Quartz"},
    "session/peer_macos.py": {"_security": "Security"},
    "session/sessions.py": {"framework": "SystemConfiguration"},
}
_PATIENCE_S = 30.0


def plists(folder: str) -> None:
    """Write them under their own names."""
    for service_id in ("pommel", "meshagent"):
        places = Places.of("macos", service_id)
        command = ["/usr/local/bin/pommel", "kvm"]
        for path, text in files(places, [*command, "daemon"], [*command, "agent"]).items():
            (Path(folder) / PurePosixPath(path).name).write_bytes(text)


def names() -> None:
    """Look each name up as Pommel would."""
    missing = [
        f"{use.framework}.{use.name}"
        for name, aliases in CALLERS.items()
        for use in pyobjc.used_in((SRC / name).read_text(), aliases).names
        if not hasattr(importlib.import_module(use.framework), use.name)
    ]
    for selector in (name for classes in pyobjc.PLAIN.items() for name in _missing(*classes)):
        missing.append(selector)
    if gone := [one for one in missing if one != "Quartz.CGDisplayCreateImage"]:  # that one may go, and we know
        sys.exit(f"this pyobjc on this macOS has no {', '.join(gone)}")


def _missing(owner: str, selectors: set[str]) -> list[str]:
    objc = importlib.import_module("objc")
    for framework in ("AppKit", "ScreenCaptureKit"):
        importlib.import_module(framework)
    found = objc.lookUpClass(owner)
    return [
        f"{owner}.{selector}"
        for selector in selectors
        if not (found.instancesRespondToSelector_(selector) or found.respondsToSelector_(selector))
        and "frameResizeCursor" not in selector  # from macOS 15 on
    ]


def peer(program: str, identifier: str) -> None:
    """Judge a real process by its audit token."""
    right, wrong = f'identifier "{identifier}"', f'identifier "{identifier}.other"'
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as door:
        door.bind(f"{folder}/s")
        door.listen()
        door.settimeout(_PATIENCE_S)
        child = subprocess.Popen([program, f"{folder}/s"])
        try:
            connection, _ = door.accept()
            with connection:
                facts = CodeCheck(right).collect(connection)
                print(describe(facts))
                expected = Expected(os.getuid(), signed=True)
                verdict, refusal = judge(facts, expected), judge(CodeCheck(wrong).collect(connection), expected)
                told = subprocess.run(["codesign", "-dvvv", program], capture_output=True, text=True, check=True).stderr
                if facts.pid != child.pid or not verdict.accepted or refusal.accepted:
                    sys.exit(f"pid {child.pid}: {verdict}; as a stranger: {refusal}")
                if facts.code is None or f"CDHash={facts.code.cdhash}" not in told:
                    sys.exit(f"codesign has another CDHash:\n{told}")
        finally:
            child.kill()
            child.wait()


def screen() -> None:
    """See and touch, or say what a person has to permit first."""
    print(explain(permissions()) or "all is permitted")
    try:
        asyncio.run(_look())
    except NotPermitted as no:
        print(f"{no.message} ({no.hint})")


async def _look() -> None:
    connection = await connect_macos(timeout_s=_PATIENCE_S)
    try:
        news = await asyncio.wait_for(connection.source.next_update(), _PATIENCE_S)
        if not isinstance(news, Update) or news.damage != (whole(news.frame.size),):
            sys.exit(f"the first update is not a whole picture: {news}")
        print(f"{news.frame.size}, {news.cursor!r}, blank: {not connection.source.shows_something(news.frame)}")
        print(await connection.sink.perform(MovePointer(1, 1, 0)) or "the pointer was moved")
    finally:
        await connection.close()


NEEDS_PERMISSION = {"permissions", "screen", "socket, peer and agent"}


def report(file: str) -> None:
    """Tell a runner that may not see its screen from a Pommel that does not work."""
    checks = json.loads(Path(file).read_text())["checks"]
    failed = {one["piece"]: one["text"] for one in checks if one["ok"] is False}
    for one in checks:
        print(f"{one['piece']}: {one['ok']}: {one['text']}")
    forgiven = NEEDS_PERMISSION if "permissions" in failed else set()
    if not checks or failed.keys() - forgiven:
        sys.exit(f"these do not work: {', '.join(failed.keys() - forgiven) or 'no piece was tried'}")


CHECKS: dict[str, Callable[..., None]] = {
    "plists": plists,
    "names": names,
    "peer": peer,
    "screen": screen,
    "report": report,
}

if __name__ == "__main__":
    CHECKS[sys.argv[1]](*sys.argv[2:])
