"""The property lists for launchd and the units for systemd, as text. Band: core, no I/O.

Both start the daemon with the system and restart it, and start the agent in a session while there is a file in the
signal's directory. Neither stops the agent: it ends when the daemon closes the connection. Keys and their meaning are
from launchd.plist(5), systemd.path(5), systemd.service(5) and systemd.unit(5). The caller writes and loads the files,
and gives the commands; the first word of each command is an absolute path.
"""

from __future__ import annotations

import plistlib
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from pommel.errors import UsageError
from pommel.session.places import Places
from pommel.systemd import command_line, literal, quoted

AGENT_WORD = "-kvm1"
_THROTTLE_S = 10  # launchd's own default between two starts; systemd gets the same value
_DAEMON_RESTART_S = 2


def files(
    places: Places, daemon: Sequence[str], agent: Sequence[str], variables: Mapping[str, str] | None = None
) -> dict[PurePosixPath, bytes]:
    """All files of a service, by their paths; on macOS the agent's command gets the word `-kvm1` at its end.

    `variables` are for the daemon's environment. Everybody on the system can read them: systemd shows them to all
    users.

    Raises:
        UsageError: a command does not begin with an absolute path, or has characters that its file cannot contain.
    """
    if places.system == "macos":
        return {
            places.daemon_plist: plistlib.dumps(daemon_job(places, daemon, variables)),
            places.agent_plist: plistlib.dumps(agent_job(places, agent)),
        }
    return {
        places.daemon_unit_file: daemon_unit(places, daemon, variables).encode(),
        places.agent_path_unit_file: agent_path_unit(places).encode(),
        places.agent_unit_file: agent_unit(places, agent).encode(),
    }


def daemon_job(places: Places, command: Sequence[str], variables: Mapping[str, str] | None = None) -> Mapping[str, Any]:
    """The LaunchDaemon: started with the system, and again when it ends.

    Raises:
        UsageError: launchd cannot run the command.
    """
    return {
        "Label": places.daemon_label,
        "ProgramArguments": _words(command),
        "RunAtLoad": True,
        "KeepAlive": True,
        "ThrottleInterval": _THROTTLE_S,
        "ProcessType": "Interactive",
        "Umask": 0o077,
        "WorkingDirectory": "/",
        # Root's own directory: in /tmp, any user could replace the log by a link.
        "StandardErrorPath": str(places.daemon_log),
        **({"EnvironmentVariables": dict(variables)} if variables else {}),
    }


def agent_job(places: Places, command: Sequence[str]) -> Mapping[str, Any]:
    """The LaunchAgent: started in each session, also at the login window, while the signal exists.

    Raises:
        UsageError: launchd cannot run the command.
    """
    return {
        "Label": places.agent_label,
        "ProgramArguments": [*_words(command), AGENT_WORD],
        "LimitLoadToSessionType": ["Aqua", "LoginWindow"],
        "QueueDirectories": [str(places.signals)],
        "RunAtLoad": False,
        "KeepAlive": False,
        "ThrottleInterval": _THROTTLE_S,
        # Interactive: macOS must not slow it down because it has no window; its pictures are on somebody's screen.
        "ProcessType": "Interactive",
        "Umask": 0o077,
        "WorkingDirectory": "/",
    }


def daemon_unit(places: Places, command: Sequence[str], variables: Mapping[str, str] | None = None) -> str:
    """The system's service unit of the daemon.

    Raises:
        UsageError: systemd cannot run the command.
    """
    environment = "".join(
        f"Environment={quoted(f'{key}={value}')}\n" for key, value in sorted((variables or {}).items())
    )
    return f"""\
[Unit]
Description=Login session's screen for viewers ({places.service_id}, Pommel)
StartLimitIntervalSec=0

[Service]
Type=exec
{environment}ExecStart={command_line(command)}
Restart=always
RestartSec={_DAEMON_RESTART_S}
UMask=0077
NoNewPrivileges=yes
ProtectSystem=full
ProtectHome=read-only

[Install]
WantedBy=multi-user.target
"""


def agent_path_unit(places: Places) -> str:
    """The users' path unit: it starts the agent while the signal exists."""
    return f"""\
[Unit]
Description=Watch for viewers of this session ({places.service_id}, Pommel)

[Path]
DirectoryNotEmpty={literal(str(places.signals))}
Unit={places.agent_unit}

[Install]
WantedBy=default.target
"""


def agent_unit(places: Places, command: Sequence[str]) -> str:
    """The users' service unit of the agent; only its path unit starts it.

    Raises:
        UsageError: systemd cannot run the command.
    """
    return f"""\
[Unit]
Description=This session's screen for viewers ({places.service_id}, Pommel)
# A unit that fails too often takes its path unit with it, and nobody would be served again: it is slowed down instead.
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={command_line(command)}
Restart=on-failure
RestartSec={_THROTTLE_S}
TimeoutStopSec=5
UMask=0077
"""


def _words(command: Sequence[str]) -> list[str]:
    if not command or not command[0].startswith("/"):
        raise UsageError(f"a service's command begins with an absolute path, unlike {' '.join(command)!r}")
    if any(ord(char) < 0x20 and char not in "\t\n\r" for word in command for char in word):
        raise UsageError("a service's command holds no control characters")
    return list(command)
