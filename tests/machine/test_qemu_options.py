from __future__ import annotations

import re

from pommel.machine.qemu_options import NO_VALUE, TAKES_VALUE, name_of, takes_value
from pommel.process import run


def test_nothing_is_in_both() -> None:
    assert not NO_VALUE & TAKES_VALUE


def test_the_table_says_what_the_installed_qemu_says() -> None:
    """A line of -help that begins with an option shows whether a value follows it."""
    shown: dict[str, bool] = {}
    for line in run(["qemu-system-x86_64", "-help"]).text.splitlines():
        if match := re.match(r"--?([\w-]+)(?:/-\w+|(?: or -\w+))?(.*)", line):
            names = re.findall(r"(?:^|/|or )-{1,2}([\w-]+)", line.split("  ")[0])
            takes = bool(re.match(r"\s?[^\s]", match[2])) and not match[2].startswith("   ")
            shown.update(dict.fromkeys(names, takes))
    assert len(shown) > 100
    # Two lines whose columns mislead: a value after four blanks, and prose after one.
    del shown["dtb"], shown["async-teardown"]
    wrong = {
        name: takes
        for name, takes in shown.items()
        if takes_value(f"-{name}", "-x") is not takes or name not in NO_VALUE | TAKES_VALUE
    }
    assert wrong == {}


def test_names() -> None:
    assert name_of("-M") == name_of("--machine") == "machine"
    assert name_of("--preconfig") == "preconfig"
    assert name_of("") == ""


def test_an_option_that_is_not_in_the_table_goes_by_the_next_word() -> None:
    assert takes_value("-unheard-of", "x")
    assert not takes_value("-unheard-of", "-x")
    assert not takes_value("-unheard-of", None)
