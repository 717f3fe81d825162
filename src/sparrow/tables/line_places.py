"""Where ranges of the id map lie: each in a place it can grow in, so that growing moves no other range and takes few fresh pages."""

from __future__ import annotations

import mmap

import torch
from torch import Tensor

from sparrow.errors import TableError
from sparrow.ops import id_map
from sparrow.tables.memory import HUGE_PAGE_BYTES, advise_huge_pages, reserve
from sparrow.tables.placement import HOST

_LINE_BYTES = 64
_LINES_PER_HUGE_PAGE = HUGE_PAGE_BYTES // _LINE_BYTES
_PAGE_BYTES = 4096
# Addresses set aside: 128 GiB, for a billion ids and more.
_MAX_LINES = 1 << 31
# A place is a power of two and at least this many times what is asked for. Only what is touched takes memory.
_SLACK = 4


class LinePlaces:
    """Places of lines, powers of two in size and aligned to it up to a huge page.

    Addresses are set aside for all of them at once; where the system refuses that, and on a device, lines are copied as they grow and
    places have no slack.
    """

    def __init__(self, device: torch.device = HOST) -> None:
        self._mapping = reserve(_MAX_LINES * _LINE_BYTES) if device == HOST else None
        self._whole = (
            torch.empty(0, id_map.WORDS_PER_LINE, dtype=torch.int64, device=device)
            if self._mapping is None
            else torch.frombuffer(self._mapping, dtype=torch.int64).view(-1, id_map.WORDS_PER_LINE)
        )
        self._size_of: dict[int, int] = {}
        self._free: dict[int, list[int]] = {}
        self._end = 0

    def lines(self) -> Tensor:
        """Return the lines of all places, int64 [L, 8]."""
        if self._end > self._whole.shape[0]:
            if self._mapping is not None:
                raise TableError(f"the id map of a table group needs more than {_MAX_LINES} lines; divide its tables among two engines")
            larger = self._whole.new_empty(max(self._end, self._whole.shape[0] * 3 // 2), id_map.WORDS_PER_LINE)
            larger[: self._whole.shape[0]] = self._whole
            self._whole = larger
        return self._whole[: self._end]

    def take(self, num_lines: int) -> int:
        """Return the first line of a free place for `num_lines` lines and more."""
        size = 1 << (num_lines * (1 if self._mapping is None else _SLACK) - 1).bit_length()
        if self._free.get(size):
            return self._free[size].pop()
        alignment = min(size, _LINES_PER_HUGE_PAGE)
        first = -(-self._end // alignment) * alignment
        self._end = first + size
        self._size_of[first] = size
        return first

    def fits(self, first: int, num_lines: int, grown: int) -> bool:
        """Return whether the range of `num_lines` lines at `first` does well to grow to `grown` lines there."""
        # Pages taken small stay small: a range that comes to fill huge ones begins anew where none was touched.
        return grown <= self._size_of[first] and (_huge_pages(grown) == 0) == (_huge_pages(num_lines) == 0)

    def prepare(self, first: int, num_lines: int) -> None:
        """Tell that `num_lines` lines at `first` will be used: whole huge pages of them may be taken, the last from half on."""
        if self._mapping is not None and _huge_pages(num_lines):
            advise_huge_pages(self._mapping, first * _LINE_BYTES, _huge_pages(num_lines) * HUGE_PAGE_BYTES)

    def give_back(self, first: int) -> None:
        """Free the place at `first`; its memory goes back to the system."""
        size = self._size_of[first]
        self._free.setdefault(size, []).append(first)
        if self._mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
            begin, end = -(-first * _LINE_BYTES // _PAGE_BYTES), (first + size) * _LINE_BYTES // _PAGE_BYTES
            if begin < end:
                self._mapping.madvise(mmap.MADV_DONTNEED, begin * _PAGE_BYTES, (end - begin) * _PAGE_BYTES)


def _huge_pages(num_lines: int) -> int:
    """Return how many huge pages a range fills, the last from half on: more would waste memory."""
    return (num_lines * _LINE_BYTES + HUGE_PAGE_BYTES // 2) // HUGE_PAGE_BYTES
