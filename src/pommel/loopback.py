"""What to say where a local address cannot be listened on, since the host has it not. Band: shared ground.

A container may be given a loopback device that is down, or one with IPv6 alone.
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
    """What to raise for a bind(2) to `host` that failed for want of such an address; None: it failed otherwise."""
    if failure.errno not in _NOT_HERE:
        return None
    if host in _MEND:
        return NotPermitted(f"this host has no {host}: its loopback device is down or without it", hint=_MEND[host])
    return UsageError(f"{host} is not an address of this host", hint="ip -brief address shows those that are")
