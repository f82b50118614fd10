"""`doctor`: named checks of everything that a machine needs, each with the command that repairs it. Band: app.

Changes nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pommel import marks, proxies, writable
from pommel.app.argv import commandline, device_checks
from pommel.app.clip import status as clip_status
from pommel.app.console import page as console
from pommel.app.console import tls as console_tls
from pommel.app.disk import backups, encryption, snapshot_timer
from pommel.app.guest import clock
from pommel.app.guest import shell as guest
from pommel.app.host import checks, needs, setup
from pommel.app.machine import displays, identities, memory
from pommel.app.machine.making import MACOS_TAKES
from pommel.app.network import checks as network_checks
from pommel.app.network import forwards, reach
from pommel.app.share import sharing
from pommel.app.upstream import overlay, recovery, upstreams
from pommel.app.usb import devices as usb
from pommel.app.workspace import OSX_KVM, TRIAL, Workspace
from pommel.clipboard.host import find_desktop
from pommel.errors import MissingProgram, PommelError
from pommel.host import packages, qemu_binary
from pommel.host.needs import MACOS_NEEDS, RUN_NEEDS
from pommel.host.qemu_version import qemu_version
from pommel.machine import disk, firmware, ports, record, state
from pommel.machine.spec import MachineSpec
from pommel.overlay.git import typed
from pommel.process import run
from pommel.recovery import catalog
from pommel.recovery.origin import Origin
from pommel.settings import format_size

Level = Literal["ok", "warn", "fail"]
GROUPS = ("host", "KVM", "packages", "upstream", "recovery", "disk", "network", "clipboard", "console")
_QEMU_WANTED = (7, 2)  # the oldest that was tested; upstream asks for 8.2.2


@dataclass(frozen=True, slots=True)
class Check:
    """One check: `fix` is what to type if something has to be done."""

    group: str
    name: str
    level: Level
    text: str
    fix: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The check as one JSON object."""
        return asdict(self)


Found = Iterator[tuple[str, Level, str, str | None]]
Look = Callable[[], Found]


def doctor(name: str | None = None, *, workspace: Workspace | None = None) -> Iterator[Check]:
    """Check the host and machine `name` (default: as for `setup`), and yield the results.

    Raises:
        UsageError: there is no machine of that name.
    """
    workspace = workspace or Workspace.current()
    spec = workspace.spec(name or workspace.default_name())
    looks: dict[str, Look] = {
        "host": partial(_host, workspace, spec),
        "KVM": partial(_kvm, workspace, spec),
        "packages": partial(_packages, workspace, spec),
        "upstream": partial(_upstream, workspace, spec),
        "recovery": partial(_recovery, workspace, spec),
        "disk": partial(_disk, workspace, spec),
        "network": partial(_network, workspace, spec),
        "clipboard": partial(_clipboard, workspace, spec),
        "console": partial(_console, workspace, spec),
    }
    for group in GROUPS:
        yield from _checked(group, looks[group])


def _checked(group: str, look: Look) -> Iterator[Check]:
    """An error in a check is a failed check with its reason, so that the other groups are still checked."""
    try:
        for name, level, text, fix in look():
            yield Check(group, name, level, text, None if level == "ok" else fix)
    except PommelError as failure:
        yield Check(group, "looking", "fail", failure.message, failure.hint)
    except OSError as failure:
        yield Check(group, "looking", "fail", f"{failure.filename or ''}: {failure.strerror}".strip(": "))


def _host(workspace: Workspace, spec: MachineSpec) -> Found:
    found = checks.processor(workspace, spec)
    yield "processor", "ok", found.text, None
    for problem in found.problems:
        if problem.level != "note":
            yield "processor", "fail" if problem.level == "fail" else "warn", problem.what, problem.hint
    for folder in marks.guard(workspace.home):
        text = f"other users of this host can open {folder}, and its mode cannot be changed"
        mend = f"set POMMEL_HOME to a folder on a file system that supports modes (findmnt -T {folder})"
        yield "privacy", "warn", text, mend
    free = checks.free_bytes(workspace)
    home = workspace.home.root
    low = spec.upstream != TRIAL and free < MACOS_TAKES
    text = f"{format_size(free)} free for {home}" + (
        f"; an installed macOS needs {format_size(MACOS_TAKES)}" if low else ""
    )
    level: Level = "fail" if free < 1 << 30 else "warn" if low else "ok"
    yield "space", level, text, f"free some space (df -h {home}), or set POMMEL_HOME to a folder on a larger disk"
    for folder in (home, workspace.home.machines, workspace.paths(spec.name).directory):
        if folder.exists() and (why := writable.why_not(folder)) is not None:
            mend = writable.take_it(folder) if folder != home else "set POMMEL_HOME to a folder that you can write to"
            yield "home", "fail", f"{folder} cannot be written: {why}", mend
    config = workspace.file.path
    yield "settings", "ok", str(config) if config else "no pommel.toml here: the defaults are used", None


def _kvm(workspace: Workspace, spec: MachineSpec) -> Found:
    chosen = checks.accelerator(workspace, spec)
    level: Level = "ok" if chosen.kind == "kvm" or spec.accel == "tcg" else "warn"
    text = chosen.reason if chosen.kind == "kvm" else f"guests are emulated, which is slow: {chosen.reason}"
    yield "runs guests", level, text, chosen.hint or "run on a host with VT-x or AMD-V turned on"
    modules = setup.look_modules(workspace, spec)
    yield (
        "ignore_msrs",
        "ok" if modules.state == "done" else "fail" if chosen.kind == "kvm" and spec.macos else "warn",
        modules.text,
        "pommel setup --only modules",
    )


def _packages(workspace: Workspace, spec: MachineSpec) -> Found:
    wanted = [*RUN_NEEDS, *(MACOS_NEEDS if spec.upstream != TRIAL else ())]
    lacking = packages.missing(wanted)
    try:
        plan = needs.plan(spec, made=True)
        fix = plan.as_text if plan else None
    except MissingProgram as why:  # the packages of this distribution are unknown, or its image is read-only
        fix = why.hint
    for need in wanted:
        if need in lacking:
            level: Level = "warn" if need.optional else "fail"
            yield need.name, level, f"missing; it {need.why}", fix or f"install {need.name}"
    if not lacking:
        yield "programs", "ok", ", ".join(Path(need.name).name for need in wanted), None
    version = qemu_version(str(qemu_binary.installed()), workspace.home.cache)
    text = ".".join(map(str, version))
    mend = "install a newer QEMU: macOS was tested with 7.2 and later"
    yield "QEMU", "ok" if version >= _QEMU_WANTED else "warn", text, mend


def _upstream(workspace: Workspace, spec: MachineSpec) -> Found:
    folder = workspace.upstream_folder(spec)
    if spec.upstream == OSX_KVM:
        yield from _checkout(workspace, spec)
    elif not folder.is_dir():
        level: Level = "warn" if spec.upstream == TRIAL else "fail"
        yield "folder", level, f"there is no {folder}", f"pommel up {spec.name}"
    if not folder.is_dir():
        return
    planned = commandline.command_line(workspace, spec.name)
    count = len(planned.captured.argv)
    yield "boot script", "ok", f"{spec.boot_script}: read, {count} words, every rule could be applied", None
    if not planned.captured.sandboxed:
        yield "sandbox", "warn", "the boot script is run without bubblewrap", "install bubblewrap"
    chosen = planned.firmware
    if isinstance(chosen, firmware.FirmwareChoice):
        yield "firmware", "ok", chosen.reason or f"{chosen.pair.code.name}, code and variables match", None
    else:
        yield "firmware", "ok" if chosen.whole else "warn", chosen.reason, None
    yield "boot disk", "ok", planned.boot_disk.reason or "the upstream's own", None
    for line in planned.warnings:
        yield "start", "warn", line, f"pommel config {spec.name}"
    for problem, mend in device_checks.problems(planned.overlaid.command_line, planned.qemu, workspace.home.cache):
        yield "devices", "fail", problem, mend
    for problem, mend in network_checks.problems(planned.overlaid.command_line):
        yield "network", "fail", problem, mend


def _checkout(workspace: Workspace, spec: MachineSpec) -> Found:
    file = workspace.file_of(spec.name)
    standing = overlay.status(workspace, name=spec.name)
    seen = standing.upstream
    if seen.commit is None:
        yield "checkout", "warn", f"not cloned yet ({standing.checkout})", "pommel bootstrap --no-setup"
        upstreams.overlay_of(workspace, file)
        return
    if (wrong := upstreams.not_ours(standing.checkout)) is not None:
        yield "checkout", "fail", wrong.message, wrong.hint
    text = f"{seen.commit[:12]} in {standing.checkout}"
    if seen.at_pin:
        yield "checkout", "ok", text + ", as pinned", None
    else:
        yield "checkout", "fail", f"{text}, but {seen.pinned[:12]} is pinned", "pommel bootstrap --update"
    for kind, names in (("modified", seen.modified), ("missing", seen.missing), ("with a wrong hash", seen.unverified)):
        if names:
            mend = typed(standing.checkout, "checkout", "--", *names[:5])
            yield "files", "fail" if kind == "with a wrong hash" else "warn", f"{kind}: {', '.join(names[:5])}", mend
    for patch in standing.conflicts:
        yield "patches", "fail", f"patches/{patch.name} does not apply", "pommel overlay status shows where"
    if not standing.conflicts and not standing.as_planned and seen.clean:
        yield "overlay", "warn", "some patches or files are not applied", "pommel bootstrap --no-setup"
    elif standing.as_planned:
        told = standing.overlay
        count = (len(told.patches), len(told.files)) if told else (0, 0)
        yield "overlay", "ok", f"{count[0]} patches applied, {count[1]} files placed", None


def _recovery(workspace: Workspace, spec: MachineSpec) -> Found:
    if spec.macos is None:
        yield "image", "ok", f"{spec.name} needs none", None
        return
    store, version = recovery.store_of(workspace), catalog.find(spec.macos)
    for wrong in store.problems():
        yield "cache", "warn", wrong.message, wrong.hint
    path = workspace.paths(spec.name).record
    kept = record.load(path).recovery if path.exists() else None
    image = recovery.image_for(workspace, spec.macos, kept)
    get = f"pommel recovery fetch {version.name}"
    if image is None:
        yield "image", "warn", f"none of macOS {version.title} is here", get
    else:
        text = f"macOS {image.version}, {format_size(image.size_bytes)}"
        yield "image", "ok", text + ("" if image.chunklist else ", not verified: no chunklist came with it"), None


def _disk(workspace: Workspace, spec: MachineSpec) -> Found:
    paths = workspace.paths(spec.name)
    if not paths.record.exists():
        yield "machine", "warn", f"{spec.name} has not been created yet", f"pommel up {spec.name}"
        yield from encryption.checks(workspace, spec)
        return
    found = disk.info(paths.disk)
    yield "disk", "ok", f"{format_size(found.virtual_bytes)}, {format_size(found.actual_bytes)} used on the host", None
    if found.backing is not None and not found.backing.exists():
        text = f"{found.backing} is missing, and the disk needs it as its backing file"
        yield "backing file", "fail", text, "put the file back"
    yield from encryption.checks(workspace, spec)
    yield from _numbers(workspace, spec)
    yield from snapshot_timer.checks(workspace, spec)
    yield from memory.checks(workspace, spec)
    if paths.nvram.exists():
        yield "NVRAM", "ok", f"{paths.nvram.stat().st_size} bytes, the machine's own", None


def _numbers(workspace: Workspace, spec: MachineSpec) -> Found:
    if spec.upstream == TRIAL:
        return
    told = identities.show(spec.name, workspace=workspace)
    if told["public"]:
        text = f"its serial numbers are not unique, other machines have them too: {told['public']}"
        yield "numbers", "warn", text, f"pommel stop {spec.name}; pommel identity {spec.name} --new"
    elif told["serial"]:
        yield "numbers", "ok", f"{told['model']}, {told['serial']}, from {told['where'] or 'its record'}", None


def _network(workspace: Workspace, spec: MachineSpec) -> Found:
    yield from _proxies(workspace, spec)
    yield from forwards.checks(workspace, spec)
    yield from usb.checks(workspace, spec)
    yield from backups.checks(workspace.paths(spec.name))
    yield from sharing.checks(workspace, spec)
    paths = workspace.paths(spec.name)
    alive = paths.record.exists() and state.observe(paths).alive
    port = record.load(paths.record).ssh_port if paths.record.exists() else spec.ssh_port
    if alive and port is not None and reach.forwarded_port(workspace, spec.name) is None:
        try:
            found = reach.address(workspace, spec.name)
        except PommelError as unknown:
            yield "SSH", "warn", unknown.message, unknown.hint
            return
        yield from _answers(workspace, spec, f"{found.host}, {found.how}")
    elif not (spec.ssh_host is None and spec.network in (None, "user", "upstream", "passt")):
        yield "SSH port", "ok", "none is needed: the guest has its own address", None
    elif port is None:
        yield "SSH port", "ok", "any free port, when the machine is created", None
    elif alive:
        yield from _answers(workspace, spec, f"127.0.0.1:{port}")
    elif ports.is_free(port):
        yield "SSH port", "ok", f"127.0.0.1:{port} is free", None
    else:
        yield "SSH port", "warn", f"127.0.0.1:{port} is used by another program", f"ss -ltnp 'sport = :{port}'"


def _proxies(workspace: Workspace, spec: MachineSpec) -> Found:
    from pommel.mesh import membership  # imported late: it imports cryptography, which is slow

    folder = workspace.paths(spec.name).mesh
    joined = membership.load(folder).msh.servers if membership.has_joined(folder) else ()
    for url in ((workspace.origin or Origin()).base_url, *(server.url for server in joined)):
        where = urlsplit(url).hostname
        try:
            proxy = proxies.proxy_for(url, workspace.env)
        except PommelError as wrong:
            yield "proxy", "fail", f"{where}: {wrong.message}", wrong.hint
            continue
        if proxy is not None:
            yield "proxy", "ok", f"{where} through the proxy {proxy}", None
        elif any(workspace.env.get(name) for name in proxies.NAMES):
            yield "proxy", "ok", f"{where} without a proxy", None


def _answers(workspace: Workspace, spec: MachineSpec, where: str) -> Found:
    answers = guest.ssh_answers(workspace, spec.name)
    text = f"{where}: " + ("the guest answers" if answers else "the guest refuses the login (so far)")
    turn_on = "in macOS: System Settings, Sharing, Remote Login"
    if answers:
        yield from clock.checks(workspace, spec.name)
    yield "SSH", "ok" if answers else "warn", text, turn_on if spec.upstream != TRIAL else f"pommel console {spec.name}"


def _clipboard(workspace: Workspace, spec: MachineSpec) -> Found:
    try:
        desktop = find_desktop(workspace.env)
    except PommelError:
        yield "session", "warn", "no desktop session here, so there is no clipboard to share", "run it in your session"
    else:
        yield "session", "ok", f"{'X11' if desktop.kind == 'x11' else 'Wayland'}, {desktop.display}", None
        if desktop.kind == "wayland" and shutil.which("wl-paste", path=workspace.env.get("PATH")) is None:
            yield "wl-clipboard", "warn", "missing; it reads a Wayland session's clipboard", "install wl-clipboard"
    sync = clip_status.look(workspace.home.clip(spec.name), spec.name)
    if sync.state in ("refused", "guest asleep") or (not sync.running and sync.why):
        yield "sync", "warn", f"{sync.state}: {sync.why}", sync.hint or f"pommel clip status {spec.name}"
    elif sync.running:
        yield "sync", "ok", f"{sync.state} (pid {sync.pid})", None
    else:
        yield "sync", "ok", f"not running. To start: pommel clip sync {spec.name}", None


def _console(workspace: Workspace, spec: MachineSpec) -> Found:
    paths = workspace.paths(spec.name)
    if state.observe(paths).state is state.MachineState.RUNNING and not paths.qmp.exists():
        mend = f"shut {spec.name} down from inside (pommel ssh {spec.name}), then: pommel start {spec.name}"
        yield "sockets", "fail", f"{spec.name} runs, but {state.sockets_gone(paths)}", mend
    else:
        try:
            paths.make_runtime()
        except PommelError as wrong:
            yield "sockets", "fail", wrong.message, wrong.hint
            return
        yield "sockets", "ok", str(paths.runtime), None
    yield from displays.checks(workspace, spec)
    if (certificate := console_tls.look(workspace, spec.name)) is not None:
        yield "certificate", *certificate
    served = console.find(paths) if paths.record.exists() else None
    if served is None:
        yield "page", "ok", "not running", None
    else:
        address = urlsplit(served.url)
        reached = address.port is not None and not ports.is_free(address.port)
        text = f"{address.scheme}://{address.netloc} (pid {served.pid})"
        yield "page", "ok" if reached else "fail", text, f"pommel console {spec.name}"


def host_facts() -> dict[str, str]:
    """Facts about the host for a support archive: kernel, distribution, versions."""
    facts = {"kernel": " ".join(os.uname()), "distribution": _distribution()}
    for program in ("qemu-system-x86_64", "qemu-img", "git", "ssh", "dmg2img", "bwrap"):
        try:
            flag = "-V" if program == "ssh" else "--version"
            told = run([program, flag], check=False, timeout_s=10).output.splitlines()
            facts[program] = told[0] if told else "no output"
        except PommelError as failure:
            facts[program] = failure.message
    return facts


def _distribution() -> str:
    try:
        text = Path("/etc/os-release").read_text()
    except OSError:
        return "unknown"
    return next((line.partition("=")[2].strip('"') for line in text.splitlines() if line.startswith("PRETTY_NAME")), "")
