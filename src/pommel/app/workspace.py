"""The context of a call: the home, the pommel.toml, the environment. Band: app.

Every app function takes a `Workspace` (default: this user's, here). It answers what is known about a machine's
name before the machine is made: its settings with their sources, and its spec.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pommel import account, marks, writable
from pommel.config import environment, find_file, read_file
from pommel.errors import ConfigError, NotPermitted, PommelError, StateError, UsageError
from pommel.machine import record
from pommel.machine.folder import refuse_lost
from pommel.machine.spec import GIB, SETTINGS, MachineSpec
from pommel.overlay.pins import Pin, pin_of
from pommel.paths import Home, MachinePaths, here
from pommel.recovery import catalog
from pommel.settings import ConfigFile, Value, resolve

if TYPE_CHECKING:
    from pommel.recovery.origin import Origin

TRIAL = "trial"
OSX_KVM = "osx-kvm"
RECOMMENDED = "sonoma"  # for a machine without a name: users of similar projects report it as the best in a VM
# Defaults for the trial machine's small Linux guest. Those of the upstream are sized for macOS.
_TRIAL_DEFAULTS: dict[str, Any] = {
    "upstream": TRIAL,
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
    origin: Origin | None = None  # the server for recovery images; None: Apple's. Only tests set another

    @classmethod
    def current(cls) -> Workspace:
        """This user's home, after a check that no one else owns it, the current folder and the process environment.

        Raises:
            NotPermitted: the home, or a machine in it, belongs to another user.
            StateError: the current folder has been deleted.
        """
        env = environment()
        where = here()  # before Home.find, which needs it for a relative POMMEL_HOME
        home = Home.find(env)
        marks.guard(home)
        return cls(home, where, env)

    @cached_property
    def file(self) -> ConfigFile:
        """The pommel.toml that applies to the current folder."""
        return read_file(find_file(self.cwd, self.env))

    def names(self) -> list[str]:
        """Machines that exist, machines in pommel.toml, and the embedded trial machine."""
        return sorted({*self.home.names(), *self.home.lost(), *self.file.machines, TRIAL})

    def default_name(self) -> str:
        """The machine to use if no name is given: the only one in pommel.toml, or else the recommended macOS.

        Raises:
            UsageError: pommel.toml has several.
        """
        named = [name for name in self.file.machines if name != TRIAL]
        if len(named) > 1:
            raise UsageError("which machine?", hint=f"give the name of one: {', '.join(named)}")
        return named[0] if named else RECOMMENDED

    def settings(self, name: str, flags: Mapping[str, Any] | None = None) -> dict[str, Value]:
        """Every setting of machine `name` with its source.

        Raises:
            UsageError: there is no machine and no macOS of that name.
            ConfigError: a key or a value in pommel.toml, the environment or a flag cannot be used.
        """
        kept = self._stored_record(name)
        if kept is None and name not in self.file.machines and name != TRIAL and version_called(name) is None:
            refuse_lost(name, self.paths(name).directory)
            raise self._unknown(name)
        file = self._file(name, kept)
        usual = {"upstream": kept.upstream if kept else TRIAL if name == TRIAL else OSX_KVM}
        found = resolve(SETTINGS, file, name, env=self.env, flags=flags, defaults=usual)
        if found["upstream"].value == TRIAL:
            found = resolve(SETTINGS, file, name, env=self.env, flags=flags, defaults=_TRIAL_DEFAULTS)
            return self._with_recorded(name, found, kept)
        found = self._with_recorded(name, found, kept)
        return {**found, "macos": self._macos(name, found, kept)}

    def spec(self, name: str, flags: Mapping[str, Any] | None = None) -> MachineSpec:
        """Machine `name` as wanted. Raises as `settings` does."""
        values = {key: value.value for key, value in self.settings(name, flags).items()}
        return MachineSpec.from_values(name, values)

    def paths(self, name: str) -> MachinePaths:
        """The paths of machine `name`, which may not exist.

        Raises:
            UsageError: the name is not valid for a machine.
        """
        return self.home.machine(name)

    def mark(self) -> None:
        """Check that the home can be written to, and mark it as Pommel's, before anything else is made in it.

        Raises:
            NotPermitted: it cannot be written to.
            BuildError: its disk is full.
        """
        writable.must_take(self.home.root)
        try:
            marks.mark(self.home)
        except OSError as refusal:
            raise NotPermitted(
                f"{self.home.root} cannot be written to: {refusal.strerror or refusal}",
                hint="set POMMEL_HOME to a folder that you can write to",
            ) from refusal

    def made(self, name: str) -> MachinePaths:
        """The paths of machine `name`, after a check that it exists.

        Raises: UsageError: there is no machine of that name. StateError: it has not been created yet.
        """
        self.settings(name)
        paths = self.paths(name)
        refuse_lost(name, paths.directory)
        if not paths.record.exists():
            raise StateError(f"{name} has not been created yet", hint=f"pommel up {name}")
        return paths

    def file_of(self, name: str) -> ConfigFile:
        """The pommel.toml for machine `name`: the one here if it has the machine, or else the one in its record."""
        kept = None
        with contextlib.suppress(PommelError):  # an unreadable record is reported by the callers that need it
            kept = self._stored_record(name) if name not in self.file.machines else None
        return self._file(name, kept)

    def upstream_folder(self, spec: MachineSpec) -> Path:
        """The folder of the spec's upstream; a relative one is relative to its pommel.toml."""
        if spec.upstream == TRIAL:
            return self.home.upstream(TRIAL)
        if spec.upstream == OSX_KVM:
            return self.checkout(self.file_of(spec.name))
        return self.beside(spec.name, spec.upstream)

    def beside(self, name: str, path: str) -> Path:
        """A path from machine `name`'s pommel.toml as an absolute path: it is relative to that file."""
        file = self.file_of(name)
        base = file.path.parent if file.path else self.cwd
        return (base / account.expand(path)).absolute()

    def ssh_user(self, spec: MachineSpec) -> str:
        """The user name in the guest: the setting, or else the user's name here, which most people use everywhere."""
        if spec.ssh_user is not None:
            return spec.ssh_user
        return account.name() or "root"  # in containers, a uid may have no name

    def config_repo(self, file: ConfigFile) -> Path | None:
        """The folder of a pommel.toml that changes the upstream: by a pin, patches, or files. None: it does not."""
        if file.path is None:
            return None
        folder = file.path.parent
        has_more = any((folder / name).is_dir() for name in ("patches", "files"))
        return folder if file.upstream or has_more else None

    def checkout(self, file: ConfigFile) -> Path:
        """The folder of the upstream's clone for this pommel.toml: a config repo has its own, all others share one."""
        repo = self.config_repo(file)
        if repo is None:
            return self.home.upstream(OSX_KVM)
        whole, spelled = (self._checkout_of(path) for path in (Path(os.path.realpath(repo)), repo))
        # Earlier versions hashed the path as it was typed. A clone from that time stays at its place.
        return spelled if spelled.is_dir() and not whole.is_dir() else whole

    def _checkout_of(self, repo: Path) -> Path:
        name = re.sub(r"[^a-z0-9._-]+", "-", repo.name.lower()).strip("-.") or "repo"
        return self.home.upstream(f"{name[:40]}-{hashlib.sha256(os.fsencode(repo)).hexdigest()[:8]}")

    def pin(self, file: ConfigFile) -> Pin:
        """The commit of the upstream that this pommel.toml uses.

        Raises:
            ConfigError: its [upstream] cannot be used.
        """
        try:
            return pin_of(**file.upstream)
        except ConfigError as wrong:
            raise ConfigError(f"{file.path}: {wrong.message}", hint=wrong.hint) from None

    def _with_recorded(
        self, name: str, found: Mapping[str, Value], kept: record.MachineRecord | None
    ) -> dict[str, Value]:
        """The settings, with the record's values (of an adopted or restored machine) in place of defaults."""
        recorded = dict(kept.settings or {}) if kept else {}
        parsers = {setting.key: setting.parse for setting in SETTINGS}
        place, settled = str(self.paths(name).record), dict(found)
        for key, raw in recorded.items():
            if key not in parsers:
                raise ConfigError(
                    f"{place}: unknown setting {key!r}", hint="a newer version of Pommel created this machine"
                )
            if found[key].source != "default":
                continue
            try:
                settled[key] = Value(parsers[key](raw), "record", place)
            except ValueError as wanted:
                raise ConfigError(f"{place}: {key} must be {wanted}, not {raw!r}") from None
        return settled

    def _macos(self, name: str, found: Mapping[str, Value], kept: record.MachineRecord | None) -> Value:
        """The guest's macOS version as a number: from the settings, the record, or the machine's name; else unknown."""
        said, place = found["macos"], found["macos"].where
        if said.value is not None:
            try:
                return Value(catalog.find(said.value).number, said.source, place)
            except UsageError as wrong:
                prefix = f"{place}: " if place else ""
                raise ConfigError(f"{prefix}{wrong.message}", hint=wrong.hint) from None
        if kept is not None and kept.macos is not None:
            return Value(kept.macos, "record", str(self.paths(name).record))
        if (called := version_called(name)) is not None:
            return Value(called.number, "name", f"the machine is called {name}")
        return said  # unknown: a choice for one version may not work for another, so none is made

    def _stored_record(self, name: str) -> record.MachineRecord | None:
        path = self.paths(name).record
        return record.load(path) if path.exists() else None

    def _file(self, name: str, kept: record.MachineRecord | None) -> ConfigFile:
        if name in self.file.machines or kept is None or kept.config is None:
            return self.file
        made_under = Path(kept.config)
        return self.file if made_under == self.file.path or not made_under.is_file() else read_file(made_under)

    def _unknown(self, name: str) -> UsageError:
        near = difflib.get_close_matches(name, [*self.names(), *versions()], n=1)
        return UsageError(
            f"there is no machine called {name!r}",
            hint=(f"did you mean {near[0]}? " if near else "")
            + f"write [machine.{name}] into a pommel.toml to create it; known machines: {', '.join(self.names())}"
            + f"; or use the name of a macOS version: {', '.join(versions())}",
        )


def version_called(name: str) -> catalog.MacVersion | None:
    """The macOS whose name a machine has, such as `sonoma`; numbers and board ids do not count."""
    return next((version for version in catalog.VERSIONS if version.name == name), None)


def versions() -> list[str]:
    """The names of all known macOS versions."""
    return [version.name for version in catalog.VERSIONS]
