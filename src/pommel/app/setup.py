"""`setup`: seven steps that make this host and one machine ready, each done only if need be. Band: app.

A step never acts by surprise: what takes root, or replaces a file, is shown and agreed to first. After an error or a
Ctrl-C the next run begins where this one stopped, since every step looks before it acts.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pommel.app import carried, commandline, host_checks, making, needs, recovery
from pommel.app.consent import Consent, Request
from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import CommandFailed, MissingProgram, NotPermitted, PommelError
from pommel.host import desktop, modules
from pommel.machine.spec import MachineSpec
from pommel.process import attach, which
from pommel.progress import Report, ignore
from pommel.recovery import catalog
from pommel.settings import format_size

State = Literal["done", "todo", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Look:
    """How a step stands: `warn` goes on, `fail` stops. `details` are lines such as a diff; `hint` is what to type."""

    state: State
    text: str
    details: tuple[str, ...] = ()
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One of the seven. `apply` is None where nothing of ours could help."""

    key: str
    title: str
    look: Callable[[], Look]
    apply: Callable[[Look, Consent | None, Report], None] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a step: how it stood, how it stands, and whether something was done."""

    number: int
    key: str
    title: str
    look: Look
    changed: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The outcome as one JSON object."""
        told = {"step": self.number, "key": self.key, "title": self.title, "changed": self.changed}
        return {**told, **asdict(self.look)}


KEYS = ("cpu", "kvm", "packages", "modules", "recovery", "disk", "desktop")


def setup(
    name: str | None = None,
    *,
    workspace: Workspace | None = None,
    skip: Sequence[str] = (),
    only: Sequence[str] = (),
    offline: Path | None = None,
    dry_run: bool = False,
    consent: Consent | None = None,
    report: Report = ignore,
) -> Iterator[Outcome]:
    """Look at each step for machine `name` and do what is missing; yields them one by one, and ends after a failure.

    `consent` is asked before anything that takes root or replaces a file; without it, root goes ahead and others stop.
    """
    workspace = workspace or Workspace.current()
    name = name or workspace.default_name()
    steps = _steps(workspace, workspace.spec(name), offline)
    for number, step in enumerate(steps, 1):
        if step.key in skip or (only and step.key not in only):
            continue
        yield (outcome := _take(number, step, dry_run, consent, report))
        if outcome.look.state == "fail" and not dry_run:
            return


def kernel_step(workspace: Workspace, spec: MachineSpec) -> tuple[str, tuple[str, ...], bool] | None:
    """What `ready_kernel` would do: what, why, and whether it is to do; None: nothing is to be set for this machine."""
    if spec.macos is None or spec.upstream == TRIAL or needs.plan(spec, made=True) is not None:
        return None
    if host_checks.accelerator(workspace, spec).kind != "kvm":
        return None
    look = look_modules(workspace, spec)
    return "set the options of KVM's kernel modules", (look.text,), look.state == "todo"


def ready_kernel(workspace: Workspace, spec: MachineSpec, *, consent: Consent | None, report: Report) -> None:
    """Set the kernel module options that macOS under KVM cannot start without, if they are not; asks as `setup` does.

    Raises:
        NotPermitted: they may not be set; the hint is what to type.
    """
    if spec.macos is None or spec.upstream == TRIAL or host_checks.accelerator(workspace, spec).kind != "kvm":
        return
    if (look := look_modules(workspace, spec)).state == "todo":
        _set_modules(look, consent, report)


def _take(number: int, step: Step, dry_run: bool, consent: Consent | None, report: Report) -> Outcome:
    try:
        before = step.look()
        if dry_run or before.state != "todo" or step.apply is None:
            return Outcome(number, step.key, step.title, before)
        step.apply(before, consent, report)
        after = step.look()
        if after.state == "todo":  # done as far as it goes; what is left is for the user
            after = replace(after, state="warn")
        return Outcome(number, step.key, step.title, after, changed=True)
    except PommelError as failure:
        return Outcome(number, step.key, step.title, Look("fail", failure.message, hint=failure.hint))


def _steps(workspace: Workspace, spec: MachineSpec, offline: Path | None) -> list[Step]:
    return [
        Step("cpu", "CPU", partial(_look_cpu, workspace, spec)),
        Step("kvm", "KVM", partial(_look_kvm, workspace, spec)),
        Step("packages", "packages", partial(_look_packages, workspace, spec), partial(_install, workspace, spec)),
        Step("modules", "kernel modules", partial(look_modules, workspace, spec), _set_modules),
        Step(
            "recovery",
            "recovery image",
            partial(_look_recovery, workspace, spec),
            lambda _look, _consent, report: _fetch(workspace, spec, offline, report),
        ),
        Step(
            "disk",
            "disk",
            partial(_look_disk, workspace, spec),
            lambda _look, _consent, report: _make(workspace, spec, offline, report),
        ),
        Step("desktop", "desktop entry", partial(_look_desktop, workspace, spec), partial(_enter, workspace, spec)),
    ]


def _look_cpu(workspace: Workspace, spec: MachineSpec) -> Look:
    found = host_checks.processor(workspace, spec)
    worst = found.problems[0] if found.problems else None
    details = tuple(f"{p.level}: {p.what}; {p.hint}" for p in found.problems[1:])
    if worst is None or worst.level == "note":
        said = (f"{worst.level}: {worst.what}; {worst.hint}",) if worst else ()
        return Look("done", found.text, (*said, *details))
    return Look("fail" if worst.level == "fail" else "warn", worst.what, (found.text, *details), worst.hint)


def _look_kvm(workspace: Workspace, spec: MachineSpec) -> Look:
    try:
        chosen = host_checks.accelerator(workspace, spec)
    except MissingProgram:
        return Look("warn", "cannot be tested before QEMU is installed", hint="run setup again after the packages")
    if chosen.kind == "kvm":
        return Look("done", chosen.reason)
    slow = "machines will be emulated, which is slow: " + chosen.reason
    return Look("done" if spec.accel == "tcg" else "warn", slow, hint=chosen.hint)


def _look_packages(workspace: Workspace, spec: MachineSpec) -> Look:
    todo = needs.plan(spec, made=workspace.paths(spec.name).record.exists())
    if todo is None:
        return Look("done", "all there")
    return Look("todo", "missing: " + ", ".join(todo.packages), todo.reasons, todo.as_text)


def _install(workspace: Workspace, spec: MachineSpec, _look: Look, consent: Consent | None, report: Report) -> None:
    made = workspace.paths(spec.name).record.exists()
    needs.provide(spec, made=made, consent=consent, report=report)


def _modules() -> modules.ModulesState:
    return modules.look(host_checks.vendor())


def look_modules(workspace: Workspace, spec: MachineSpec) -> Look:
    """How the kernel module options stand, which matter where KVM can be used or could be, were it allowed."""
    state = _modules()
    if not state.loaded and not Path("/dev/kvm").exists():
        return Look("done", "no KVM in this kernel: there is nothing to set")
    if state.is_done:
        return Look("done", "ignore_msrs is on, now and after a reboot", state.remarks)
    if _is_emulated_for_good(workspace, spec):
        return Look("done", "machines are emulated here: there is nothing to set")
    shown = [*(state.diff.splitlines() if state.to_write else ()), *state.remarks]
    shown += [f"kvm.{name}: {state.live[name]} -> {value}" for name, value in state.to_set.items()]
    return Look("todo", "macOS needs kvm's ignore_msrs", tuple(shown), "\n".join(state.commands) or None)


def _is_emulated_for_good(workspace: Workspace, spec: MachineSpec) -> bool:
    """Whether KVM does not run guests here, for a reason that no command of the user's would change."""
    try:
        chosen = host_checks.accelerator(workspace, spec)
    except PommelError:
        return False
    return chosen.kind != "kvm" and chosen.hint is None and spec.accel != "tcg"


def _set_modules(look: Look, consent: Consent | None, report: Report) -> None:
    state = _modules()
    root = os.geteuid() == 0
    what = f"Write {state.path} and turn ignore_msrs on" + ("" if root else ", with sudo")
    agreed = consent(Request(what, look.details)) if consent else root
    if not agreed:
        raise NotPermitted(
            "kvm's ignore_msrs is off: macOS restarts in a loop without it",
            hint="pommel setup --only modules (with --yes it does not ask)",
        )
    modules.apply(state, run_as_root=None if root else sudo, report=report)


def sudo(argv: Sequence[str]) -> None:
    """Run a command as root, by sudo, which may ask for a password.

    Raises:
        MissingProgram: there is no sudo.
        CommandFailed: it failed, or sudo said no.
    """
    which("sudo", hint=f"as root: {shlex.join(argv)}")
    # On our terminal, where sudo may ask; and what it prints is no result of ours.
    status = attach(["sudo", "sh", "-c", 'exec "$@" >&2', "sh", *argv])
    if status != 0:
        raise CommandFailed(["sudo", *argv], status, "see above", hint=f"as root: {shlex.join(argv)}")


def _look_recovery(workspace: Workspace, spec: MachineSpec) -> Look:
    if spec.macos is None or spec.upstream == TRIAL:
        return Look("done", f"{spec.name} needs none")
    if workspace.paths(spec.name).record.exists():
        return Look("done", f"{spec.name} has been created, and has its own")
    what, why, needed = recovery.step(workspace, spec.macos, made=False)
    return Look("todo" if needed else "done", what if needed else why, (why,) if needed else ())


def _fetch(workspace: Workspace, spec: MachineSpec, offline: Path | None, report: Report) -> None:
    if spec.macos is not None:
        recovery.provide(workspace, spec.macos, offline=offline, report=report)


def _look_disk(workspace: Workspace, spec: MachineSpec) -> Look:
    paths = workspace.paths(spec.name)
    if paths.record.exists():
        return Look("done", str(paths.disk))
    size = format_size(spec.disk_bytes)
    if spec.upstream != TRIAL and workspace.upstream_folder(spec).is_dir():
        planned = commandline.disks(workspace, spec).own
        if planned.refusal is not None:
            return Look("fail", planned.refusal.message, hint=planned.refusal.hint)
        if planned.target is not None:
            return Look("todo", f"make {spec.name} with the disk {planned.target}", (planned.reason,))
    free = host_checks.free_bytes(workspace)
    said = f"{format_size(free)} free there"
    if spec.upstream != TRIAL and free < making.MACOS_TAKES:
        said += f"; an installed macOS takes {format_size(making.MACOS_TAKES)}"
    return Look("todo", f"make {spec.name} with a disk of {size}", (f"{paths.disk}, grows as it is used; {said}",))


def _make(workspace: Workspace, spec: MachineSpec, offline: Path | None, report: Report) -> None:
    making.make(workspace, spec, offline=offline, report=report)


def _entry(workspace: Workspace, spec: MachineSpec) -> desktop.Entry:
    macos = catalog.find(spec.macos).title if spec.macos else ""
    title = f"macOS {macos} ({spec.name})" if macos else spec.name
    command = host_checks.own_command()
    if variables := carried.to_entry(workspace):
        if "=" in command[0]:  # env(1) would take it for one more variable
            command = ("sh", "-c", 'exec "$@"', "sh", *command)
        command = ("env", *(f"{key}={said}" for key, said in sorted(variables.items())), *command)
    file = workspace.file_of(spec.name).path
    return desktop.plan(
        spec.name,
        command=command,
        title=title,
        data_home=host_checks.data_home(workspace.env),
        folder=file.parent if file else None,
    )


def _look_desktop(workspace: Workspace, spec: MachineSpec) -> Look:
    entry = _entry(workspace, spec)
    if desktop.is_done(entry):
        return Look("done", str(entry.path))
    return Look("todo", f"put {spec.name} in the desktop's menu", (str(entry.path),))


def _enter(workspace: Workspace, spec: MachineSpec, _look: Look, _consent: Consent | None, report: Report) -> None:
    desktop.apply(_entry(workspace, spec), report=report)
