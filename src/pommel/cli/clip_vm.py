"""`vm-clip sync|push|pull|stop|status`: the words of an older script, and its four variables. Band: face.

VM_CLIP_PORT (2222), VM_CLIP_USER (who you are), VM_CLIP_HOST (localhost) and VM_CLIP_INTERVAL (seconds between a Mac's
looks at its own clipboard; left out, it is far shorter, and costs nothing).
"""

from __future__ import annotations

from collections.abc import Mapping

import click

from pommel import account
from pommel.app.clip import sync as clip
from pommel.app.clip.options import ClipOptions
from pommel.app.clip.target import Guest, find_guest
from pommel.app.workspace import Workspace
from pommel.cli import clip_verbs
from pommel.cli.common import json_option
from pommel.cli.output import reporter
from pommel.errors import ConfigError, UsageError
from pommel.settings import parse_port, parse_seconds
from pommel.ssh import SshAddress


@click.command("vm-clip", hidden=True)
@click.argument("verb", type=click.Choice(["sync", "push", "pull", "stop", "status"]))
@json_option
def vm_clip_command(verb: str) -> None:
    """Do as `pommel clip VERB --host USER@HOST:PORT`, with what the environment says.

    That is VM_CLIP_PORT (2222), VM_CLIP_USER (you) and VM_CLIP_HOST (localhost). VM_CLIP_INTERVAL is how often a Mac
    looks at its own clipboard, in seconds; leave it out, as looking costs nothing.
    """
    workspace = Workspace.current()
    guest = _guest(workspace)
    match verb:
        case "sync":
            clip_verbs.sync(workspace, guest, _options(workspace.env))
        case "push":
            told = clip.push(workspace, guest, _options(workspace.env), report=reporter())
            clip_verbs.moved(guest, "pushed", told)
        case "pull":
            told = clip.pull(workspace, guest, _options(workspace.env), report=reporter())
            clip_verbs.moved(guest, "pulled", told)
        case "stop":
            clip_verbs.stop([guest], every=False)
        case _:
            clip_verbs.status(guest)


def _guest(workspace: Workspace) -> Guest:
    env = workspace.env
    try:
        port = parse_port(env.get("VM_CLIP_PORT") or "2222")
    except ValueError as wanted:
        raise ConfigError(f"VM_CLIP_PORT must be {wanted}, not {env['VM_CLIP_PORT']!r}") from None
    if not (user := env.get("VM_CLIP_USER") or account.name()):
        raise UsageError("the user name for the login is not known", hint="set VM_CLIP_USER")
    host = env.get("VM_CLIP_HOST") or "localhost"
    return find_guest(workspace, None, str(SshAddress(host, user)) + f":{port}", accept_new=True)


def _options(env: Mapping[str, str]) -> ClipOptions:
    said = env.get("VM_CLIP_INTERVAL")
    if not said:
        return ClipOptions()
    try:
        every_ms = round(parse_seconds(said) * 1000)
    except ValueError as wanted:
        raise ConfigError(f"VM_CLIP_INTERVAL must be {wanted}, not {said!r}") from None
    return ClipOptions(every_ms=max(10, every_ms))
