"""What kernels write when they cannot go on, in their own words."""

from __future__ import annotations

import pytest

from pommel.machine.kernel_words import KernelWords

BOOT = "[    0.000000] Linux version 6.1.0-37-cloud-amd64 (debian-kernel@lists.debian.org)"
PANIC = "[    1.912063] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"
MAC = 'panic(cpu 2 caller 0xffffff8013f6a1d8): "No HFS+ partition found"@/AppleInternal/BuildRoot/osfmk.c:1'


def stuck(cpu: int, seconds: int) -> str:
    return f"[  {seconds}.090000] watchdog: BUG: soft lockup - CPU#{cpu} stuck for {seconds}s! [swapper/{cpu}:0]"


@pytest.mark.parametrize(
    ("lines", "end"),
    [
        ([], ""),
        ([BOOT, "Debian GNU/Linux 12 trial ttyS0", "trial login: "], ""),
        ([BOOT, PANIC], "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"),
        ([BOOT, PANIC, BOOT], ""),  # it has booted again by itself
        (["Debugger called: <panic>", MAC], MAC),
        ([MAC, "Darwin Kernel Version 21.6.0: root:xnu-8020"], ""),
        ([BOOT, stuck(1, 22), stuck(0, 22)], ""),  # the host was busy
        ([BOOT, stuck(1, 22), stuck(0, 22), stuck(1, 22)], ""),
        ([BOOT, stuck(1, 22), stuck(1, 48), stuck(1, 74)], "soft lockup - CPU#1 is stuck"),
        ([stuck(1, 22), stuck(1, 48), stuck(1, 74), BOOT], ""),
    ],
)
def test_what_ends_a_kernel(lines: list[str], end: str) -> None:
    heard = KernelWords()
    heard.hear(lines)
    assert heard.end == end


def test_of_old_lines_only_a_panic_counts() -> None:
    heard = KernelWords()
    heard.hear_of_before([stuck(1, 22)] * 5)
    assert heard.end == ""
    heard.hear([stuck(1, 22)] * 2)
    assert heard.end == ""
    heard.hear_of_before([PANIC])
    assert heard.end.startswith("Kernel panic")


def test_a_long_line_is_told_in_part() -> None:
    heard = KernelWords()
    heard.hear([PANIC + "!" * 100_000])
    assert len(heard.end) < 300
