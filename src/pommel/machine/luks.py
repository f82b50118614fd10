"""What QEMU and qemu-img are told of an encrypted disk: LUKS inside qcow2. Band: core, no I/O.

The passphrase is one secret object, read from standard input: so it is in nobody's arguments, environment or file. The
options are those of QEMU's qcow2 driver (BlockdevOptionsQcow2, qapi/block-core.json) and of `-object secret`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

NAME = "pommel-key"
OBJECT = f"secret,id={NAME},file=/dev/stdin"
FORMAT, KEY = "encrypt.format", "encrypt.key-secret"
WRONG_KEY = "Invalid password"  # QEMU's words (crypto/block-luks.c)
# QEMU times its hashing when it makes an encrypted disk, and gives up where the kernel's count of CPU time stood still
# meanwhile (qcrypto_pbkdf2_count_iters, crypto/pbkdf.c): one try in six, on a host that counts in ticks.
UNTIMED = "Unable to get accurate CPU usage"
TRIES = 20
_IN_JSON, _IN_WORDS = f'"{KEY}": "{NAME}"', f"{KEY}={NAME}"


def described(path: str) -> str:
    """The encrypted qcow2 file `path` as a file name that qemu-img opens by the secret."""
    below = {"driver": "file", "filename": path}
    return "json:" + json.dumps({"driver": "qcow2", FORMAT: "luks", KEY: NAME, "file": below})


def creation(stretch_ms: int | None) -> str:
    """What makes a new qcow2 disk an encrypted one, for `-o`.

    `stretch_ms` is how long each opening has to compute, so that a weak passphrase takes long to guess; None: as QEMU
    has it (2 s).
    """
    more = f",encrypt.iter-time={stretch_ms}" if stretch_ms is not None else ""
    return f"{FORMAT}=luks,{_IN_WORDS}{more}"


def wants_key(words: Sequence[str]) -> bool:
    """Whether these arguments of qemu-img speak of the secret."""
    return any(_IN_JSON in word if word.startswith("json:") else _IN_WORDS in word for word in words)


def with_object(words: Sequence[str]) -> list[str]:
    """The same arguments with the secret in them; it goes behind the command's name."""
    return [*words[:1], "--object", OBJECT, *words[1:]]
