"""Memory as kernels see it: that of this process by its addresses, and a block of shared memory a program."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
_FIRST = 4096  # no address is below it


class _Everything:
    """What NumPy takes for an array of all memory in words of `size` bytes."""

    def __init__(self, size: int) -> None:
        self.__array_interface__ = {"data": (_FIRST, False), "shape": ((1 << 47) // size,), "typestr": f"<u{size}", "version": 3}


class Allocations(TorchDispatchMode):
    """While active, remembers the tensors that torch makes, so that an access outside of all of them is found."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self.add(result)
        return result

    def add(self, tensors: Any) -> None:
        for leaf in tree_leaves(tensors):
            if isinstance(leaf, torch.Tensor) and leaf.device.type == "cpu":
                storage = leaf.untyped_storage()
                if storage.nbytes():
                    self._known[storage.data_ptr()] = (StorageWeakRef(storage), storage.nbytes())

    def bounds(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where allocations that are still there begin, in order, and where they end."""
        self._known = {begin: (ref, size) for begin, (ref, size) in self._known.items() if not ref.expired()}
        begins = np.array(sorted(self._known), np.int64)
        return begins, np.array([begin + self._known[begin][1] for begin in begins.tolist()], np.int64)


class GlobalMemory:
    """Loads and stores by address. bounds: begins and ends of what may be touched, or None for anything."""

    def __init__(self, bounds: tuple[NDArray[np.int64], NDArray[np.int64]] | None) -> None:
        self.words = {size: np.asarray(_Everything(size)) for size in _UNSIGNED}
        self._bounds = bounds

    def check(self, addresses: NDArray[np.int64], size: int, line: str) -> None:
        """Raise `MemoryError` for an address that is not a multiple of `size`, or whose `size` bytes are of no allocation."""
        if (addresses % size).any():
            raise MemoryError(f"misaligned address {int(addresses[addresses % size != 0][0]):#x}, {size} bytes: {line}")
        if self._bounds is None:
            return
        begins, ends = self._bounds
        place = np.searchsorted(begins, addresses, side="right") - 1
        wrong = (place < 0) | (addresses + size > ends[np.maximum(place, 0)]) if len(begins) else addresses == addresses
        if wrong.any():
            first = int(addresses[wrong][0])
            before = int(place[wrong][0])
            near = f"; {first - int(begins[before])} bytes into {int(ends[before] - begins[before])}" if before >= 0 else ""
            raise MemoryError(f"illegal address {first:#x}, {int(wrong.sum())} lanes, {size} bytes{near}: {line}")

    def place(self, addresses: NDArray[np.int64], size: int, lanes: NDArray[np.int64]) -> NDArray[np.int64]:
        return (addresses - _FIRST) // size


class SharedMemory:
    """A block of `size` bytes for each of several programs. What nobody wrote holds no zeros."""

    def __init__(self, num_programs: int, size: int, threads: int) -> None:
        self.size, self._threads = size, threads
        self._stride = (size + 15) // 16 * 16
        every = np.full(num_programs * self._stride, 0xA5, np.uint8)
        self.words = {width: every.view(kind) for width, kind in _UNSIGNED.items()}

    def check(self, addresses: NDArray[np.int64], size: int, line: str) -> None:
        if (addresses % size).any() or (addresses < 0).any() or (addresses + size > self.size).any():
            raise MemoryError(f"shared address {addresses.min()} to {addresses.max()} of {self.size} bytes, {size} bytes: {line}")

    def place(self, addresses: NDArray[np.int64], size: int, lanes: NDArray[np.int64]) -> NDArray[np.int64]:
        return (addresses + lanes // self._threads * self._stride) // size
