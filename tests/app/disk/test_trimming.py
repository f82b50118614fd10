"""Which words have QEMU give back what a guest trims; that they do is shown by a QEMU whose guest is `qemu-io`'s."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from machine.bare import argv, make, short_home
from machine.guests import make_disk
from pommel.app.disk import trimming
from pommel.app.workspace import Workspace
from pommel.errors import NotPermitted, PommelError, StateError
from pommel.machine import lifecycle
from pommel.machine.trims import refusal

GIVES = [
    "-drive id=a,file=/m/d,format=qcow2,discard=unmap",
    "-drive id=a,file=/m/d,format=qcow2,discard=on,detect-zeroes=unmap",
    "-drive id=a,driver=qcow2,file.driver=file,file.filename=/m/d,discard=unmap",
    "-blockdev driver=qcow2,node-name=a,discard=unmap,file.driver=file,file.filename=/m/d",
    "-blockdev driver=file,node-name=f,filename=/m/d,discard=unmap -blockdev driver=qcow2,node-name=a,file=f,discard=unmap",
    '-blockdev {"driver":"qcow2","node-name":"a","discard":"unmap","file":{"driver":"file","filename":"/m/d"}}',
]
KEEPS = [
    "-hda /m/d",
    "-drive id=a,file=/m/d,format=qcow2",
    "-drive id=a,file=/m/d,format=qcow2,discard=ignore",
    "-drive id=a,file=/m/d,format=qcow2,discard=off,detect-zeroes=on",
    "-blockdev driver=qcow2,node-name=a,file.driver=file,file.filename=/m/d,file.discard=unmap",
    "-blockdev driver=file,node-name=f,filename=/m/d -blockdev driver=qcow2,node-name=a,file=f,discard=unmap",
]


def judged(words: str, file: str = "/m/d") -> str | None:
    return refusal(["qemu-system-x86_64", *words.split()], lambda name: name == file)


@pytest.mark.parametrize("words", GIVES)
def test_words_that_give(words: str) -> None:
    assert judged(words) is None


@pytest.mark.parametrize("words", KEEPS)
def test_words_that_keep(words: str) -> None:
    assert "has no discard=unmap" in str(judged(words))


def test_a_disk_that_was_added_since_is_none_of_them() -> None:
    assert judged(GIVES[0], "/m/other") == "it is not one of the drives with which QEMU was started"
    assert refusal([], lambda name: True) is None


def test_a_running_machine_whose_words_keep_is_refused_with_them(tmp_path: Path) -> None:
    with short_home() as home:
        paths = make(home)
        make_disk(paths.disk)
        for discard, refused in (("ignore", True), ("unmap", False)):
            drive = f"id=MacHDD,if=ide,format=qcow2,file={paths.disk},discard={discard}"
            lifecycle.start(paths, argv(paths, "-drive", drive), cwd=tmp_path)
            found = trimming.why_not(paths, paths.disk)
            assert (found is not None) is refused
            if found is not None:
                assert "discard=ignore has no discard=unmap" in found.message and "pommel stop m" in str(found.hint)
            lifecycle.stop(paths, force=True)


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ("pommel-trim system Darwin\n", StateError, "macOS trims automatically"),
        ("pommel-trim system FreeBSD\n", StateError, "does not know how to trim FreeBSD"),
        ("motd\npommel-trim lacks fstrim\n", StateError, "has no fstrim"),
        ("sudo: a password is required\npommel-trim status 1\n", NotPermitted, "NOPASSWD: /usr/sbin/fstrim"),
        ("fstrim: /: Operation not permitted\npommel-trim status 1\n", NotPermitted, "needs root"),
        (
            "fstrim: /: \x1b[31mthe discard operation is not supported\npommel-trim status 32\n",
            StateError,
            "not supported",
        ),
        ("", StateError, "gives no reason"),
        ("pommel-trim\n", StateError, "gives no reason"),
        ("pommel-trim status 0 or so\n", StateError, "gives no reason"),
    ],
)
def test_what_a_guest_answers(tmp_path: Path, said: str, error: type[PommelError], words: str) -> None:
    with short_home() as home:
        (tmp_path / "pommel.toml").write_text('[machine.m]\nssh_user = "ada"\n')
        workspace = Workspace(home, tmp_path, dict(os.environ))
        with pytest.raises(error) as refused:
            trimming._judge(workspace, make(home), said)
        told = f"{refused.value.message} {refused.value.hint}"
        assert words in told and "\x1b" not in told and "pommel disk compact m" in told
        trimming._judge(workspace, home.machine("m"), "/: 1 GiB trimmed\npommel-trim status 0\n")
