"""`unique_rows` on a GPU: an item a lane, which looks for its equals before it in its list; one launch (`chosen_rows`)."""

import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops import chosen_rows
from sparrow.ops import row_kernels as rows
from sparrow.ops.row_options import SUM

SUMS = tl.constexpr(SUM)


@triton.jit
def is_first(values, o_n, b_begin, m_n):
    """Where no item before in the list is equal. values: a pointer of the items' size."""
    b_value = tl.load(values + o_n, mask=m_n, other=0)
    b_own = tl.where(m_n, o_n - b_begin, 0).to(tl.int32)  # lists are shorter than 2^31
    b_at = b_own  # of the first that is equal
    p_other = values + b_begin
    for place in range(0, tl.max(b_own)):
        m_other = place < b_at
        b_at = tl.where(m_other & (tl.load(p_other + place, mask=m_other, other=0) == b_value), place, b_at)
    return m_n & (b_at == b_own)


@triton.jit
def sum_of_equals(values, weights, o_n, b_end, m_first):
    """The weight of an item, plus those of its equals behind, in order."""
    b_value = tl.load(values + o_n, mask=m_first, other=0)
    b_sum = tl.load(weights + o_n, mask=m_first, other=0.0)
    for distance in range(1, tl.max(tl.where(m_first, b_end - o_n, 0))):
        b_other = o_n + distance
        m_other = m_first & (b_other < b_end)
        m_other = m_other & (tl.load(values + b_other, mask=m_other, other=0) == b_value)
        b_sum = tl.where(m_other, b_sum + tl.load(weights + b_other, mask=m_other, other=0.0), b_sum)
    return b_sum


@triton.jit
def choose(values, p_column, scratch, tile, o_n, BLOCK_N: tl.constexpr):
    """Keep the first of equal items, and write its weight. values: a pointer of the items' size."""
    m_n = o_n < chosen_rows.num_items_of(p_column)
    b_list, b_begin, b_end = chosen_rows.bounds_of(p_column, tile * BLOCK_N, BLOCK_N)
    m_first = is_first(values, o_n, b_begin, m_n)
    b_place, m_kept = chosen_rows.keep_items(p_column, scratch, tile, o_n, m_first, b_list, b_begin)
    weights = tl.load(p_column + chosen_rows.WEIGHTS)
    if weights != 0:
        out = tl.load(p_column + chosen_rows.OUT_WEIGHTS)
        if tl.load(p_column + chosen_rows.CHOICE) == SUMS:
            b_sum = sum_of_equals(values, weights.to(tl.pointer_type(tl.float32)), o_n, b_end, m_kept)
            tl.store(out.to(tl.pointer_type(tl.float32)) + b_place, b_sum, mask=m_kept)
        else:
            rows.copy_items(weights, out, 4, o_n, b_place, m_kept)


@triton.jit
def unique_kernel(table, scratch, BLOCK_N: tl.constexpr):
    p_task, p_column, tile = rows.task_of(table, scratch)
    o_n = tile * BLOCK_N + tl.arange(0, BLOCK_N)  # [BLOCK_N]
    if tl.load(p_task + rows.KIND) == chosen_rows.ITEMS:
        item_bytes = tl.load(p_column + chosen_rows.ITEM_BYTES)
        values = tl.load(p_column + chosen_rows.VALUES)
        if item_bytes == 8:
            choose(values.to(tl.pointer_type(tl.int64)), p_column, scratch, tile, o_n, BLOCK_N)
        elif item_bytes == 4:
            choose(values.to(tl.pointer_type(tl.int32)), p_column, scratch, tile, o_n, BLOCK_N)
        elif item_bytes == 2:
            choose(values.to(tl.pointer_type(tl.int16)), p_column, scratch, tile, o_n, BLOCK_N)
        else:
            choose(values.to(tl.pointer_type(tl.int8)), p_column, scratch, tile, o_n, BLOCK_N)
    else:
        chosen_rows.write_offsets(p_column, scratch, o_n)


def unique_rows(
    values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], columns: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """CUDA body of the operator; see `op.py`. 1 launch of ours, a fill of torch; waits once, for the sizes."""
    choices = [policy for (policy,) in rows.parameters_of(columns, len(values), 1)]
    for column, policy in enumerate(choices):
        rows.check(policy in (0, 1), f"columns: column {column} has weights policy {policy}, but must have 0 (first) or 1 (sum)")
        is_integer = not (values[column].is_floating_point() or values[column].is_complex())
        rows.check(is_integer, f"values: column {column} must have an integer dtype")
    return chosen_rows.keep(unique_kernel, values, weights, offsets, choices, [one.numel() for one in values])
