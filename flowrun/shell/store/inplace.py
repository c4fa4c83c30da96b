"""Arrays that lie in the store from the beginning: handing over what an operator filled copies nothing.

`flowc.empty(shape, dtype)` gives one. Its memory is a file of the store, under a name of its own, that is
mapped and shared. When the operator returns it, the mapping is exchanged for a private one at the same
address: what the operator's code writes to it later reaches its own memory and never the artifact.
"""

from __future__ import annotations

import contextlib
import io
import mmap
import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from flowrun.shell.store.files import Partial

if TYPE_CHECKING:
    import numpy as np

_MAP_FIXED = 0x10


class _Made(NamedTuple):
    partial: Partial
    mapped: weakref.ref[mmap.mmap]
    head: int  # bytes before the array
    size: int  # bytes of the array


class InPlace:
    """The arrays that were made in a store by this process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[int, _Made] = {}  # by address

    def empty(self, shape: int | tuple[int, ...], dtype: Any = float) -> np.ndarray[Any, Any]:
        """An array of zeros; `OSError` if the disk has no room for it."""
        import numpy as np

        like = np.broadcast_to(np.zeros((), dtype), shape)
        if like.nbytes == 0 or like.dtype.hasobject:
            return np.zeros(shape, dtype)
        head = len(npy_header(like.dtype, like.shape))
        partial = Partial(self._folder)
        try:
            # Room on a full disk is missed here, not when a page is written to: that would be a SIGBUS.
            os.posix_fallocate(partial.descriptor, 0, head + like.nbytes)
            mapped = mmap.mmap(partial.descriptor, head + like.nbytes)
        except BaseException:
            partial.drop()
            raise
        count = like.size
        array = np.frombuffer(mapped, like.dtype, count, head).reshape(like.shape)
        address = array.__array_interface__["data"][0]
        self._made[address] = _Made(partial, weakref.ref(mapped), head, like.nbytes)
        weakref.finalize(mapped, self._forget, address, partial).atexit = False
        return array

    def has(self, address: int) -> bool:
        """Whether an array that was made here begins at an address."""
        return address in self._made

    def take(self, array: np.ndarray[Any, Any]) -> Partial | None:
        """The file of an array that was made here, whole by now; `None` for others, and for parts of one."""
        address = array.__array_interface__["data"][0]
        made = self._made.get(address)
        if made is None or array.nbytes != made.size or not array.flags.c_contiguous:
            return None
        header = npy_header(array.dtype, array.shape)  # of another shape by now, maybe
        if len(header) != made.head or made.mapped() is None or array.dtype.hasobject:
            return None
        del self._made[address]
        os.pwrite(made.partial.descriptor, header, 0)
        _make_private(address - made.head, made.head + made.size, made.partial.descriptor)
        return made.partial

    def drop(self) -> None:
        """What was made and not taken is not going to be."""
        for made in self._made.values():
            made.partial.drop()
        self._made.clear()

    def _forget(self, address: int, partial: Partial) -> None:
        made = self._made.get(address)
        if made is not None and made.partial is partial:
            del self._made[address]
            with contextlib.suppress(OSError):
                partial.drop()


def npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """How a `.npy` file of version 1.0 in C order begins."""
    import numpy as np

    written = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(written, described)
    return written.getvalue()


def _make_private(address: int, size: int, descriptor: int) -> None:
    """Exchange a mapping of a file for one that is copied where it is written to."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    flags = mmap.MAP_PRIVATE | _MAP_FIXED
    if libc.mmap(address, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, descriptor, 0) != address:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
