"""A process of another user: `python child.py MODE UID RUN`. Starts as root, imports, then becomes UID for good."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
import time
from pathlib import Path, PurePosixPath

from pommel.errors import NotPermitted, PommelError
from pommel.session.admission import LINUX
from pommel.session.challenge import SIZE, AgentSide, binding_of
from pommel.session.daemon import SessionDaemon, Surroundings
from pommel.session.peer import agent_expected
from pommel.session.peer_linux import program_of
from pommel.session.places import Places
from pommel.session.session_agent import AgentOptions, SessionAgent
from pommel.session.sessions import Session
from pommel.session.stream import SessionStream

BIG = 4 << 20


def say(*words: object) -> None:
    print(*words, flush=True)


async def serve(stream: SessionStream) -> None:
    """Say who we are, then obey."""
    try:
        await stream.send(f"screen of {os.getuid()} by {os.getpid()}".encode())
        async for message in stream.messages():
            if message == b"big":
                await stream.send(bytes(BIG))
                await stream.send(b"end")
            elif message.startswith(b"close "):
                await stream.close(int(message.split()[1]), "no more")
                return
            elif message == b"unsent":
                await stream.send_text(str(stream.unsent_bytes()))
            elif message == b"return":
                return
            elif message == b"fault":
                raise ZeroDivisionError
            elif message == b"wrong":
                raise NotPermitted("this viewer is too much")
            else:
                await stream.send(b"echo " + message)
    finally:
        say("let go")


async def preflight() -> str:
    return "screen recording is not permitted: open System Settings, Privacy"


def run_agent(places: Places, *, trouble: bool = False, owners: frozenset[int] = frozenset({0})) -> None:
    options = AgentOptions(
        owners=owners, tries=60, pause_s=0.05, leave_s=1.0, preflight=preflight if trouble else None, log=say
    )
    try:
        say("left:", asyncio.run(SessionAgent(places, serve, options).run()))
    except PommelError as failure:
        say(f"{type(failure).__name__}:", failure.message)
        sys.exit(1)


def connected(places: Places) -> socket.socket:
    there = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stop = time.monotonic() + 20
    while True:
        try:
            there.connect(str(places.socket(int(os.environ.get("VICTIM", os.getuid())))))
        except (FileNotFoundError, ConnectionError):
            if time.monotonic() > stop:
                raise
            time.sleep(0.02)
        else:
            return there


def run_stranger(places: Places) -> None:
    try:
        with connected(places) as there:
            heard = b""
            while data := there.recv(4096):
                heard += data
            say("heard:", heard)
    except PermissionError:
        say("no permission")


def talk(there: socket.socket, side: AgentSide) -> None:
    while not side.done:
        if answer := side.receive(there.recv(side.wants)):
            there.sendall(answer)


def run_impostor(places: Places) -> None:
    """The right user and program, connecting; it is a child of it that answers, with the right secret."""
    there = connected(places)
    token = Path(places.token(os.getuid())).read_bytes()
    side = AgentSide(token, secrets.token_bytes(SIZE), binding_of(os.getpid()))
    if os.fork():
        os.wait()
        os._exit(0)
    try:
        talk(there, side)
        say("let in")
    except PommelError as no:
        say(no.message)


def run_guesser(places: Places) -> None:
    with connected(places) as there:
        side = AgentSide(bytes(SIZE), bytes(SIZE), binding_of(os.getpid()))
        try:
            talk(there, side)
            say("let in")
        except PommelError as no:
            say(no.message)


class NoViewer:
    """A viewer that only looks."""

    async def send(self, data: bytes) -> None:
        say("shown:", data.decode())

    async def send_text(self, text: str) -> None:
        say("told:", text)

    def unsent_bytes(self) -> int:
        return 0

    async def messages(self):  # type: ignore[no-untyped-def]
        await asyncio.sleep(60)
        yield b""

    async def close(self, code: int, reason: str) -> None:
        say("closed:", reason)


async def run_daemon(places: Places, uid: int) -> None:
    program = program_of()
    assert program is not None
    expected = agent_expected(places, uid, frozenset({program.file}), by_systemd=False)
    around = Surroundings(lambda: Session(uid, "s"), lambda _: expected, LINUX, lambda: True, say)
    daemon = SessionDaemon(places, around)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(daemon.run())
        tasks.create_task(daemon.view(NoViewer()))


def main() -> None:
    mode, uid, run = sys.argv[1], int(sys.argv[2]), PurePosixPath(sys.argv[3])
    places = Places.of("linux", run=run)
    if mode == "daemon":
        asyncio.run(run_daemon(places, uid))
        return
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    {
        "agent": lambda: run_agent(places),
        "troubled": lambda: run_agent(places, trouble=True),
        "stranger": lambda: run_stranger(places),
        "impostor": lambda: run_impostor(places),
        "guesser": lambda: run_guesser(places),
        "silent": lambda: (connected(places), say("connected"), time.sleep(60)),
    }[mode]()


if __name__ == "__main__":
    main()
