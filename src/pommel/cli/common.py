"""Options and arguments that many commands share. Band: face."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from pommel.cli.output import ask, interactive, want_json

F = TypeVar("F", bound=Callable[..., Any])


def complete_name(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The machines' names, for a shell's completion. If pommel.toml has an error, there is no message at a Tab."""
    from pommel.app.workspace import Workspace
    from pommel.errors import PommelError

    try:
        names = Workspace.current().names()
    except PommelError:
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_base(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The machines and images for throw-away machines, for a shell's completion."""
    from pommel.app.throwaway import base
    from pommel.app.workspace import Workspace
    from pommel.errors import PommelError

    try:
        names = base.known(Workspace.current())
    except PommelError:
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_remote(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Machines' names with the colon for scp, and the host's own files."""
    if ":" in incomplete:
        return []
    remote = [CompletionItem(f"{item.value}:", type="nospace") for item in complete_name(ctx, param, incomplete)]
    return [*remote, CompletionItem(incomplete, type="file")]


def complete_version(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of the macOS versions, for a shell's completion."""
    from pommel.app.workspace import versions

    return [CompletionItem(name) for name in versions() if name.startswith(incomplete.lower())]


def name_argument(*, required: bool = True) -> Callable[[F], F]:
    """The NAME of a machine."""
    return click.argument("name", required=required, shell_complete=complete_name)


json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    expose_value=False,  # `output.answered` and `output.wants_json` have the value
    callback=want_json,
    help="Print one JSON object on stdout.",
)
connections_option = click.option(
    "--connections",
    type=click.IntRange(1, 4),
    default=3,
    show_default=True,
    help="Number of connections at the same time.",
)
yes_option = click.option("-y", "--yes", is_flag=True, help="Answer yes to every question.")
display_option = click.option("--display", type=click.IntRange(1), default=1, help="Which display, counted from 1.")
dry_run_option = click.option("-n", "--dry-run", is_flag=True, help="Print what would be done, and do nothing.")


def words_given() -> tuple[str, ...]:
    """The arguments of the present command as a person would type them again: those that were given, but for --json."""
    context = click.get_current_context()
    given = []
    for one in context.command.params:
        if context.get_parameter_source(one.name or "") is ParameterSource.COMMANDLINE and one.name != "as_json":
            given += _words_of(one, context.params[one.name or ""])
    return tuple(given)


def _words_of(one: click.Parameter, value: Any) -> list[str]:
    if not isinstance(one, click.Option):
        return [str(value)]
    if one.is_flag:
        return [one.opts[-1] if value else one.secondary_opts[-1]]
    return [word for each in (value if one.multiple else [value]) for word in (one.opts[-1], str(each))]


def complete_tag(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The snapshots' tags of the machine that was typed before, for a shell's completion."""
    from pommel.app.disk.snapshots import list_snapshots
    from pommel.errors import PommelError

    try:
        tags = [snapshot.tag for snapshot in list_snapshots(str(ctx.params.get("name", "")))]
    except PommelError:
        return []
    return [CompletionItem(tag) for tag in tags if tag.startswith(incomplete)]


def confirm(question: str, *, yes: bool, typed: str) -> None:
    """Ask for confirmation; without a terminal, --yes is needed.

    Raises:
        UsageError: there is no terminal and no --yes.
        StateError: the answer was no.
    """
    from pommel.errors import StateError, UsageError

    if yes:
        return
    if not interactive():
        raise UsageError("confirmation needed: pass --yes", hint=typed)
    if not ask(question):
        raise StateError("nothing was done")


offline_option = click.option(
    "--offline",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Use this recovery image (.dmg or raw) instead of downloading one from Apple.",
)


def consent_to(yes: bool) -> Any:
    """Choose how changes of the host are confirmed: by --yes, by a person on the terminal, or else only for root."""
    if yes:
        return lambda _request: True
    return _ask if interactive() else None


def _ask(request: Any) -> bool:
    for line in request.lines:
        click.echo(f"    {line}", err=True)
    return ask(f"{request.what} ?")


def machine_options(command: F) -> F:
    """Flags that override a machine's settings for this call."""
    for option in reversed(
        (
            click.option("--accel", help="Accelerator: auto, kvm or tcg."),
            click.option("--memory", help="RAM size, such as 8G."),
            click.option("--cpu", help="QEMU CPU model."),
            click.option("--cores", help="CPU cores per socket."),
            click.option("--threads", help="vCPUs in total."),
            click.option("--ssh-port", help="Host port for the guest's SSH."),
        )
    ):
        command = option(command)
    return command


def tls_options(command: F) -> F:
    """The options for TLS of a console page; the command gets them as `tls`, a TlsWish."""

    @functools.wraps(command)
    def gathered(*args: Any, tls: bool | None, tls_cert: Path | None, tls_key: Path | None, **more: Any) -> Any:
        from pommel.app.console.tls import wish

        return command(*args, tls=wish(tls, tls_cert, tls_key), **more)

    for option in reversed((
        click.option(
            "--tls/--no-tls",
            default=None,
            help="Serve the page over TLS (https), with a certificate that Pommel creates; its fingerprint is printed.",
        ),
        click.option(
            "--tls-cert", type=click.Path(path_type=Path), metavar="FILE", help="Serve the page over TLS with this "
                                                                                "certificate (PEM)."
        ),
        click.option(
            "--tls-key",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="The key of the certificate (PEM, not encrypted).  [default: in the same file]",
        ),
    )):  # fmt: skip
        gathered = option(gathered)
    return cast("F", gathered)


def tell_fingerprint(fingerprint: str) -> None:
    """Print the certificate's fingerprint of a page with TLS, so that a user can compare it with the browser's."""
    if fingerprint:
        click.echo(f"SHA-256 fingerprint of its certificate: {fingerprint}", err=True)


clipboard_option = click.option(
    "--clipboard/--no-clipboard", default=None, help="Sync its clipboard with this desktop's while it runs."
)


def split_flags(options: dict[str, Any]) -> dict[str, Any]:
    """The settings among a command's options."""
    return {key: value for key, value in options.items() if value is not None}
