"""What a person types and what is printed, for all that needs no machine."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from driver import Shell
from pommel.cli.main import COMMANDS


def test_help_lists_every_command_and_begins_with_the_first_one_to_type(shell: Shell) -> None:
    out = shell.run("--help").stdout
    for name, (_, text, group) in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(text)}$", out, re.MULTILINE)
        assert f"{group}:" in out
    assert "Begin with: pommel up trial" in out


# Each in a process of its own, as a person calls it, which begins where all of them do.
HELPS = """
import json, os, sys
from pathlib import Path
from pommel.cli.main import COMMANDS, main
for name in COMMANDS:
    if (child := os.fork()) == 0:
        os.dup2(os.open(f"{sys.argv[1]}/{name}", os.O_WRONLY | os.O_CREAT), 1)
        try:
            main([name, "--help"])
        except SystemExit as leaving:
            sys.stdout.flush()
            Path(f"{sys.argv[1]}/{name}.json").write_text(json.dumps(sorted(sys.modules)))
            os._exit(leaving.code)
    assert os.waitpid(child, 0)[1] == 0, name
"""
# What takes a tenth of a second and more to import, and is for pictures, pages and registries.
HEAVY = ("numpy", "aiohttp", "PIL", "textual", "rich", "mcp")


def test_every_command_has_help_and_imports_at_its_start_nothing_that_takes_long(shell: Shell, tmp_path: Path) -> None:
    words = [*shell.command[:-2], "-c", HELPS, tmp_path]
    done = subprocess.run(words, env=shell.env, cwd=shell.cwd, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    heavy = {}
    for name in COMMANDS:
        assert f"Usage: pommel {name}" in (tmp_path / name).read_text()
        heavy[name] = {*json.loads((tmp_path / f"{name}.json").read_text())} & {*HEAVY}
    assert {name: found for name, found in heavy.items() if found} == {"recipe": {"numpy"}}


def test_version(shell: Shell) -> None:
    assert re.fullmatch(r"pommel \d+\.\d+\.\d+\n", shell.run("--version").stdout)


def test_unknown_command_names_the_nearest(shell: Shell) -> None:
    done = shell.run("strat", "trial", status=2)
    assert done.stdout == ""
    assert done.stderr == "error: there is no command 'strat'\nhint: did you mean: pommel start\n"


def test_unknown_machine_names_the_nearest(shell: Shell) -> None:
    done = shell.run("status", "trail", status=2)
    assert "there is no machine called 'trail'" in done.stderr
    assert "did you mean trial?" in done.stderr


@pytest.mark.parametrize("name", ["../etc", "-x", "A", "", "a" * 41, "a/b", "a\nb"])
def test_names_that_could_be_path_tricks_are_refused(shell: Shell, name: str) -> None:
    done = shell.run("status", "--", name, status=2)
    assert "cannot be a machine's name" in done.stderr


def test_status_of_a_machine_that_was_never_made(shell: Shell) -> None:
    assert shell.run("status", "trial").stdout == "name   trial\nstate  absent\nhint   pommel up trial\n"
    assert shell.json("status", "trial")["state"] == "absent"


def test_start_before_up_is_a_wrong_state(shell: Shell) -> None:
    done = shell.run("start", "trial", status=3)
    assert done.stderr == "error: trial has not been created yet\nhint: pommel up trial\n"


@pytest.mark.parametrize("words", [("stop", "trial"), ("console", "trial"), ("ssh", "trial"), ("key", "trial", "return"),
                                   ("screenshot", "trial", "x.png"), ("type", "trial", "x"), ("click", "trial", "1", "1"),
                                   ("scroll", "trial", "1", "1", "0", "-3"), ("drag", "trial", "1", "1", "2", "2")])  # fmt: skip
def test_what_needs_a_running_machine_says_so(shell: Shell, words: tuple[str, ...]) -> None:
    assert "trial is not running" in shell.run(*words, status=3).stderr


def test_json_errors_are_one_object_on_stdout(shell: Shell) -> None:
    answer = shell.json("start", "trial", status=3)
    assert answer == {"error": "trial has not been created yet", "hint": "pommel up trial", "exit": 3}


def test_stop_takes_a_name_or_all(shell: Shell) -> None:
    assert "give the name of one machine, or pass --all" in shell.run("stop", status=2).stderr
    assert shell.run("stop", "--all").stderr == "nothing runs\n"
    assert shell.json("stop", "--all") == {"machines": []}


def test_delete_off_a_terminal_needs_yes(shell: Shell) -> None:
    assert "pommel delete trial --yes" in shell.run("delete", "trial", status=2).stderr
    assert "trial does not exist" in shell.run("delete", "trial", "--yes", status=3).stderr


def test_uninstall_of_nothing(shell: Shell) -> None:
    (shell.home / "keep.me").write_text("not Pommel's")
    assert "there is nothing to remove" in shell.run("uninstall", "--yes").stderr
    assert (shell.home / "keep.me").exists()


def test_uninstall_removes_only_what_pommel_made(shell: Shell) -> None:
    (shell.home / "keep.me").write_text("not Pommel's")
    (shell.home / "trial" / ("a" * 16)).mkdir(parents=True)
    (shell.home / "trial" / ("a" * 16) / "root.img").write_bytes(b"x" * 5000)
    told = shell.run("uninstall", "--dry-run").stdout
    assert str(shell.home / "trial") in told
    assert (shell.home / "trial").exists()
    shell.run("uninstall", status=2)
    shell.run("uninstall", "--yes")
    assert not (shell.home / "trial").exists()
    assert (shell.home / "keep.me").exists()


def test_config_tells_each_source(shell: Shell) -> None:
    shell.config('[machine.trial]\nmemory = "3G"\ncores = 2\n')
    shell.env["POMMEL_CORES"] = "4"
    found = shell.json("config", "trial", "--threads", "8")["settings"]
    assert found["memory"] == {"value": 3 << 30, "source": "file", "where": f"{shell.cwd}/pommel.toml:2"}
    assert found["cores"] == {"value": 4, "source": "environment", "where": "POMMEL_CORES"}
    assert found["threads"] == {"value": "8" and 8, "source": "flag", "where": "--threads"}
    assert found["accel"]["source"] == "default"
    table = shell.run("config", "trial").stdout
    assert re.search(r"^memory +3 GiB +file .*pommel.toml:2$", table, re.MULTILINE)


def test_config_errors_name_file_line_and_spelling(shell: Shell) -> None:
    shell.config('[machine.trial]\nmemory = "3G"\nmemroy = "4G"\n')
    done = shell.run("config", "trial", status=2)
    assert f"{shell.cwd}/pommel.toml:3: unknown key 'memroy' in [machine.trial]" in done.stderr
    assert "did you mean memory?" in done.stderr


def test_log_of_a_machine_that_never_ran(shell: Shell) -> None:
    assert shell.run("log", "trial", status=3).stderr == (
        "error: trial has not been created yet\nhint: pommel up trial\n"
    )


def test_list_shows_the_trial_machine_and_those_of_pommel_toml(shell: Shell) -> None:
    shell.config("[machine.blue]\n")
    lines = shell.run("list").stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["NAME", "STATE"], ["blue", "absent"], ["trial", "absent"]]
    assert [m["name"] for m in shell.json("list")["machines"]] == ["blue", "trial"]


def test_dry_run_of_up_does_nothing(shell: Shell) -> None:
    steps = shell.json("up", "trial", "--dry-run")["steps"]
    assert [s["what"].split()[0] for s in steps] == ["install", "build", "make", "start", "wait", "serve"]
    assert list(shell.home.iterdir()) == []


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: Shell, kind: str) -> None:
    assert "_POMMEL_COMPLETE" in shell.run("completion", kind).stdout


def test_completion_knows_the_machines(shell: Shell) -> None:
    shell.config("[machine.blue]\n")
    shell.env |= {"_POMMEL_COMPLETE": "bash_complete", "COMP_WORDS": "pommel start b", "COMP_CWORD": "2"}
    assert shell.run().stdout == "plain,blue\n"


def test_characters_that_cannot_be_typed_are_told_before_anything(shell: Shell) -> None:
    done = shell.run("type", "trial", "naïve ☃", status=2)
    assert "'ï' '☃'" in done.stderr


def test_unknown_keys_are_told_before_anything(shell: Shell) -> None:
    assert "return" in shell.run("key", "trial", "retrun", status=2).stderr


def test_a_closed_pipe_is_no_traceback(shell: Shell) -> None:
    done = subprocess.run(
        f"{sys.executable} -P -m pommel --help | head -n 1", shell=True, env=shell.env, capture_output=True, check=False
    )
    assert b"Traceback" not in done.stderr


def test_prompts_only_on_a_terminal_and_a_wrong_name_deletes_nothing(shell: Shell) -> None:
    folder = shell.machine("trial")
    folder.mkdir(parents=True)
    ours, theirs = pty.openpty()
    child = shell.popen("delete", "trial", stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.write(ours, b"trail\n")
    assert child.wait(20) == 3
    os.close(ours)
    assert folder.exists()


def test_api_is_typed_lazy_and_complete() -> None:
    code = (
        "import sys, pommel\n"
        "assert not any(m in sys.modules for m in ('asyncio', 'numpy', 'aiohttp', 'click'))\n"
        "import json; print(json.dumps({n: callable(getattr(pommel, n)) for n in pommel.__all__}))\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert all(json.loads(out).values())


def test_init_says_what_it_wrote_and_what_comes_next(shell: Shell) -> None:
    done = shell.run("init", "mac")
    folder = shell.cwd / "mac"
    assert done.stdout.splitlines() == [
        *(
            f"wrote {folder / name}"
            for name in ("pommel.toml", ".gitignore", "README.md", "patches/.gitkeep", "files/.gitkeep")
        ),
        f"began a git repository in {folder}",
    ]
    assert done.stderr == f"next: cd {folder} && pommel bootstrap && pommel up sonoma\n"
    again = shell.run("init", "mac", "--dry-run")
    assert again.stdout == ""


def test_overlay_before_there_is_a_checkout(shell: Shell) -> None:
    out = shell.run("overlay", "status").stdout
    assert "actual    not cloned yet: pommel bootstrap" in out
    told = shell.json("overlay", "status")
    assert (told["commit"], told["as_planned"], told["patches"]) == (None, False, [])
    refused = shell.run("overlay", "diff", status=3)
    assert refused.stderr.endswith("hint: pommel bootstrap --no-setup\n")


def test_an_upstream_that_cannot_be_reached_changes_nothing(shell: Shell) -> None:
    shell.config(f'[upstream]\nurl = "file://{shell.cwd}/nowhere"\ncommit = "{"a" * 40}"\n')
    done = shell.run("bootstrap", "--no-setup", status=1)
    assert "could not be fetched" in done.stderr and "hint: check the network and upstream.url" in done.stderr
    assert [path.name for path in (shell.home / "upstream").iterdir() if path.is_dir()] == []
    plan = shell.run("bootstrap", "--dry-run", "--no-setup").stdout
    assert plan.startswith(f"would  clone file://{shell.cwd}/nowhere at aaaaaaaaaaaa\n")


def test_recovery_versions(shell: Shell) -> None:
    lines = shell.run("recovery", "list").stdout.splitlines()
    assert lines[0].split() == ["NAME", "NUMBER", "HERE"]
    assert lines[1].startswith("high-sierra ")
    assert [row["major"] for row in shell.json("recovery", "list")["versions"]][-3:] == ["14", "15", "26"]
    assert shell.run("recovery", "where").stdout == f"{shell.home}/recovery\n"
    assert shell.run("recovery", "where", "sonoma", status=3).stderr.endswith("hint: pommel recovery fetch sonoma\n")
    (shell.cwd / "a.dmg").write_bytes(b"x")
    assert "there is no chunklist" in shell.run("recovery", "verify", "a.dmg", status=2).stderr


def test_doctor_names_every_group_and_exits_by_what_it_finds(shell: Shell) -> None:
    shell.config('[machine.mac]\nupstream = "nowhere"\nmacos = "14"\n')
    done = shell.run("doctor", "mac", status=1)
    for group in ("host", "KVM", "packages", "upstream", "recovery", "disk", "network", "clipboard", "console"):
        assert re.search(rf"^{group}$", done.stdout, re.MULTILINE)
    assert "✗ folder: there is no" in done.stdout
    assert done.stderr.startswith("error: 1 check failed; the first: there is no ")
    told = json.loads(shell.run("doctor", "mac", "--json", status=1).stdout.splitlines()[0])
    assert told["counts"]["fail"] == 1 and all(check["fix"] for check in told["checks"] if check["level"] == "fail")


def test_a_support_archive_is_written_once_and_has_no_secrets(shell: Shell) -> None:
    shell.config('[machine.mac]\nupstream = "nowhere"\nmacos = "14"\nssh_user = "ada"\n')
    made = shell.run("doctor", "mac", "--bundle", "-o", "s.tar.gz")
    assert made.stdout == f"{shell.cwd}/s.tar.gz\n"
    assert (shell.cwd / "s.tar.gz").stat().st_mode & 0o077 == 0
    with tarfile.open(shell.cwd / "s.tar.gz") as archive:
        texts = {entry.name: archive.extractfile(entry).read().decode() for entry in archive}  # type: ignore[union-attr]
    assert "error: there is no upstream at" in texts["pommel-support/argv.json"]
    assert all(str(shell.home) not in text for text in texts.values())
    assert shell.run("doctor", "--bundle", "-o", "s.tar.gz", "mac", status=3).stderr.count("already exists") == 1


def test_opencore_build_says_what_it_lacks(shell: Shell) -> None:
    assert "there is no" in shell.run("opencore", "build", status=3).stderr
    (shell.cwd / "OpenCore.qcow2").write_text("mine")
    assert "already exists" in shell.run("opencore", "build", status=3).stderr
    (shell.cwd / "EFI").mkdir()
    (shell.cwd / "config.plist").write_text("no plist")
    done = shell.run("opencore", "build", "-f", "--efi", "EFI", "--config", "config.plist", status=1)
    assert done.stderr.count("error: ") == 1
    assert (shell.cwd / "OpenCore.qcow2").read_text() == "mine"
