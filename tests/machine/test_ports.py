"""Ports: really listened on, and never given twice."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pommel.errors import MachineError, NotPermitted
from pommel.machine import ports, record
from pommel.machine.record import MachineRecord
from pommel.paths import Home
from pommel.progress import Progress

from .bare import finish, make, pommel

RECORD = MachineRecord(
    name="m",
    upstream="trial",
    uuid="00000000-0000-4000-8000-000000000000",
    mac="52:54:00:00:00:00",
    ssh_port=1,
    created="2026-01-01T00:00:00Z",
)


@contextlib.contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[int]:
    with contextlib.closing(socket.socket()) as server:
        server.bind((host, 0))
        server.listen()
        yield server.getsockname()[1]


def own(home: Home, name: str, port: int) -> None:
    record.save(make(home, name).record, replace(RECORD, name=name, ssh_port=port))


def free_run() -> int:
    """The first of eight free ports in a row, below those that the kernel hands out."""
    for first in range(20_000, 32_000, 8):
        if all(ports.is_free(first + i) for i in range(8)):
            return first
    raise AssertionError("no free ports")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_free_means_that_it_can_be_listened_on(host: str) -> None:
    with listening(host) as port:
        assert not ports.is_free(port)
    assert ports.is_free(port)


def test_a_closed_connection_is_no_obstacle() -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        accepted.close()  # the server's end closes first: TIME_WAIT is on its port
        client.close()
        port = server.getsockname()[1]
    assert ports.is_free(port)


def test_the_wanted_port_when_it_is_free(home: Home) -> None:
    port = free_run()
    kept: list[int] = []
    events: list[Progress] = []
    assert ports.allot_port(home, "m", wanted=port, keep=kept.append, report=events.append) == port
    assert kept == [port] and events == []


def test_a_busy_port_gives_the_next_and_says_so(home: Home) -> None:
    events: list[Progress] = []
    with listening() as port:
        got = ports.allot_port(home, "m", wanted=port, keep=lambda _: None, report=events.append)
    assert got != port
    assert [event.text for event in events] == [f"port {port} is in use on this host: m gets {got}"]


def test_another_machines_port_is_its_own_though_it_is_stopped(home: Home) -> None:
    port = free_run()
    own(home, "other", port)
    own(home, "third", port + 1)
    events: list[Progress] = []
    assert ports.allot_port(home, "m", wanted=port, keep=lambda _: None, report=events.append) == port + 2
    assert [event.text for event in events] == [f"port {port} belongs to the machine other: m gets {port + 2}"]


def test_a_machine_may_have_its_own_port_again(home: Home) -> None:
    port = free_run()
    own(home, "m", port)
    assert ports.allot_port(home, "m", wanted=port, keep=lambda _: None) == port


def test_any_port_will_do_when_none_is_wanted(home: Home) -> None:
    events: list[Progress] = []
    first = ports.allot_port(home, "m", wanted=None, keep=lambda _: None, report=events.append)
    assert first >= ports.FIRST_SSH_PORT and events == []


def test_a_record_that_cannot_be_read_claims_nothing(home: Home) -> None:
    make(home, "broken").record.write_text("{")
    port = free_run()
    assert ports.allot_port(home, "m", wanted=port, keep=lambda _: None) == port


def test_what_keep_raises_comes_through_and_the_lock_is_free(home: Home) -> None:
    def fail(_: int) -> None:
        raise MachineError("full")

    for _ in range(2):
        with pytest.raises(MachineError, match="full"):
            ports.allot_port(home, "m", wanted=None, keep=fail)


def test_after_the_last_port_comes_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda port: port == 1024)
    assert ports.next_free(65_535) == 1024
    monkeypatch.setattr(ports, "is_free", lambda port: False)
    with pytest.raises(MachineError, match="there is no free port"):
        ports.next_free(65_535)


def test_a_port_for_root_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", lambda *_: _Refusing())  # root is refused nothing
    with pytest.raises(NotPermitted, match="only root may use port 80"):
        ports.is_free(80)


class _Refusing:
    def setsockopt(self, *_: object) -> None:
        pass

    def bind(self, _: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    def close(self) -> None:
        pass


def test_machines_made_at_the_same_instant_get_different_ports(home: Home) -> None:
    port = free_run()
    code = f"""
from dataclasses import replace
from machine_record import RECORD
def keep(port):
    time.sleep(0.05)
    record.save(paths.record, replace(RECORD, name=paths.name, ssh_port=port))
print(ports.allot_port(home, paths.name, wanted={port}, keep=keep))
""".replace("from machine_record import RECORD", f"RECORD = record.{RECORD!r}")
    children = [pommel(code, make(home, f"m{i}")) for i in range(4)]
    ends = [finish(child) for child in children]
    assert sorted(ends) == [(0, str(port + i)) for i in range(4)]
