"""`pommel ci github|buildkite|jenkins`. Band: face."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from pommel.app.host import carried
from pommel.app.throwaway import agent_systems, base, github, serving
from pommel.app.throwaway.serving import CiSystem, EndRequest, Rules
from pommel.app.workspace import Workspace
from pommel.cli.common import complete_base, dry_run_option, json_option
from pommel.cli.output import answered, reporter
from pommel.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])
_SIGNS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class _How:
    """The options that all three have."""

    image: str
    limit: int
    memory: str | None
    once: bool
    token_file: Path | None
    print_config: bool
    dry_run: bool


def _common(secret: str, *, limited: bool = True) -> Callable[[F], F]:
    """The image, and the options that all three have; the command gets them as `how`."""

    def decorate(command: F) -> F:
        def gathered(*, image: str, limit: int = 1, **more: Any) -> int:
            mine = {key: more.pop(key) for key in ("memory", "once", "token_file", "print_config", "dry_run")}
            return int(command(how=_How(image, limit, **mine), **more))

        gathered.__doc__ = command.__doc__
        gathered.__click_params__ = list(getattr(command, "__click_params__", []))  # type: ignore[attr-defined]
        limit = click.option("--limit", type=click.IntRange(1, 64), default=1, show_default=True,
                             help="How many machines at the same time.")  # fmt: skip
        options = [
            click.argument("image", shell_complete=complete_base),
            *([limit] if limited else []),
            click.option("--memory", help="RAM size of each machine, such as 8G."),
            click.option("--token-file", type=click.Path(path_type=Path), metavar="FILE", help=secret),
            click.option("--once", is_flag=True, help="One job for each machine of --limit, then end."),
            click.option("--print-config", is_flag=True, help="Print a systemd unit, and what the system needs."),
            dry_run_option,
            json_option,
        ]
        for option in reversed(options):
            gathered = option(gathered)
        return gathered  # type: ignore[return-value]

    return decorate


_SECRET = "The file with the token (chmod 600).  [default: the variable POMMEL_CI_TOKEN]"  # noqa: S105 - a help text


@click.command("github")
@_common(_SECRET)
@click.option("--repo", metavar="OWNER/NAME", help="The repository whose jobs run here.")
@click.option("--org", metavar="NAME", help="The organization whose jobs run here.")
@click.option("--label", "labels", multiple=True, metavar="LABEL", help="What `runs-on` names.  [default: pommel]")
@click.option("--group", type=click.IntRange(1), default=1, show_default=True, help="The id of the runner group.")
@click.option("--runner-dir", default="actions-runner", show_default=True, help="Where run.sh is in the guest's home.")
@click.option("--api", default=github.API, show_default=True, help="The API; of an own server: https://HOST/api/v3.")
def github_command(
    how: _How, repo: str | None, org: str | None, labels: tuple[str, ...], group: int, runner_dir: str, api: str
) -> int:
    """Run jobs of GitHub Actions, each in a new clone of IMAGE that has the runner.

    pommel ci github trial --repo OWNER/NAME --token-file token --label macos-vm --limit 2

    Each machine gets a just-in-time configuration, which is for one job; the token stays here. Ctrl-C waits for the
    running jobs; a second Ctrl-C ends them.
    """
    if (repo is None) == (org is None):
        raise UsageError("whose jobs?", hint="--repo OWNER/NAME, or --org NAME")
    labels = labels or ("pommel",)
    scope = repo or str(org)
    if (repo is not None) != ("/" in scope):
        raise UsageError(f"{scope!r} is no repository" if repo else f"{scope!r} is no organization")

    def make(token: str) -> CiSystem:
        return github.GitHub(scope, token, labels=labels, group=group, folder=runner_dir, api=api)

    runs_on = "\n".join(["In the workflow:", "", "jobs:", "  build:", f"    runs-on: [{', '.join(labels)}]"])
    return _run(how, "github", make, runs_on)


@click.command("buildkite")
@_common(_SECRET)
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="A tag of the agents, such as queue=macos.")
@click.option("--job", metavar="ID", help="The one job to run, with --once.")
def buildkite_command(how: _How, tags: tuple[str, ...], job: str | None) -> int:
    """Run jobs of Buildkite, each in a new clone of IMAGE that has buildkite-agent.

    pommel ci buildkite trial --token-file token --tag queue=macos --limit 2

    A job can read the agent's token. Ctrl-C waits for the running jobs; a second Ctrl-C ends them.
    """
    if job is not None and (not how.once or how.limit != 1):
        raise UsageError("--job is one job", hint="--job ID --once")

    def make(token: str) -> CiSystem:
        return agent_systems.Buildkite(token, tags=tags, job=job)

    asked = [f'      {key}: "{value}"' for key, _, value in (tag.partition("=") for tag in tags)]
    steps = ["In the pipeline:", "", "steps:", '  - command: "make"', *(["    agents:", *asked] if asked else [])]
    return _run(how, "buildkite", make, "\n".join(steps))


@click.command("jenkins")
@_common("The file with the node's secret (chmod 600).  [default: the variable POMMEL_CI_TOKEN]", limited=False)
@click.option("--url", required=True, help="The address of Jenkins.")
@click.option("--node", required=True, metavar="NAME", help="The node, an inbound agent.")
@click.option("--jar", default="agent.jar", show_default=True, help="Where agent.jar is in the guest's home.")
@click.option("--web-socket", is_flag=True, help="Connect by WebSocket, not by TCP.")
def jenkins_command(how: _How, url: str, node: str, jar: str, web_socket: bool) -> int:
    """Be a node of Jenkins: its agent in a new clone of IMAGE, which is deleted when Jenkins disconnects it.

    pommel ci jenkins trial --url https://jenkins.example.com/ --node mac-1 --token-file secret

    A job can read the node's secret. Ctrl-C waits for the running agent; a second Ctrl-C ends it.
    """

    def make(token: str) -> CiSystem:
        return agent_systems.Jenkins(url, node, token, jar=jar, web_socket=web_socket)

    lines = [
        "In Jenkins, as configuration as code:", "", "jenkins:", "  nodes:", "    - permanent:",
        f'        name: "{node}"', '        remoteFS: "/tmp/jenkins"', "        numExecutors: 1",
        '        launcher: "inbound"', "        retentionStrategy:", "          demand:",
        "            idleDelay: 1", "            inDemandDelay: 0",
    ]  # fmt: skip
    return _run(how, "jenkins", make, "\n".join(lines))


def _run(how: _How, name: str, make: Callable[[str], CiSystem], elsewhere: str) -> int:
    workspace = Workspace.current()
    image = base.describe(workspace, how.image)
    if how.print_config:
        _print_config(workspace, make("x").title, how, elsewhere)  # made: what is wrong with the words is told
        return 0
    system = make(serving.read_secret(how.token_file, workspace.env))
    if how.dry_run:
        steps = [f"start {how.limit} at a time of linked clones of {image}", f"run an agent of {system.title} in each"]
        _would([*steps, "delete each after its job"])
        return 0
    rules = Rules(how.image, how.limit, how.memory, how.once, name)
    with _handled_signals() as ask:
        ended = serving.serve(workspace, system, rules, ask, report=reporter(brief=True))
    if not answered({"agents_ended": ended}):
        click.echo("1 agent has ended" if ended == 1 else f"{ended} agents have ended", err=True)
    return 0


def _print_config(workspace: Workspace, title: str, how: _How, elsewhere: str) -> None:
    if how.token_file is None:
        raise UsageError("a unit needs the token in a file", hint="--token-file FILE --print-config")
    token, absolute = str(how.token_file), str(workspace.cwd / how.token_file)
    words = [word for word in sys.argv[1:] if word not in ("--print-config", "--json")]
    words = [absolute if word == token else word.replace(f"={token}", f"={absolute}") for word in words]
    command = [sys.executable, "-P", "-m", "pommel", *words]
    click.echo(agent_systems.unit(title, command, carried.to_unit(workspace)), nl=False)
    click.echo("\n" + agent_systems.commented(elsewhere), nl=False)


def _would(steps: list[str]) -> None:
    if not answered({"would": steps}):
        for step in steps:
            click.echo(f"would {step}")


@contextlib.contextmanager
def _handled_signals() -> Iterator[EndRequest]:
    """Handle Ctrl-C and SIGTERM: the first signal waits for the running jobs, the second ends them."""
    ask = EndRequest()

    def came(_number: int, _frame: object) -> None:
        (ask.end if ask.drain.is_set() else ask.drain).set()

    before = {sign: signal.signal(sign, came) for sign in _SIGNS}
    try:
        yield ask
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
