"""The file whose existence makes launchd or systemd start the session's agent. Band: shell.

It is Pommel's only file in its directory, and the only one that Pommel removes. Any other file there makes the launcher
start agents again and again, so it is reported. Pommel does not delete it, because it is not Pommel's.
"""

from __future__ import annotations

from collections.abc import Callable

from pommel.session.directory import SafeDirectory

_CONTENT = b"1"
_MODE = 0o644


class SignalFile:
    """`session-active` in its directory."""

    def __init__(self, directory: SafeDirectory, name: str, warn: Callable[[str], None]) -> None:
        self._directory = directory
        self._name = name
        self._warn = warn
        self._spoken_of: set[str] = set()

    def up(self) -> None:
        """Create the signal file; call it when the socket listens. Calling it twice is fine."""
        self._directory.write(self._name, _CONTENT, mode=_MODE)
        self._look_for_strangers()

    def down(self) -> None:
        """Remove the signal file, also one of a killed daemon, and a temporary file of it."""
        self._directory.remove(self._aside)
        self._directory.remove(self._name)
        self._look_for_strangers()

    def strangers(self) -> list[str]:
        """The files in the directory that are not Pommel's."""
        return [name for name in self._directory.names() if name not in (self._name, self._aside)]

    @property
    def _aside(self) -> str:
        return f".{self._name}.new"

    def _look_for_strangers(self) -> None:
        new = [name for name in self.strangers() if name not in self._spoken_of]
        self._spoken_of.update(new)
        for name in new:
            self._warn(
                f"{self._directory.path / name} does not belong to Pommel: while it exists, the system keeps starting "
                f"agents. Check it, then: rm -r {self._directory.path / name}"
            )
