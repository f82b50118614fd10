"""Hosts whose loopback device has IPv6 alone or IPv4 alone, in network namespaces of their own."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from pommel import loopback
from pommel.errors import NotPermitted, UsageError

# unshare(2) with CLONE_NEWNET; then what netdevice(7) says: SIOCSIFFLAGS to raise lo, SIOCSIFADDR to take 127.0.0.1.
IN_A_NAMESPACE = """
import ctypes, fcntl, os, socket, struct, sys
if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):
    sys.exit(77)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 0x41))
    if sys.argv[1] == "ipv6":
        fcntl.ioctl(s, 0x8916, struct.pack("16sHH4s8x", b"lo", socket.AF_INET, 0, bytes(4)))
    else:
        open("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "w").write("1")
exec(sys.argv[2])
"""
PORTS = """
from pommel.machine import ports
from pommel.errors import PommelError
try:
    print(ports.next_free(2222))
except PommelError as error:
    print(type(error).__name__, error.message, error.hint)
"""
CONSOLE = """
import asyncio
from pommel.app.session import kvm
from pommel.console.server import ConsoleInfo, ConsoleServer, new_token
from pommel.errors import PommelError
async def serve():
    server = ConsoleServer(info=ConsoleInfo(name="m", title=""), token=new_token(), serve_viewer=None, status=None, host={host!r})
    await server.start()
    print(server.url.split("?")[0])
    await server.stop()
try:
    asyncio.run(serve())
except PommelError as error:
    print(type(error).__name__, error.message, error.hint)
"""


def within(kind: str, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", IN_A_NAMESPACE, kind, code], capture_output=True, text=True, check=False
    )
    if done.returncode == 77:
        pytest.skip("no network namespace is to be had")
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    return done.stdout.strip()


def test_no_port_is_sought_for_where_there_is_no_address() -> None:
    said = within("ipv6", PORTS)
    assert said.startswith(
        "NotPermitted this host has no 127.0.0.1: its loopback device is down or without it sudo ip "
    )


def test_ipv4_alone_will_do() -> None:
    assert within("ipv4", PORTS) == "2222"


@pytest.mark.parametrize(
    ("kind", "host", "said"),
    [
        ("ipv6", "127.0.0.1", "NotPermitted this host has no 127.0.0.1"),
        ("ipv4", "::1", "NotPermitted this host has no ::1"),
        ("ipv4", "192.0.2.7", "UsageError 192.0.2.7 is not an address of this host ip -brief address shows"),
        ("ipv6", "::1", "http://[::1]:8"),
        ("ipv4", "127.0.0.1", "http://127.0.0.1:8"),
    ],
)
def test_the_console_says_what_is_missing(kind: str, host: str, said: str) -> None:
    assert within(kind, CONSOLE.format(host=host)).startswith(said)


def test_other_failures_are_not_blamed_on_it() -> None:
    assert loopback.missing(OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)), "127.0.0.1") is None
    assert isinstance(loopback.missing(OSError(errno.EADDRNOTAVAIL, ""), "127.0.0.1"), NotPermitted)
    assert isinstance(loopback.missing(OSError(errno.EADDRNOTAVAIL, ""), "192.0.2.7"), UsageError)
