"""What is said of each kind of console: the commands are real ones, quoted right, and strangers learn nothing."""

from __future__ import annotations

import re
import shlex
from importlib.resources import files

import click
import pytest
from click.testing import CliRunner

from pommel.cli.common import json_option, words_given
from pommel.cli.main import pommel
from pommel.console.telling import STANDING, Telling, of_display, of_host, of_installed, of_machine

KINDS: dict[str, Telling] = {
    "a machine": of_machine("mac"),
    "a machine of two words": of_machine("my mac"),
    "a machine's session": of_machine("mac", session=True),
    "a display": of_display(["--display", ":7", "--listen", "127.0.0.1:0", "--allow-host", "a b"]),
    "another system": of_host(["ann@far:2222", "--view-only"]),
    "an installed session": of_installed("pommel", guest="linux"),
    "another service": of_installed("desk", guest="mac"),
}
STATES = {"refused", "full", "gone", "ended", "silent", "dropped"}
FOR_EVERYBODY = {
    "a machine": "pommel console mac",
    "a machine of two words": "pommel console 'my mac'",
    "a machine's session": "pommel console mac --session",
    "a display": "pommel kvm serve",
    "another system": "pommel kvm view",
    "an installed session": "sudo pommel kvm status",
    "another service": "sudo pommel kvm status --id desk",
}
ENDED = FOR_EVERYBODY | {
    "a display": "pommel kvm serve --display :7 --listen 127.0.0.1:0 --allow-host 'a b'",
    "another system": "pommel kvm view ann@far:2222 --view-only",
}


def commands(telling: Telling, *, view_only: bool) -> list[str]:
    return [
        command for words in telling.words(view_only=view_only).values() for _, command, _ in words.advice if command
    ]


def test_the_page_s_own_sentences_say_what_is_shown_by_its_noun() -> None:
    for script in sorted((files("pommel.console") / "static").iterdir(), key=lambda one: one.name):
        if script.name.endswith(".js"):
            code = re.sub(r"^\s*(//|\*|/\*).*$|\s// .*$", "", script.read_text(), flags=re.MULTILINE)
            assert not re.findall(r".*[\"'`].*\b(?:machine's|the machine)\b.*", code), script.name


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_names_its_own_command(kind: str) -> None:
    telling = KINDS[kind]
    words = telling.words(view_only=False)
    assert set(words) >= STATES
    assert telling.door[1] == FOR_EVERYBODY[kind]
    assert [command for _, command, _ in words["ended"].advice] == [ENDED[kind]]
    for state in ("refused", "gone"):
        assert [command for _, command, _ in words[state].advice if command] == [ENDED[kind]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("view_only", [False, True])
def test_every_command_is_one_that_there_is_with_options_that_it_has(kind: str, view_only: bool) -> None:
    typed = {*commands(KINDS[kind], view_only=view_only), KINDS[kind].door[1]}
    for words in map(shlex.split, typed):
        program, *rest = words[words[0] == "sudo" :]
        assert program == "pommel"
        command: click.Command = pommel
        context = click.Context(command)
        while isinstance(command, click.Group):
            _, found, rest = command.resolve_command(context, rest)
            assert found is not None
            command = found
        known = {option for one in command.params for option in one.opts}
        assert {word for word in rest if word.startswith("--")} <= known, words


@pytest.mark.parametrize("kind", KINDS)
def test_who_may_only_look_is_told_what_others_type_and_of_no_argument_that_is_not_for_all(kind: str) -> None:
    words = KINDS[kind].words(view_only=True)
    assert "who sent you the link" in words["refused"].advice[0][0]
    for command in commands(KINDS[kind], view_only=True):
        assert command.removesuffix(" --view-only") == FOR_EVERYBODY[kind]


def test_a_machine_has_a_text_for_each_state_that_it_can_be_in() -> None:
    words = of_machine("my mac").words(view_only=False)
    said = {state: [command for _, command, _ in words[state].advice if command] for state in words}
    assert said["stopped"] == said["asleep"] == ["pommel start 'my mac'"]
    assert said["crashed"] == ["pommel log 'my mac'", "pommel start 'my mac'"]
    assert said["paused"] == ["pommel resume 'my mac'"]
    assert said["starting"] == said["absent"] == []
    assert {state: said[state] for state in STANDING} == {
        "paused": ["pommel resume 'my mac'"],
        "no-room": ["pommel resume 'my mac'"],
        "stuck": ["pommel stop 'my mac'"],
    }
    assert words["crashed"].text == "my mac has crashed."


def test_a_command_s_own_arguments_are_those_that_were_given() -> None:
    @click.command()
    @click.argument("host")
    @click.option("--listen")
    @click.option("--allow-host", multiple=True)
    @click.option("--page/--no-page", default=None)
    @click.option("-v", "--view-only", is_flag=True)
    @click.option("--port", type=int, default=7)
    @json_option
    def some(**_: object) -> None:
        click.echo(shlex.join(words_given()))

    asked = ["ann@far", "--allow-host", "a b", "--allow-host=c", "--no-page", "-v", "--json"]
    told = CliRunner().invoke(some, asked, catch_exceptions=False).output
    assert told == "ann@far --allow-host 'a b' --allow-host c --no-page --view-only\n"
