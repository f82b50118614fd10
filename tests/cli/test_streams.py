"""Every command where standard output or error is closed, full or cut off, and where the locale is not UTF-8."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest

from driver import Shell
from pommel.cli.main import pommel

ROOT = Path(__file__).parents[2]
LATIN = "de_DE.ISO-8859-1"
# No locale but C is everywhere; Python would make UTF-8 of it.
ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


def every(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield words
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from every(below, (*words, name))


# Starts all calls from one process: that they are many is the point, and importing takes longer than each. A child
# writes out its streams at its end as Python does (flush_std_files, Python/pylifecycle.c), and leaves out that Python
# takes all modules apart then, which took ten times as long as the help. `test_a_real_command` ends as a command does.
FORKS = """
import gc, importlib, json, os, sys
from pommel.cli.main import COMMANDS, main
def end(status):
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except Exception as lost:
            os.write(2, f"Exception ignored: {lost}".encode())
            status = 120
    os._exit(status)
for module, *_ in COMMANDS.values():
    importlib.import_module(f"pommel.cli.{module}")
gc.freeze()
status = {}
for words in json.load(open(sys.argv[1])):
    child = os.fork()
    if child == 0:
        for number, name in ((1, sys.argv[2]), (2, sys.argv[3])):
            os.close(number)
            if name:
                opened = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                if opened != number:
                    os.dup2(opened, number)
                    os.close(opened)
        try:
            main([*words, "--help"])
        except SystemExit as leaving:
            end(leaving.code)
        end(1)
    status[" ".join(words)] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
json.dump(status, open(sys.argv[4], "w"))
"""


@pytest.mark.parametrize(
    ("out", "err", "wanted"),
    [("/dev/full", "said", 1), ("", "", 0)],
)
def test_every_help(tmp_path: Path, out: str, err: str, wanted: int) -> None:
    calls = list(every(pommel))
    assert len(calls) > 80
    (tmp_path / "calls").write_text(json.dumps(calls))
    out, err = (str(tmp_path / name) if name == "said" else name for name in (out, err))
    argv = [sys.executable, "-c", FORKS, str(tmp_path / "calls"), out, err, str(tmp_path / "status")]
    subprocess.run(argv, env={**os.environ, "PYTHONIOENCODING": "latin-1"}, check=True)
    told = json.loads((tmp_path / "status").read_text())
    assert {words: status for words, status in told.items() if status != wanted} == {}
    if (tmp_path / "said").exists():
        said = (tmp_path / "said").read_text(encoding="latin-1")
        assert "Traceback" not in said and "Exception ignored" not in said
        assert said.count("error: the output cannot be written: No space left on device") == (len(calls) * wanted)


def through(shell: Shell, redirect: str, *words: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """`pommel WORDS` with a shell's redirection; exit status, and what came to both streams."""
    script = f'exec "$@" {redirect}'
    argv = ["sh", "-c", script, "sh", *shell.command, *words]
    done = subprocess.run(
        argv, env={**shell.env, **(env or {})}, cwd=shell.cwd, capture_output=True, timeout=60, stdin=subprocess.DEVNULL
    )
    said = done.stderr.decode(errors="surrogateescape")
    assert "Traceback" not in said and "Exception ignored" not in said, said
    return done.returncode, done.stdout.decode(errors="surrogateescape"), said


REAL = [(("list",), 0), (("list", "--json"), 0), (("config", "trial"), 0), (("info", "trial"), 3), (("start", "x"), 2)]


@pytest.mark.parametrize(("words", "status"), REAL, ids=lambda each: "-".join(each) if isinstance(each, tuple) else "")
@pytest.mark.parametrize("redirect", [">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full", ">/dev/full"])
def test_a_real_command(shell: Shell, words: tuple[str, ...], status: int, redirect: str) -> None:
    code, out, err = through(shell, redirect, *words)
    assert code == (1 if redirect == ">/dev/full" and status == 0 else status)
    if redirect == ">/dev/full" and status == 0:
        assert err == "error: the output cannot be written: No space left on device\n"
    if redirect.startswith("2>") and status == 0:
        assert "trial" in out


def test_a_failure_keeps_its_status_where_its_json_is_lost(shell: Shell) -> None:
    code, _, err = through(shell, ">/dev/full", "start", "x", "--json")
    assert code == 2 and "error: " in err


def test_a_reader_that_has_seen_enough(shell: Shell) -> None:
    end, start = os.pipe()
    os.close(end)
    child = shell.popen("config", "trial", stdout=start, stderr=subprocess.PIPE)
    os.close(start)
    assert (child.communicate(timeout=60)[1], child.returncode) == (b"", 1)


def test_no_file_of_ours_takes_the_place_of_a_closed_stream(shell: Shell) -> None:
    """A lock or a log that became number 1 would get what is printed."""
    shell.run("up", "--dry-run", "trial", status=None)
    before = {path: path.read_bytes() for path in shell.home.rglob("*") if path.is_file()}
    through(shell, "<&- >&- 2>&-", "config", "trial")
    through(shell, "<&- >&- 2>&-", "list")
    after = {path: path.read_bytes() for path in shell.home.rglob("*") if path.is_file()}
    assert after == before


NAMED = '[machine.mac]\nupstream = "trial"\nboot_env = { A = "ä✓" }\n'


@pytest.mark.parametrize("env", [ASCII, {"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "ascii"}], ids=str)
def test_text_that_the_stream_has_not(shell: Shell, env: dict[str, str]) -> None:
    shell.config(NAMED)
    code, out, _ = through(shell, "", "config", "mac", "--json", env=env)
    assert code == 0 and json.loads(out)["settings"]["boot_env"]["value"] == {"A": "ä✓"}
    assert through(shell, "", "config", "mac", env=env)[0] == 0
    assert through(shell, "", "doctor", "trial", env=env)[0] in (0, 1)
    assert through(shell, "", "start", "ä✓", env=env)[0] == 2


def test_a_folder_whose_name_is_no_text(shell: Shell) -> None:
    odd = os.fsencode(shell.root) + b"/h\xe4"
    os.mkdir(odd)
    env = {"POMMEL_HOME": os.fsdecode(odd)}
    code, out, _ = through(shell, "", "doctor", "trial", env=env)
    assert code in (0, 1) and os.fsdecode(odd) in out
    code, out, _ = through(shell, "", "doctor", "trial", "--json", env=env)
    assert code in (0, 1) and json.loads(out.splitlines()[0]) and "\\udce4" in out


@pytest.fixture(scope="module")
def latin(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A real locale of ISO 8859-1, built here."""
    folder = tmp_path_factory.mktemp("locales")
    words: Sequence[str] = ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", str(folder / LATIN)]
    if not Path("/usr/share/i18n/locales/de_DE").exists() or subprocess.run(words, capture_output=True).returncode > 1:
        pytest.skip("no locales can be built here")
    return {"LOCPATH": str(folder), "LC_ALL": LATIN}


def test_a_locale_of_another_encoding(shell: Shell, latin: dict[str, str]) -> None:
    shell.config(NAMED)
    code, out, _ = through(shell, "", "config", "mac", env=latin)
    assert code == 0 and "\udce4+" in out  # ä as this terminal has it, and a plainer sign for ✓
    code, out, _ = through(shell, "", "config", "mac", "--json", env=latin)
    assert code == 0 and json.loads(out)["settings"]["boot_env"]["value"] == {"A": "ä✓"}
    # What is written is UTF-8, whoever reads it.
    assert through(shell, "", "init", "repo", "--macos", "sonoma", env=latin)[0] == 0
    (shell.cwd / "repo" / "README.md").read_bytes().decode("utf-8")


def test_the_menu_in_another_locale(shell: Shell, latin: dict[str, str]) -> None:
    """It draws, and ends by q."""
    ours, theirs = pty.openpty()
    env = {**shell.env, **latin, "TERM": "xterm-256color"}
    child = subprocess.Popen(
        [*shell.command, "menu"], env=env, cwd=shell.cwd, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    said = b""
    try:
        while b"trial" not in said:
            said += os.read(ours, 1 << 16)
        os.write(ours, b"q")
        while True:
            said += os.read(ours, 1 << 16)
    except OSError:  # it has ended
        pass
    finally:
        child.wait(60)
        os.close(ours)
    assert child.returncode == 0 and b"Traceback" not in said


@pytest.mark.parametrize("redirect", ["2>&-", ">&- 2>&-", "2>/dev/full"])
def test_what_the_front_scripts_say(tmp_path: Path, redirect: str) -> None:
    """They go on where nobody can hear them, and fail only of what they do."""
    script = f'. "{ROOT}/tools/venv.sh"; set -e; say one; say two; : >"$1"; die three four'
    done = subprocess.run(["sh", "-c", f'exec sh -c "$@" {redirect}', "sh", script, "sh", tmp_path / "went on"])
    assert done.returncode == 1 and (tmp_path / "went on").exists()
