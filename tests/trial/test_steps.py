"""mmdebstrap's output as progress and as errors."""

from __future__ import annotations

import pytest

from pommel.progress import Progress
from pommel.trial.steps import BuildSteps, explain

TALK = """\
I: running apt-get update...
Get:1 http://m/debian bookworm InRelease [151 kB]
I: downloading packages with apt...
0 upgraded, 1 newly installed, 0 to remove and 0 not upgraded.
Get:1 http://m/debian bookworm/main amd64 libc6 amd64 2.36-9 [2759 kB]
Unpacking libc6:amd64 (2.36-9) ...
Setting up libc6:amd64 (2.36-9) ...
0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.
Get:1 http://m/debian bookworm/main amd64 xterm amd64 379-1 [1 kB]
Get:2 http://m/debian bookworm/main amd64 xclip amd64 0.13-2 [1 kB]
Unpacking xterm (379-1) ...
Unpacking xclip (0.13-2) ...
Setting up xterm (379-1) ...
Setting up xclip (0.13-2) ...
update-initramfs: Generating /boot/initrd.img-6.1.0-56-amd64
"""


def test_progress_only_grows_and_says_what_happens() -> None:
    events: list[Progress] = []
    steps = BuildSteps(events.append)
    for line in TALK.splitlines():
        steps.line(line)
    done = [event.done or 0 for event in events]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, 100)
    texts = [event.text for event in events]
    assert texts[0] == "reading the mirror's package list"
    assert texts[1:4] == ["fetching libc6", "unpacking libc6:amd64", "setting up libc6:amd64"]
    assert texts[-1] == "creating the initial RAM disk"


@pytest.mark.parametrize(
    ("output", "said", "hint"),
    [
        ("E: Failed to fetch http://m/x  Could not resolve 'm'\nE: mmdebstrap failed to run", "downloaded", "network"),
        ("dpkg: error: failed to write: No space left on device\nE: setup failed", "disk is full", "POMMEL_HOME"),
        ("W: GPG error: NO_PUBKEY 0E98\nE: The repository is not signed", "signatures", "debian-archive-keyring"),
        ("mke2fs 1.47\nE: run_chroot failed", "run_chroot failed", "/the/log"),
        ("", "no reason given", "/the/log"),
    ],
)
def test_a_failed_build_says_why(output: str, said: str, hint: str) -> None:
    error = explain(output, "/the/log")
    assert said in error.message
    assert hint in (error.hint or "")
