"""The options of QEMU and qemu-img for an encrypted disk: LUKS inside qcow2. Band: core, no I/O.

The passphrase is one secret object, read from standard input: so it is in no arguments, environment or file. The
options are those of QEMU's qcow2 driver (BlockdevOptionsQcow2, qapi/block-core.json) and of `-object secret`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

NAME = "pommel-key"
OBJECT = f"secret,id={NAME},file=/dev/stdin"
FORMAT, KEY = "encrypt.format", "encrypt.key-secret"
WRONG_KEY = "Invalid password"  # QEMU's message (crypto/block-luks.c)
# QEMU times its hashing when it makes an encrypted disk, and fails if the kernel's count of CPU time did not change
# meanwhile (qcrypto_pbkdf2_count_iters, crypto/pbkdf.c): one try in six, on a host that counts in ticks.
UNTIMED = "Unable to get accurate CPU usage"
TRIES = 20
QUICK_MS = 10  # enough for a passphrase of 256 random bits, which cannot be guessed even with quick tries
# QEMU converts the time into rounds of hashing on the host that makes the disk: 43,000 for QUICK_MS, 8,500,000 for its
# own 2 s on a Xeon of 2023. On a host with more rounds than this in QUICK_MS, later disks only open as slowly as with
# QEMU's own time.
_QUICK_ROUNDS = 150_000
_IN_JSON, _IN_WORDS = f'"{KEY}": "{NAME}"', f"{KEY}={NAME}"


def described(path: str) -> str:
    """A file name with which qemu-img opens the encrypted qcow2 file `path` by the secret."""
    below = {"driver": "file", "filename": path}
    return "json:" + json.dumps({"driver": "qcow2", FORMAT: "luks", KEY: NAME, "file": below})


def creation(stretch_ms: int | None) -> str:
    """The value of `-o` that makes a new qcow2 disk encrypted.

    `stretch_ms` is the time that each opening computes, so that a weak passphrase takes long to guess; None: QEMU's
    default (2 s).
    """
    more = f",encrypt.iter-time={stretch_ms}" if stretch_ms is not None else ""
    return f"{FORMAT}=luks,{_IN_WORDS}{more}"


def stretch_of(told: Mapping[str, Any]) -> int | None:
    """`stretch_ms` for a new disk with the passphrase of an existing one; `told` is the output of `qemu-img info`.

    A passphrase is only as hard to guess as on the disk that opens fastest.
    """
    slots = told["format-specific"]["data"]["encrypt"]["slots"]
    rounds = [slot["iters"] for slot in slots if slot["active"]]
    return QUICK_MS if rounds and max(rounds) < _QUICK_ROUNDS else None


def wants_key(words: Sequence[str]) -> bool:
    """Whether these arguments of qemu-img use the secret."""
    return any(_IN_JSON in word if word.startswith("json:") else _IN_WORDS in word for word in words)


def with_object(words: Sequence[str]) -> list[str]:
    """The same arguments with the secret object; it goes after the command's name."""
    return [*words[:1], "--object", OBJECT, *words[1:]]
