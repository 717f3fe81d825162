"""`truncate_rows` on a GPU: what each list keeps, a scan, and one launch that copies all offsets and items of all columns.

1. `keep_kernel` finds, for every list of the cut level, where its kept elements begin and how many they are, at that level and those below.
2. torch scans the numbers of all columns at once; the totals are read back, and outputs made.
3. `move_kernel`: a job is one output; each of its places finds its list by binary search, and so where it comes from.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops import row_kernels as rows
from sparrow.ops.row_options import ADDED_AT_BEGINNING, NOT_ADDED

# A column: addresses of its offsets from the cut level on, how many lists each level has, then other numbers.
OFFSETS, NUM_LISTS, FIRST_LIST, LENGTH, KEEPS_TAIL, IS_FILLED, NUM_LEVELS = (tl.constexpr(i) for i in (0, 3, 6, 7, 8, 9, 10))
COLUMN_WORDS = tl.constexpr(11)
MOST_LEVELS = tl.constexpr(rows.MOST_LEVELS)
# A job. STARTS: where lists start in the output, by which places are searched; BEGINS: where their elements begin in the source;
# STAYS: how many they are; MOVED: where the elements of these start in the output.
KIND, FROM, OUT, COUNT, JOB_LISTS, STARTS, BEGINS, STAYS, MOVED, AT_BEGIN = (tl.constexpr(i) for i in range(10))
JOB_WORDS = tl.constexpr(10)
# Kinds: the size of an item, or one of these.
COPIED, STARTED, SHIFTED = (tl.constexpr(-i) for i in range(1, 4))


@triton.jit
def keep_kernel(columns, stays, begins, sizes, num_lists_in_all, BLOCK_N: tl.constexpr):
    """stays: int64 [T], elements that a list keeps; begins, sizes: int64 [levels, T]."""
    p_column = columns + tl.program_id(1) * COLUMN_WORDS
    num_lists = tl.load(p_column + NUM_LISTS)
    first = tl.program_id(0).to(tl.int64) * BLOCK_N
    if first < num_lists:
        o_n = first + tl.arange(0, BLOCK_N)  # [BLOCK_N]
        m_n = o_n < num_lists
        length = tl.load(p_column + LENGTH)
        o_lists = tl.load(p_column + FIRST_LIST) + o_n
        offsets = rows.pointer_at(p_column + OFFSETS, tl.int64)
        b_begin = tl.load(offsets + o_n, mask=m_n, other=0)
        b_all = tl.load(offsets + o_n + 1, mask=m_n, other=0) - b_begin
        b_stay = tl.minimum(b_all, length)
        b_begin += tl.load(p_column + KEEPS_TAIL) * (b_all - b_stay)
        tl.store(stays + o_lists, b_stay, mask=m_n)
        tl.store(begins + o_lists, b_begin, mask=m_n)
        tl.store(sizes + o_lists, tl.where(tl.load(p_column + IS_FILLED) != 0, length, b_stay), mask=m_n)
        num_levels = tl.load(p_column + NUM_LEVELS)
        for level in tl.static_range(1, MOST_LEVELS):
            if level < num_levels:
                below = rows.pointer_at(p_column + OFFSETS + level, tl.int64)
                # Held inside: whether offsets are sound is known when the sizes are read back.
                most = tl.load(p_column + NUM_LISTS + level)
                b_end = tl.load(below + tl.minimum(tl.maximum(b_begin + b_stay, 0), most), mask=m_n, other=0)
                b_begin = tl.load(below + tl.minimum(tl.maximum(b_begin, 0), most), mask=m_n, other=0)
                b_stay = b_end - b_begin
                tl.store(begins + level * num_lists_in_all + o_lists, b_begin, mask=m_n)
                tl.store(sizes + level * num_lists_in_all + o_lists, b_stay, mask=m_n)


@triton.jit
def move_kernel(jobs, BLOCK_N: tl.constexpr):
    p_job = jobs + tl.program_id(1) * JOB_WORDS
    count = tl.load(p_job + COUNT)
    first = tl.program_id(0).to(tl.int64) * BLOCK_N
    if first < count:
        o_n = first + tl.arange(0, BLOCK_N)  # [BLOCK_N]
        m_n = o_n < count
        kind = tl.load(p_job + KIND)
        source = tl.load(p_job + FROM)
        target = tl.load(p_job + OUT)
        starts = rows.pointer_at(p_job + STARTS, tl.int64)
        if kind == COPIED:
            rows.copy_items(source, target, 8, o_n, o_n, m_n)
        elif kind == STARTED:
            b_start = tl.load(starts + o_n, mask=m_n, other=0) - tl.load(starts)
            tl.store(target.to(tl.pointer_type(tl.int64)) + o_n, b_start, mask=m_n)
        else:
            num_lists = tl.load(p_job + JOB_LISTS)
            m_lists = o_n < tl.where(num_lists > 0, count, 0)
            b_list = rows.list_of(starts, num_lists, o_n)
            b_start = tl.load(starts + b_list, mask=m_lists, other=0)
            b_begin = tl.load(rows.pointer_at(p_job + BEGINS, tl.int64) + b_list, mask=m_lists, other=0)
            b_place = o_n - (b_start - tl.load(starts))
            if kind == SHIFTED:
                b_stay = tl.load(rows.pointer_at(p_job + STAYS, tl.int64) + b_list, mask=m_lists, other=0)
                # Empty lists start where the one after them does, at the end where none comes after.
                b_missing = tl.load(starts + b_list + 1, mask=m_lists, other=0) - b_start - b_stay
                b_place -= tl.load(p_job + AT_BEGIN) * b_missing
                b_place = tl.minimum(tl.maximum(b_place, 0), b_stay)
                offsets = source.to(tl.pointer_type(tl.int64))
                moved = rows.pointer_at(p_job + MOVED, tl.int64)
                b_offset = tl.load(offsets + b_begin + b_place, mask=m_lists, other=0) - tl.load(offsets + b_begin, mask=m_lists, other=0)
                b_offset += tl.load(moved + b_list, mask=m_lists, other=0) - tl.load(moved)
                tl.store(target.to(tl.pointer_type(tl.int64)) + o_n, tl.where(m_lists, b_offset, 0), mask=m_n)
            else:
                rows.copy_items(source, target, kind, b_begin + b_place, o_n, m_lists)


class _Cuts:
    """What the lists of the cut level keep: the tensors that `keep_kernel` writes, scanned, and the totals read back."""

    def __init__(self, levels: list[list[Tensor]], parameters: list[list[int]], values: list[Tensor]) -> None:
        sound, device = rows.LevelCheck(levels, values), values[0].device
        table, self.first_lists, self.num_lists = [], [0], []
        for column, (num_levels, level, length, tail, added) in enumerate(parameters):
            cut = levels[column][level:]
            self.num_lists.append(cut[0].numel() - 1)
            none = [0] * (rows.MOST_LEVELS - len(cut))
            addresses = [bounds.data_ptr() for bounds in cut] + none
            sizes = [bounds.numel() - 1 for bounds in cut] + none
            table.append([*addresses, *sizes, self.first_lists[-1], length, tail, int(added != NOT_ADDED), num_levels - level])
            self.first_lists.append(self.first_lists[-1] + self.num_lists[-1])
        total = self.first_lists[-1]
        self.sizes = torch.zeros(rows.MOST_LEVELS, total, dtype=torch.int64, device=device)
        self.begins, self.stays = torch.zeros_like(self.sizes), torch.zeros_like(self.sizes[0])
        if total > 0:
            grid = rows.grid_of(self.num_lists)
            keep_kernel[grid](rows.device_table(table, device), self.stays, self.begins, self.sizes, total, BLOCK_N=rows.BLOCK)
        self.starts = self.sizes.new_zeros(rows.MOST_LEVELS, total + 1)
        torch.cumsum(self.sizes, 1, out=self.starts[:, 1:])
        ends = rows.device_table(self.first_lists, device)
        read, width = sound.read(self.starts[:, ends].flatten()), len(self.first_lists)
        self.bounds = [read[level * width : (level + 1) * width] for level in range(rows.MOST_LEVELS)]

    def total(self, column: int, level: int) -> int:
        return self.bounds[level][column + 1] - self.bounds[level][column]

    def address(self, tensor: Tensor, column: int) -> int:
        """Where the first list of a column lies in a row of one of the tensors."""
        return tensor.data_ptr() + 8 * self.first_lists[column]

    def offsets_job(self, column: int, level: int, source: Tensor, out: Tensor, added: int) -> list[int]:
        """The job of the offsets of a level, counted from the cut one."""
        if level == 0:
            return [STARTED.value, 0, out.data_ptr(), out.numel(), 0, self.address(self.starts[0], column), 0, 0, 0, 0]
        stays = self.stays if level == 1 else self.sizes[level - 1]
        tables = [self.starts[level - 1], self.begins[level - 1], stays, self.starts[level]]
        addresses = [self.address(tensor, column) for tensor in tables]
        at_begin = int(level == 1 and added == ADDED_AT_BEGINNING)
        return [SHIFTED.value, source.data_ptr(), out.data_ptr(), out.numel(), self.num_lists[column], *addresses, at_begin]

    def items_job(self, column: int, level: int, source: Tensor, out: Tensor) -> list[int]:
        addresses = [self.address(tensor[level], column) for tensor in (self.starts, self.begins)]
        return [source.element_size(), source.data_ptr(), out.data_ptr(), out.numel(), self.num_lists[column], *addresses, 0, 0, 0]


def truncate_rows(
    values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], columns: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """CUDA body of the operator; see `op.py`. 3 launches of ours, 1 scan of torch; waits once, for the sizes."""
    parameters = rows.parameters_of(columns, len(values), 5)
    rows.check_items(values, weights)
    levels = rows.levels_of(offsets, [one[0] for one in parameters])
    for column, one in enumerate(parameters):
        _check(column, *one)
    cuts = _Cuts(levels, parameters, values)
    jobs: list[list[int]] = []
    out: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    for column, (num_levels, level, _, _, added) in enumerate(parameters):
        for place, source in enumerate(levels[column]):
            deeper = place - level
            out[2].append(source.new_empty(source.numel() if deeper <= 0 else cuts.total(column, deeper - 1) + 1))
            if deeper >= 0:
                jobs.append(cuts.offsets_job(column, deeper, source, out[2][-1], added))
            else:
                jobs.append([COPIED.value, source.data_ptr(), out[2][-1].data_ptr(), source.numel(), 0, source.data_ptr(), 0, 0, 0, 0])
        innermost = num_levels - level - 1
        for sources, outputs in ((values, out[0]), (weights, out[1])):
            if sources:
                has_some = sources[column].numel() > 0
                outputs.append(sources[column].new_empty(cuts.total(column, innermost) if has_some else 0))
                jobs.append(cuts.items_job(column, innermost, sources[column], outputs[-1]))
    move_kernel[rows.grid_of([job[COUNT.value] for job in jobs])](rows.device_table(jobs, values[0].device), BLOCK_N=rows.BLOCK)
    return out


def _check(column: int, num_levels: int, level: int, length: int, kept: int, added: int) -> None:
    rows.check(0 <= level < num_levels, f"columns: column {column} has no level {level}, but {num_levels} levels")
    rows.check(length >= 0, f"columns: column {column} is to be cut to length {length}, but must to 0 or more")
    rows.check(kept in (0, 1), f"columns: column {column} keeps side {kept}, but must keep 0 (head) or 1 (tail)")
    rows.check(added in (0, 1, 2), f"columns: column {column} adds empty lists by {added}, but must by 0 (none), 1 (end) or 2 (beginning)")
    is_innermost = level == num_levels - 1
    rows.check(added == 0 or not is_innermost, f"columns: column {column} adds empty lists to level {level}, whose elements are items")
