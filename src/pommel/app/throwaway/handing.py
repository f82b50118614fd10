"""Requests to the process of the pool, and the hand-over of a machine: a socket for its own user only. Band: app.

Each connection has one question and one answer, each a JSON object on one line. With a machine comes the pipe that
keeps it running (`lifeline.py`), as a file descriptor (unix(7), SCM_RIGHTS). The process with that pipe owns the
machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pommel import sockets

_MOST = 64 << 10
_TIMEOUT_S = 5.0
Answer = Callable[[Mapping[str, Any], Callable[[Mapping[str, Any], int | None], None]], None]


def ask(path: Path, question: Mapping[str, Any]) -> tuple[dict[str, Any], int | None]:
    """Send a question to the socket at `path`; return the answer, and the descriptor that came with it.

    Raises:
        OSError, ValueError: there is no answer, or it has another form.
    """
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(_TIMEOUT_S)
        link.connect(str(path))
        link.sendall(json.dumps(question).encode() + b"\n")
        said, fds, _, _ = socket.recv_fds(link, _MOST, 1)  # close-on-exec, like all descriptors of Python (PEP 446)
        try:
            while not said.endswith(b"\n"):
                if not (more := link.recv(_MOST)):
                    raise ConnectionError("the answer ended early")
                said += more
            told = json.loads(said)
            if not isinstance(told, dict):
                raise ValueError("the answer is no object")
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
    return told, fds[0] if fds else None


@contextlib.contextmanager
def answering(path: Path, answer: Answer) -> Iterator[None]:
    """Answer at `path` during the block, one question after another, in a thread of its own.

    `answer` gets a question and a function that sends the answer; that raises OSError if the other side is gone.
    """
    path.unlink(missing_ok=True)  # left by a killed process: this one holds the lock, so there is no other
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(16)
        thread = threading.Thread(target=_serve, args=(listener, answer), daemon=True)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(2 * _TIMEOUT_S)
            path.unlink(missing_ok=True)


def _serve(listener: socket.socket, answer: Answer) -> None:
    while True:
        try:
            link, _ = listener.accept()
        except OSError:  # the listener was shut down
            return
        with link, contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            link.settimeout(_TIMEOUT_S)
            if sockets.is_ours(link):
                answer(_question(link), _sender(link))


def _question(link: socket.socket) -> Mapping[str, Any]:
    with link.makefile("rb") as told:
        question = json.loads(told.readline(_MOST))
    if not isinstance(question, dict):
        raise ValueError("a question is an object")
    return question


def _sender(link: socket.socket) -> Callable[[Mapping[str, Any], int | None], None]:
    def send(told: Mapping[str, Any], fd: int | None) -> None:
        data = json.dumps(told).encode() + b"\n"
        sent = socket.send_fds(link, [data], [fd] if fd is not None else [])
        # Not if all was sent: the other side may have closed already, and an empty send would be an error.
        if sent < len(data):
            link.sendall(data[sent:])

    return send
