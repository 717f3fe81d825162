# mypy: ignore-errors
# Triton kernels are compiled, not called: their bodies follow Triton's types.
"""What the Triton bodies of `top_rows` and `unique_rows` share: items that are kept one by one, in one launch.

1. Tiles of items find which are kept, as their operator says, and where they go (`look_back`): they write them, and publish of each list
   that has items how many items are kept before it.
2. Tiles of lists write offsets. An empty list begins where the next one does that has items, or at the end.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops import look_back
from sparrow.ops import row_kernels as rows
from sparrow.ops.row_search import rows_from

# A column. STATES, STARTS: places in the scratch; STARTS has a word for each list, and one for the end.
VALUES, WEIGHTS, OFFSETS, ITEM_BYTES, NUM_ITEMS, NUM_LISTS, CHOICE, CAPACITY = (tl.constexpr(i) for i in range(8))
OUT_VALUES, OUT_WEIGHTS, OUT_OFFSETS, STATES, STARTS, TOTAL, WRONG = (tl.constexpr(i) for i in range(8, 15))
# Kinds of tasks.
ITEMS, LISTS = (tl.constexpr(i) for i in range(2))


@triton.jit
def num_items_of(p_column):
    """How many items there are, int64: offsets say it, where memory is longer than a step that a graph repeats has items."""
    last = tl.load(rows.pointer_at(p_column + OFFSETS, tl.int64) + tl.load(p_column + NUM_LISTS))
    return tl.minimum(tl.maximum(last, 0), tl.load(p_column + NUM_ITEMS))


@triton.jit
def bounds_of(p_column, first, BLOCK_N: tl.constexpr):
    """The list of each item from `first` on, where it begins and where it ends; inside the column, however damaged offsets are."""
    num_items = num_items_of(p_column)
    num_lists = tl.load(p_column + NUM_LISTS)
    offsets = rows.pointer_at(p_column + OFFSETS, tl.int64)
    o_n = first + tl.arange(0, BLOCK_N)
    b_list = rows_from(offsets + 1, tl.maximum(num_lists - 1, 0), first, num_items, BLOCK_N)
    m_n = (o_n < num_items) & (b_list < num_lists)
    b_begin = tl.load(offsets + b_list, mask=m_n, other=0)
    b_end = tl.load(offsets + b_list + 1, mask=m_n, other=0)
    return b_list, tl.minimum(tl.maximum(b_begin, 0), num_items), tl.minimum(tl.maximum(b_end, 0), num_items)


@triton.jit
def keep_items(p_column, scratch, tile, o_n, m_kept, b_list, b_begin):
    """Tell where the items that are kept go, and copy their values. Publishes how many are kept before each list, and in all."""
    num_items = num_items_of(p_column)
    b_kept = m_kept.to(tl.int64)
    before = look_back.sum_before(scratch + tl.load(p_column + STATES), tile, tl.sum(b_kept))
    b_place = before + tl.cumsum(b_kept) - b_kept
    starts = scratch + tl.load(p_column + STARTS)
    look_back.publish(starts + b_list, b_place, (o_n < num_items) & (o_n == b_begin))
    m_last = o_n == num_items - 1
    b_end = starts + tl.load(p_column + NUM_LISTS) + o_n * 0
    look_back.publish(b_end, b_place + b_kept, m_last)
    tl.store(scratch + tl.load(p_column + TOTAL) + o_n * 0, b_place + b_kept, mask=m_last)
    # Damaged offsets may keep more than there is room for.
    m_kept = m_kept & (b_place < tl.load(p_column + CAPACITY))
    rows.copy_items(tl.load(p_column + VALUES), tl.load(p_column + OUT_VALUES), tl.load(p_column + ITEM_BYTES), o_n, b_place, m_kept)
    return b_place, m_kept


@triton.jit
def write_offsets(p_column, scratch, o_n):
    num_items = num_items_of(p_column)
    num_lists = tl.load(p_column + NUM_LISTS)
    offsets = rows.pointer_at(p_column + OFFSETS, tl.int64)
    b_item, _ = rows.check_offsets(offsets, o_n, num_lists, tl.load(p_column + NUM_ITEMS), scratch + tl.load(p_column + WRONG))
    m_place = o_n <= num_lists
    m_inside = m_place & (b_item >= 0) & (b_item < num_items)
    b_list = rows.list_of(offsets, num_lists, b_item)
    # Where damaged offsets name no list that begins at this item, nobody publishes its word.
    m_inside = m_inside & (tl.load(offsets + b_list, mask=m_inside, other=-1) == b_item)
    m_end = m_place & (b_item >= num_items) & (num_items + o_n * 0 > 0)
    b_offset = look_back.wait_for(scratch + tl.load(p_column + STARTS), tl.where(m_end, num_lists, b_list), m_inside | m_end)
    tl.store(rows.pointer_at(p_column + OUT_OFFSETS, tl.int64) + o_n, b_offset, mask=m_place)


def keep(
    kernel: object, values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], choices: list[int], most: list[int]
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Run `kernel` on columns and return what it keeps: one launch, and one wait for the sizes.

    choices: what the operator is to know of each column. most: the most items that it can keep of each.
    """
    rows.check_items(values, weights)
    levels = rows.levels_of(offsets, [1] * len(values))
    launch = rows.Launch()
    totals = [launch.read_back(1) for _ in values]
    marks = [launch.mark(column, 0) for column in range(len(values))]
    out: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    for column, (items, (bounds,)) in enumerate(zip(values, levels, strict=True)):
        num_lists = bounds.numel() - 1
        out[0].append(items.new_empty(most[column]))
        out[2].append(torch.empty_like(bounds))
        of_weights = [0, 0]
        if weights:
            is_weighted = weights[column].numel() > 0
            out[1].append(weights[column].new_empty(most[column] if is_weighted else 0))
            of_weights = [weights[column].data_ptr(), out[1][-1].data_ptr()] if is_weighted else of_weights
        of_column = launch.add_column(
            items.data_ptr(), of_weights[0], bounds.data_ptr(), items.element_size(), items.numel(), num_lists, choices[column],
            most[column], out[0][-1].data_ptr(), of_weights[1], out[2][-1].data_ptr(), launch.reserve(rows.tiles_of(items.numel())),
            launch.reserve(num_lists + 1), totals[column], marks[column],
        )  # fmt: skip
        launch.add(items.numel(), ITEMS.value, of_column)
        launch.add_waiting(num_lists + 1, LISTS.value, of_column)
    if not values:
        return out
    read = launch.run(kernel, values[0].device)
    if read is None:
        return out
    for column, total in enumerate(totals):
        out[0][column] = out[0][column].narrow(0, 0, read[total])
        if weights and weights[column].numel() > 0:
            out[1][column] = out[1][column].narrow(0, 0, read[total])
    return out
