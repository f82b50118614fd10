"""Ports of this host into the running trial machine and out of it again; over a start and kill -9: `test_the_end`."""

from __future__ import annotations

import json
import socket

import pytest

from free_ports import free_port

from .conftest import Trial
from .forwarded import echoing, said_back

pytestmark = pytest.mark.e2e


def test_hot_by_tcp_and_udp_and_for_one_machine_only(trial: Trial) -> None:
    shell, port, other = trial.shell, free_port(), free_port()
    with echoing(trial, 8080, 8053):
        assert said_back(port) == b""
        told = shell.json("forward", "trial", "add", f"{port}:8080", f"{port}:8053/udp")
        assert [(way["forward"], way["live"], way["origin"]) for way in told["forwards"][1:]] == [
            (f"127.0.0.1:{port}:8080/tcp", True, "added"), (f"127.0.0.1:{port}:8053/udp", True, "added"),
        ]  # fmt: skip
        assert [said_back(port), said_back(port, "udp")] == [b"HELLO", b"HELLO"]
        assert shell.json("info", "trial")["forwards"] == told["forwards"]
        shell.config(f"[machine.second]\nupstream = 'trial'\nforwards = ['{port}:80']\n")
        try:
            refused = shell.run("up", "second", "--json", "--headless", status=1)
            assert (
                f"port {port} is the machine trial's, which is running"
                in json.loads(refused.stdout.splitlines()[-1])["error"]
            )
            assert "pommel stop trial" in refused.stderr
            shell.config(f"[machine.second]\nupstream = 'trial'\nmemory = '256M'\nforwards = ['{other}:80']\n")
            assert shell.json("start", "second")["state"] == "running"
            taken = shell.run("forward", "second", "add", f"{port}:80", status=1)
            assert f"port {port} is the machine trial's" in taken.stderr
            clash = shell.run("forward", "trial", "add", f"{other}:80", status=1)
            assert f"port {other} is the machine second's" in clash.stderr
        finally:
            shell.config("")
            shell.run("delete", "second", "--yes", status=None)
            shell.run("stop", "second", "--force", status=None)
            shell.run("delete", "second", "--yes", status=None)
        left = shell.json("forward", "trial", "remove", f"{port}:8080", f"{port}:8053/udp")
        assert len(left["forwards"]) == 1
        assert [said_back(port)] == [b""]
        with socket.create_server(("127.0.0.1", port)):  # and another program may have it
            pass
