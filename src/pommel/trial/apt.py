"""The host's own apt sources and download settings, parsed from apt's output. Band: core.

Pommel names no server: on a Debian host the guest's packages come from the host's own sources, elsewhere from
mmdebstrap's default. Sources of other vendors on the host are not used for the guest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# One line for each list of packages: apt-get(8), indextargets.
TARGETS_ARGV = (
    *("apt-get", "indextargets", "--format", "$(REPO_URI)|$(CODENAME)|$(COMPONENT)|$(ORIGIN)"),
    "Created-By: Packages",
)
SETTINGS_ARGV = ("apt-config", "dump", "Acquire")

_SETTING = re.compile(r'(Acquire::(?:https?|Retries|Check-Valid-Until|ForceIPv[46])\S*) "(.*)";\Z')


def source_lines(targets: str, suite: str, keyring: str) -> list[str]:
    """Lines of sources.list(5) for `suite` from the output of TARGETS_ARGV; empty if the host has no such sources.

    A Debian host of another release is suitable too: its mirrors have `suite` as well. `keyring` is Debian's own, on
    the host and in the guest; apt accepts no other for these lines.
    """
    found = [parts for line in targets.splitlines() if len(parts := line.strip().split("|")) == 4]
    debian = [(uri, codename) for uri, codename, part, origin in found if (part, origin) == ("main", "Debian")]
    releases = {codename for _, codename in debian if codename.isalpha()}
    if not releases:
        return []
    release = suite if suite in releases else min(releases)
    wanted = {release: suite, f"{release}-updates": f"{suite}-updates", f"{release}-security": f"{suite}-security"}
    lines = (
        f"deb [signed-by={keyring}] {uri} {wanted[codename]} main" for uri, codename in debian if codename in wanted
    )
    return list(dict.fromkeys(lines))


def download_options(settings: str) -> list[str]:
    """The settings in the output of SETTINGS_ARGV for the connection to a server: proxies, certificates, retries."""
    return list(_reaching(settings))


def _reaching(settings: str) -> Iterator[str]:
    for line in settings.splitlines():
        if (match := _SETTING.match(line)) and match[2]:
            yield f'{match[1]} "{match[2]}"'
