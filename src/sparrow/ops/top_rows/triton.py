"""`top_rows` on a GPU: keys of all items, one stable sort by (list, weight), and a copy of those that rank high enough.

1. `key_kernel` writes, for every item of every column, its list and its weight as one integer that sorts the greatest first.
2. torch sorts them all at once; since the sort is stable, of equal weights the earlier comes first.
3. `rank_kernel` marks the items whose place in their list is below k; torch scans the marks, and one launch copies all columns.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops import row_kernels as rows

INT32_MIN = tl.constexpr(-(2**31))
INT32_MAX = tl.constexpr(2**31 - 1)


@triton.jit
def key_kernel(columns, keys, BLOCK_N: tl.constexpr):
    p_column = columns + tl.program_id(1) * rows.COLUMN_WORDS
    num_items = tl.load(p_column + rows.NUM_ITEMS)
    first = tl.program_id(0).to(tl.int64) * BLOCK_N
    if first < num_items:
        o_n = first + tl.arange(0, BLOCK_N)  # [BLOCK_N]
        m_n = o_n < num_items
        b_weight = tl.load(rows.pointer_at(p_column + rows.WEIGHTS, tl.float32) + o_n, mask=m_n, other=0.0)
        b_bits = tl.where(b_weight == 0.0, 0.0, b_weight).to(tl.int32, bitcast=True)
        # Negative floats fall as their bits grow. NaN comes last.
        b_bits = tl.where(b_bits < 0, b_bits ^ INT32_MAX, b_bits)
        b_bits = tl.where(b_weight == b_weight, b_bits, INT32_MIN)
        offsets = rows.pointer_at(p_column + rows.OFFSETS, tl.int64)
        b_list = rows.list_of(offsets, tl.load(p_column + rows.NUM_LISTS), o_n) + tl.load(p_column + rows.FIRST_LIST)
        b_key = (b_list << 32) + (INT32_MAX - b_bits.to(tl.int64))
        tl.store(keys + tl.load(p_column + rows.FIRST_ITEM) + o_n, b_key, mask=m_n)


@triton.jit
def rank_kernel(columns, keys, order, kept, BLOCK_N: tl.constexpr):
    """Mark the items that are kept. keys: sorted; order: where each lay."""
    p_column = columns + tl.program_id(1) * rows.COLUMN_WORDS
    num_items = tl.load(p_column + rows.NUM_ITEMS)
    first = tl.program_id(0).to(tl.int64) * BLOCK_N
    if first < num_items:
        o_n = first + tl.arange(0, BLOCK_N)  # [BLOCK_N]
        m_n = o_n < num_items
        first_item = tl.load(p_column + rows.FIRST_ITEM)
        b_list = (tl.load(keys + first_item + o_n, mask=m_n, other=0) >> 32) - tl.load(p_column + rows.FIRST_LIST)
        offsets = rows.pointer_at(p_column + rows.OFFSETS, tl.int64)
        # Sorted by list first, a list's items lie where they lay before.
        b_rank = o_n - tl.load(offsets + b_list, mask=m_n, other=0)
        m_kept = b_rank < tl.load(p_column + rows.CHOICE)
        tl.store(kept + tl.load(order + first_item + o_n, mask=m_n, other=0), m_kept.to(tl.int32), mask=m_n)


def top_rows(
    values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], columns: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """CUDA body of the operator; see `op.py`. 4 launches of ours, a sort and a scan of torch; waits once, for the sizes."""
    choices = [k for (k,) in rows.parameters_of(columns, len(values), 1)]
    rows.check(len(weights) == len(values), f"weights: {len(weights)} tensors for {len(values)} columns")
    for column, k in enumerate(choices):
        rows.check(k >= 0, f"columns: column {column} is to keep {k} items, but must 0 or more")
        same = weights[column].numel() == values[column].numel()
        rows.check(same, f"weights: column {column} has {weights[column].numel()} weights for {values[column].numel()} values")
    chosen = rows.Chosen(values, weights, offsets, choices)
    table = chosen.on_device()
    keys = torch.empty(chosen.num_items, dtype=torch.int64, device=chosen.device)
    kept = torch.empty(chosen.num_items, dtype=torch.int32, device=chosen.device)
    key_kernel[chosen.grid](table, keys, BLOCK_N=rows.BLOCK)
    keys, order = torch.sort(keys, stable=True)
    rank_kernel[chosen.grid](table, keys, order, kept, BLOCK_N=rows.BLOCK)
    return chosen.keep(kept)
