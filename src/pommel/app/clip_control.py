"""Orders to a running sync: a socket that only its own user may talk to. Band: app.

One question and one answer a connection, each a line of JSON. The socket lies in a folder that is closed to others, is
closed to others itself, and who connects is asked for by the kernel besides.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from pommel.errors import PommelError, StateError, UsageError

Answer = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
_QUESTION_MAX = 64 << 10
_UCRED = "3i"  # struct ucred of unix(7): pid, uid, gid


@contextlib.asynccontextmanager
async def listening(path: Path, answer: Answer) -> AsyncIterator[None]:
    """Answer orders at `path` for the time of the block. What a killed process left there is taken over.

    A PommelError that `answer` raises is told to who asked.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError, TimeoutError):
            if _is_ours(writer.get_extra_info("socket")):
                async with asyncio.timeout(10):
                    question = json.loads(await reader.readline())
                writer.write(json.dumps(await _answered(answer, question)).encode() + b"\n")
                await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_unix_server(serve, path, limit=_QUESTION_MAX)
    try:
        os.chmod(path, 0o600)  # noqa: PTH101 (a blink of a call, and no thread worth)
        yield
    finally:
        server.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108


def order(path: Path, question: Mapping[str, Any], *, timeout_s: float = 10.0) -> dict[str, Any]:
    """Give a running sync an order and wait for its answer.

    Raises:
        StateError, UsageError, PommelError: what it answered, or that it does not.
    """
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(timeout_s)
            link.connect(str(path))
            link.sendall(json.dumps(question).encode() + b"\n")
            with link.makefile("rb") as told:
                answer = json.loads(told.readline())
    except (OSError, ValueError) as failure:
        raise PommelError(f"the clipboard's process does not answer: {failure or type(failure).__name__}") from failure
    return answer_of(answer)


async def _answered(answer: Answer, question: Any) -> Mapping[str, Any]:
    try:
        if not isinstance(question, dict):
            raise UsageError("an order is a JSON object")
        return await answer(question)
    except PommelError as error:
        return told_of(error)


def told_of(error: PommelError) -> dict[str, Any]:
    """An error as an answer."""
    return {"error": error.message, "hint": error.hint, "exit": error.exit_code}


def answer_of(told: Mapping[str, Any]) -> dict[str, Any]:
    """What was answered.

    Raises:
        StateError, UsageError, PommelError: that was an error.
    """
    if "error" in told:
        kinds: dict[int, type[PommelError]] = {StateError.exit_code: StateError, UsageError.exit_code: UsageError}
        raise kinds.get(told["exit"], PommelError)(told["error"], hint=told["hint"])
    return dict(told)


def _is_ours(link: socket.socket) -> bool:
    credentials = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(_UCRED))
    _, uid, _ = struct.unpack(_UCRED, credentials)
    return uid in (os.getuid(), 0)
