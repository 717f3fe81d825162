"""`unique_rows` on a GPU: items sorted by list and value, the first of each run kept, its weights added in order.

1. `spread_kernel` writes the list and the value of every item of every column, end to end.
2. torch sorts them by value, then by list, both stably: equal items of a list lie side by side in order of position.
3. `first_kernel` marks the first of each run and adds the weights of the run; torch scans the marks, and one launch copies all columns.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops import row_kernels as rows
from sparrow.ops.row_options import SUM

SUMS = tl.constexpr(SUM)


@triton.jit
def spread_kernel(columns, items, lists, BLOCK_N: tl.constexpr):
    p_column = columns + tl.program_id(1) * rows.COLUMN_WORDS
    num_items = tl.load(p_column + rows.NUM_ITEMS)
    first = tl.program_id(0).to(tl.int64) * BLOCK_N
    if first < num_items:
        o_n = first + tl.arange(0, BLOCK_N)  # [BLOCK_N]
        m_n = o_n < num_items
        b_to = tl.load(p_column + rows.FIRST_ITEM) + o_n
        item_bytes = tl.load(p_column + rows.ITEM_BYTES)
        values = tl.load(p_column + rows.VALUES)
        # Widened with the sign, whatever the dtype: equal items stay equal.
        if item_bytes == 8:
            tl.store(items + b_to, tl.load(values.to(tl.pointer_type(tl.int64)) + o_n, mask=m_n, other=0), mask=m_n)
        elif item_bytes == 4:
            tl.store(items + b_to, tl.load(values.to(tl.pointer_type(tl.int32)) + o_n, mask=m_n, other=0).to(tl.int64), mask=m_n)
        elif item_bytes == 2:
            tl.store(items + b_to, tl.load(values.to(tl.pointer_type(tl.int16)) + o_n, mask=m_n, other=0).to(tl.int64), mask=m_n)
        else:
            tl.store(items + b_to, tl.load(values.to(tl.pointer_type(tl.int8)) + o_n, mask=m_n, other=0).to(tl.int64), mask=m_n)
        offsets = rows.pointer_at(p_column + rows.OFFSETS, tl.int64)
        b_list = rows.list_of(offsets, tl.load(p_column + rows.NUM_LISTS), o_n) + tl.load(p_column + rows.FIRST_LIST)
        tl.store(lists + b_to, b_list, mask=m_n)


@triton.jit
def first_kernel(columns, items, lists, order, kept, sums, BLOCK_N: tl.constexpr):
    p_column = columns + tl.program_id(1) * rows.COLUMN_WORDS
    num_items = tl.load(p_column + rows.NUM_ITEMS)
    first = tl.program_id(0).to(tl.int64) * BLOCK_N
    if first < num_items:
        o_n = first + tl.arange(0, BLOCK_N)  # [BLOCK_N]
        m_n = o_n < num_items
        first_item = tl.load(p_column + rows.FIRST_ITEM)
        of_column = order + first_item
        b_item = tl.load(of_column + o_n, mask=m_n, other=0)
        b_value = tl.load(items + b_item, mask=m_n, other=0)
        b_list = tl.load(lists + b_item, mask=m_n, other=0)
        m_after = m_n & (o_n > 0)
        b_before = tl.load(of_column + o_n - 1, mask=m_after, other=0)
        m_equal = m_after & (tl.load(items + b_before, mask=m_after, other=0) == b_value)
        m_equal = m_equal & (tl.load(lists + b_before, mask=m_after, other=0) == b_list)
        m_first = m_n & (m_equal == 0)
        tl.store(kept + b_item, m_first.to(tl.int32), mask=m_n)
        address = tl.load(p_column + rows.WEIGHTS)
        if address != 0:
            weights = address.to(tl.pointer_type(tl.float32))
            b_sum = tl.load(weights + b_item - first_item, mask=m_first, other=0.0)
            if tl.load(p_column + rows.CHOICE) == SUMS:
                b_next = o_n + 1
                active = m_first & (b_next < num_items)
                num_active = tl.sum(active.to(tl.int32))
                while num_active > 0:
                    b_other = tl.load(of_column + b_next, mask=active, other=0)
                    active = active & (tl.load(items + b_other, mask=active, other=0) == b_value)
                    active = active & (tl.load(lists + b_other, mask=active, other=0) == b_list)
                    b_weight = tl.load(weights + b_other - first_item, mask=active, other=0.0)
                    b_sum = tl.where(active, b_sum + b_weight, b_sum)
                    b_next += 1
                    active = active & (b_next < num_items)
                    num_active = tl.sum(active.to(tl.int32))
            tl.store(sums + b_item, b_sum, mask=m_first)


def unique_rows(
    values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], columns: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """CUDA body of the operator; see `op.py`. 4 launches of ours, 2 sorts and a scan of torch; waits once, for the sizes."""
    choices = [policy for (policy,) in rows.parameters_of(columns, len(values), 1)]
    for column, policy in enumerate(choices):
        rows.check(policy in (0, 1), f"columns: column {column} has weights policy {policy}, but must have 0 (first) or 1 (sum)")
        is_integer = not (values[column].is_floating_point() or values[column].is_complex())
        rows.check(is_integer, f"values: column {column} must have an integer dtype")
    chosen = rows.Chosen(values, weights, offsets, choices)
    table = chosen.on_device()
    items = torch.empty(chosen.num_items, dtype=torch.int64, device=chosen.device)
    lists = torch.empty_like(items)
    spread_kernel[chosen.grid](table, items, lists, BLOCK_N=rows.BLOCK)
    by_value = torch.sort(items, stable=True).indices
    order = by_value[torch.sort(lists[by_value], stable=True).indices]
    kept = torch.empty(chosen.num_items, dtype=torch.int32, device=chosen.device)
    sums = torch.empty(chosen.num_items if any(chosen.weighted) else 0, dtype=torch.float32, device=chosen.device)
    first_kernel[chosen.grid](table, items, lists, order, kept, sums, BLOCK_N=rows.BLOCK)
    for row in chosen.table:
        if row[rows.WEIGHTS.value] != 0:
            row[rows.WEIGHTS.value] = sums.data_ptr() + sums.element_size() * row[rows.FIRST_ITEM.value]
    return chosen.keep(kept)
