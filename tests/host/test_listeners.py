"""Who listens on a port: this process, by what the real /proc says."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from pommel.host import listeners


def test_a_listener_is_named_and_a_free_port_has_none(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        seen = listeners.on_port(tcp.getsockname()[1]), listeners.on_port(udp.getsockname()[1], "udp")
        assert [each and each.pid for each in seen] == [os.getpid()] * 2
        assert str(seen[0]) == f"{Path('/proc/self/comm').read_text().strip()} (pid {os.getpid()})"
        port = tcp.getsockname()[1]
    assert listeners.on_port(port) is None


def test_of_another_users_process_only_the_user_is_seen(tmp_path: Path) -> None:
    (tmp_path / "proc/net").mkdir(parents=True)
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    row = "   0: 0100007F:1F90 00000000:0000 {} 00000000:00000000 00:00000000 00000000 65534 0 4711 1 0 100 0 0 10 0\n"
    (tmp_path / "proc/net/tcp").write_text(head + row.format("01"))
    assert listeners.on_port(8080, root=tmp_path) is None, "a connection is no listener"
    (tmp_path / "proc/net/tcp").write_text(head + row.format("0A"))
    assert str(listeners.on_port(8080, root=tmp_path)) == "a program of the user nobody"
