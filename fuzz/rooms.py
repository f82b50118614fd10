"""Every fuzzer there is, by name."""

from __future__ import annotations

from fuzz import (
    adopt,
    backup,
    clipboard,
    codec,
    console,
    door,
    files,
    host,
    image,
    machine,
    mesh,
    opencore,
    recovery,
    rfb,
    session,
    talk,
    terminal,
    throwaway,
    wayland,
)
from fuzz.engine import Fuzzer

_ROOMS = (
    codec,
    rfb,
    mesh,
    session,
    recovery,
    opencore,
    machine,
    backup,
    adopt,
    host,
    console,
    door,
    files,
    clipboard,
    talk,
    terminal,
    image,
    throwaway,
    wayland,
)
FUZZERS: dict[str, Fuzzer] = {one.name: one for room in _ROOMS for one in room.FUZZERS}
