"""The systemd user unit that keeps a machine running. Band: core, no I/O.

Text only; the commands are the caller's. The unit's main process is one that lasts as long as the machine does
(`start --foreground`), so systemd sees it end, and why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pommel.errors import UsageError

# What the rungs below the guest's own power-down may take, QEMU writing out its cache, and some air.
_STOP_MARGIN_S = 60
_RESTART_S = 10
_BURST, _BURST_S = 5, 600
_NOT_IN_PROGRAMS = "\"'\\"
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


@dataclass(frozen=True, slots=True)
class Service:
    """A machine as a service. `start` runs until the machine has stopped; `stop` returns when it has.

    The first word of both is an absolute path. `stop_timeout_s` is what the guest gets to power down.
    """

    machine: str
    start: Sequence[str]
    stop: Sequence[str]
    stop_timeout_s: float
    environment: Mapping[str, str] = field(default_factory=dict)


def unit_name(machine: str) -> str:
    """What the machine's unit is called."""
    return f"pommel-{machine}.service"


def unit_text(service: Service) -> str:
    """The unit file.

    Raises:
        UsageError: a command does not begin with an absolute path, or holds what no unit file can.
    """
    environment = "".join(f"Environment={_quoted(f'{k}={v}')}\n" for k, v in sorted(service.environment.items()))
    return f"""\
# Written by `pommel service install {service.machine}`, which writes it anew; `pommel service remove` takes it away.
[Unit]
Description=Virtual machine {service.machine} (Pommel)
# A machine that keeps failing is left alone: {_BURST} starts in {_BURST_S // 60} minutes are enough.
StartLimitIntervalSec={_BURST_S}
StartLimitBurst={_BURST}

[Service]
Type=exec
{environment}ExecStart={_command(service.start)}
# systemd signals nobody before this has ended, and it has the guest power down first. Only what it leaves behind
# gets SIGTERM, on which QEMU still writes its disk out.
ExecStop={_command(service.stop)}
KillMode=control-group
TimeoutStartSec=infinity
TimeoutStopSec={round(service.stop_timeout_s) + _STOP_MARGIN_S}
Restart=on-failure
RestartSec={_RESTART_S}

[Install]
WantedBy=default.target
"""


def _command(words: Sequence[str]) -> str:
    if not words or not words[0].startswith("/"):
        raise UsageError(f"a unit's command begins with an absolute path, unlike {' '.join(words)!r}")
    program, *rest = words
    if any(char in _NOT_IN_PROGRAMS for char in program):
        raise UsageError(
            f"systemd starts no program whose path has quotes or backslashes: {program}",
            hint="install pommel in a folder with a plainer name",
        )
    # systemd.service(5): `$` is expanded in arguments, never in the program's own path.
    return " ".join([_quoted(program), *(_quoted(word).replace("$", "$$") for word in rest)])


def _quoted(word: str) -> str:
    """One word between double quotes (systemd.syntax(7)), its `%` doubled (systemd.unit(5), specifiers)."""
    if any((ord(char) < 0x20 and char not in _ESCAPES) or char == "\x7f" for char in word):
        raise UsageError(f"a unit file cannot hold the control characters in {word!r}")
    return '"' + "".join(_ESCAPES.get(char, char) for char in word).replace("%", "%%") + '"'
