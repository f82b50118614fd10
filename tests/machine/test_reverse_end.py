"""The real program that QEMU starts for each connection of a guest: here each has a socket for its guest."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path

from isolation import patient
from pommel.machine import added
from pommel.machine.forwards import Reverse
from pommel.paths import Home, MachinePaths


def paths(tmp_path: Path) -> MachinePaths:
    found = Home(tmp_path / "h", tmp_path / "r", tmp_path / "c").machine("m")
    found.directory.mkdir(parents=True)
    return found


def guest(machine: MachinePaths, port: int) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """The guest's end of one connection, and the program at the other, started as QEMU starts it."""
    ours, theirs = socket.socketpair()
    with theirs:
        words = [sys.executable, "-I", "-S", str(added.PROGRAM), str(machine.directory / added.LEADS), str(port)]
        child = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs)
    ours.settimeout(patient(20))
    return ours, child


def read_all(end: socket.socket) -> bytes:
    return b"".join(iter(lambda: end.recv(1 << 16), b""))


def echo(server: socket.socket) -> None:
    """Give each client back what it said, once it has said all."""

    def serve(client: socket.socket) -> None:
        with client:
            client.sendall(read_all(client))

    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=serve, args=(client,), daemon=True).start()


def test_many_connections_at_once_each_to_its_service_and_none_once_it_is_taken_out(tmp_path: Path) -> None:
    machine = paths(tmp_path)
    by_path = socket.socket(socket.AF_UNIX)
    by_path.bind(str(tmp_path / "s"))
    by_path.listen()
    with socket.create_server(("127.0.0.1", 0)) as tcp, by_path:
        for server in (tcp, by_path):
            threading.Thread(target=echo, args=(server,), daemon=True).start()
        added.lead(machine, [Reverse(80, "127.0.0.1", tcp.getsockname()[1]), Reverse(81, str(tmp_path / "s"), 0)])
        ends = [guest(machine, 80 + number % 2) for number in range(6)]
        payloads = [bytes([number]) * 300_000 for number in range(6)]  # more than any buffer between them holds
        senders = [
            threading.Thread(
                target=lambda end, data: (end.sendall(data), end.shutdown(socket.SHUT_WR)), args=(end, data)
            )
            for (end, _), data in zip(ends, payloads, strict=True)
        ]
        for sender in senders:
            sender.start()
        assert [read_all(end) for end, _ in ends] == payloads
        assert [child.wait(patient(20)) for _, child in ends] == [0] * 6
        added.lead(machine, [])
        end, child = guest(machine, 80)
        assert read_all(end) == b"" and child.wait(patient(20)) == 1
        for each, _ in (*ends, (end, child)):
            each.close()


def test_where_nobody_answers_the_guest_sees_an_end_and_no_word_of_this_host(tmp_path: Path) -> None:
    machine = paths(tmp_path)
    added.lead(machine, [Reverse(80, str(tmp_path / "gone"), 0)])
    end, child = guest(machine, 80)
    assert (read_all(end), child.wait(patient(20))) == (b"", 1)
    (machine.directory / added.LEADS).write_text("no JSON")
    other, child = guest(machine, 80)
    assert (read_all(other), child.wait(patient(20))) == (b"", 1)
    end.close()
    other.close()
