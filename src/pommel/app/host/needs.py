"""The programs and files of the host that a machine needs, and their installation. Band: app."""

from __future__ import annotations

import os
from collections.abc import Sequence

from pommel.app.consent import Consent, ConsentRequest
from pommel.app.workspace import OSX_KVM, TRIAL
from pommel.errors import NotPermitted
from pommel.host import packages
from pommel.host.needs import GIT, MACOS_NEEDS
from pommel.host.packages import InstallPlan, Need
from pommel.machine.spec import MachineSpec
from pommel.progress import Report, note
from pommel.trial import requirements

__all__ = ["InstallPlan", "install", "plan", "plan_git", "provide"]


def plan(spec: MachineSpec, *, made: bool) -> InstallPlan | None:
    """The packages to install before machine `spec.name` can run, and be made unless it is `made`; None: nothing.

    Optional packages are included only if others are installed anyway, or if this is root: they must not stop a user.
    """
    wanted = list(packages.RUN_NEEDS)
    if spec.upstream == TRIAL and not made:
        wanted += _build_needs()
    elif spec.upstream == OSX_KVM or spec.macos is not None:
        wanted += MACOS_NEEDS
    return _plan(wanted)


def plan_git() -> InstallPlan | None:
    """The packages to install before an upstream can be cloned; None: nothing."""
    return _plan([GIT])


def _plan(wanted: Sequence[Need]) -> InstallPlan | None:
    system = packages.read_system()
    # If the user must install by hand (`instead`), optional packages are left out.
    family = system.family if system.instead is None else None
    lacking = [n for n in packages.missing(wanted) if not n.optional or (family and n.packages.get(family))]
    if not any(not need.optional for need in lacking) and os.geteuid() != 0:
        return None
    return packages.install_plan(lacking) if lacking else None


def provide(spec: MachineSpec, *, made: bool, consent: Consent | None, report: Report) -> None:
    """Install the missing packages.

    Raises:
        NotPermitted: the user refused; or there is no `consent` to ask, and this is not root.
    """
    install(plan(spec, made=made), consent=consent, report=report)


def install(todo: InstallPlan | None, *, consent: Consent | None, report: Report) -> None:
    """Install a plan's packages; nothing for None. Raises as `provide`."""
    if todo is None:
        return
    for reason in todo.reasons:
        note(report, f"missing: {reason}")
    agreed = consent(ConsentRequest(f"Run: {todo.as_text}")) if consent is not None else os.geteuid() == 0
    if not agreed:
        raise NotPermitted(
            "packages are missing: " + ", ".join(todo.packages),
            hint=f"type: {todo.as_text}   (with --yes, pommel does it itself)",
        )
    packages.install(todo, report=report)


def _build_needs() -> list[Need]:
    found = requirements.build_programs(is_root=os.geteuid() == 0)
    return [Need(r.any_of, {"apt": (r.package,)}, r.why) for r in found]
