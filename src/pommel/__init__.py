"""Pommel: macOS virtual machines on Linux that you can hold.

The Python API is what the command line does, as functions. They print nothing; long work reports its progress as values
to a callable. Errors are `PommelError` and its children, with a `message` and a `hint`.

    from pommel import screenshot, ssh_run, stop, type_text, up, wait_ssh

    machine = up("trial", report=lambda event: print(event.step, event.text))
    wait_ssh("trial")
    print(machine.ssh_port, ssh_run("trial", "uname -sr").decode())
    type_text("trial", "echo hello\\n")
    screenshot("trial", "trial.png")
    stop("trial")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.2.0"

if TYPE_CHECKING:
    from pommel.app.bootstrap import bootstrap as bootstrap
    from pommel.app.clones import clone as clone
    from pommel.app.console import Console as Console
    from pommel.app.console import open_detached as open_console
    from pommel.app.doctor import doctor as doctor
    from pommel.app.guest import ssh_run as ssh_run
    from pommel.app.hands import click as click
    from pommel.app.hands import press_key as press_key
    from pommel.app.hands import screenshot as screenshot
    from pommel.app.hands import type_text as type_text
    from pommel.app.machines import Status as Status
    from pommel.app.machines import delete as delete
    from pommel.app.machines import list_machines as list_machines
    from pommel.app.machines import status as status
    from pommel.app.power import restart as restart
    from pommel.app.power import resume as resume
    from pommel.app.power import start as start
    from pommel.app.power import stop as stop
    from pommel.app.power import suspend as suspend
    from pommel.app.recovery import fetch as fetch_recovery
    from pommel.app.setup import setup as setup
    from pommel.app.snapshots import load as load_snapshot
    from pommel.app.snapshots import save as save_snapshot
    from pommel.app.up import up as up
    from pommel.app.waiting import wait as wait
    from pommel.app.waiting import wait_ssh as wait_ssh
    from pommel.app.workspace import Workspace as Workspace
    from pommel.errors import PommelError as PommelError
    from pommel.progress import Progress as Progress

# name -> where it lives. Imported when asked for: `import pommel` alone costs nothing, which keeps the command quick.
_WHERE = {
    "Console": ("pommel.app.console", "Console"),
    "PommelError": ("pommel.errors", "PommelError"),
    "Progress": ("pommel.progress", "Progress"),
    "Status": ("pommel.app.machines", "Status"),
    "Workspace": ("pommel.app.workspace", "Workspace"),
    "bootstrap": ("pommel.app.bootstrap", "bootstrap"),
    "click": ("pommel.app.hands", "click"),
    "clone": ("pommel.app.clones", "clone"),
    "delete": ("pommel.app.machines", "delete"),
    "doctor": ("pommel.app.doctor", "doctor"),
    "fetch_recovery": ("pommel.app.recovery", "fetch"),
    "list_machines": ("pommel.app.machines", "list_machines"),
    "load_snapshot": ("pommel.app.snapshots", "load"),
    "open_console": ("pommel.app.console", "open_detached"),
    "press_key": ("pommel.app.hands", "press_key"),
    "restart": ("pommel.app.power", "restart"),
    "resume": ("pommel.app.power", "resume"),
    "save_snapshot": ("pommel.app.snapshots", "save"),
    "screenshot": ("pommel.app.hands", "screenshot"),
    "setup": ("pommel.app.setup", "setup"),
    "ssh_run": ("pommel.app.guest", "ssh_run"),
    "start": ("pommel.app.power", "start"),
    "status": ("pommel.app.machines", "status"),
    "stop": ("pommel.app.power", "stop"),
    "suspend": ("pommel.app.power", "suspend"),
    "type_text": ("pommel.app.hands", "type_text"),
    "up": ("pommel.app.up", "up"),
    "wait": ("pommel.app.waiting", "wait"),
    "wait_ssh": ("pommel.app.waiting", "wait_ssh"),
}

__all__ = [
    "Console", "PommelError", "Progress", "Status", "Workspace", "bootstrap", "click", "clone", "delete",
    "doctor", "fetch_recovery", "list_machines", "load_snapshot", "open_console", "press_key", "restart",
    "resume", "save_snapshot", "screenshot", "setup", "ssh_run", "start", "status", "stop", "suspend",
    "type_text", "up", "wait", "wait_ssh",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'pommel' has no attribute {name!r}")
    import importlib

    module, attribute = _WHERE[name]
    return getattr(importlib.import_module(module), attribute)
