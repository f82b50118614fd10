"""Where a call happens: which home, which pommel.toml, which environment. Band: app.

Every app function takes a `Workspace` (default: this user's, here). It answers what is known about a machine's
name before the machine is made: its settings with their sources, and its spec.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pommel.config import environment, find_file, read_file
from pommel.errors import UsageError
from pommel.machine.spec import GIB, SETTINGS, MachineSpec
from pommel.paths import Home, MachinePaths
from pommel.settings import ConfigFile, Value, resolve

TRIAL = "trial"
# What suits the stand-in guest better than what suits macOS. The upstream's own choice is sized for a Mac.
_TRIAL_DEFAULTS: dict[str, Any] = {
    "memory": 2 * GIB,
    "disk": 8 * GIB,
    "ssh_user": "trial",
}


@dataclass(frozen=True)
class Workspace:
    """A home, a current folder and an environment; frozen, so that one call sees one world."""

    home: Home
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def current(cls) -> Workspace:
        """This user's home, the current folder, the process environment."""
        env = environment()
        return cls(Home.find(env), Path.cwd(), env)

    @cached_property
    def file(self) -> ConfigFile:
        """The pommel.toml that counts here."""
        return read_file(find_file(self.cwd, self.env))

    def names(self) -> list[str]:
        """Machines that exist, machines that pommel.toml speaks of, and the embedded trial machine."""
        return sorted({*self.home.names(), *self.file.machines, TRIAL})

    def settings(self, name: str, flags: Mapping[str, Any] | None = None) -> dict[str, Value]:
        """Every setting of machine `name` with its source.

        Raises:
            UsageError: no machine is called so.
            ConfigError: a key or a value in pommel.toml, the environment or a flag cannot be used.
        """
        self.paths(name)
        if name not in self.names():
            near = difflib.get_close_matches(name, self.names(), n=1)
            raise UsageError(
                f"there is no machine called {name!r}",
                hint=(f"did you mean {near[0]}? " if near else "")
                + f"write [machine.{name}] into a pommel.toml to make it one; known: {', '.join(self.names())}",
            )
        found = resolve(SETTINGS, self.file, name, env=self.env, flags=flags)
        if found["upstream"].value == TRIAL:
            found = resolve(SETTINGS, self.file, name, env=self.env, flags=flags, defaults=_TRIAL_DEFAULTS)
        return found

    def spec(self, name: str, flags: Mapping[str, Any] | None = None) -> MachineSpec:
        """Machine `name` as wanted. Raises as `settings` does."""
        values = {key: value.value for key, value in self.settings(name, flags).items()}
        return MachineSpec.from_values(name, values)

    def paths(self, name: str) -> MachinePaths:
        """The paths of machine `name`, which need not exist.

        Raises:
            UsageError: it is no name for a machine.
        """
        return self.home.machine(name)

    def upstream_folder(self, spec: MachineSpec) -> Path:
        """The folder of the spec's upstream; a relative one is relative to its pommel.toml."""
        if spec.upstream == TRIAL:
            return self.home.upstream(TRIAL)
        base = self.file.path.parent if self.file.path else self.cwd
        return (base / Path(spec.upstream).expanduser()).absolute()
