"""modprobe.d files: ours, and those of others as far as they concern us."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.host.module_options import (
    Conflict,
    as_switch,
    conflicts,
    effective,
    is_edited,
    is_ours,
    parse_cmdline,
    parse_options,
    render,
    wanted_options,
)

MSRS = {("kvm", "ignore_msrs"): "1", ("kvm", "report_ignored_msrs"): "0"}


@pytest.mark.parametrize(
    ("vendor", "nested", "lines"),
    [
        ("amd", False, ["kvm ignore_msrs=1 report_ignored_msrs=0"]),
        ("amd", True, ["kvm ignore_msrs=1 report_ignored_msrs=0", "kvm_amd nested=1"]),
        ("intel", False, ["kvm ignore_msrs=1 report_ignored_msrs=0", "kvm_intel emulate_invalid_guest_state=0"]),
        (
            "intel",
            True,
            ["kvm ignore_msrs=1 report_ignored_msrs=0", "kvm_intel emulate_invalid_guest_state=0 nested=1"],
        ),
        ("other", True, ["kvm ignore_msrs=1 report_ignored_msrs=0"]),
    ],
)
def test_our_file(vendor: str, nested: bool, lines: list[str]) -> None:
    options = wanted_options(vendor, nested=nested)
    text = render(options)
    assert [line for line in text.splitlines() if not line.startswith("#")] == [f"options {line}" for line in lines]
    assert is_ours(text) and not is_edited(text)
    assert dict(parse_options(text)) == options


@given(st.data())
def test_any_edit_is_seen(data: st.DataObject) -> None:
    text = render(wanted_options("intel"))
    start = text.index("\n") + 1  # what the first line says is not checked, since it may change from version to version
    place = data.draw(st.integers(start, len(text) - 1))
    edited = text[:place] + data.draw(st.text(max_size=3)) + text[place + 1 :]
    assert is_edited(edited) == (edited != text)


def test_what_is_not_ours() -> None:
    assert not is_ours("") and is_edited("")
    assert not is_ours("options kvm ignore_msrs=1\n")


def test_options_as_people_write_them() -> None:
    text = (
        "# options kvm ignore_msrs=0\n\noptions kvm ignore_msrs=Y report-ignored-msrs=N\n"
        "  options\tkvm-intel  nested \\\n emulate_invalid_guest_state='0'\noptions\noptions kvm\n"
        "blacklist kvm\nalias a b\ninstall kvm /bin/true options kvm ignore_msrs=0\noptions kvm ignore_msrs=off"
    )
    assert parse_options(text) == [
        (("kvm", "ignore_msrs"), "1"),
        (("kvm", "report_ignored_msrs"), "0"),
        (("kvm_intel", "nested"), "1"),
        (("kvm_intel", "emulate_invalid_guest_state"), "0"),
        (("kvm", "ignore_msrs"), "0"),
    ]


def test_the_kernels_command_line() -> None:
    line = "BOOT_IMAGE=/boot/vmlinuz-6.1 root=UUID=1.2 kvm.ignore_msrs=1 kvm-intel.nested quiet\n"
    assert parse_cmdline(line) == [(("kvm", "ignore_msrs"), "1"), (("kvm_intel", "nested"), "1")]


@pytest.mark.parametrize(("text", "plain"), [("Y\n", "1"), ("n", "0"), ("ON", "1"), ("200000", "200000"), ("", "")])
def test_switches(text: str, plain: str) -> None:
    assert as_switch(text) == plain


def test_the_last_name_counts() -> None:
    files = {
        "/usr/lib/modprobe.d/aaa.conf": "options kvm ignore_msrs=0\n",
        "/etc/modprobe.d/kvm.conf": "options kvm ignore_msrs=1 report_ignored_msrs=1",
        "/etc/modprobe.d/zzz.conf": "options kvm report_ignored_msrs=0",
    }
    assert effective(files) == MSRS
    assert conflicts(files, [], MSRS) == (
        Conflict("/usr/lib/modprobe.d/aaa.conf", "kvm.ignore_msrs", "0", wins=False),
        Conflict("/etc/modprobe.d/kvm.conf", "kvm.report_ignored_msrs", "1", wins=False),
    )


def test_conflicts_that_win_and_none_with_ourselves() -> None:
    files = {
        "/etc/modprobe.d/pommel.conf": "options kvm ignore_msrs=0",
        "/etc/modprobe.d/qemu.conf": "options kvm ignore_msrs=N\noptions kvm_amd nested=1",
    }
    cmdline = [(("kvm", "report_ignored_msrs"), "1"), (("kvm", "halt_poll_ns"), "0")]
    assert conflicts(files, cmdline, MSRS) == (
        Conflict("/etc/modprobe.d/qemu.conf", "kvm.ignore_msrs", "0", wins=True),
        Conflict("the kernel's command line", "kvm.report_ignored_msrs", "1", wins=True),
    )


@given(st.text(st.sampled_from("options kvm_-=01\\\n#\t"), max_size=80))
def test_any_text_is_a_file(text: str) -> None:
    for (module, name), _ in parse_options(text):
        assert module and "-" not in module + name
    parse_cmdline(text)
