"""Memory into which an X server writes pictures: a System V segment, as MIT-SHM needs it. Band: shell.

The segment is marked for removal as soon as it is mapped (on Linux the server can still attach it), so that it does not
remain if this process is killed. It is unmapped when the last array that uses it is gone.
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
    """A segment. `id` is for MIT-SHM's Attach; `data` is its bytes, valid as long as there is a reference to them."""

    def __init__(self, size: int) -> None:
        """Make a segment of `size` bytes. OSError: the kernel has no memory for it, or forbids so large a one."""
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
