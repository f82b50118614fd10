"""What the scripts report, by real HTTP: only with the secret, only known words, only so much."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator

import pytest

from pommel.errors import StateError
from pommel.unattended.inbox import Inbox

TOKEN = "s3cret"


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    made = Inbox(TOKEN, {"started", "done"})
    made.open()
    yield made
    made.close()


def post(inbox: Inbox, path: str, body: bytes = b"", method: str = "POST") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", inbox.port, timeout=20)
    try:
        connection.request(method, path, body)
        return connection.getresponse().status
    finally:
        connection.close()


def test_reports_come_in_order_and_once(inbox: Inbox) -> None:
    assert post(inbox, f"/{TOKEN}/started") == 200 and post(inbox, f"/{TOKEN}/done", "14.7 ä".encode()) == 200
    assert [(each.word, each.text) for each in inbox.take()] == [("started", ""), ("done", "14.7 ä")]
    assert inbox.take() == []


@pytest.mark.parametrize(
    "path", ["/", "/wrong/started", f"/{TOKEN}/other", f"/{TOKEN}", f"/{TOKEN}x/done", "/%C3%A4/done"]
)
def test_what_has_no_secret_or_is_no_report_is_not_found(inbox: Inbox, path: str) -> None:
    assert post(inbox, path) == 404 and inbox.take() == []


def test_other_methods_and_large_bodies_are_refused(inbox: Inbox) -> None:
    assert post(inbox, f"/{TOKEN}/done", method="GET") == 405
    assert post(inbox, f"/{TOKEN}/done", bytes(17 << 10)) == 413
    assert inbox.take() == []


def test_a_flood_is_bounded_and_a_silent_connection_stops_nobody(inbox: Inbox) -> None:
    with socket.create_connection(("127.0.0.1", inbox.port)) as silent:
        silent.send(b"POST /")
        connection = http.client.HTTPConnection("127.0.0.1", inbox.port, timeout=20)
        for number in range(600):
            connection.request("POST", f"/{TOKEN}/done", str(number))
            assert connection.getresponse().read() == b"ok\n"
        connection.close()
    heard = inbox.take()
    assert len(heard) == 500 and heard[-1].text == "599"


def test_it_listens_on_loopback_at_the_port_that_it_is_told_and_one_in_use_is_told(inbox: Inbox) -> None:
    other = Inbox(TOKEN, {"done"}, inbox.port)
    with pytest.raises(StateError, match=f"port {inbox.port} of this host cannot be used"):
        other.open()
    inbox.close()
    again = Inbox(TOKEN, {"done"}, inbox.port)
    again.open()
    assert again.port == inbox.port
    again.close()
