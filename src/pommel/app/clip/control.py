"""Orders to a running sync, by a socket that only its own user may use. Band: app.

Each connection has one question and one answer, each a line of JSON. Three things keep other users out: the mode of the
folder (0700), the mode of the socket (0600), and the peer's uid, which the kernel tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from pommel import sockets
from pommel.errors import PommelError, StateError, UsageError

Answer = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
_QUESTION_MAX = 64 << 10


@contextlib.asynccontextmanager
async def listening(path: Path, answer: Answer) -> AsyncIterator[None]:
    """Answer orders at `path` during the block. The socket file of a killed process is replaced.

    A PommelError from `answer` is sent as the answer.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError, TimeoutError):
            if sockets.is_ours(writer.get_extra_info("socket")):
                async with asyncio.timeout(10):
                    question = json.loads(await reader.readline())
                writer.write(json.dumps(await _reply(answer, question)).encode() + b"\n")
                await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_unix_server(serve, path, limit=_QUESTION_MAX)
    try:
        os.chmod(path, 0o600)  # noqa: PTH101 (too short a call for a thread)
        yield
    finally:
        server.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108


def order(path: Path, question: Mapping[str, Any], *, timeout_s: float = 10.0) -> dict[str, Any]:
    """Send an order to a running sync and return its answer.

    Raises:
        StateError, UsageError, PommelError: the error that it answered, or that it does not answer.
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


async def _reply(answer: Answer, question: Any) -> Mapping[str, Any]:
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
    """The answer, without its JSON error form.

    Raises:
        StateError, UsageError, PommelError: the answer is an error.
    """
    if "error" in told:
        kinds: dict[int, type[PommelError]] = {StateError.exit_code: StateError, UsageError.exit_code: UsageError}
        raise kinds.get(told["exit"], PommelError)(told["error"], hint=told["hint"])
    return dict(told)
