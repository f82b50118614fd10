"""The number of vCPUs for macOS, and their sockets and cores. Band: core, no I/O.

macOS hangs early in its boot with some numbers. Powers of two are safe, and so are a few others if every socket has
a power of two; other tools (dockur/macos, LongQT's OpenCore-ISO) have found this out, but nobody knows a rule.
"""

from __future__ import annotations

from collections.abc import Mapping

from pommel.errors import ConfigError
from pommel.machine.cpu_models import HostProcessor

# vCPUs in total -> (sockets, cores per socket), one thread per core.
_OTHERS_THAT_RUN: Mapping[int, tuple[int, int]] = {
    6: (3, 2),
    10: (5, 2),
    12: (3, 4),
    14: (7, 2),
    20: (5, 4),
    24: (3, 8),
}
# (sockets, cores per socket, threads per core) -> where it works, although the rules above exclude it.
_SEEN_RUNNING: Mapping[tuple[int, int, int], str] = {
    (1, 6, 2): "macOS 14 on an AMD Ryzen 7 5700X",
}
_MOST_BY_DEFAULT = {"intel": 4}
_MOST_ELSEWHERE = 2  # AMD: most reports of hangs with more than one core are from there


def check_topology(sockets: int, cores: int, threads_total: int, *, macos: str | None) -> str | None:
    """Check that macOS can start with `sockets` of `cores` each and `threads_total` vCPUs in total.

    Returns a warning for a topology that works for somebody but is not known to be safe, else None. With None for
    `macos` (another guest, or unknown) nothing is checked.

    Raises:
        ConfigError: macOS is known to hang with it, or nobody is known to use it; the hint has the nearest known one.
    """
    if macos is None:
        return None
    hint = f'set {_typed(*nearest_good(threads_total))} (or topology = "as-asked" to use it anyway)'
    a_core = threads_total // (sockets * cores)
    if a_core * sockets * cores != threads_total:
        asked = f"threads = {threads_total} (vCPUs in total)"
        raise ConfigError(f"{asked} does not divide into {sockets} × {cores} (sockets × cores)", hint=hint)
    if _is_known(sockets, cores, threads_total):
        return None
    asked = f"{threads_total} vCPUs as {sockets} × {cores} × {a_core} (sockets × cores × threads per core)"
    if where := _SEEN_RUNNING.get((sockets, cores, a_core)):
        return f"{asked} have worked with {where}; on other hosts macOS may hang with them, and powers of two are safer"
    raise ConfigError(
        f"macOS hangs with most numbers of vCPUs that are not a power of two, and is not known to work with {asked}",
        hint=hint,
    )


def nearest_good(threads_total: int) -> tuple[int, int, int]:
    """The topology known to work with this many vCPUs, else the next smaller: (sockets, cores per socket, vCPUs)."""
    total = max(1, threads_total)
    while not _is_power_of_two(total) and total not in _OTHERS_THAT_RUN:
        total -= 1
    sockets, cores = _OTHERS_THAT_RUN.get(total, (1, total))
    return sockets, cores, total


def default_vcpus(host: HostProcessor, accel: str) -> tuple[int, str]:
    """The default number of vCPUs, a power of two in one socket, and its reason."""
    if accel == "tcg":
        count = _power_of_two_within(min(2, host.threads // 2))
        return count, f"emulated: {_vcpus(count)}, because each additional vCPU slows the others down"
    if host.clocksource not in (None, "tsc"):
        return 1, f"the host's clock is {host.clocksource}: macOS needs tsc for more than one vCPU"
    most = _MOST_BY_DEFAULT.get(host.vendor, _MOST_ELSEWHERE)
    # The size of one socket, and half of what the host can run at once, because the host has other work.
    count = _power_of_two_within(min(most, host.threads // 2, host.cores // max(1, host.sockets)))
    return count, f"{host.name}: {_vcpus(count)}, which is safe for an installation; you can try more later"


def oversubscription(vcpus: int, host_threads: int) -> str | None:
    """A warning if there are more vCPUs than the host can run at once, else None."""
    if vcpus <= host_threads:
        return None
    return f"{vcpus} vCPUs on a host that runs {host_threads} threads at once: they will wait for each other"


def _is_known(sockets: int, cores: int, total: int) -> bool:
    # All factors of a power of two are powers of two, so any division of it is safe.
    return _is_power_of_two(total) or (_OTHERS_THAT_RUN.get(total) == (sockets, cores) and sockets * cores == total)


def _is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0


def _power_of_two_within(most: int) -> int:
    return 1 << (max(1, most).bit_length() - 1)


def _vcpus(count: int) -> str:
    return "1 vCPU" if count == 1 else f"{count} vCPUs"


def _typed(sockets: int, cores: int, total: int) -> str:
    return f"sockets = {sockets}, cores = {cores}, threads = {total}"
