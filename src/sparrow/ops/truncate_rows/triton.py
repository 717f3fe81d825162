"""`truncate_rows` on a GPU, in one launch: what each list keeps, running sums of it, and copies of all offsets and items of all columns.

1. Tiles of lists of the cut level find how many elements each keeps, at that level and those below, and where these start in the output
   (`look_back`); they write the offsets of the cut level, and publish where lists start.
2. Tiles of each output find the list of each of their places by binary search in what is published, and so where it comes from.

Outputs have the most that they can hold, as the host knows it; how much they do is read back, and they are narrowed. In a step that a graph
repeats they stay as they are: offsets say it, and lists beyond the last are empty.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops import look_back, recorded
from sparrow.ops import row_kernels as rows
from sparrow.ops.row_options import ADDED_AT_BEGINNING, NOT_ADDED

# A column: addresses of its offsets from the cut level on, how many lists each level has; elements of the cut level, and other numbers.
# STATES, STARTS: places in the scratch, a run of words for each level. TOTALS: how many elements are kept of each level.
OFFSETS, NUM_LISTS, END, LENGTH, KEEPS_TAIL, IS_FILLED, AT_BEGIN, NUM_LEVELS = (tl.constexpr(i) for i in (0, 3, 6, 7, 8, 9, 10, 11))
NUM_TILES, STATES, STARTS, TOTALS, WRONG, OUT_OFFSETS, NUM_ITEMS = (tl.constexpr(i) for i in range(12, 19))
MOST_LEVELS = tl.constexpr(rows.MOST_LEVELS)
# Kinds of tasks.
SCANNED, CHECKED, SHIFTED, MOVED = (tl.constexpr(i) for i in range(4))
# Words of a task that checks a level, and copies it where OUT is not 0.
LEVEL_OFFSETS, LEVEL_LISTS, LEVEL_END, LEVEL_WRONG, LEVEL_OUT = (tl.constexpr(i) for i in range(3, 8))
# Words of a task that makes the offsets of a level below the cut one, or items.
LEVEL, OUT, CAPACITY, FROM, ITEM_BYTES, WEIGHTS, OUT_WEIGHTS = (tl.constexpr(i) for i in range(3, 10))
# Of offsets: whether those of lists that are not there are written as well, as of empty ones.
WRITES_ALL = tl.constexpr(6)


@triton.jit
def stay_of(p_column, b_bound, b_next):
    """Where the elements that a list keeps begin, and how many they are."""
    b_all = tl.maximum(b_next - b_bound, 0)
    b_stay = tl.minimum(b_all, tl.load(p_column + LENGTH))
    return b_bound + tl.load(p_column + KEEPS_TAIL) * (b_all - b_stay), b_stay


@triton.jit
def step_down(p_column, level, b_begin, b_stay, mask):
    """The same for the elements of these elements. Held inside: whether offsets are sound is known when the sizes are read back."""
    below = rows.pointer_at(p_column + OFFSETS + level, tl.int64)
    most = tl.load(p_column + NUM_LISTS + level)
    b_end = tl.load(below + tl.minimum(tl.maximum(b_begin + b_stay, 0), most), mask=mask, other=0)
    b_begin = tl.load(below + tl.minimum(tl.maximum(b_begin, 0), most), mask=mask, other=0)
    return b_begin, tl.maximum(b_end - b_begin, 0)


@triton.jit
def kept_at(p_column, level, b_list, mask):
    """Where the elements that lists keep begin at a level, counted from the cut one, and how many they are."""
    offsets = rows.pointer_at(p_column + OFFSETS, tl.int64)
    b_bound = tl.load(offsets + b_list, mask=mask, other=0)
    b_begin, b_stay = stay_of(p_column, b_bound, tl.load(offsets + b_list + 1, mask=mask, other=0))
    for below in tl.static_range(1, MOST_LEVELS):
        if below <= level:
            b_begin, b_stay = step_down(p_column, below, b_begin, b_stay, mask)
    return b_begin, b_stay


@triton.jit
def scan_lists(p_column, scratch, tile, o_n):
    """Publish where each list starts in the output, at every level; write the offsets of the cut one."""
    num_lists = tl.load(p_column + NUM_LISTS)
    m_place = o_n <= num_lists
    m_n = o_n < num_lists
    offsets = rows.pointer_at(p_column + OFFSETS, tl.int64)
    wrong = scratch + tl.load(p_column + WRONG)
    b_bound, b_next = rows.check_offsets(offsets, o_n, num_lists, tl.load(p_column + END), wrong)
    b_begin, b_stay = stay_of(p_column, b_bound, b_next)
    b_stay = tl.where(m_n, b_stay, 0)
    b_size = tl.where(m_n & ((o_n * 0 + tl.load(p_column + IS_FILLED)) != 0), tl.load(p_column + LENGTH), b_stay)
    num_levels = tl.load(p_column + NUM_LEVELS)
    for level in tl.static_range(MOST_LEVELS):
        if level < num_levels:
            if level > 0:
                b_begin, b_stay = step_down(p_column, level, b_begin, b_stay, m_n)
                b_size = b_stay
            states = scratch + tl.load(p_column + STATES) + level * tl.load(p_column + NUM_TILES)
            before = look_back.sum_before(states, tile, tl.sum(b_size))
            b_start = before + tl.cumsum(b_size) - b_size
            starts = scratch + tl.load(p_column + STARTS) + level * (num_lists + 1)
            look_back.publish(starts + o_n, b_start, m_place)
            tl.store(scratch + tl.load(p_column + TOTALS) + level + o_n * 0, b_start, mask=o_n == num_lists)
            if level == 0:
                tl.store(rows.pointer_at(p_column + OUT_OFFSETS, tl.int64) + o_n, b_start, mask=m_place)


@triton.jit
def check_level(p_task, scratch, o_n):
    num_lists = tl.load(p_task + LEVEL_LISTS)
    offsets = rows.pointer_at(p_task + LEVEL_OFFSETS, tl.int64)
    wrong = scratch + tl.load(p_task + LEVEL_WRONG)
    b_offset, _ = rows.check_offsets(offsets, o_n, num_lists, tl.load(p_task + LEVEL_END), wrong)
    if tl.load(p_task + LEVEL_OUT) != 0:
        tl.store(rows.pointer_at(p_task + LEVEL_OUT, tl.int64) + o_n, b_offset, mask=o_n <= num_lists)


@triton.jit
def shift_offsets(p_task, p_column, starts, total, last, o_n):
    """Write the offsets of a level below the cut one, up to place `last`: of the elements of the level above that are kept, `total`."""
    level = tl.load(p_task + LEVEL)
    num_lists = tl.load(p_column + NUM_LISTS)
    above = starts + (level - 1) * (num_lists + 1)
    own = above + (num_lists + 1)
    m_n = o_n < total
    b_list = look_back.list_of_published(above, num_lists, o_n, m_n)
    b_place = o_n - look_back.wait_for(above, b_list, m_n)
    b_begin, b_stay = kept_at(p_column, level - 1, b_list, m_n)
    # Empty lists start where the one after them does, at the end where none comes after.
    is_added = (level == 1) & (tl.load(p_column + IS_FILLED) != 0)
    b_missing = tl.where(b_list * 0 + is_added.to(tl.int64) != 0, tl.load(p_column + LENGTH) - b_stay, 0)
    b_place = tl.minimum(tl.maximum(b_place - tl.load(p_column + AT_BEGIN) * b_missing, 0), b_stay)
    offsets = rows.pointer_at(p_column + OFFSETS + level, tl.int64)
    most = tl.load(p_column + NUM_LISTS + level)
    b_from = tl.load(offsets + tl.minimum(tl.maximum(b_begin, 0), most), mask=m_n, other=0)
    b_offset = tl.load(offsets + tl.minimum(tl.maximum(b_begin + b_place, 0), most), mask=m_n, other=0) - b_from
    b_offset += look_back.wait_for(own, tl.where(m_n, b_list, num_lists), o_n <= last)
    tl.store(rows.pointer_at(p_task + OUT, tl.int64) + o_n, b_offset, mask=o_n <= last)


@triton.jit
def move_items(p_task, p_column, starts, total, o_n):
    level = tl.load(p_task + LEVEL)
    num_lists = tl.load(p_column + NUM_LISTS)
    own = starts + level * (num_lists + 1)
    m_n = o_n < total
    b_list = look_back.list_of_published(own, num_lists, o_n, m_n)
    b_begin, _ = kept_at(p_column, level, b_list, m_n)
    b_from = b_begin + o_n - look_back.wait_for(own, b_list, m_n)
    m_n = m_n & (b_from >= 0) & (b_from < tl.load(p_column + NUM_ITEMS))
    item_bytes = tl.load(p_task + ITEM_BYTES)
    rows.copy_items(tl.load(p_task + FROM), tl.load(p_task + OUT), item_bytes, b_from, o_n, m_n)
    weights = tl.load(p_task + WEIGHTS)
    if weights != 0:
        rows.copy_items(weights, tl.load(p_task + OUT_WEIGHTS), 4, b_from, o_n, m_n)


@triton.jit
def truncate_kernel(table, scratch, BLOCK_N: tl.constexpr):
    p_task, p_column, tile = rows.task_of(table, scratch)
    kind = tl.load(p_task + rows.KIND)
    first = tile * BLOCK_N
    o_n = first + tl.arange(0, BLOCK_N)  # [BLOCK_N]
    if kind == SCANNED:
        scan_lists(p_column, scratch, tile, o_n)
    elif kind == CHECKED:
        check_level(p_task, scratch, o_n)
    else:
        starts = scratch + tl.load(p_column + STARTS)
        num_lists = tl.load(p_column + NUM_LISTS)
        above = tl.load(p_task + LEVEL) - (kind == SHIFTED).to(tl.int64)
        total = look_back.wait_for_one(starts, above * (num_lists + 1) + num_lists)
        # Damaged offsets may tell of more than there is room for.
        total = tl.minimum(total, tl.load(p_task + CAPACITY))
        if kind == SHIFTED:
            last = tl.where(tl.load(p_task + WRITES_ALL) != 0, tl.load(p_task + CAPACITY), total)
            if first <= last:
                shift_offsets(p_task, p_column, starts, total, last, o_n)
        elif first < total:
            move_items(p_task, p_column, starts, total, o_n)


class _Cuts:
    """The columns of a call, their tasks, and outputs of the most that they can hold.

    sizes: for each list of outputs, and each output, the place where its number of elements is read back, and how many more it has; or None
    where it is whole.
    """

    def __init__(self, levels: list[list[Tensor]], parameters: list[list[int]], values: list[Tensor]) -> None:
        self.launch = rows.Launch()
        self.levels, self.parameters = levels, parameters
        self.num_items = [one.numel() for one in values]
        self.totals = [self.launch.read_back(rows.MOST_LEVELS) for _ in parameters]
        self.marks = [[self.launch.mark(column, level) for level in range(len(one))] for column, one in enumerate(levels)]
        self.out: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
        self.sizes: tuple[list[tuple[int, int] | None], ...] = ([], [], [])

    def add(self, column: int, values: Tensor, weights: Tensor | None) -> None:
        _, level, length, tail, added = self.parameters[column]
        cut = self.levels[column][level:]
        num_lists = [bounds.numel() - 1 for bounds in cut]
        # The most elements of each level that are kept.
        most = [*num_lists[1:], values.numel()]
        most[0] = num_lists[0] * length if added != NOT_ADDED else min(most[0], num_lists[0] * length)
        none = [0] * (rows.MOST_LEVELS - len(cut))
        tiles, launch = rows.tiles_of(num_lists[0] + 1), self.launch
        for above in range(level):
            self._check(column, above, copies=True)
        out_offsets = self._keep(2, cut[0].new_empty(num_lists[0] + 1), None)
        of_column = launch.add_column(
            *[bounds.data_ptr() for bounds in cut], *none, *num_lists, *none, num_lists[1] if len(cut) > 1 else values.numel(),
            length, tail, int(added != NOT_ADDED), int(added == ADDED_AT_BEGINNING), len(cut), tiles, launch.reserve(tiles * len(cut)),
            launch.reserve((num_lists[0] + 1) * len(cut)), self.totals[column], self.marks[column][level], out_offsets.data_ptr(),
            values.numel(),
        )  # fmt: skip
        launch.add(num_lists[0] + 1, SCANNED.value, of_column)
        for below in range(1, len(cut)):
            self._check(column, level + below, copies=False)
            made = self._keep(2, cut[0].new_empty(most[below - 1] + 1), (self.totals[column] + below - 1, 1))
            writes_all = int(recorded.current() is not None)
            launch.add_waiting(made.numel(), SHIFTED.value, of_column, below, made.data_ptr(), most[below - 1], writes_all)
        size = (self.totals[column] + len(cut) - 1, 0)
        items = self._keep(0, values.new_empty(most[-1]), size)
        of_weights = [0, 0]
        if weights is not None:
            is_weighted = weights.numel() > 0
            made = self._keep(1, weights.new_empty(most[-1] if is_weighted else 0), size if is_weighted else None)
            of_weights = [weights.data_ptr(), made.data_ptr()] if is_weighted else of_weights
        of_items = [len(cut) - 1, items.data_ptr(), most[-1], values.data_ptr(), values.element_size(), *of_weights]
        launch.add_waiting(most[-1], MOVED.value, of_column, *of_items)

    def _check(self, column: int, level: int, *, copies: bool) -> None:
        """Check the offsets of a level, which is not the cut one; one above it stays as it is."""
        bounds = self.levels[column][level]
        is_innermost = level + 1 == len(self.levels[column])
        end = self.num_items[column] if is_innermost else self.levels[column][level + 1].numel() - 1
        out = self._keep(2, torch.empty_like(bounds), None).data_ptr() if copies else 0
        mark = self.marks[column][level]
        # The row of a column is not looked at.
        self.launch.add(bounds.numel(), CHECKED.value, 0, bounds.data_ptr(), bounds.numel() - 1, end, mark, out)

    def _keep(self, kind: int, made: Tensor, size: tuple[int, int] | None) -> Tensor:
        self.out[kind].append(made)
        self.sizes[kind].append(size)
        return made

    def run(self, device: torch.device) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        read = self.launch.run(truncate_kernel, device)
        if read is None:
            return self.out
        for made, sizes in zip(self.out, self.sizes, strict=True):
            for place, size in enumerate(sizes):
                if size is not None:
                    made[place] = made[place].narrow(0, 0, read[size[0]] + size[1])
        return self.out


def truncate_rows(
    values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], columns: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """CUDA body of the operator; see `op.py`. 1 launch of ours, a fill of torch; waits once, for the sizes."""
    parameters = rows.parameters_of(columns, len(values), 5)
    rows.check_items(values, weights)
    levels = rows.levels_of(offsets, [one[0] for one in parameters])
    for column, one in enumerate(parameters):
        _check(column, *one)
    cuts = _Cuts(levels, parameters, values)
    for column, of_column in enumerate(values):
        cuts.add(column, of_column, weights[column] if weights else None)
    return cuts.run(columns.device if not values else values[0].device)


def _check(column: int, num_levels: int, level: int, length: int, kept: int, added: int) -> None:
    rows.check(0 <= level < num_levels, f"columns: column {column} has no level {level}, but {num_levels} levels")
    rows.check(length >= 0, f"columns: column {column} is to be cut to length {length}, but must to 0 or more")
    rows.check(kept in (0, 1), f"columns: column {column} keeps side {kept}, but must keep 0 (head) or 1 (tail)")
    rows.check(added in (0, 1, 2), f"columns: column {column} adds empty lists by {added}, but must by 0 (none), 1 (end) or 2 (beginning)")
    is_innermost = level == num_levels - 1
    rows.check(added == 0 or not is_innermost, f"columns: column {column} adds empty lists to level {level}, whose elements are items")
