"""`pommel ci`, and its `gitlab config|prepare|run|cleanup`. Band: face."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from pommel.app.throwaway import base, gitlab
from pommel.app.workspace import Workspace
from pommel.cli.ci_agents import buildkite_command, github_command, jenkins_command
from pommel.cli.common import complete_base
from pommel.cli.output import print_error, reporter
from pommel.errors import PommelError, UsageError


@click.group("ci")
def ci_command() -> None:
    """Run jobs of a CI system in throw-away machines."""


for each in (github_command, buildkite_command, jenkins_command):
    ci_command.add_command(each)


@ci_command.group("gitlab", invoke_without_command=True)
@click.option(
    "--allow",
    multiple=True,
    metavar="IMAGE",
    shell_complete=complete_base,
    help="A machine that jobs may use; the first is the default.",
)
@click.option(
    "--limit", type=click.IntRange(1), default=2, show_default=True, help="How many jobs may run at the same time."
)
@click.option("--print-config", is_flag=True, help="Print what belongs into the runner's config.toml.")
@click.pass_context
def gitlab_command(ctx: click.Context, allow: tuple[str, ...], limit: int, print_config: bool) -> None:
    """The custom executor of GitLab Runner: each job gets a new linked clone of an allowed machine.

    pommel ci gitlab --allow sonoma --limit 2 --print-config

    GitLab Runner calls config, prepare, run and cleanup; you do not.
    """
    ctx.obj = gitlab.JobRules(allow, limit)
    if print_config:
        workspace = Workspace.current()
        for image in _allowed(ctx.obj).images:
            base.describe(workspace, image)
        command = [sys.executable, "-P", "-m", "pommel"]
        click.echo(gitlab.runner_config(ctx.obj, command, workspace.home.root), nl=False)
    elif ctx.invoked_subcommand is None:
        raise UsageError("config, prepare, run, cleanup or --print-config", hint="pommel ci gitlab --help")


def _allowed(rules: gitlab.JobRules) -> gitlab.JobRules:
    if not rules.images:
        raise UsageError("name the machines that jobs may use", hint="pommel ci gitlab --allow IMAGE --print-config")
    return rules


@gitlab_command.command("config")
@click.pass_obj
def config_command(rules: gitlab.JobRules) -> None:
    """Print the executor's answer to the runner, as JSON."""
    click.echo(json.dumps(gitlab.config(_allowed(rules))))


@gitlab_command.command("prepare")
@click.pass_obj
def prepare_command(rules: gitlab.JobRules) -> int:
    """Make the job's machine."""
    env = Workspace.current().env

    def work() -> int:
        workspace = Workspace.current()
        name = gitlab.prepare(workspace, env, _allowed(rules), runner=gitlab.runner_pid(), report=reporter(brief=True))
        click.echo(f"the job runs in {name}")
        return 0

    return _exit_status(env, work)


@gitlab_command.command("run")
@click.argument("script", type=click.Path(path_type=Path))
@click.argument("stage")
def run_command(script: Path, stage: str) -> int:
    """Run a stage of the job."""
    env = Workspace.current().env

    def work() -> int:
        status = gitlab.run_stage(Workspace.current(), env, script)
        if status == 0:
            return 0
        gitlab.note_status(env, status)
        click.echo(f"{stage[:40]} ended with exit status {status}", err=True)
        return gitlab.exit_status(env, gitlab.BUILD_FAILURE)

    return _exit_status(env, work)


@gitlab_command.command("cleanup")
def cleanup_command() -> int:
    """Delete the job's machine, and machines of jobs whose runner has ended."""
    env = Workspace.current().env

    def work() -> int:
        gitlab.cleanup(Workspace.current(), env, report=reporter(brief=True))
        return 0

    return _exit_status(env, work)


def _exit_status(env: object, work: Callable[[], int]) -> int:
    """Do `work`; a failure becomes the exit status that the runner expects."""
    codes = dict(env) if isinstance(env, dict) else {}
    try:
        with _ended_by_sigterm():
            return work()
    except UsageError as refused:  # a mistake in the job's file: trying again would not help
        print_error(refused)
        return gitlab.exit_status(codes, gitlab.BUILD_FAILURE)
    except PommelError as failure:
        print_error(failure)
        return gitlab.exit_status(codes, gitlab.SYSTEM_FAILURE)


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Clean up after SIGTERM, with which the runner ends a job, as after Ctrl-C."""

    def end(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
