"""The `pommel` command: the table of commands, and how errors leave the program. Band: face.

Results go to stdout, everything else to stderr. Exit: 0 ok, 1 failed, 2 usage, 3 wrong state, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import sys
from collections.abc import Iterator
from typing import Any

import click

from pommel import __version__, private
from pommel.cli import streams
from pommel.cli.output import ask, clear_line, interactive, print_error
from pommel.cli.streams import OutputLost
from pommel.errors import PommelError, TrustError, UsageError
from pommel.paths import here

# name -> (module in pommel.cli, one line of help, group in --help). The help stands here so that `pommel --help`
# imports no command.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "up": ("up", "Make a machine if need be, start it, and show its screen.", "Machines"),
    "menu": ("menu", "Look after the machines on one screen.", "Machines"),
    "start": ("power", "Start a machine in the background.", "Machines"),
    "stop": ("power", "Power a machine down, or off.", "Machines"),
    "restart": ("power", "Stop a machine, and start it the same way.", "Machines"),
    "suspend": ("power", "Hold a machine where it is.", "Machines"),
    "resume": ("power", "Let a suspended machine go on.", "Machines"),
    "sleep": ("power", "Save a machine with its memory, and end it.", "Machines"),
    "wake": ("power", "Start a sleeping machine where it was.", "Machines"),
    "memory": ("memory", "Say how a machine's memory stands, or ask it for less.", "Machines"),
    "clock": ("clock", "Say how far a guest's clock is off, and set it.", "Machines"),
    "status": ("machines", "Say how a machine is.", "Machines"),
    "list": ("machines", "List all machines.", "Machines"),
    "log": ("machines", "Show what happened to a machine, and what it said.", "Machines"),
    "forward": ("forward", "Lead ports of this host into a machine.", "Machines"),
    "share": ("share", "Share folders of this host with a machine.", "Machines"),
    "unshare": ("share", "Take a shared folder back.", "Machines"),
    "usb": ("usb", "Give USB devices of this host to a machine.", "Machines"),
    "display": ("display", "A machine's display adapter, and its picture's size.", "Machines"),
    "info": ("clone", "Show all that is known of a machine.", "Machines"),
    "identity": ("identity", "Show or change a Mac's serial numbers.", "Machines"),
    "rename": ("clone", "Give a machine another name.", "Machines"),
    "delete": ("machines", "Delete a machine and its disk.", "Machines"),
    "snapshot": ("snapshot", "Save a machine, memory and all, and go back to it.", "Keeping and copying"),
    "adopt": ("adopt", "Make a machine of a Mac that another tool has installed.", "Keeping and copying"),
    "clone": ("clone", "Make a machine from another.", "Keeping and copying"),
    "backup": ("backup", "Back a machine up to another drive; it may run.", "Keeping and copying"),
    "restore": ("backup", "Make a machine from a backup.", "Keeping and copying"),
    "golden": ("clone", "Mark a machine as a base for clones.", "Keeping and copying"),
    "disk": ("disk", "A machine's disks: grow, compact, add, move, check.", "Keeping and copying"),
    "service": ("service", "Start a machine when you log in.", "Keeping and copying"),
    "console": ("console", "Serve a running machine's screen on a local page.", "Screen and hands"),
    "vnc": ("vnc", "Let ordinary VNC viewers in to a machine.", "Screen and hands"),
    "view": ("vnc", "Open the desktop's own viewer on a machine.", "Screen and hands"),
    "screenshot": ("hands", "Save a machine's screen as a PNG.", "Screen and hands"),
    "type": ("hands", "Type text on a machine's keyboard.", "Screen and hands"),
    "key": ("hands", "Press keys, such as cmd-q or return.", "Screen and hands"),
    "click": ("hands", "Click a point of a machine's screen.", "Screen and hands"),
    "clip": ("clip", "Keep a machine's clipboard and this desktop's the same.", "Screen and hands"),
    "ssh": ("ssh", "Open a shell in a machine, or run a command there.", "Screen and hands"),
    "scp": ("ssh", "Copy files to or from a machine.", "Screen and hands"),
    "ssh-config": ("ssh", "Print what `ssh NAME` and its kin need to know.", "Screen and hands"),
    "guest": ("guest", "Bring into a guest what shows its own login session.", "Screen and hands"),
    "mesh": ("mesh", "Show machines on a MeshCentral server.", "Screen and hands"),
    "kvm": ("kvm", "Reach into a login session of this system: screen and hands.", "Screen and hands"),
    "init": ("overlay", "Write a config repo: settings, patches and files of your own.", "macOS"),
    "bootstrap": ("bootstrap", "Clone the upstream, lay the config repo over it, set up.", "macOS"),
    "setup": ("bootstrap", "Make this host and a machine ready, step by step.", "macOS"),
    "overlay": ("overlay", "Say what is laid over the upstream, and what it changes.", "macOS"),
    "recovery": ("recovery", "Fetch and check Apple's recovery images.", "macOS"),
    "opencore": ("opencore", "Pack OpenCore's boot disk.", "macOS"),
    "doctor": ("doctor", "Check the host and a machine; say what mends each fault.", "Looking inside"),
    "ip": ("ip", "Print where a machine's guest answers SSH.", "Looking inside"),
    "trust": ("trust", "Trust files that others can write.", "Looking inside"),
    "config": ("config", "Show a machine's settings and where each comes from.", "Looking inside"),
    "argv": ("argv", "Show the QEMU command line, and why it is so.", "Looking inside"),
    "completion": ("completion", "Print the completion script of a shell.", "Looking inside"),
    "uninstall": ("uninstall", "Remove everything Pommel has made.", "Looking inside"),
}


class Commands(click.Group):
    """A group that imports a command only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"pommel.cli.{COMMANDS[cmd_name][0]}")
        command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but a word that is no command says which was meant."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            raise UsageError(
                f"there is no command {args[0]!r}",
                hint=f"did you mean: pommel {near[0]}" if near else "pommel --help lists them",
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by group, from the table."""
        for group in dict.fromkeys(entry[2] for entry in COMMANDS.values()):
            rows = [(name, text) for name, (_, text, g) in COMMANDS.items() if g == group]
            with formatter.section(group):
                formatter.write_dl(rows)


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Begin with: pommel up trial",
)
@click.version_option(__version__, message="pommel %(version)s")
@click.pass_context
def pommel(ctx: click.Context) -> int | None:
    """Run macOS virtual machines on Linux, with their screen, keyboard and mouse in your browser.

    Without a command, on a terminal: a screen to look after them all.
    """
    if ctx.invoked_subcommand is not None:
        return None
    if not (interactive() and sys.stdout.isatty()):
        click.echo(ctx.get_help())
        return None
    answer = ctx.invoke(pommel.get_command(ctx, "menu"))  # type: ignore[arg-type]
    return answer if isinstance(answer, int) else 0


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit."""
    if argv is None:
        streams.speak_utf8()
    streams.prepare()
    words = sys.argv[1:] if argv is None else argv
    try:
        status = _run(words)
    except OutputLost as lost:
        status = streams.tell(lost, 0)
    except SystemExit as leaving:  # click's, of a shell's completion
        status = leaving.code if isinstance(leaving.code, int) else 0
    sys.exit(streams.finish(status))


def _run(words: list[str]) -> int:
    words = _spelled_out(words)
    with _told_what_was_closed():
        return _called(words)


def _called(words: list[str]) -> int:
    try:
        answer: Any = _answered(words)
    except PommelError as error:
        print_error(error, as_json="--json" in words)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        clear_line()
        click.echo("interrupted", err=True)
        return 130
    except OutputLost:
        raise
    except OSError as error:
        # Not a bug of ours but the host's word: disk full, a file that may not be read.
        told = _from_os(error)
        print_error(told, as_json="--json" in words)
        return told.exit_code
    return answer if isinstance(answer, int) else 0


@contextlib.contextmanager
def _told_what_was_closed() -> Iterator[None]:
    """Say which of Pommel's folders other users could enter until now."""
    try:
        yield
    finally:
        if private.tightened:
            folders = ", ".join(map(str, private.tightened))
            click.echo(f"note: other users of this host could enter {folders}; now only you can", err=True)


def _answered(words: list[str]) -> Any:
    """What the command returns; where it stops at a boot script that nobody has said yes to, a person is asked."""
    while True:
        try:
            return pommel.main(
                args=list(words), prog_name="pommel", standalone_mode=False, complete_var="_POMMEL_COMPLETE"
            )
        except TrustError as error:
            if error.digest is None or not interactive():
                raise
            click.echo(f"{error.message}.", err=True)
            if not ask("Have you read it, and may it run as you until it changes?", default=False):
                raise
            from pommel.trust import trust  # imported here: it is felt at every call

            trust(error.path, error.digest)


def _spelled_out(words: list[str]) -> list[str]:
    """The words of a call; launchd calls the session's agent by `-kvm1`, alone or after what that stands for."""
    if "-kvm1" not in words:
        return words
    others = [word for word in words if word != "-kvm1"]
    return others if others[:2] == ["kvm", "agent"] else ["kvm", "agent", *others]


def _from_os(error: OSError) -> PommelError:
    if error.errno == errno.ENOENT and error.filename is None:  # of getcwd(3), which every relative path asks
        try:
            here()
        except PommelError as gone:
            return gone
    what = f"{error.filename}: " if error.filename else ""
    hint = "free some space, then run the same command again" if error.errno == 28 else None
    return PommelError(f"{what}{error.strerror or error}", hint=hint)
