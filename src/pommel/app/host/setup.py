"""`setup`: seven steps that prepare this host and one machine, each done only if it is needed. Band: app.

Before a step uses root or replaces a file, it shows what it will do and asks. Every step looks before it acts; so after
an error or Ctrl-C, the next run continues where this one stopped.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pommel.app.argv import commandline
from pommel.app.consent import Consent, ConsentRequest
from pommel.app.host import carried, checks, needs
from pommel.app.machine import making
from pommel.app.upstream import recovery
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
class StepLook:
    """The state of a step. After `warn` setup goes on, after `fail` it stops. `details` are lines such as a diff."""

    state: State
    text: str
    details: tuple[str, ...] = ()
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class SetupStep:
    """One of the seven steps. `apply` is None if Pommel cannot do anything about it."""

    key: str
    title: str
    look: Callable[[], StepLook]
    apply: Callable[[StepLook, Consent | None, Report], None] | None = None


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """The result of a step: its state now, and whether something was done."""

    number: int
    key: str
    title: str
    look: StepLook
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
) -> Iterator[StepOutcome]:
    """Do each step for machine `name` that is not done yet.

    Yield the results one by one; the first failure is the last. `consent` is asked before root is used or a file is
    replaced. Without it, root does it and other users stop.
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
    """The step of `ready_kernel`: action, reason, and whether it is to be done; None: this machine does not need it."""
    if spec.macos is None or spec.upstream == TRIAL or needs.plan(spec, made=True) is not None:
        return None
    if checks.accelerator(workspace, spec).kind != "kvm":
        return None
    look = look_modules(workspace, spec)
    return "set the options of KVM's kernel modules", (look.text,), look.state == "todo"


def ready_kernel(workspace: Workspace, spec: MachineSpec, *, consent: Consent | None, report: Report) -> None:
    """Set the kernel module options without which macOS does not start under KVM, if needed. It asks as `setup` does.

    Raises:
        NotPermitted: the user refused, or may not; the hint is what to type.
    """
    if spec.macos is None or spec.upstream == TRIAL or checks.accelerator(workspace, spec).kind != "kvm":
        return
    if (look := look_modules(workspace, spec)).state == "todo":
        _set_modules(look, consent, report)


def _take(number: int, step: SetupStep, dry_run: bool, consent: Consent | None, report: Report) -> StepOutcome:
    try:
        before = step.look()
        if dry_run or before.state != "todo" or step.apply is None:
            return StepOutcome(number, step.key, step.title, before)
        step.apply(before, consent, report)
        after = step.look()
        if after.state == "todo":  # the step ran, and the rest must be done by the user
            after = replace(after, state="warn")
        return StepOutcome(number, step.key, step.title, after, changed=True)
    except PommelError as failure:
        return StepOutcome(number, step.key, step.title, StepLook("fail", failure.message, hint=failure.hint))


def _steps(workspace: Workspace, spec: MachineSpec, offline: Path | None) -> list[SetupStep]:
    return [
        SetupStep("cpu", "CPU", partial(_look_cpu, workspace, spec)),
        SetupStep("kvm", "KVM", partial(_look_kvm, workspace, spec)),
        SetupStep("packages", "packages", partial(_look_packages, workspace, spec), partial(_install, workspace, spec)),
        SetupStep("modules", "kernel modules", partial(look_modules, workspace, spec), _set_modules),
        SetupStep(
            "recovery",
            "recovery image",
            partial(_look_recovery, workspace, spec),
            lambda _look, _consent, report: _fetch(workspace, spec, offline, report),
        ),
        SetupStep(
            "disk",
            "disk",
            partial(_look_disk, workspace, spec),
            lambda _look, _consent, report: _make(workspace, spec, offline, report),
        ),
        SetupStep(
            "desktop", "desktop entry", partial(_look_desktop, workspace, spec), partial(_enter, workspace, spec)
        ),
    ]


def _look_cpu(workspace: Workspace, spec: MachineSpec) -> StepLook:
    found = checks.processor(workspace, spec)
    worst = found.problems[0] if found.problems else None
    details = tuple(f"{p.level}: {p.what}; {p.hint}" for p in found.problems[1:])
    if worst is None or worst.level == "note":
        said = (f"{worst.level}: {worst.what}; {worst.hint}",) if worst else ()
        return StepLook("done", found.text, (*said, *details))
    return StepLook("fail" if worst.level == "fail" else "warn", worst.what, (found.text, *details), worst.hint)


def _look_kvm(workspace: Workspace, spec: MachineSpec) -> StepLook:
    try:
        chosen = checks.accelerator(workspace, spec)
    except MissingProgram:
        return StepLook("warn", "cannot be tested before QEMU is installed", hint="run setup again after the packages")
    if chosen.kind == "kvm":
        return StepLook("done", chosen.reason)
    slow = "machines will be emulated, which is slow: " + chosen.reason
    return StepLook("done" if spec.accel == "tcg" else "warn", slow, hint=chosen.hint)


def _look_packages(workspace: Workspace, spec: MachineSpec) -> StepLook:
    todo = needs.plan(spec, made=workspace.paths(spec.name).record.exists())
    if todo is None:
        return StepLook("done", "all there")
    return StepLook("todo", "missing: " + ", ".join(todo.packages), todo.reasons, todo.as_text)


def _install(workspace: Workspace, spec: MachineSpec, _look: StepLook, consent: Consent | None, report: Report) -> None:
    made = workspace.paths(spec.name).record.exists()
    needs.provide(spec, made=made, consent=consent, report=report)


def _modules() -> modules.ModulesState:
    return modules.look(checks.vendor())


def look_modules(workspace: Workspace, spec: MachineSpec) -> StepLook:
    """The state of the kernel module options. They matter only if KVM works, or would work with permission."""
    state = _modules()
    if not state.loaded and not Path("/dev/kvm").exists():
        return StepLook("done", "no KVM in this kernel: there is nothing to set")
    if state.is_done:
        return StepLook("done", "ignore_msrs is on, now and after a reboot", state.remarks)
    if _is_emulated_for_good(workspace, spec):
        return StepLook("done", "machines are emulated here: there is nothing to set")
    shown = [*(state.diff.splitlines() if state.to_write else ()), *state.remarks]
    shown += [f"kvm.{name}: {state.live[name]} -> {value}" for name, value in state.to_set.items()]
    return StepLook("todo", "macOS needs kvm's ignore_msrs", tuple(shown), "\n".join(state.commands) or None)


def _is_emulated_for_good(workspace: Workspace, spec: MachineSpec) -> bool:
    """Whether KVM does not work here for a reason that the user cannot change by a command."""
    try:
        chosen = checks.accelerator(workspace, spec)
    except PommelError:
        return False
    return chosen.kind != "kvm" and chosen.hint is None and spec.accel != "tcg"


def _set_modules(look: StepLook, consent: Consent | None, report: Report) -> None:
    state = _modules()
    root = os.geteuid() == 0
    what = f"Write {state.path} and turn ignore_msrs on" + ("" if root else ", with sudo")
    agreed = consent(ConsentRequest(what, look.details)) if consent else root
    if not agreed:
        raise NotPermitted(
            "kvm's ignore_msrs is off: macOS restarts in a loop without it",
            hint="pommel setup --only modules (with --yes it does not ask)",
        )
    modules.apply(state, run_as_root=None if root else sudo, report=report)


def sudo(argv: Sequence[str]) -> None:
    """Run a command as root with sudo, which may ask for a password.

    Raises:
        MissingProgram: there is no sudo.
        CommandFailed: the command failed, or sudo refused.
    """
    which("sudo", hint=f"as root: {shlex.join(argv)}")
    # On the terminal, so that sudo can ask. The command's output goes to stderr, because it is not Pommel's result.
    status = attach(["sudo", "sh", "-c", 'exec "$@" >&2', "sh", *argv])
    if status != 0:
        raise CommandFailed(["sudo", *argv], status, "see above", hint=f"as root: {shlex.join(argv)}")


def _look_recovery(workspace: Workspace, spec: MachineSpec) -> StepLook:
    if spec.macos is None or spec.upstream == TRIAL:
        return StepLook("done", f"{spec.name} needs none")
    if workspace.paths(spec.name).record.exists():
        return StepLook("done", f"{spec.name} has been created, and has its own")
    what, why, needed = recovery.step(workspace, spec.macos, made=False)
    return StepLook("todo" if needed else "done", what if needed else why, (why,) if needed else ())


def _fetch(workspace: Workspace, spec: MachineSpec, offline: Path | None, report: Report) -> None:
    if spec.macos is not None:
        recovery.provide(workspace, spec.macos, offline=offline, report=report)


def _look_disk(workspace: Workspace, spec: MachineSpec) -> StepLook:
    paths = workspace.paths(spec.name)
    if paths.record.exists():
        return StepLook("done", str(paths.disk))
    size = format_size(spec.disk_bytes)
    if spec.upstream != TRIAL and workspace.upstream_folder(spec).is_dir():
        planned = commandline.disks(workspace, spec).own
        if planned.refusal is not None:
            return StepLook("fail", planned.refusal.message, hint=planned.refusal.hint)
        if planned.target is not None:
            return StepLook("todo", f"make {spec.name} with the disk {planned.target}", (planned.reason,))
    free = checks.free_bytes(workspace)
    said = f"{format_size(free)} free there"
    if spec.upstream != TRIAL and free < making.MACOS_TAKES:
        said += f"; an installed macOS takes {format_size(making.MACOS_TAKES)}"
    return StepLook("todo", f"make {spec.name} with a disk of {size}", (f"{paths.disk}, grows as it is used; {said}",))


def _make(workspace: Workspace, spec: MachineSpec, offline: Path | None, report: Report) -> None:
    making.make(workspace, spec, offline=offline, report=report)


def _entry(workspace: Workspace, spec: MachineSpec) -> desktop.DesktopEntry:
    macos = catalog.find(spec.macos).title if spec.macos else ""
    title = f"macOS {macos} ({spec.name})" if macos else spec.name
    command = checks.own_command()
    if variables := carried.to_entry(workspace):
        if "=" in command[0]:  # env(1) would read a path with "=" as one more variable
            command = ("sh", "-c", 'exec "$@"', "sh", *command)
        command = ("env", *(f"{key}={said}" for key, said in sorted(variables.items())), *command)
    file = workspace.file_of(spec.name).path
    return desktop.plan(
        spec.name,
        command=command,
        title=title,
        data_home=checks.data_home(workspace.env),
        folder=file.parent if file else None,
    )


def _look_desktop(workspace: Workspace, spec: MachineSpec) -> StepLook:
    entry = _entry(workspace, spec)
    if desktop.is_done(entry):
        return StepLook("done", str(entry.path))
    return StepLook("todo", f"put {spec.name} in the desktop's menu", (str(entry.path),))


def _enter(workspace: Workspace, spec: MachineSpec, _look: StepLook, _consent: Consent | None, report: Report) -> None:
    desktop.apply(_entry(workspace, spec), report=report)
