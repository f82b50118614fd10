"""A boot script's other actions: on the host, and around QEMU. Band: core, no I/O.

None of them was done. Those that QEMU needs are repeated at the real start, or reported as left out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# The variables that QEMU and its libraries read (qemu.1, SDL, GLib, PulseAudio, PipeWire, Mesa, the loader).
_CARRIED = re.compile(
    r"LD_LIBRARY_PATH|(QEMU|SDL|PULSE|PIPEWIRE|ALSA|JACK|MESA|VK|GALLIUM|LIBGL|EGL|GBM|MALLOC|G|OSS|SPICE|LIBVA)_[A-Z0-9_]+"
)
_QEMU = re.compile(r"(?:^|\s)(?:\S*/)?(?:qemu-system-\S+|qemu-kvm|kvm|qemu)(?=\s|$)")
_MEMLOCK = "Max locked memory"
_KERNEL_FILE = re.compile(
    r"(?<![\w./:-])(/(?:sys|proc)/[\w./:-]+): (?:Read-only file system|Permission denied|No such file)"
)


@dataclass(frozen=True, slots=True)
class ProgramCall:
    """One call of a stand-in: the program as it was called, the working directory, and the arguments.

    `environment` and `limits` (name -> soft limit, as in /proc/PID/limits) are QEMU's; empty for the others.
    """

    program: str
    cwd: Path
    argv: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    limits: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """The call as text for people."""
        return shlex.join([Path(self.program).name, *self.argv])


@dataclass(frozen=True, slots=True)
class ScriptFacts:
    """The actions of a script on the host and around QEMU.

    `effects` are commands that would change the host, as text; `environment` are QEMU's variables;
    `left_out` are the things around QEMU that are not repeated.
    """

    effects: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def facts_of(
    calls: Sequence[ProgramCall],
    effects: Sequence[ProgramCall],
    wrappers: Sequence[ProgramCall],
    output: str,
    given: Mapping[str, str],
) -> ScriptFacts:
    """Make the facts from the records of the stand-ins; `given` are the variables that the script was given."""
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
    return ScriptFacts(tuple(dict.fromkeys(told)), environment, tuple(dict.fromkeys(left)))


def _before_qemu(text: str) -> str:
    """A wrapper's words without the call that it wraps."""
    return _QEMU.split(text, maxsplit=1)[0].strip() or text
