"""The systemd user units for a machine, a clipboard's sync, MeshCentral and snapshots. Band: core, no I/O.

Only text; the caller gives the commands. A unit's main process is one that runs as long as the machine does
(`start --foreground`), or the sync (`clip sync --foreground`), so that systemd sees its end and its result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pommel.systemd import command_line, literal, quoted

# The time of the stop's steps after the guest's own power-down, of QEMU writing its cache, and a reserve.
_STOP_MARGIN_S = 60
_RESTART_S = 10
_BURST, _BURST_S = 5, 600


@dataclass(frozen=True, slots=True)
class MachineService:
    """A machine as a service. `start` runs until the machine has stopped; `stop` returns after that.

    The first word of both is an absolute path. `stop_timeout_s` is the guest's time to power down.
    """

    machine: str
    start: Sequence[str]
    stop: Sequence[str]
    stop_timeout_s: float
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SyncService:
    """A clipboard's sync as a service. `start` runs until it gets a signal; its first word is an absolute path.

    `words` name the guest on a command line.
    """

    guest: str
    words: Sequence[str]
    start: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SystemService(MachineService):
    """A machine as a service of the host, which runs as `user`; `mounts` are the folders that it needs."""

    user: str = ""  # a name or a number
    mounts: Sequence[str] = ()


MESH_UNIT = "pommel_mesh.service"  # a machine's unit cannot have this name


@dataclass(frozen=True, slots=True)
class MeshService:
    """The process that keeps a home's machines on their MeshCentral servers. `start` runs until it gets a signal."""

    start: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


SNAPSHOTS_UNIT, SNAPSHOTS_TIMER = "pommel_snapshots.service", "pommel_snapshots.timer"


@dataclass(frozen=True, slots=True)
class DueService:
    """The process that makes a home's due snapshots. `start` checks once, and ends."""

    start: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def snapshots_unit_text(service: DueService) -> str:
    """The unit file of the timer's service.

    Raises:
        UsageError: a command does not begin with an absolute path, or has characters that a unit file cannot contain.
    """
    return f"""\
# Written by `pommel snapshot timer install`, which writes it anew; `pommel snapshot timer remove` takes it away.
[Unit]
Description=Snapshots of machines that are due (Pommel)

[Service]
Type=exec
{_environment(service.environment)}ExecStart={command_line(service.start)}
# What must not make the desktop slow. One that failed is tried again when the timer next starts this.
Nice=10
IOSchedulingClass=idle
# A snapshot of a large memory takes its time, and half a one is worth nothing.
TimeoutStopSec=300
"""


def snapshots_timer_text() -> str:
    """The unit file of the timer. It runs every hour; each machine's own schedule decides whether it is due."""
    return """\
# Written by `pommel snapshot timer install`, which writes it anew; `pommel snapshot timer remove` takes it away.
[Unit]
Description=Look each hour which machines' snapshots are due (Pommel)

[Timer]
OnCalendar=hourly
AccuracySec=1min
# After a night without power, or without a session, it looks at once.
Persistent=true

[Install]
WantedBy=timers.target
"""


def mesh_unit_text(service: MeshService) -> str:
    """The unit file of the service for the MeshCentral servers.

    Raises:
        UsageError: a command does not begin with an absolute path, or has characters that a unit file cannot contain.
    """
    return f"""\
# Written by `pommel mesh service install`, which writes it anew; `pommel mesh service remove` takes it away.
[Unit]
Description=Machines on their MeshCentral servers (Pommel)
# One that was started in the background goes first, and ends by itself.
StartLimitIntervalSec=0

[Service]
Type=exec
{_environment(service.environment)}ExecStart={command_line(service.start)}
# The machines that it was asked to start are not its own, and live on.
KillMode=process
Restart=on-failure
RestartSec={_RESTART_S}
RestartPreventExitStatus=2

[Install]
WantedBy=default.target
"""


def sync_unit_name(key: str) -> str:
    """The name of the unit that syncs the clipboard of guest `key`; a machine's unit cannot have this name."""
    return f"pommel_clip-{key}.service"


def sync_unit_text(service: SyncService) -> str:
    """The unit file of a clipboard's sync.

    Raises:
        UsageError: a command does not begin with an absolute path, or has characters that a unit file cannot contain.
    """
    words = " ".join(service.words)
    return f"""\
# Written by `pommel clip service install {words}`, which writes it anew; `pommel clip service remove` takes it away.
[Unit]
Description=Clipboard of {literal(service.guest)} (Pommel)
# With the desktop, whose clipboard it is, and which tells systemd where that is (DISPLAY, WAYLAND_DISPLAY).
PartOf=graphical-session.target
After=graphical-session.target
StartLimitIntervalSec={_BURST_S}
StartLimitBurst={_BURST}

[Service]
Type=exec
{_environment(service.environment)}ExecStart={command_line(service.start)}
# It ends its ssh itself.
KillMode=mixed
Restart=on-failure
RestartSec={_RESTART_S}
# Not where the words are wrong, or somebody syncs this guest already.
RestartPreventExitStatus=2 3

[Install]
WantedBy=graphical-session.target
"""


def unit_name(machine: str) -> str:
    """The name of the machine's unit."""
    return f"pommel-{machine}.service"


def unit_text(service: MachineService) -> str:
    """The unit file.

    Raises:
        UsageError: a command does not begin with an absolute path, or has characters that a unit file cannot contain.
    """
    return f"""\
# Written by `pommel service install {service.machine}`, which writes it anew; `pommel service remove` takes it away.
[Unit]
Description=Virtual machine {service.machine} (Pommel)
# A machine that keeps failing is left alone: {_BURST} starts in {_BURST_S // 60} minutes are enough.
StartLimitIntervalSec={_BURST_S}
StartLimitBurst={_BURST}

[Service]
Type=exec
{_environment(service.environment)}{_running(service)}
[Install]
WantedBy=default.target
"""


def _environment(variables: Mapping[str, str]) -> str:
    return "".join(f"Environment={quoted(f'{key}={value}')}\n" for key, value in sorted(variables.items()))


def _running(service: MachineService) -> str:
    """The options for the machine's start, stop and restart."""
    return f"""\
ExecStart={command_line(service.start)}
# systemd signals nobody before this has ended, and it has the guest power down first. Only what it leaves behind
# gets SIGTERM, on which QEMU still writes its disk out.
ExecStop={command_line(service.stop)}
KillMode=control-group
TimeoutStartSec=infinity
TimeoutStopSec={round(service.stop_timeout_s) + _STOP_MARGIN_S}
Restart=on-failure
RestartSec={_RESTART_S}
"""


def system_unit_name(user: str, machine: str) -> str:
    """The name of a user's machine's unit among the host's: two users may have machines of the same name."""
    plain = "".join(chr(byte) if chr(byte).isalnum() and byte < 0x80 else f"\\x{byte:02x}" for byte in user.encode())
    return f"pommel-{plain}-{machine}.service"


def system_unit_text(service: SystemService) -> str:
    """The unit file of a machine that starts with the host, after its network and the disks that it is on.

    Raises:
        UsageError: a command does not begin with an absolute path, or has characters that a unit file cannot contain.
    """
    words = f"{service.machine} --system --user {literal(service.user)}"
    return f"""\
# Written by `pommel service install {words}`, which writes it anew; `pommel service uninstall` takes it away.
[Unit]
Description=Virtual machine {service.machine} of {literal(service.user)} (Pommel)
# Stopped in the other order: the machine has powered down before its disks and its network go.
Wants=network-online.target
After=network-online.target
RequiresMountsFor={" ".join(map(quoted, service.mounts))}
# A machine that keeps failing is left alone: {_BURST} starts in {_BURST_S // 60} minutes are enough.
StartLimitIntervalSec={_BURST_S}
StartLimitBurst={_BURST}

[Service]
Type=exec
# Nothing of it is root's: systemd takes HOME and the groups of this user from the list of accounts.
User={literal(service.user)}
{_environment(service.environment)}{_running(service)}
[Install]
WantedBy=multi-user.target
"""
