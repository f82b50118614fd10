"""What `pommel run` leaves, with real QEMUs and a real sshd as their guests': nothing, also when it is killed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from .small_home import SmallHome

MAKES = "mkdir out && echo made > out/file && seq 100000 > out/big"


@pytest.fixture(scope="module")
def home() -> Iterator[SmallHome]:
    shell = SmallHome()
    try:
        yield shell
    finally:
        shell.close()


def test_three_one_after_another_leave_no_file_no_process_and_no_port(home: SmallHome) -> None:
    for number in range(3):
        words = ["--copy-out", "out", "--", "sh", "-c", f"{MAKES}; exit {number}"]
        child = home.start_command("run", "trial", *words)
        ports: list[int] = []
        while child.poll() is None:
            ports = ports or home.ports()
        home.ended(child, status=number)
        assert ports and (home.cwd / "out" / "file").read_text() == "made\n"
        shutil.rmtree(home.cwd / "out")
        home.assert_as_before(ports)


@pytest.mark.parametrize(
    ("where", "whole"), [("archives:unpack", False), (":archives:_take", False), (":bringing:bring", True)]
)
def test_what_was_being_copied_out_goes_with_the_machine_of_a_run_that_is_killed(
    home: SmallHome, where: str, whole: bool
) -> None:
    module = "pommel.app.throwaway."
    where = f":{module}{where[1:]}" if where.startswith(":") else f"{module}{where}"
    there = home.cwd / "there"
    there.mkdir()
    words = ["run", "trial", "--copy-out", "out=there", "--", "sh", "-c", MAKES]
    home.ended(home.start_command(*words, killed=where), status=-9)
    if whole:
        assert (there / "out" / "file").read_text() == "made\n"
        shutil.rmtree(there / "out")
    else:
        assert [path.name.startswith(".pommel-copy-out.") for path in there.iterdir()] == [True]
    ports = home.ports()
    assert [each["name"] for each in home.json("list")["machines"]] == ["trial"]
    there.rmdir()  # it is empty
    home.assert_as_before(ports)
