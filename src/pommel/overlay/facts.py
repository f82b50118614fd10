"""What a boot script does beside starting QEMU: to the host and around QEMU. Band: core, no I/O.

Nothing of it was done. What QEMU needs of it is carried to the real start, or is said to be left out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# What QEMU and its libraries read from the environment (qemu.1, SDL, GLib, PulseAudio, PipeWire, Mesa, the loader).
_CARRIED = re.compile(
    r"LD_LIBRARY_PATH|(QEMU|SDL|PULSE|PIPEWIRE|ALSA|JACK|MESA|VK|GALLIUM|LIBGL|EGL|GBM|MALLOC|G|OSS|SPICE|LIBVA)_[A-Z0-9_]+"
)
_QEMU = re.compile(r"(?:^|\s)(?:\S*/)?(?:qemu-system-\S+|qemu-kvm|kvm|qemu)(?=\s|$)")
_MEMLOCK = "Max locked memory"
_KERNEL_FILE = re.compile(
    r"(?<![\w./:-])(/(?:sys|proc)/[\w./:-]+): (?:Read-only file system|Permission denied|No such file)"
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a stand-in: the program as it was called, where, and with what.

    `environment` and `limits` (name -> soft limit, as in /proc/PID/limits) are QEMU's; empty for the others.
    """

    program: str
    cwd: Path
    argv: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    limits: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """The call as a person types it."""
        return shlex.join([Path(self.program).name, *self.argv])


@dataclass(frozen=True, slots=True)
class Facts:
    """What a script does to the host and around QEMU.

    `effects` are commands that would change the host, as one types them; `environment` is what QEMU is to see;
    `left_out` tells what was around QEMU and is not carried over.
    """

    effects: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def facts_of(
    calls: Sequence[Call], effects: Sequence[Call], wrappers: Sequence[Call], output: str, given: Mapping[str, str]
) -> Facts:
    """Make the facts from what the stand-ins wrote down; `given` are the variables that the script was given."""
    told = [call.text for call in effects]
    told += [f"write to {path}" for path in dict.fromkeys(_KERNEL_FILE.findall(output))]
    environment = {
        name: value
        for call in calls
        for name, value in call.environment
        if _CARRIED.fullmatch(name) and given.get(name) != value
    }
    left = [_before_qemu(f"{call.program} {call.argv[0]}") for call in wrappers if call.argv]
    for call in calls:
        if dict(call.limits).get(_MEMLOCK) == "unlimited":
            left.append("ulimit -l unlimited")
    return Facts(tuple(dict.fromkeys(told)), environment, tuple(dict.fromkeys(left)))


def _before_qemu(text: str) -> str:
    """A wrapper's words without the call that it wraps."""
    return _QEMU.split(text, maxsplit=1)[0].strip() or text
