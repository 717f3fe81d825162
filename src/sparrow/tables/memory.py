"""Memory of tables on the host: it grows without moving, and lies in huge pages where whole ones fit."""

from __future__ import annotations

import contextlib
import mmap
import sys

import torch
from torch import Tensor

from sparrow.tables.placement import HOST

HUGE_PAGE_BYTES = 1 << 21
# A mapping that no memory stands behind until it is touched. Python names the flag from 3.13 on.
_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)


class GrowableTensor:
    """A tensor [n, *row_shape] whose first dimension grows in place: addresses are set aside at once, memory is taken as it is touched.

    Where the system sets aside no such addresses, and on a device, growth allocates and copies, by half and more at a time.

    row_shape, dtype: of the elements. max_rows: addresses are set aside for so many rows.
    """

    def __init__(self, row_shape: tuple[int, ...], dtype: torch.dtype, max_rows: int, device: torch.device = HOST) -> None:
        self._empty = torch.empty(0, *row_shape, dtype=dtype, device=device)
        self._row_bytes = torch.empty(1, *row_shape, dtype=dtype).numel() * dtype.itemsize
        self._map = reserve(max_rows * self._row_bytes) if device == HOST else None
        if self._map is None:
            self._whole = self._empty
        else:
            # The tensor keeps the mapping alive.
            self._whole = torch.frombuffer(self._map, dtype=dtype).view(-1, *row_shape)
        self._num_huge = 0

    def rows(self, num_rows: int) -> Tensor:
        """Return the first `num_rows` rows; what they held before stays, the rest is unspecified."""
        if num_rows > self._whole.shape[0]:
            larger = self._empty.new_empty(max(num_rows, self._whole.shape[0] * 3 // 2), *self._empty.shape[1:])
            larger[: self._whole.shape[0]] = self._whole
            self._whole, self._map = larger, None
        self._advise(0, num_rows)
        return self._whole[:num_rows]

    def _advise(self, first: int, end: int) -> None:
        """Ask for huge pages as far as they are filled, the last one from half on: beyond, they would only waste memory."""
        wanted = (end * self._row_bytes + HUGE_PAGE_BYTES // 2) // HUGE_PAGE_BYTES
        if self._map is not None and wanted > self._num_huge:
            advise_huge_pages(self._map, self._num_huge * HUGE_PAGE_BYTES, (wanted - self._num_huge) * HUGE_PAGE_BYTES)
            self._num_huge = wanted


class BlockMemory:
    """Hands out tensors that are never given back one by one: on the host side by side in huge pages, on a device as torch does."""

    _EXTENT_BYTES = 1 << 30
    _ALIGNMENT = 64

    def __init__(self, device: torch.device = HOST) -> None:
        self._device = device
        self._extent: mmap.mmap | None = None
        self._used = 0

    def empty(self, num_rows: int, width: int, dtype: torch.dtype) -> Tensor:
        """Return an uninitialised tensor [num_rows, width]."""
        if self._device != HOST:
            return torch.empty(num_rows, width, dtype=dtype, device=self._device)
        num_bytes = num_rows * width * dtype.itemsize
        if self._extent is None or self._used + num_bytes > len(self._extent):
            self._extent, self._used = reserve(max(num_bytes, self._EXTENT_BYTES)), 0
            if self._extent is None:
                return torch.empty(num_rows, width, dtype=dtype)
            advise_huge_pages(self._extent, 0, len(self._extent))
        first, self._used = self._used, self._used + -(-num_bytes // self._ALIGNMENT) * self._ALIGNMENT
        block = torch.frombuffer(self._extent, dtype=dtype, offset=first, count=num_rows * width)
        return block.view(num_rows, width)


def reserve(num_bytes: int) -> mmap.mmap | None:
    """Return a mapping of `num_bytes` zeros that takes memory as it is touched, or None where the system refuses."""
    if sys.platform not in ("linux", "darwin"):
        return None
    try:
        return mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE)
    except OSError:  # a limit on addresses (ulimit -v), or strict overcommit
        return None


def advise_huge_pages(mapping: mmap.mmap, first_byte: int, num_bytes: int) -> None:
    """Ask for huge pages in part of `mapping`. A hint: systems without them ignore it."""
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            mapping.madvise(mmap.MADV_HUGEPAGE, first_byte, min(num_bytes, len(mapping) - first_byte))
