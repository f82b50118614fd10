"""Decides where a Mac's image may be sent without a warning about Apple's licence. Band: core, no I/O.

Apple's licence for macOS ("Permitted License Uses and Restrictions", B and J of the agreement for macOS 14) allows
copies in virtual machines on the licensee's own Apple computers, and no redistribution. A network that is not known to
be private counts as public.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

WORDS = "Apple's licence does not allow you to give macOS to others, nor to run it on other hardware than Apple's"


def is_private(addresses: Collection[str]) -> bool:
    """Whether all addresses of a registry are on this host or in a private network; False if there are none."""
    return bool(addresses) and all(_is_private(text) for text in addresses)


def is_loopback(hostname: str) -> bool:
    """Whether a host's name always means this host, independent of a name server."""
    if hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False


def _is_private(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return not (mapped or address).is_global and not address.is_multicast
