"""The file that has launchd or systemd start the session's agent. Band: shell.

It is the only file of ours in its directory, and the only one that we remove. Any other keeps the launcher starting
agents for ever, so strangers are spoken of; they are not ours to delete.
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
        """Raise the signal; call it when the socket listens. Raising it twice is fine."""
        self._directory.write(self._name, _CONTENT, mode=_MODE)
        self._look_for_strangers()

    def down(self) -> None:
        """Take the signal away, also one that a killed daemon left, and the file that it was to become."""
        self._directory.remove(self._aside)
        self._directory.remove(self._name)
        self._look_for_strangers()

    def strangers(self) -> list[str]:
        """What lies in the directory and is not ours."""
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
