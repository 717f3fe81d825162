# mypy: ignore-errors
# Triton kernels are compiled, not called: their bodies follow Triton's types.
"""What Triton bodies of operators on many ragged columns share: tables of addresses, a search for an element's list, copies of items.

A launch serves all columns: program (block, column) reads its column's addresses and sizes from a row of an int64 table on the device.
Where sizes depend on the data, a launch is a `Launch`: programs take tiles of tasks, and later ones wait for what earlier ones publish.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops import recorded
from sparrow.ops.recorded import send_words

BLOCK = 1024
LANES = {"BLOCK_N": BLOCK, "num_warps": 4, "enable_fp_fusion": False}
MOST_LEVELS = 3


@triton.jit
def pointer_at(p_word, TYPE: tl.constexpr):
    """The address that lies in a word of a table."""
    return tl.load(p_word).to(tl.pointer_type(TYPE))


@triton.jit
def list_of(starts, num_lists, b_element):
    """The last of `num_lists` lists that starts at or before an element; starts[0] must be 0 after subtraction of what comes before."""
    before = tl.load(starts)
    b_list = tl.zeros_like(b_element)
    left = num_lists
    while left > 1:
        half = left // 2
        b_start = tl.load(starts + b_list + half) - before
        b_list = tl.where(b_start <= b_element, b_list + half, b_list)
        left -= half
    return b_list


@triton.jit
def copy_items(source, target, item_bytes, b_from, b_to, mask):
    """Copy items between addresses given as integers, by their size."""
    if item_bytes == 8:
        from_8 = source.to(tl.pointer_type(tl.int64))
        tl.store(target.to(tl.pointer_type(tl.int64)) + b_to, tl.load(from_8 + b_from, mask=mask, other=0), mask=mask)
    elif item_bytes == 4:
        from_4 = source.to(tl.pointer_type(tl.int32))
        tl.store(target.to(tl.pointer_type(tl.int32)) + b_to, tl.load(from_4 + b_from, mask=mask, other=0), mask=mask)
    elif item_bytes == 2:
        from_2 = source.to(tl.pointer_type(tl.int16))
        tl.store(target.to(tl.pointer_type(tl.int16)) + b_to, tl.load(from_2 + b_from, mask=mask, other=0), mask=mask)
    else:
        from_1 = source.to(tl.pointer_type(tl.int8))
        tl.store(target.to(tl.pointer_type(tl.int8)) + b_to, tl.load(from_1 + b_from, mask=mask, other=0), mask=mask)


# A launch reads one int64 table: the number of tasks, where they begin, the rows of columns, and a row for each task.
# FIRST_TILE: tiles of all tasks before. KIND: what is done. COLUMN: the word at which the row of its column begins. Others by kind.
FIRST_TILE, KIND, COLUMN = (tl.constexpr(i) for i in range(3))
TASK_WORDS = tl.constexpr(10)


@triton.jit
def task_of(table, scratch):
    """Take a ticket: the address of a task's row, of its column's, and the number of the tile, int64. Lower tickets have earlier tasks."""
    ticket = tl.atomic_add(scratch, 1, sem="relaxed", scope="gpu").to(tl.int64)
    left = tl.load(table)
    tasks = table + tl.load(table + 1)
    task = ticket * 0
    while left > 1:
        half = left // 2
        first = tl.load(tasks + (task + half) * TASK_WORDS + FIRST_TILE)
        task = tl.where(first <= ticket, task + half, task)
        left -= half
    p_task = tasks + task * TASK_WORDS
    return p_task, table + tl.load(p_task + COLUMN), ticket - tl.load(p_task + FIRST_TILE)


@triton.jit
def check_offsets(offsets, o_n, num_lists, end, wrong):
    """Mark a level whose offsets do not start at 0, decrease, or do not end at `end`. Returns the offsets at places, and the next ones."""
    m_place = o_n <= num_lists
    m_n = o_n < num_lists
    b_offset = tl.load(offsets + o_n, mask=m_place, other=0)
    b_next = tl.load(offsets + o_n + 1, mask=m_n, other=0)
    m_wrong = m_n & (b_next < b_offset)
    m_wrong = m_wrong | ((o_n == 0) & (b_offset != 0)) | ((o_n == num_lists) & (b_offset != end))
    num_wrong = tl.sum(m_wrong.to(tl.int32))
    if num_wrong > 0:
        tl.store(wrong, 1)
    return b_offset, b_next


class Launch:
    """One launch for all columns: tasks, whose tiles programs take in order, and the scratch memory they share."""

    def __init__(self) -> None:
        self.columns: list[int] = []
        # What publishes, and what may wait for it.
        self.first: list[tuple[int, ...]] = []
        self.then: list[tuple[int, ...]] = []
        # Word 0 counts tickets; words that are read back follow, of which some mark damaged offsets: of each its place, column and level.
        self.num_words = self.num_read = 1
        self.marks: list[tuple[int, int, int]] = []

    def reserve(self, count: int) -> int:
        """Return the place of `count` words of scratch, zeros when the launch begins."""
        self.num_words += count
        return self.num_words - count

    def read_back(self, count: int) -> int:
        """Return the place of `count` words that `run` reads back. Before any `reserve`."""
        self.num_read += count
        return self.reserve(count)

    def mark(self, column: int, level: int) -> int:
        """Return the place of the word that says whether the offsets of a level are damaged. Before any `reserve`."""
        self.marks.append((self.read_back(1), column, level))
        return self.marks[-1][0]

    def add_column(self, *words: int) -> int:
        """Return the place of a column's row, for its tasks."""
        self.columns += words
        return 2 + len(self.columns) - len(words)

    def add(self, count: int, kind: int, column: int, *words: int) -> None:
        """Add a task of `count` places, of which no tile waits for another task."""
        self.first.append((count, kind, column, *words))

    def add_waiting(self, count: int, kind: int, column: int, *words: int) -> None:
        """Add a task of `count` places, which waits for those of `add`."""
        self.then.append((count, kind, column, *words))

    def run(self, kernel: Any, device: torch.device) -> list[int] | None:
        """Return the words that are read back, by place: the one wait of a call. Raises where offsets are damaged.

        None in a step that a graph repeats: outputs are then as large as they may be, and what values offsets have is not looked at.
        """
        scratch = torch.zeros(self.num_words, dtype=torch.int64, device=device)
        table, num_tiles = [len(self.first) + len(self.then), 2 + len(self.columns), *self.columns], 0
        for count, *words in self.first + self.then:
            table += [num_tiles, *words, *[0] * (TASK_WORDS.value - 1 - len(words))]
            num_tiles += tiles_of(count)
        if num_tiles > 0:
            kernel[(num_tiles,)](send_words(table, device), scratch, **LANES)
        if recorded.current() is not None:
            return None
        read: list[int] = scratch[: self.num_read].tolist()
        for place, column, level in self.marks:
            sound = f"offsets: column {column}, level {level} must start at 0, never decrease, and end at its number of elements"
            check(read[place] == 0, sound)
        return read


def tiles_of(count: int) -> int:
    return triton.cdiv(count, BLOCK)


def device_table(rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Return int64 rows on `device`, end to end: one copy, which nobody waits for."""
    return send_words(list(itertools.chain.from_iterable(rows)), device)


def grid_of(counts: Sequence[int]) -> tuple[int, int]:
    """Return the grid whose second axis are columns, and whose first is enough blocks for the longest. `counts` must not be all zero."""
    return triton.cdiv(max(counts), BLOCK), len(counts)


def check(holds: bool, message: str) -> None:
    """Raise what the CPU body raises."""
    if not holds:
        raise RuntimeError(message)


def parameters_of(columns: Tensor, num_columns: int, width: int) -> list[list[int]]:
    check(
        columns.shape == (num_columns, width) and columns.dtype == torch.int64 and columns.device.type == "cpu",
        f"columns must be int64 [{num_columns}, {width}] on the CPU, a row for each column",
    )
    return columns.tolist()


def levels_of(offsets: list[Tensor], num_levels: list[int]) -> list[list[Tensor]]:
    """Return the offsets of each column, checked for number, dtype and dimension."""
    for column, count in enumerate(num_levels):
        check(1 <= count <= MOST_LEVELS, f"columns: column {column} has {count} levels, but must have 1 to {MOST_LEVELS}")
    check(len(offsets) == sum(num_levels), f"offsets: {len(offsets)} tensors for {sum(num_levels)} levels of {len(num_levels)} columns")
    levels, first = [], 0
    for column, count in enumerate(num_levels):
        levels.append(offsets[first : first + count])
        first += count
        for level, bounds in enumerate(levels[-1]):
            good = bounds.dtype == torch.int64 and bounds.dim() == 1 and bounds.numel() > 0 and bounds.is_contiguous()
            check(good, f"offsets: column {column}, level {level} must be contiguous int64 [lists + 1]")
    return levels


def check_items(values: list[Tensor], weights: list[Tensor]) -> None:
    check(not weights or len(weights) == len(values), f"weights: {len(weights)} tensors for {len(values)} columns")
    for column, one in enumerate(values):
        good = one.dim() == 1 and one.is_contiguous() and one.element_size() in (1, 2, 4, 8)
        check(good, f"values: column {column} must be contiguous, of one dimension and of items of 1, 2, 4 or 8 bytes")
    for column, one in enumerate(weights):
        good = one.numel() in (0, values[column].numel()) and one.is_contiguous() and one.dtype == torch.float32
        check(good, f"weights: column {column} must be float32, one a value or none at all")
