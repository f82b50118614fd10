"""Pommel: macOS virtual machines on Linux that you can hold.

The Python API has the command line's actions as functions. They print nothing; long work reports its progress as values
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
    from pommel.app.console.page import Console as Console
    from pommel.app.console.page import open_detached as open_console
    from pommel.app.disk.snapshots import load as load_snapshot
    from pommel.app.disk.snapshots import save as save_snapshot
    from pommel.app.guest.shell import ssh_run as ssh_run
    from pommel.app.host.doctor import doctor as doctor
    from pommel.app.host.setup import setup as setup
    from pommel.app.machine.clones import clone as clone
    from pommel.app.machine.hands import click as click
    from pommel.app.machine.hands import drag as drag
    from pommel.app.machine.hands import press_key as press_key
    from pommel.app.machine.hands import screenshot as screenshot
    from pommel.app.machine.hands import scroll as scroll
    from pommel.app.machine.hands import type_text as type_text
    from pommel.app.machine.machines import Status as Status
    from pommel.app.machine.machines import delete as delete
    from pommel.app.machine.machines import list_machines as list_machines
    from pommel.app.machine.machines import status as status
    from pommel.app.machine.port_wait import wait_port as wait_port
    from pommel.app.machine.power import restart as restart
    from pommel.app.machine.power import resume as resume
    from pommel.app.machine.power import start as start
    from pommel.app.machine.power import stop as stop
    from pommel.app.machine.power import suspend as suspend
    from pommel.app.machine.screen_wait import wait_changed as wait_changed
    from pommel.app.machine.screen_wait import wait_rest as wait_rest
    from pommel.app.machine.up import up as up
    from pommel.app.machine.waiting import wait as wait
    from pommel.app.machine.waiting import wait_ssh as wait_ssh
    from pommel.app.throwaway.lending import ThrowawayMachine as ThrowawayMachine
    from pommel.app.throwaway.lending import throwaway as throwaway
    from pommel.app.upstream.bootstrap import bootstrap as bootstrap
    from pommel.app.upstream.recovery import fetch as fetch_recovery
    from pommel.app.workspace import Workspace as Workspace
    from pommel.errors import PommelError as PommelError
    from pommel.progress import Progress as Progress

# name -> its module. Imported at its first use: `import pommel` alone imports nothing, so the command starts quickly.
_WHERE = {
    "Console": ("pommel.app.console.page", "Console"),
    "PommelError": ("pommel.errors", "PommelError"),
    "Progress": ("pommel.progress", "Progress"),
    "Status": ("pommel.app.machine.machines", "Status"),
    "ThrowawayMachine": ("pommel.app.throwaway.lending", "ThrowawayMachine"),
    "Workspace": ("pommel.app.workspace", "Workspace"),
    "bootstrap": ("pommel.app.upstream.bootstrap", "bootstrap"),
    "click": ("pommel.app.machine.hands", "click"),
    "clone": ("pommel.app.machine.clones", "clone"),
    "delete": ("pommel.app.machine.machines", "delete"),
    "doctor": ("pommel.app.host.doctor", "doctor"),
    "fetch_recovery": ("pommel.app.upstream.recovery", "fetch"),
    "list_machines": ("pommel.app.machine.machines", "list_machines"),
    "load_snapshot": ("pommel.app.disk.snapshots", "load"),
    "open_console": ("pommel.app.console.page", "open_detached"),
    "drag": ("pommel.app.machine.hands", "drag"),
    "press_key": ("pommel.app.machine.hands", "press_key"),
    "restart": ("pommel.app.machine.power", "restart"),
    "resume": ("pommel.app.machine.power", "resume"),
    "save_snapshot": ("pommel.app.disk.snapshots", "save"),
    "screenshot": ("pommel.app.machine.hands", "screenshot"),
    "setup": ("pommel.app.host.setup", "setup"),
    "ssh_run": ("pommel.app.guest.shell", "ssh_run"),
    "start": ("pommel.app.machine.power", "start"),
    "status": ("pommel.app.machine.machines", "status"),
    "stop": ("pommel.app.machine.power", "stop"),
    "suspend": ("pommel.app.machine.power", "suspend"),
    "throwaway": ("pommel.app.throwaway.lending", "throwaway"),
    "scroll": ("pommel.app.machine.hands", "scroll"),
    "type_text": ("pommel.app.machine.hands", "type_text"),
    "up": ("pommel.app.machine.up", "up"),
    "wait": ("pommel.app.machine.waiting", "wait"),
    "wait_changed": ("pommel.app.machine.screen_wait", "wait_changed"),
    "wait_port": ("pommel.app.machine.port_wait", "wait_port"),
    "wait_rest": ("pommel.app.machine.screen_wait", "wait_rest"),
    "wait_ssh": ("pommel.app.machine.waiting", "wait_ssh"),
}

__all__ = [
    "Console", "PommelError", "Progress", "Status", "ThrowawayMachine", "Workspace", "bootstrap", "click", "clone",
    "delete", "doctor", "drag", "fetch_recovery", "list_machines", "load_snapshot", "open_console", "press_key",
    "restart", "resume", "save_snapshot", "screenshot", "scroll", "setup", "ssh_run", "start", "status", "stop",
    "suspend", "throwaway", "type_text", "up", "wait", "wait_changed", "wait_port", "wait_rest", "wait_ssh",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'pommel' has no attribute {name!r}")
    import importlib

    module, attribute = _WHERE[name]
    return getattr(importlib.import_module(module), attribute)
