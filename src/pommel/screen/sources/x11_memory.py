"""Memory that an X server writes pictures into: a System V segment, as MIT-SHM wants it. Band: shell.

It is given back to the kernel by name as soon as it is mapped (Linux lets the server attach it all the same), so that
no death of this process leaves it behind; and by mapping when the last array that looks at it is gone.
"""

from __future__ import annotations

import ctypes
import os
import weakref

import numpy as np
import numpy.typing as npt

_IPC_PRIVATE, _IPC_CREAT, _IPC_RMID = 0, 0o1000, 0
_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_libc.shmget.argtypes = (ctypes.c_int, ctypes.c_size_t, ctypes.c_int)
_libc.shmat.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_libc.shmat.restype = ctypes.c_void_p
_libc.shmdt.argtypes = (ctypes.c_void_p,)
_libc.shmctl.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_void_p)


class SharedMemory:
    """A segment. `id` is what MIT-SHM's Attach is told; `data` its bytes, valid for as long as they are referred to."""

    def __init__(self, size: int) -> None:
        """Make one of `size` bytes. OSError: the kernel has none, or none so large."""
        self.id: int = _checked(_libc.shmget(_IPC_PRIVATE, max(size, 1), _IPC_CREAT | 0o600))
        try:
            address = _libc.shmat(self.id, None, 0)
            if address == _FAILED:
                _checked(-1)
        finally:
            _libc.shmctl(self.id, _IPC_RMID, None)
        buffer = (ctypes.c_ubyte * max(size, 1)).from_address(address)
        weakref.finalize(buffer, _libc.shmdt, address).atexit = False
        self.data: npt.NDArray[np.uint8] = np.frombuffer(memoryview(buffer).cast("B"), np.uint8)


def _checked(result: int) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
