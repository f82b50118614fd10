"""`pommel recipe` as a person types it."""

from __future__ import annotations

from driver import Shell

STEPS = """
title = "Steps"
needs = ["user"]
[[state]]
name = "login"
says = "waiting for the prompt"
first = { rest_s = 2 }
do = [{ type = "{user}\\n" }]
until = { changed = 0.1, serial = "login" }
branch = [{ when = { running = false }, why = "it ended" }]
by_hand = "type {user}"
"""


def test_what_comes_with_pommel_is_listed_shown_and_checked(shell: Shell) -> None:
    names = [each["name"] for each in shell.json("recipe", "list")["recipes"]]
    assert names == ["macos-unattended", "recovery-terminal"]
    text = shell.run("recipe", "show", "recovery-terminal").stdout
    (shell.root / "my.toml").write_text(text)
    assert "4 states, no fault found" in shell.run("recipe", "check", str(shell.root / "my.toml")).stdout
    found = shell.json("recipe", "check", "recovery-terminal")
    assert [state["name"] for state in found["states"]] == ["recovery", "terminal", "terminal-by-menu", "line"]
    assert "did you mean recovery-terminal?" in shell.run("recipe", "show", "recovery", status=2).stderr


def test_a_fault_is_told_with_its_place(shell: Shell) -> None:
    file = shell.root / "bad.toml"
    file.write_text(STEPS.replace("rest_s", "rests"))
    done = shell.run("recipe", "check", str(file), status=2)
    assert f"{file}:4: state 'login': first: unknown key 'rests'" in done.stderr
    assert "did you mean rest_s?" in done.stderr
    missing = shell.run("recipe", "check", "no.toml", status=2)
    assert "pommel recipe list" in missing.stderr


def test_a_machine_that_is_not_there_and_values_that_are_missing_are_told_first(shell: Shell) -> None:
    file = shell.root / "s.toml"
    file.write_text(STEPS)
    assert (
        "trial has not been created yet" in shell.run("recipe", "run", "trial", str(file), "--dry-run", status=3).stderr
    )
    done = shell.run("recipe", "run", "trial", str(file), "--set", "user", status=2)
    assert "write --set NAME=VALUE" in done.stderr
