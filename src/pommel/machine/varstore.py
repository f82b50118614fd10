"""Reads and writes the firmware's variables in a flash image, for the picture's size. Band: core, no I/O.

EDK2's format (MdeModulePkg/Include/Guid/VariableFormat.h): a firmware volume, in it a store, in it variables one after
the other, up to the first place without one. OVMF reads the size in `PlatformConfig` (OvmfPkg/PlatformDxe) and prefers
it to an adapter's size.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass

_VOLUME = struct.Struct("<16s16sQ4sIH")
_STORE = struct.Struct("<16sIBB6x")
_FORMATTED, _HEALTHY = 0x5A, 0xFE
_PLAIN, _SIGNED = struct.Struct("<HBBIII16s"), struct.Struct("<HBBIQ16sIII16s")
_KINDS = {
    uuid.UUID("ddcf3616-3275-4164-98b6-fe85707ffe7d").bytes_le: _PLAIN,
    uuid.UUID("aaf32c78-947b-439a-a180-2e144ec37792").bytes_le: _SIGNED,
}
_START = 0x55AA
_THERE, _GOING, _GONE = 0x3F, 0x3E, 0xFD
_KEPT_FOR_ALL = 7  # non-volatile, for boot services, at run time
_NAME = "PlatformConfig\0".encode("utf-16-le")
_OWNER = uuid.UUID("7235c51c-0c80-4cab-87ac-3b084a6304b1").bytes_le
_VALUE = struct.Struct("<II")
# Apple's namespaces, and the variables in them that identify a Mac (OpenCore, Configuration.pdf, NVRAM).
_APPLES = {
    uuid.UUID("4d1ede05-38c7-4a6a-9cc6-4bcca8b38c14").bytes_le,
    uuid.UUID("7c436110-ab2a-4bbb-a880-fe41995c9f82").bytes_le,
}
_NUMBERS = frozenset({
    "MLB", "ROM", "SSN", "HW_MLB", "HW_ROM", "HW_SSN", "system-id", "platform-uuid", "fmm-computer-name",
    "fmm-mobileme-token-FMM", "fmm-mobileme-token-FMM-BridgeHasAccount",
})  # fmt: skip
_SHORTEST = 6  # the minimum number of bytes of a value that is searched for everywhere


@dataclass(frozen=True, slots=True)
class _Store:
    """The place of the variables: from `begin` to `end`, with headers of the format `header`."""

    begin: int
    end: int
    header: struct.Struct


@dataclass(frozen=True, slots=True)
class _Variable:
    at: int
    state: int
    name: bytes
    owner: bytes
    value_at: int
    value_length: int
    next_at: int


def picture_size(image: bytes) -> tuple[int, int] | None:
    """The picture's size in the firmware's variables; None: it is not set.

    Raises:
        ValueError: it is not an image with variables, or it is damaged.
    """
    found = _find(image, _store(image))
    return _VALUE.unpack_from(image, found.value_at) if found and found.value_length >= _VALUE.size else None


def with_picture_size(image: bytes, width: int, height: int) -> bytes:
    """The image with that size; every other variable stays unchanged.

    Raises:
        ValueError: it is not an image with variables, or it is damaged; or there is no space for one more.
    """
    store, new = _store(image), bytearray(image)
    value = _VALUE.pack(width, height)
    old = _find(image, store)
    if old is not None and old.value_length == len(value):
        new[old.value_at : old.value_at + len(value)] = value
        return bytes(new)
    if old is not None:
        new[old.at + 2] &= _GONE
    at = max((each.next_at for each in _variables(image, store)), default=store.begin)
    fields = (len(_NAME), len(value), _OWNER)
    more = (_KEPT_FOR_ALL, *fields) if store.header is _PLAIN else (_KEPT_FOR_ALL, 0, bytes(16), 0, *fields)
    words = store.header.pack(_START, _THERE, 0, *more) + _NAME + value
    if at + len(words) > store.end:
        raise ValueError("there is no space for another variable")
    new[at : at + len(words)] = words
    return bytes(new)


def without_numbers(image: bytes, values: Collection[bytes] = ()) -> bytes:
    """The image without the variables that identify one Mac: serial numbers, its account's token, its id.

    Such variables are marked as deleted, and their bytes are zeros, also those of already deleted ones. `values` are
    replaced by zeros everywhere: the firmware keeps older copies of its variables in the rest of the flash.

    Raises:
        ValueError: it is not an image with variables, or it is damaged.
    """
    store, new = _store(image), bytearray(image)
    for each in _variables(image, store):
        if each.owner in _APPLES and each.name.decode("utf-16-le", "replace").rstrip("\0") in _NUMBERS:
            new[each.at + 2] &= _GONE
            new[each.value_at : each.value_at + each.value_length] = bytes(each.value_length)
    found = bytes(new)
    for value in values:
        if len(value) >= _SHORTEST:
            found = found.replace(value, bytes(len(value)))
    return found


def _store(image: bytes) -> _Store:
    if len(image) < _VOLUME.size:
        raise ValueError("it is too short for a firmware volume")
    _, _, length, signature, _, at = _VOLUME.unpack_from(image)
    if signature != b"_FVH" or length > len(image) or at + _STORE.size > length:
        raise ValueError("it does not begin with a firmware volume")
    kind, size, formatted, healthy = _STORE.unpack_from(image, at)
    if kind not in _KINDS or (formatted, healthy) != (_FORMATTED, _HEALTHY) or not _STORE.size <= size <= length - at:
        raise ValueError("it contains no variable store")
    return _Store(_aligned(at + _STORE.size), at + size, _KINDS[kind])


def _find(image: bytes, store: _Store) -> _Variable | None:
    ours = (each for each in _variables(image, store) if (each.name, each.owner) == (_NAME, _OWNER))
    return next((each for each in ours if each.state in (_THERE, _GOING)), None)


def _variables(image: bytes, store: _Store) -> Iterator[_Variable]:
    at = store.begin
    while at + store.header.size <= store.end:
        start, state, *_, name_length, value_length, owner = store.header.unpack_from(image, at)
        if start != _START:
            return
        name_at = at + store.header.size
        value_at = name_at + name_length  # there is no padding between them on x86 (VariableFormat.h, ALIGNMENT)
        if value_at + value_length > store.end:
            raise ValueError("a variable in it is incomplete")
        name, after = image[name_at : name_at + name_length], _aligned(value_at + value_length)
        yield _Variable(at, state, name, owner, value_at, value_length, after)
        at = after


def _aligned(number: int) -> int:
    return (number + 3) & ~3
