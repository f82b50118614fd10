"""The kernel's KVM modules: reads their options, and sets those that macOS needs, reversibly. Band: shell.

Two places: /etc/modprobe.d/pommel.conf for every later load, and /sys/module/kvm/parameters for a loaded module.
A file with that name that Pommel did not write is moved aside, never lost; every step is one rename or one write of
a new file, so that after a kill the next `look`, `apply` or `restore` can continue.
"""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pommel.errors import CommandFailed, NotPermitted, StateError
from pommel.host.module_options import (
    LIVE,
    NAME,
    SAVED,
    Conflict,
    as_switch,
    conflicts,
    effective,
    is_edited,
    is_ours,
    parse_cmdline,
    render,
    wanted_options,
)
from pommel.paths import write_atomic
from pommel.progress import Report, ignore, note, warn

__all__ = ["Conflict", "ModulesState", "RunAsRoot", "apply", "look", "restore", "to_restore"]

# modprobe.d(5); of two files with the same name, the one in the first folder counts.
_FOLDERS = ("etc/modprobe.d", "run/modprobe.d", "usr/local/lib/modprobe.d", "usr/lib/modprobe.d", "lib/modprobe.d")

RunAsRoot = Callable[[Sequence[str]], None]
"""Runs a command as root, given without `sudo`; raises CommandFailed or NotPermitted."""


@dataclass(frozen=True, slots=True)
class ModulesState:
    """The result of a look. `live` has "Y" or "N", or None if the running kernel does not show such a parameter."""

    root: Path
    conf: str | None  # our file as it is now; None: it does not exist
    wanted: str  # our file as it should be
    live: dict[str, str | None]
    live_wanted: dict[str, str]
    loaded: bool
    built_in: bool  # KVM is a part of the kernel, and reads its options from the kernel's command line
    missing: tuple[str, ...]  # "kvm.ignore_msrs=1": the options that are set nowhere
    conflicts: tuple[Conflict, ...]
    unreadable: tuple[str, ...]
    has_vendor_options: bool

    @property
    def path(self) -> Path:
        """The path of our file."""
        return _conf(self.root)

    @property
    def is_done(self) -> bool:
        """Whether everything is set, now and for later, by anybody."""
        return not self.missing and not self.to_set

    @property
    def to_set(self) -> dict[str, str]:
        """The parameters of the loaded module to change, with their new values."""
        return {
            name: self.live_wanted[name]
            for name, value in self.live.items()
            if value is not None and as_switch(value) != self.live_wanted[name]
        }

    @property
    def to_write(self) -> bool:
        """Whether our file must be written."""
        return bool(self.missing) and self.conf != self.wanted

    @property
    def diff(self) -> str:
        """The change of our file as a unified diff; empty if there is none."""
        before = (self.conf or "").splitlines(keepends=True)
        name = str(self.path) if self.conf is not None else "/dev/null"
        after = self.wanted.splitlines(keepends=True)
        return "".join(
            line if line.endswith("\n") else line + "\n"
            for line in difflib.unified_diff(before, after, name, str(self.path))
        )

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands to do by hand what `apply` does."""
        lines = []
        if self.to_write:
            if os.path.lexists(self.path) and not _is_as_written(self.conf):
                lines.append(f"sudo mv -T {self.path} {_free_name(self.path)}")
            lines.append(f"sudo tee {self.path} <<'EOF'\n{self.wanted}EOF")
        lines += [f"echo {value} | sudo tee {_live(self.root, name)}" for name, value in self.to_set.items()]
        return tuple(lines)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Further information for the user, one line each."""
        lines = [f"{path} cannot be read, so its settings are unknown" for path in self.unreadable]
        if self.built_in and self.missing:
            lines.append(
                f"KVM is built into this kernel, which reads no files in modprobe.d: add {' '.join(self.missing)} to "
                "its command line (GRUB_CMDLINE_LINUX in /etc/default/grub)"
            )
        elif not self.loaded:
            lines.append("KVM is not loaded, so nothing can be set now; the file is used when KVM is loaded")
        for found in self.conflicts:
            order = (
                "after Pommel's file, so it must be removed"
                if found.wins
                else ("before Pommel's file, so Pommel's file is used")
            )
            lines.append(f"{found.where} sets {found.parameter}={found.value}; it is read {order}")
        return tuple(lines)


def look(vendor: str, *, root: Path = Path("/"), nested: bool = False) -> ModulesState:
    """Read the present options, for a host with a processor of `vendor` (intel, amd or other)."""
    options = wanted_options(vendor, nested=nested)
    files, unreadable = _read(root)
    module = root / "sys/module/kvm"
    # Only a loaded module has this file; a built-in one has just the parameters.
    built_in = module.is_dir() and not (module / "initstate").exists()
    told = parse_cmdline(_text(root / "proc/cmdline") or "")
    set_by = {**({} if built_in else effective(files)), **dict(told)}
    return ModulesState(
        root=root,
        conf=files.get(str(_conf(root))),
        wanted=render(options),
        live={name: (_text(_live(root, name)) or "").strip() or None for name in LIVE},
        live_wanted={name: options["kvm", name] for name in LIVE},
        loaded=module.is_dir(),
        built_in=built_in,
        missing=tuple(f"{'.'.join(key)}={value}" for key, value in options.items() if set_by.get(key) != value),
        conflicts=conflicts(files, told, options),
        unreadable=unreadable,
        has_vendor_options=any(name != "kvm" for name, _ in options),
    )


def apply(state: ModulesState, *, run_as_root: RunAsRoot | None = None, report: Report = ignore) -> None:
    """Write our file and set the loaded module, if needed; then report what the user must do.

    A parameter that the running kernel does not allow to set (as in a container) is a warning.

    Raises:
        NotPermitted: we are not root, and `run_as_root` is None; the hint has the commands.
        StateError: our file has changed since `state` was read.
    """
    if state.to_write or state.to_set:
        hand = _hand(run_as_root, "setting the KVM module's options", "\n".join(state.commands))
        _sweep(state.path, hand)
        if state.to_write:
            _write(state, hand, report)
        for name, value in state.to_set.items():
            _set_live(hand, state.root, name, value, report)
    for line in state.remarks:
        warn(report, line)


def to_restore(root: Path = Path("/")) -> bool:
    """Whether `restore` would change a file, which needs root."""
    path = _conf(root)
    return _comes_back(path) or bool(_leftovers(path))


def restore(root: Path = Path("/"), *, run_as_root: RunAsRoot | None = None, report: Report = ignore) -> None:
    """Remove our file if it is unchanged, and restore the file that was there before.

    The loaded module keeps its options.

    Raises:
        NotPermitted: we are not root, and `run_as_root` is None; the hint has the commands.
    """
    path = _conf(root)
    if to_restore(root):
        hand = _hand(run_as_root, f"removing {path}", "\n".join(_typed_restore(path)))
        _sweep(path, hand)
    if _comes_back(path):
        _take_back(path, _saved(path), hand, report)
        if as_switch(_text(_live(root, LIVE[0])) or "") == "1":
            note(report, f"kvm.{LIVE[0]} stays on until KVM is loaded again, or the host restarts")
    elif is_ours(_text(path) or ""):
        warn(report, f"{path} was edited after pommel wrote it, so it is not removed")
    for left in _saved(path):
        warn(report, f"{left} existed before pommel, so it is not removed")


def _comes_back(path: Path) -> bool:
    """Whether `path` is ours to remove, or is missing after an interruption, with the old file still saved."""
    return _is_as_written(_text(path)) or (not os.path.lexists(path) and bool(_saved(path)))


def _typed_restore(path: Path) -> list[str]:
    lines = [f"sudo rm {left}" for left in _leftovers(path)]
    if _comes_back(path):
        saved = _saved(path)
        lines.append(f"sudo mv -T {saved[-1]} {path}" if saved else f"sudo rm {path}")
    return lines


def _take_back(path: Path, saved: list[Path], hand: _Hand, report: Report) -> None:
    if saved:
        hand.move(saved[-1], path)
        note(report, f"{path} is restored to its contents before pommel")
    else:
        hand.remove(path)
        note(report, f"removed {path}")


def _write(state: ModulesState, hand: _Hand, report: Report) -> None:
    path = state.path
    if _text(path) != state.conf:
        raise StateError(f"{path} has changed in the meantime", hint="run the same command again")
    if os.path.lexists(path) and not _is_as_written(state.conf):
        aside = _free_name(path)
        hand.move(path, aside)
        note(report, f"saved the old {path} as {aside}")
    hand.write(path, state.wanted)
    note(report, f"wrote {path}")
    if state.loaded and state.has_vendor_options:
        note(
            report, "its settings for kvm_intel or kvm_amd apply when that module is loaded again, or the host restarts"
        )


def _set_live(hand: _Hand, root: Path, name: str, value: str, report: Report) -> None:
    path = _live(root, name)
    try:
        hand.set_live(path, value)
    except (OSError, CommandFailed) as failure:
        why = failure.strerror if isinstance(failure, OSError) else failure.output.strip()
        warn(report, f"kvm.{name} cannot be set now ({why}); on the host itself: echo {value} | sudo tee {path}")
    else:
        note(report, f"set kvm.{name} to {value}")


class _Hand(Protocol):
    """Changes files as root. `write` works completely or not at all."""

    def move(self, old: Path, new: Path) -> None: ...
    def write(self, path: Path, text: str) -> None: ...
    def remove(self, path: Path) -> None: ...
    def set_live(self, path: Path, value: str) -> None: ...


class _OwnHand:
    """For a process that runs as root."""

    def move(self, old: Path, new: Path) -> None:
        old.rename(new)

    def write(self, path: Path, text: str) -> None:
        write_atomic(path, text, mode=0o644)  # depmod(8) and initramfs tools may not run as root

    def remove(self, path: Path) -> None:
        path.unlink()

    def set_live(self, path: Path, value: str) -> None:
        # Not write_atomic: this is a parameter of the kernel, not a file. r+ does not create a missing one.
        with path.open("r+") as parameter:
            parameter.write(value)


class _BorrowedHand:
    """For a user who may run commands as root."""

    def __init__(self, run: RunAsRoot) -> None:
        self._run = run

    def move(self, old: Path, new: Path) -> None:
        self._run(["mv", "-T", str(old), str(new)])

    def write(self, path: Path, text: str) -> None:
        aside = path.with_name(f".{path.name}.new")
        with tempfile.NamedTemporaryFile("w", prefix="pommel-", suffix=".conf") as ours:
            ours.write(text)
            ours.flush()
            self._run(["install", "-D", "-m", "0644", ours.name, str(aside)])
        self._run(["sync", str(aside)])
        self.move(aside, path)

    def remove(self, path: Path) -> None:
        self._run(["rm", "-f", str(path)])

    def set_live(self, path: Path, value: str) -> None:
        self._run(["sh", "-c", 'echo "$1" | tee "$2" >/dev/null', "sh", value, str(path)])


def _hand(run_as_root: RunAsRoot | None, what: str, typed: str) -> _Hand:
    if os.geteuid() == 0:
        return _OwnHand()
    if run_as_root is None:
        raise NotPermitted(f"{what} needs root", hint=typed)
    return _BorrowedHand(run_as_root)


def _sweep(path: Path, hand: _Hand) -> None:
    for left in _leftovers(path):
        hand.remove(left)


def _leftovers(path: Path) -> list[Path]:
    """Files that a killed write left beside ours; modprobe reads none of these names."""
    return sorted(path.parent.glob(f".{NAME}.*"))


def _conf(root: Path) -> Path:
    return root / _FOLDERS[0] / NAME


def _live(root: Path, name: str) -> Path:
    return root / "sys/module/kvm/parameters" / name


def _is_as_written(text: str | None) -> bool:
    return text is not None and is_ours(text) and not is_edited(text)


def _saved(path: Path) -> list[Path]:
    """The files that were moved aside, oldest first."""
    numbers = (int(p.suffix[1:]) for p in path.parent.glob(f"{path.name}{SAVED}.*") if p.suffix[1:].isdecimal())
    first = path.with_name(path.name + SAVED)
    rest = [first.with_name(f"{first.name}.{number}") for number in sorted(numbers)]
    return [found for found in (first, *rest) if os.path.lexists(found)]


def _free_name(path: Path) -> Path:
    first = path.with_name(path.name + SAVED)
    newest = _saved(path)[-1:]
    if not newest:
        return first
    number = int(newest[0].suffix[1:]) if newest[0] != first else 1
    return first.with_name(f"{first.name}.{number + 1}")


def _read(root: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """The files that modprobe reads, and those that cannot be read."""
    paths: dict[str, Path] = {}
    for folder in _FOLDERS:
        for path in sorted((root / folder).glob("*.conf")):
            paths.setdefault(path.name, path)
    files, unreadable = {}, []
    for path in paths.values():
        try:
            text = _text(path)
        except PermissionError:
            unreadable.append(str(path))
        else:
            files.update({str(path): text} if text is not None else {})
    return files, tuple(unreadable)


def _text(path: Path) -> str | None:
    """The file's text; None if there is none, or it is a dangling link."""
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return None
