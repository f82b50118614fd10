"""What a system answers before anything of ours is there."""

from __future__ import annotations

import os
import platform
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.errors import StateError
from pommel.process import run
from pommel.session.guest_system import QUESTION, GuestSystem, Python, platforms, read_answer

ANSWER = """\
kernel=Linux
machine=x86_64
release=6.1.0
user=ann
root=sudo
installed=0123456789abcdef
python=/usr/bin/python3.11 3.11 2.36
python=/usr/bin/python3.11 3.11 2.36
python=/usr/local/bin/python3.13 3.13 2.36
python=/home/ann/.pyenv/bin/python3.14 3.14 2.36
python=/usr/bin/python3.9 3.9 -
"""


def test_an_answer() -> None:
    found = read_answer(ANSWER)
    assert (found.system, found.machine, found.user, found.root) == ("linux", "x86_64", "ann", "sudo")
    assert found.installed == "0123456789abcdef"
    assert [python.version for python in found.pythons] == [(3, 11), (3, 13), (3, 9)]
    assert found.python == Python("/usr/local/bin/python3.13", (3, 13), (2, 36))


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_the_question_asked_of_this_system(shell: str) -> None:
    found = read_answer(run([shell, "-s"], input=QUESTION.encode(), timeout_s=60).text)
    assert found.system == "linux"
    assert found.machine == platform.machine()
    assert found.root == ("self" if os.geteuid() == 0 else found.root)
    for python in found.pythons:
        assert Path(python.path).is_file() and python.glibc


def test_a_mac_is_asked_for_no_python_that_would_put_up_a_window(tmp_path: Path) -> None:
    """Its own /usr/bin/python3 offers to install Apple's tools; `uname` here is a Mac's."""
    uname = tmp_path / "uname"
    uname.write_text('#!/bin/sh\n[ "$1" = -m ] && echo arm64 || echo Darwin\n')
    uname.chmod(uname.stat().st_mode | stat.S_IXUSR)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    found = read_answer(run(["sh", "-s"], input=QUESTION.encode(), env=env, timeout_s=60).text)
    assert (found.system, found.machine) == ("macos", "arm64")
    assert not [python for python in found.pythons if python.path.startswith("/usr/bin/")]


@pytest.mark.parametrize("text", ["", "kernel=FreeBSD\n", "bash: uname: command not found\n"])
def test_no_system_of_ours(text: str) -> None:
    with pytest.raises(StateError):
        read_answer(text)


@given(st.text())
def test_any_text_is_an_answer_or_is_refused(text: str) -> None:
    found = read_answer(f"kernel=Linux\n{text}")
    assert all(python.path.startswith("/") for python in found.pythons)


def guest(system: str, release: str, machine: str) -> GuestSystem:
    return GuestSystem(system, machine, release, "ann", "", "", ())  # type: ignore[arg-type]


def test_platforms() -> None:
    found = platforms(guest("linux", "6", "aarch64"), (2, 19))
    assert found == (
        "manylinux_2_19_aarch64", "manylinux_2_18_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64",
    )  # fmt: skip
    assert platforms(guest("macos", "14.5", "arm64")) == ("macosx_14_0_arm64",)
    assert platforms(guest("macos", "10.15.7", "x86_64")) == ("macosx_11_0_x86_64",)
    for glibc in ((), (2, 12)):
        with pytest.raises(StateError, match="glibc"):
            platforms(guest("linux", "6", "x86_64"), glibc)  # type: ignore[arg-type]


def test_this_pythons_own_wheels_fit_this_system() -> None:
    from pommel.session.wheelhouse import WheelTarget, _own

    libc = tuple(map(int, platform.libc_ver()[1].split(".")[:2]))
    mine = platforms(guest("linux", "6", platform.machine()), libc)  # type: ignore[arg-type]
    assert _own("click", WheelTarget(sys.version_info[:2], mine)) is not None


@pytest.mark.parametrize("glibc", ["2.999999999", "2." + "9" * 5000, "9" * 5000 + ".1"])
def test_a_guest_cannot_have_us_make_names_without_end(glibc: str) -> None:
    text = f"kernel=Linux\nmachine=x86_64\npython=/usr/bin/python3.11 3.11 {glibc}\n"
    found = read_answer(text)
    assert found.python is None or found.python.glibc == ()


@pytest.mark.parametrize("release", ["9" * 5000, "\u0663", "15"])
def test_a_macs_release_is_a_number_of_a_few_digits(release: str) -> None:
    found = read_answer(f"kernel=Darwin\nmachine=arm64\nrelease={release}\n")
    assert len(platforms(found)[0]) < 40


@pytest.mark.parametrize("machine", ["../x", "a b", "x" * 99, "\x1b[2J"])
def test_a_machine_without_a_name_that_is_one(machine: str) -> None:
    with pytest.raises(StateError):
        read_answer(f"kernel=Linux\nmachine={machine}\n")
