from __future__ import annotations

import time

import pytest

from pommel.overlay.complaints import ending, hint, prompt_of, timeout_hint
from pommel.overlay.facts import facts_of
from pommel.overlay.sandbox import qemus_named, what_escapes


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("boot.sh: line 2: SYSTEM_DISK: unbound variable", 'boot_env = { SYSTEM_DISK = "…" }'),
        ("boot.sh: 2: RAM: parameter not set", "boot_env = { RAM"),
        ("boot.sh: line 2: RAM: parameter null or not set", "boot_env = { RAM"),
        ("boot.sh: line 2: 1: unbound variable", "boot_args"),
        ("Usage: boot.sh [-i]", "boot_args"),
        ("error: missing argument", "boot_args"),
        ("Please set the VM_DISK environment variable", "boot_env = { VM_DISK"),
        ("VM_DISK must be set", "boot_env = { VM_DISK"),
        ("touch: cannot touch '/etc/x': Read-only file system", "outside of its folder"),
    ],
)
def test_what_a_script_complains_of_says_what_to_type(output: str, said: str) -> None:
    assert said in (hint(output, "", ()) or "")


def test_a_script_that_has_arguments_of_its_own_may_want_some() -> None:
    assert "boot_args" in (hint("no", 'disk=$1; qemu "$disk"', ()) or "")
    assert hint("no", 'disk=$1; qemu "$disk"', ("a",)) is None
    assert hint("no such disk", "exit 1", ()) is None


@pytest.mark.parametrize(
    ("status", "said"),
    [(3, "failed with exit status 3"), (-9, "was killed by SIGKILL"), (137, "was killed by SIGKILL"), (0, "ended")],
)
def test_how_it_ended(status: int, said: str) -> None:
    assert ending(status) == said


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ('read -p "Which? " x', "Which? "),
        ("read -rp 'Which? ' x", "Which? "),
        ("read -r -p Which? x", "Which?"),
        ("read x", None),
    ],
)
def test_the_prompt_of_a_read(text: str, prompt: str | None) -> None:
    assert prompt_of(text) == prompt


def test_a_time_limit_that_helps_is_named() -> None:
    assert "boot_timeout = 30" in timeout_hint(10)
    assert "boot_timeout = 180" in timeout_hint(60)


@pytest.mark.parametrize(
    "part", ["a", "a1_", "1", "/sys/", "./b", "-/", "/qemu-system-", "variable ", "read -p ", "A_", "' \n"]
)
def test_output_of_any_length_is_read_in_a_time_that_grows_with_it(part: str) -> None:
    text, begun = part * (200_000 // len(part)), time.process_time()
    hint(text, text, ())
    prompt_of(text)
    facts_of((), (), (), text, {})
    what_escapes(text)
    qemus_named(text)
    assert time.process_time() - begun < 10
