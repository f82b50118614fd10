"""Run pip with what the user says of where packages come from, and nothing of where they go.

    PYTHON -I tools/pip_kept.py WORDS...

Settings of pip's such as `user`, `target`, `prefix`, `no-deps` or `constraint`, in the environment or in a pip.conf,
are meant for other work than filling a virtual environment from a lock. Those of the index, of certificates and proxies
stand. Needs Python 3.11 and nothing else, and changes nothing but the environment that is in use.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys

KEPT = frozenset(
    [
        "index-url",
        "extra-index-url",
        "find-links",
        "no-index",
        "trusted-host",
        "cert",
        "client-cert",
        "proxy",
        "timeout",
        "default-timeout",
        "retries",
        "keyring-provider",
        "cache-dir",
        "no-cache-dir",
        "progress-bar",
        "no-input",
    ]
)
_SECTIONS = ("global", "install", ":env:")  # a later one counts more, as pip has it


def kept(listed: str) -> dict[str, str]:
    """What to keep of what `pip config list` prints: `section.key='value'` a line."""
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in listed.splitlines():
        name, equals, value = line.partition("=")
        section, _, key = name.strip().rpartition(".")
        key = key.replace("_", "-").lower()
        if equals and section in found and key in KEPT:
            found[section][key] = str(ast.literal_eval(value))
    return {key: value for section in _SECTIONS for key, value in found[section].items()}


def environment() -> dict[str, str]:
    """The environment for pip. No pip.conf is read any more: what counts of them is in it."""
    told = subprocess.run(
        [sys.executable, "-I", "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    if told.returncode:
        sys.exit(f"error: pip cannot read its own settings\n{told.stderr}")
    settings = {f"PIP_{key.upper().replace('-', '_')}": value for key, value in kept(told.stdout).items()}
    others = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    return others | settings | {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


if __name__ == "__main__":
    os.execve(sys.executable, [sys.executable, "-I", "-m", "pip", *sys.argv[1:]], environment())
