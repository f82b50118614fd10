"""A job's words, and the script that a guest's sh makes of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.app.throwaway.job import OURS, WORK, CopyOut, Job, parse_copy_out, parse_variables, script, sending
from pommel.errors import UsageError

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    for name in (WORK, OURS):
        (tmp_path / name).mkdir()
    return tmp_path


def run(guest: Path, job: Job, *, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    env = {"HOME": str(guest), "PATH": "/usr/bin:/bin"}
    words = ["sh", "-c", script(job)]
    return subprocess.run(words, env=env, input=input, stdout=subprocess.PIPE, check=False)


def test_the_command_runs_in_the_work_folder_reads_its_input_and_its_status_is_written_down(guest: Path) -> None:
    done = run(guest, Job(("sh", "-c", "pwd; cat; exit 255")), input=b"said")
    assert done.stdout == f"{guest}/{WORK}\nsaid".encode() and done.returncode == 255
    assert (guest / OURS / "status").read_text() == "255\n"


@settings(max_examples=25)
@given(words=st.lists(TEXT, max_size=4), value=TEXT)
def test_every_word_and_value_arrives_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, words: list[str], value: str
) -> None:
    home = tmp_path_factory.mktemp("guest")
    for name in (WORK, OURS):
        (home / name).mkdir()
    done = run(home, Job(("sh", "-c", 'printf "%s\\0" "$VALUE" "$@"', "-", *words), {"VALUE": value}))
    assert done.stdout.split(b"\0")[:-1] == [each.encode() for each in (value, *words)]


def test_a_program_that_is_not_there_is_the_commands_own_failure(guest: Path) -> None:
    assert run(guest, Job(("no-such-program",))).returncode == 127


@pytest.mark.parametrize("word", ["1A=x", "A B=x", "=x", "A-B=x", "A;id=x", "MISSING", "A=\0"])
def test_what_cannot_be_a_variable_is_refused(word: str) -> None:
    with pytest.raises(UsageError):
        parse_variables([word], {})


def test_a_variable_without_a_value_is_as_it_is_here() -> None:
    assert parse_variables(["A", "B=x=y", "C="], {"A": "here"}) == {"A": "here", "B": "x=y", "C": ""}


@pytest.mark.parametrize("word", ["", "/", ".", "..", "a/.."])
def test_what_names_no_file_cannot_be_copied_out(word: str) -> None:
    with pytest.raises(UsageError):
        parse_copy_out(word, Path("/here"))


def test_where_a_copy_goes() -> None:
    assert parse_copy_out("build/app=out", Path("/here")) == CopyOut("build/app", Path("/here/out"))
    assert parse_copy_out("app", Path("/here")).target == Path("/here/app")
    assert parse_copy_out("app=/there", Path("/here")).target == Path("/there/app")


@pytest.mark.parametrize("path", ["out/a file", "-x/-y", "{guest}/other"])
def test_what_a_guest_is_told_to_send(guest: Path, path: str) -> None:
    there = guest / WORK / path.format(guest=guest)
    there.parent.mkdir(parents=True, exist_ok=True)
    there.write_text("x")
    words = ["sh", "-c", sending(path.format(guest=guest))]
    sent = subprocess.run(words, cwd=guest, stdout=subprocess.PIPE, check=True).stdout
    assert sent.startswith(b"./" + there.name.encode() + b"\0")
