"""Services inside the trial machine's guest and on this host, for the tests of forwards. No tests here."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from isolation import patient
from waits import wait_until

from .conftest import Trial

_ECHO = """
import socket, sys, threading
tcp, udp = (socket.socket(socket.AF_INET, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM))
tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
tcp.bind(("", int(sys.argv[1]))); udp.bind(("", int(sys.argv[2]))); tcp.listen()
def packets():
    while True:
        data, whom = udp.recvfrom(2048)
        udp.sendto(data.upper(), whom)
threading.Thread(target=packets, daemon=True).start()
open("echoing", "w").close()
while True:
    client, _ = tcp.accept()
    client.sendall(client.recv(2048).upper())
    client.close()
"""
# In the guest: a second connection is answered while the first is still open, and then the first.
TWO_AT_ONCE = """python3 -c '
import socket
one, two = (socket.create_connection(("10.0.2.100", 7000), 60) for _ in range(2))
two.sendall(b"second"); print(two.recv(9).decode(), flush=True)
one.sendall(b"first"); print(one.recv(9).decode())
'"""


@contextlib.contextmanager
def echoing(trial: Trial, tcp: int, udp: int) -> Iterator[None]:
    """In the guest, what is said to these ports comes back in capitals."""
    trial.shell.run("ssh", "trial", "--", "cat > echo.py; rm -f echoing", input=_ECHO.encode())
    trial.guest(f"setsid python3 echo.py {tcp} {udp} < /dev/null > echo.log 2>&1 & echo $! > echo.pid")
    try:
        wait_until(lambda: trial.guest("ls echoing || cat echo.log", status=None) == "echoing\n", 60)
        yield
    finally:
        trial.guest("kill $(cat echo.pid)")


def said_back(port: int, protocol: str = "tcp") -> bytes:
    """What the guest's echo says to hello; nothing where nobody answers."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(type=kind) as client:
        client.settimeout(patient(20))
        try:
            client.connect(("127.0.0.1", port))
            client.sendall(b"hello")
            return client.recv(2048)
        except OSError:
            return b""


def answer_twice(service: socket.socket) -> None:
    """Take two connections, and say back to the second and then to the first what each says."""
    clients = [service.accept()[0] for _ in range(2)]
    for client in reversed(clients):
        client.sendall(client.recv(2048))
        client.close()
