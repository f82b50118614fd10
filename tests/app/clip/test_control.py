"""Orders over the real socket: to the process of the same user, and to nobody else's."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pommel.app.clip.control import listening, order
from pommel.errors import BusyError, PommelError, StateError, UsageError


async def echo(question: Mapping[str, Any]) -> Mapping[str, Any]:
    match question.get("do"):
        case "state":
            raise BusyError("it is busy", hint="wait")
        case "usage":
            raise UsageError("what?")
        case "other":
            raise PommelError("no")
    return {"heard": question}


async def ask(path: Path, question: Mapping[str, Any]) -> dict[str, Any]:
    return await asyncio.to_thread(order, path, question)


async def test_a_question_has_its_answer_and_an_error_its_kind(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with listening(path, echo):
        assert path.stat().st_mode & 0o777 == 0o600
        assert await ask(path, {"do": "x", "more": "ü" * 5000}) == {"heard": {"do": "x", "more": "ü" * 5000}}
        for word, kind in (("state", StateError), ("usage", UsageError), ("other", PommelError)):
            with pytest.raises(kind) as refusal:
                await ask(path, {"do": word})
            assert type(refusal.value) is kind
            assert refusal.value.hint == ("wait" if word == "state" else None)
    assert not path.exists()
    with pytest.raises(PommelError, match="does not answer"):
        order(path, {"do": "x"})


async def test_what_a_killed_process_left_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with listening(path, echo):
        assert await ask(path, {}) == {"heard": {}}


@pytest.mark.parametrize("said", [b"", b"\n", b"nonsense\n", b"[1]\n", b'"x"\n', b"\xff\n", b"{" * 100_000])
async def test_nonsense_harms_nobody(tmp_path: Path, said: bytes) -> None:
    path = tmp_path / "s"
    async with listening(path, echo):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(said)
        writer.write_eof()
        told = await reader.read()
        assert told == b"" or b'"exit": 2' in told
        writer.close()
        await writer.wait_closed()
        assert await ask(path, {}) == {"heard": {}}


async def test_another_user_is_told_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s"
    script = (
        "import os, socket, sys; s = socket.socket(socket.AF_UNIX); os.chdir(sys.argv[1]); os.setuid(65534)\n"
        "s.settimeout(20); s.connect('s'); print(s.recv(9))"  # of its own user it would wait for a question
    )
    async with listening(path, echo):
        path.chmod(0o666)
        tmp_path.chmod(0o711)  # so that but for the question who it is, it could
        argv = [sys.executable, "-c", script, str(tmp_path)]
        done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True)
        assert done.stdout == "b''\n", done.stderr
