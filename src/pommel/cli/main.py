"""The `pommel` command: the table of commands, and how errors leave the program. Band: face.

Results go to stdout, everything else to stderr. Exit: 0 ok, 1 failed, 2 usage, 3 wrong state, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import errno
import gc
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
    "up": ("up", "Create a machine if needed, start it, and show its screen.", "Machines"),
    "menu": ("menu", "Manage all machines on one screen.", "Machines"),
    "start": ("power", "Start a machine in the background.", "Machines"),
    "stop": ("power", "Shut a machine down, or end it at once.", "Machines"),
    "restart": ("power", "Stop a machine and start it again in the same way.", "Machines"),
    "suspend": ("power", "Pause a running machine.", "Machines"),
    "resume": ("power", "Continue a paused machine.", "Machines"),
    "sleep": ("power", "Save a machine with its memory to disk, and stop it.", "Machines"),
    "wake": ("power", "Start a sleeping machine from its saved state.", "Machines"),
    "memory": ("memory", "Show a machine's memory use, or reduce it.", "Machines"),
    "clock": ("clock", "Show how far a guest's clock is wrong, and set it.", "Machines"),
    "status": ("machines", "Show the state of a machine.", "Machines"),
    "list": ("machines", "List all machines.", "Machines"),
    "log": ("machines", "Show a machine's events and logs.", "Machines"),
    "forward": ("forward", "Forward ports of this host to a machine.", "Machines"),
    "share": ("share", "Share folders of this host with a machine.", "Machines"),
    "unshare": ("share", "Stop sharing a folder.", "Machines"),
    "usb": ("usb", "Attach USB devices of this host to a machine.", "Machines"),
    "display": ("display", "Show or set a machine's display adapter and resolution.", "Machines"),
    "info": ("clone", "Show all details of a machine.", "Machines"),
    "identity": ("identity", "Show or change a Mac's serial numbers.", "Machines"),
    "rename": ("clone", "Rename a machine.", "Machines"),
    "delete": ("machines", "Delete a machine and its disk.", "Machines"),
    "snapshot": (
        "snapshot",
        "Save a machine's disks and memory, and restore them later.",
        "Snapshots, copies and disks",
    ),
    "adopt": ("adopt", "Create a machine from a Mac that another tool has installed.", "Snapshots, copies and disks"),
    "clone": ("clone", "Copy a machine to a new machine.", "Snapshots, copies and disks"),
    "backup": ("backup", "Back up a machine to a folder; the machine may be running.", "Snapshots, copies and disks"),
    "restore": ("backup", "Create a machine from a backup.", "Snapshots, copies and disks"),
    "image": ("image", "Save machines as images, and send them elsewhere.", "Snapshots, copies and disks"),
    "golden": ("clone", "Mark a machine as a base for clones.", "Snapshots, copies and disks"),
    "disk": ("disk", "Grow, compact, add, move or check a machine's disks.", "Snapshots, copies and disks"),
    "service": ("service", "Start a machine when you log in.", "Snapshots, copies and disks"),
    "run": ("run", "Run a command in a throw-away clone of a machine.", "Throw-away machines"),
    "pool": ("pool", "Keep machines started for `run`.", "Throw-away machines"),
    "ci": ("ci", "Run jobs of CI systems in throw-away machines.", "Throw-away machines"),
    "console": ("console", "Serve a running machine's screen on a local page.", "Screen, keyboard and clipboard"),
    "vnc": ("vnc", "Open a machine's screen to ordinary VNC viewers.", "Screen, keyboard and clipboard"),
    "view": ("vnc", "Open a machine's screen in the VNC viewer of this desktop.", "Screen, keyboard and clipboard"),
    "screenshot": ("hands", "Save a machine's screen as a PNG.", "Screen, keyboard and clipboard"),
    "type": ("hands", "Type text on a machine's keyboard.", "Screen, keyboard and clipboard"),
    "key": ("hands", "Press keys, such as cmd-q or return.", "Screen, keyboard and clipboard"),
    "wait": ("wait", "Wait until a screen is at rest, or a guest is ready.", "Screen, keyboard and clipboard"),
    "mcp": ("mcp", "Serve machines to AI assistants (Model Context Protocol).", "Screen, keyboard and clipboard"),
    "click": ("hands", "Click a point of a machine's screen.", "Screen, keyboard and clipboard"),
    "scroll": ("hands", "Turn the mouse wheel at a point of a screen.", "Screen, keyboard and clipboard"),
    "drag": ("hands", "Drag from one point of a screen to another.", "Screen, keyboard and clipboard"),
    "recipe": (
        "recipe",
        "Run steps with a machine: wait for its screen, press keys, type.",
        "Screen, keyboard and clipboard",
    ),
    "clip": ("clip", "Sync a machine's clipboard with this desktop's.", "Screen, keyboard and clipboard"),
    "ssh": ("ssh", "Open a shell in a machine, or run a command there.", "Screen, keyboard and clipboard"),
    "scp": ("ssh", "Copy files to or from a machine.", "Screen, keyboard and clipboard"),
    "ssh-config": ("ssh", "Print SSH configuration for `ssh NAME`, scp and rsync.", "Screen, keyboard and clipboard"),
    "guest": ("guest", "Install the session viewer in a guest.", "Screen, keyboard and clipboard"),
    "mesh": ("mesh", "Show machines on a MeshCentral server.", "Screen, keyboard and clipboard"),
    "kvm": ("kvm", "Show and control a login session of this system.", "Screen, keyboard and clipboard"),
    "init": ("overlay", "Create a config repo: your own settings, patches and files.", "macOS"),
    "bootstrap": ("bootstrap", "Clone the upstream, apply the config repo to it, and run setup.", "macOS"),
    "setup": ("bootstrap", "Prepare this host and a machine, step by step.", "macOS"),
    "overlay": ("overlay", "Show your patches and files for the upstream, and their effect.", "macOS"),
    "recovery": ("recovery", "Download and check Apple's recovery images.", "macOS"),
    "installer": ("installer", "Download Apple's full installers of macOS.", "macOS"),
    "opencore": ("opencore", "Build OpenCore's boot disk.", "macOS"),
    "unattended": ("unattended", "Make the disk with scripts for an installation of macOS.", "macOS"),
    "doctor": ("doctor", "Check the host and a machine, and show a fix for each problem.", "Checks and configuration"),
    "ip": ("ip", "Print the SSH address of a machine's guest.", "Checks and configuration"),
    "trust": ("trust", "Trust files that other users can write.", "Checks and configuration"),
    "config": ("config", "Show a machine's settings and where each comes from.", "Checks and configuration"),
    "argv": ("argv", "Show the QEMU command line, with the reason for each argument.", "Checks and configuration"),
    "libvirt": ("libvirt", "Export a machine to libvirt, for virt-manager and virsh.", "Checks and configuration"),
    "completion": ("completion", "Print a shell completion script.", "Checks and configuration"),
    "uninstall": ("uninstall", "Remove everything that Pommel has created.", "Checks and configuration"),
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
        """Resolve a command as click does; for an unknown command, the error names the nearest one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            raise UsageError(
                f"there is no command {args[0]!r}",
                hint=f"did you mean: pommel {near[0]}" if near else "to see all commands: pommel --help",
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

    Without a command, on a terminal, it opens the menu of all machines.
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
    status = streams.finish(status)
    if argv is None:
        gc.freeze()  # Python looks through all objects for cycles at its end, which took a tenth of a short command
    sys.exit(status)


def _run(words: list[str]) -> int:
    words = _spelled_out(words)
    with _told_what_was_closed():
        return _called(words)


def _called(words: list[str]) -> int:
    try:
        answer: Any = _with_trust_question(words)
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
        # An error of the host, not a bug: a full disk, a file without permission.
        told = _from_os(error)
        print_error(told, as_json="--json" in words)
        return told.exit_code
    return answer if isinstance(answer, int) else 0


@contextlib.contextmanager
def _told_what_was_closed() -> Iterator[None]:
    """Report folders of Pommel that other users could enter until now."""
    try:
        yield
    finally:
        if private.tightened:
            folders = ", ".join(map(str, private.tightened))
            click.echo(f"note: other users of this host could open {folders}; now only you can", err=True)


def _with_trust_question(words: list[str]) -> Any:
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
            if not ask("Have you read it, and may it run as your user until it changes?", default=False):
                raise
            from pommel.trust import trust  # imported here, because it would slow down every call

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
