"""Every path of the reversed socket, made from one service id. Band: core, no I/O.

With the id `meshagent`, the names on macOS are those of the original design, except for its socket, which is no longer
open to all in /tmp. `directory` checks who owns and can write these places.

    RUN/ID[-kvm]/session-active     the signal: launchd and systemd watch this directory, so no other file may be in it
    RUN/ID[-kvm]-sessions/          the daemon's own; a session's user may enter it, but nothing else
      UID.sock UID.token            one session's socket and secret, usable by its uid
      viewers                       the socket for viewers, for root or the one user that the daemon was told
      daemon.json                   the daemon's address, with its page's token; root's
      daemon.lock                   held by the daemon while it runs
    STATE/ID-kvm/                   files that are kept over a reboot; root's
      group.msh mesh/               the .msh file of a MeshCentral server, and the device's own files for it
      tls/                          the page's certificate that Pommel makes, with its key

On Linux the directories end in `-kvm`: /run/pommel itself holds the sockets of root's own machines (`paths`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from pommel.errors import ConfigError, UsageError

System = Literal["linux", "macos"]
DEFAULT_ID = "pommel"
# sockaddr_un.sun_path less its NUL: unix(7) on Linux, unix(4) on macOS
SOCKET_PATH_MAX: dict[System, int] = {"linux": 107, "macos": 103}
_RUN: dict[System, str] = {"linux": "/run", "macos": "/var/run"}
_STATE: dict[System, str] = {"linux": "/var/lib", "macos": "/var/db"}
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}\Z")
_LONGEST_UID = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Places:
    """The names of one service. `run` is the system's folder for files that do not survive a reboot."""

    service_id: str
    system: System
    run: PurePosixPath

    @classmethod
    def of(cls, system: System, service_id: str = DEFAULT_ID, *, run: PurePosixPath | None = None) -> Places:
        """Name the places of `service_id`.

        Raises:
            UsageError: the id could be misused as a path or an option.
            ConfigError: a socket's path would be longer than the system allows.
        """
        if not _ID.match(service_id):
            raise UsageError(
                f"{service_id!r} cannot be a service id",
                hint="use 1 to 40 letters, digits and . _ - and begin with a letter or digit",
            )
        places = cls(service_id, system, run or PurePosixPath(_RUN[system]))
        # The name that is bound first has a dot and a suffix in addition (see `door`).
        longest = len(str(places.socket(_LONGEST_UID)).encode()) + len("..new")
        if longest > SOCKET_PATH_MAX[system]:
            raise ConfigError(
                f"socket paths under {places.sockets} are {longest} bytes long, but only {SOCKET_PATH_MAX[system]} "
                "are allowed",
                hint="use a shorter service id",
            )
        return places

    @property
    def signals(self) -> PurePosixPath:
        """The directory that the session's launcher watches."""
        return self.run / self._base

    @property
    def signal(self) -> PurePosixPath:
        """The file that makes the launcher start an agent."""
        return self.signals / "session-active"

    @property
    def sockets(self) -> PurePosixPath:
        """The directory of sockets and secrets."""
        return self.run / f"{self._base}-sessions"

    @property
    def lock(self) -> PurePosixPath:
        """The lock that the daemon holds while it runs."""
        return self.sockets / "daemon.lock"

    @property
    def viewers(self) -> PurePosixPath:
        """The socket on which viewers connect; from another host through SSH."""
        return self.sockets / "viewers"

    @property
    def record(self) -> PurePosixPath:
        """The file with the daemon's address (JSON, 0600)."""
        return self.sockets / "daemon.json"

    @property
    def state(self) -> PurePosixPath:
        """The directory of files that are kept over a reboot; it is below `run` if that is not the system's own."""
        base = _STATE[self.system] if str(self.run) == _RUN[self.system] else self.run / "state"
        return PurePosixPath(base) / f"{self.service_id}-kvm"

    @property
    def ticket(self) -> PurePosixPath:
        """The .msh file with which the service was installed."""
        return self.state / "group.msh"

    @property
    def mesh(self) -> PurePosixPath:
        """The directory of a joined MeshCentral server."""
        return self.state / "mesh"

    @property
    def tls(self) -> PurePosixPath:
        """The directory of the page's certificate that Pommel makes."""
        return self.state / "tls"

    def socket(self, uid: int) -> PurePosixPath:
        """The socket for the agent of `uid`'s session."""
        return self.sockets / f"{uid}.sock"

    def token(self, uid: int) -> PurePosixPath:
        """The secret that only `uid` can read."""
        return self.sockets / f"{uid}.token"

    @property
    def daemon_label(self) -> str:
        """The LaunchDaemon's label."""
        return self.service_id

    @property
    def agent_label(self) -> str:
        """The LaunchAgent's label."""
        return f"{self.service_id}-kvm1"

    @property
    def daemon_plist(self) -> PurePosixPath:
        """The LaunchDaemon's file."""
        return PurePosixPath("/Library/LaunchDaemons") / f"{self.daemon_label}.plist"

    @property
    def daemon_log(self) -> PurePosixPath:
        """The LaunchDaemon's log; on Linux the journal has it."""
        return PurePosixPath("/var/log") / f"{self.daemon_label}-daemon.log"

    @property
    def agent_plist(self) -> PurePosixPath:
        """The LaunchAgent's file."""
        return PurePosixPath("/Library/LaunchAgents") / f"{self.agent_label}.plist"

    @property
    def daemon_unit(self) -> str:
        """The system service unit's name."""
        return f"{self.service_id}-kvm.service"

    @property
    def agent_unit(self) -> str:
        """The user service unit's name."""
        return f"{self.service_id}-kvm-agent.service"

    @property
    def agent_path_unit(self) -> str:
        """The name of the user path unit that starts the agent."""
        return f"{self.service_id}-kvm-agent.path"

    @property
    def daemon_unit_file(self) -> PurePosixPath:
        """The system service unit's file."""
        return PurePosixPath("/etc/systemd/system") / self.daemon_unit

    @property
    def agent_unit_file(self) -> PurePosixPath:
        """The user service unit's file."""
        return PurePosixPath("/etc/systemd/user") / self.agent_unit

    @property
    def agent_path_unit_file(self) -> PurePosixPath:
        """The user path unit's file."""
        return PurePosixPath("/etc/systemd/user") / self.agent_path_unit

    @property
    def agent_definition(self) -> PurePosixPath:
        """The file whose presence means that the agent is installed."""
        return self.agent_plist if self.system == "macos" else self.agent_path_unit_file

    @property
    def _base(self) -> str:
        return self.service_id if self.system == "macos" else f"{self.service_id}-kvm"
