"""`pommel image` as a person types it, over a machine that nobody boots."""

from __future__ import annotations

import os
from pathlib import Path

from app.image.conftest import make_machine
from driver import Shell
from pommel.app.throwaway import holding
from pommel.app.workspace import Workspace
from pommel.machine import lease
from pommel.paths import Home


def test_a_machine_goes_to_a_file_and_back(shell: Shell, tmp_path: Path) -> None:
    make_machine(Workspace(Home.find(shell.env), shell.cwd, shell.env), "trial")
    assert shell.json("image", "save", "trial:1", "--dry-run")["machine_image"] == "trial:1"
    assert shell.json("image", "list") == {"machine_images": [], "damaged_images": []}
    assert "would save trial as trial:1" in shell.run("image", "save", "trial:1", "-n").stdout
    saved = shell.json("image", "save", "trial:1")
    assert saved["new_bytes"] > 1 << 20 and not saved["replaced"]
    listed = shell.run("image", "list").stdout
    assert listed.splitlines()[1].startswith("trial:1  trial") and "machine trial" in listed
    assert shell.json("image", "show", "trial:1")["image_disks"][1]["disk_file"] == "disk-data.qcow2"
    assert "disk-data.qcow2" in shell.run("image", "show", "trial:1").stdout
    assert shell.json("image", "verify", "trial:1")["ok"]
    assert shell.json("image", "create", "trial:1", "new", "--dry-run")["name"] == "new"
    file = tmp_path / "trial.tar"
    assert shell.json("image", "export", "trial:1", str(file))["size_bytes"] == file.stat().st_size
    assert "confirmation needed" in shell.run("image", "delete", "trial:1", status=2).stderr
    assert shell.json("image", "delete", "trial:1", "--yes")["freed_bytes"] > 1 << 20
    assert "--unsigned" in shell.run("image", "import", str(file), status=1).stderr
    assert shell.json("image", "import", str(file), "--unsigned")["machine_image"] == "trial:1"
    made = shell.json("image", "create", "trial:1", "new")
    assert made["name"] == "new" and made["identity"]["uuid"] != shell.json("info", "trial")["identity"]["uuid"]
    assert "new already exists" in shell.run("image", "create", "trial:1", "new", status=3).stderr


def test_what_a_throw_away_machine_is_made_from_is_completed(shell: Shell) -> None:
    workspace = Workspace(Home.find(shell.env), shell.cwd, shell.env)
    make_machine(workspace, "trial")
    shell.config("[machine.tomorrow]\n")  # which is not made yet
    shell.run("image", "save", "trial:1")
    holding.make(workspace, workspace.paths("run-1"), lease.of_process("trial", "run", os.getpid()))
    before = {**shell.env}
    for words in ("run ", "pool ", "ci github ", "ci gitlab --allow "):
        number = len(words.split()) + 1
        shell.env = {**before, "_POMMEL_COMPLETE": "bash_complete", "COMP_WORDS": f"pommel {words}"}
        shell.env["COMP_CWORD"] = str(number)
        assert shell.run().stdout.split() == ["plain,trial", "plain,trial:1"], words
        shell.env["COMP_WORDS"] += "to"
        assert shell.run().stdout.split() == []


def test_keys(shell: Shell, tmp_path: Path) -> None:
    assert "pommel image key --new" in shell.run("image", "key", status=3).stderr
    key = shell.json("image", "key", "--new")
    (tmp_path / "own.pub").write_text(shell.run("image", "key").stdout)
    assert shell.json("image", "trust")["trusted_keys"] == [key["key_id"]]
    assert shell.run("image", "trust", str(tmp_path / "own.pub")).stdout == ""
    assert shell.json("image", "trust", "--remove", key["key_id"])["trusted_keys"] == [key["key_id"]]  # it is our own
    assert "no trusted key" in shell.run("image", "trust", "--remove", "0" * 16, status=3).stderr


def test_names_that_are_none(shell: Shell) -> None:
    assert "cannot be an image's name" in shell.run("image", "show", "a/b", status=2).stderr
    assert "there is no image x:latest" in shell.run("image", "show", "x", status=3).stderr
    assert "give the tag with --as alone" in shell.run("image", "save", "m:1", "--as", "n", status=2).stderr
