"""The error for a local address that the host does not have. Band: shared ground.

A container may have a loopback device that is down, or that has only IPv6.
"""

from __future__ import annotations

import errno

from pommel.errors import NotPermitted, PommelError, UsageError

_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_MEND = {
    "127.0.0.1": "sudo ip link set lo up; sudo ip address add 127.0.0.1/8 dev lo",
    "::1": "sudo sysctl net.ipv6.conf.lo.disable_ipv6=0; sudo ip link set lo up",
}


def missing(failure: OSError, host: str) -> PommelError | None:
    """The error to raise if a bind(2) to `host` failed because the address is missing; None if it failed otherwise."""
    if failure.errno not in _NOT_HERE:
        return None
    if host in _MEND:
        return NotPermitted(f"this host has no {host}: its loopback device is down or without it", hint=_MEND[host])
    return UsageError(f"{host} is not an address of this host", hint="ip -brief address shows those that are")
