# mypy: ignore-errors
# Triton kernels are compiled, not called: their bodies follow Triton's types.
"""What Triton bodies of operators on many ragged columns share: tables of addresses, a search for an element's list, copies of items.

A launch serves all columns: program (block, column) reads its column's addresses and sizes from a row of an int64 table on the device.
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024
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


# Fields of a row of the table of columns whose items are chosen one by one (`top_rows`, `unique_rows`).
VALUES, WEIGHTS, OFFSETS, ITEM_BYTES, NUM_ITEMS, NUM_LISTS, FIRST_ITEM, FIRST_LIST, CHOICE = (tl.constexpr(i) for i in range(9))
OUT_VALUES, OUT_WEIGHTS, OUT_OFFSETS = (tl.constexpr(i) for i in range(9, 12))
COLUMN_WORDS = tl.constexpr(12)


@triton.jit
def keep_chosen_kernel(columns, kept_before, BLOCK_N: tl.constexpr):
    """Write the items that are kept end to end, and new offsets. kept_before: int64 [N + 1], how many items before each are kept."""
    p_column = columns + tl.program_id(1) * COLUMN_WORDS
    num_items = tl.load(p_column + NUM_ITEMS)
    num_lists = tl.load(p_column + NUM_LISTS)
    first = tl.program_id(0).to(tl.int64) * BLOCK_N
    o_n = first + tl.arange(0, BLOCK_N)  # [BLOCK_N]
    of_column = kept_before + tl.load(p_column + FIRST_ITEM)
    before = tl.load(of_column)
    if first < num_items:
        m_n = o_n < num_items
        b_place = tl.load(of_column + o_n, mask=m_n, other=0)
        m_kept = m_n & (tl.load(of_column + o_n + 1, mask=m_n, other=0) > b_place)
        b_place -= before
        item_bytes = tl.load(p_column + ITEM_BYTES)
        copy_items(tl.load(p_column + VALUES), tl.load(p_column + OUT_VALUES), item_bytes, o_n, b_place, m_kept)
        weights = tl.load(p_column + WEIGHTS)
        if weights != 0:
            copy_items(weights, tl.load(p_column + OUT_WEIGHTS), 4, o_n, b_place, m_kept)
    if first <= num_lists:
        m_lists = o_n <= num_lists
        offsets = pointer_at(p_column + OFFSETS, tl.int64)
        b_offset = tl.load(of_column + tl.load(offsets + o_n, mask=m_lists, other=0), mask=m_lists, other=0) - before
        tl.store(pointer_at(p_column + OUT_OFFSETS, tl.int64) + o_n, b_offset, mask=m_lists)


# A row of the table of levels: END is how many elements the level must have.
LEVEL_OFFSETS, LEVEL_LISTS, LEVEL_END = (tl.constexpr(i) for i in range(3))
LEVEL_WORDS = tl.constexpr(3)


@triton.jit
def check_kernel(levels, wrong, BLOCK_N: tl.constexpr):
    """Mark the levels whose offsets do not start at 0, decrease, or do not end where they must. wrong: int64 [levels], zeros."""
    level = tl.program_id(1)
    num_lists = tl.load(levels + level * LEVEL_WORDS + LEVEL_LISTS)
    end = tl.load(levels + level * LEVEL_WORDS + LEVEL_END)
    first = tl.program_id(0).to(tl.int64) * BLOCK_N
    if first <= num_lists:
        o_n = first + tl.arange(0, BLOCK_N)  # [BLOCK_N]
        offsets = pointer_at(levels + level * LEVEL_WORDS + LEVEL_OFFSETS, tl.int64)
        b_offset = tl.load(offsets + o_n, mask=o_n <= num_lists, other=0)
        b_next = tl.load(offsets + o_n + 1, mask=o_n < num_lists, other=0)
        m_wrong = (o_n < num_lists) & (b_next < b_offset)
        m_wrong = m_wrong | ((o_n == 0) & (b_offset != 0)) | ((o_n == num_lists) & (b_offset != end))
        num_wrong = tl.sum(m_wrong.to(tl.int32))
        if num_wrong > 0:
            tl.store(wrong + level, 1)


def device_table(rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Return int64 rows on `device`: one copy, which nobody waits for."""
    table = torch.tensor(rows, dtype=torch.int64)
    return table.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else table


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


class LevelCheck:
    """A look at the offsets of all levels on the device, whose outcome is read back with the sizes of outputs.

    wrong: int64, a level each: 1 where its offsets are damaged.
    """

    def __init__(self, levels: list[list[Tensor]], values: list[Tensor]) -> None:
        self.names: list[tuple[int, int]] = []
        table = []
        for column, of_column in enumerate(levels):
            ends = [bounds.numel() - 1 for bounds in of_column[1:]] + [values[column].numel()]
            for level, (bounds, end) in enumerate(zip(of_column, ends, strict=True)):
                self.names.append((column, level))
                table.append([bounds.data_ptr(), bounds.numel() - 1, end])
        device = values[0].device
        self.wrong = torch.zeros(len(table), dtype=torch.int64, device=device)
        grid = grid_of([num_lists + 1 for _, num_lists, _ in table])
        check_kernel[grid](device_table(table, device), self.wrong, BLOCK_N=BLOCK)

    def read(self, sizes: Tensor) -> list[int]:
        """Return int64 `sizes`, or raise naming the level whose offsets are damaged. Waits for the device."""
        read = torch.cat([sizes, self.wrong]).tolist()
        for (column, level), wrong in zip(self.names, read[sizes.numel() :], strict=True):
            check(not wrong, f"offsets: column {column}, level {level} must start at 0, never decrease, and end at its number of elements")
        return read[: sizes.numel()]


class Chosen:
    """Columns whose items are chosen one by one: their table, the choice, and what is kept.

    weighted: whether each column has weights. table: int64 rows of `COLUMN_WORDS`.
    """

    def __init__(self, values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], choices: list[int]) -> None:
        check_items(values, weights)
        self.check = LevelCheck(levels_of(offsets, [1] * len(values)), values)
        self.values, self.weights, self.device = values, weights, values[0].device
        self.weighted = [bool(weights) and weights[column].numel() > 0 for column in range(len(values))]
        self.table: list[list[int]] = []
        self.num_items = self.num_lists = 0
        for column, (one, bounds) in enumerate(zip(values, offsets, strict=True)):
            weight = weights[column].data_ptr() if self.weighted[column] else 0
            sizes = [one.element_size(), one.numel(), bounds.numel() - 1, self.num_items, self.num_lists]
            self.table.append([one.data_ptr(), weight, bounds.data_ptr(), *sizes, choices[column], 0, 0, 0])
            self.num_items += one.numel()
            self.num_lists += bounds.numel() - 1
        self.grid = grid_of([max(row[NUM_ITEMS.value], row[NUM_LISTS.value] + 1) for row in self.table])

    def on_device(self) -> Tensor:
        return device_table(self.table, self.device)

    def keep(self, kept: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return what is left where `kept` (int32 [N], all columns end to end) is 1. Reads the sizes back: the one wait of a call."""
        kept_before = torch.zeros(self.num_items + 1, dtype=torch.int64, device=self.device)
        torch.cumsum(kept, 0, out=kept_before[1:])
        ends = device_table([row[FIRST_ITEM.value] for row in self.table] + [self.num_items], self.device)
        bounds = self.check.read(kept_before[ends])
        out: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
        for column, row in enumerate(self.table):
            count = bounds[column + 1] - bounds[column]
            out[0].append(self.values[column].new_empty(count))
            out[2].append(kept_before.new_empty(row[NUM_LISTS.value] + 1))
            if self.weights:
                out[1].append(self.weights[column].new_empty(count if self.weighted[column] else 0))
            row[OUT_VALUES.value] = out[0][-1].data_ptr()
            row[OUT_WEIGHTS.value] = out[1][-1].data_ptr() if self.weights else 0
            row[OUT_OFFSETS.value] = out[2][-1].data_ptr()
        keep_chosen_kernel[self.grid](self.on_device(), kept_before, BLOCK_N=BLOCK)
        return out
