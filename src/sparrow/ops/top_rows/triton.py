"""`top_rows` on a GPU: an item a lane, which counts those of its list that come before it; one launch (`chosen_rows`)."""

import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops import chosen_rows
from sparrow.ops import row_kernels as rows

INT32_MIN = tl.constexpr(-(2**31))
INT32_MAX = tl.constexpr(2**31 - 1)


@triton.jit
def key_of(b_weight):
    """The weight as an integer that grows with it. NaN comes below every number."""
    b_bits = tl.where(b_weight == 0.0, 0.0, b_weight).to(tl.int32, bitcast=True)
    # Negative floats fall as their bits grow.
    b_bits = tl.where(b_bits < 0, b_bits ^ INT32_MAX, b_bits)
    return tl.where(b_weight == b_weight, b_bits, INT32_MIN)


@triton.jit
def top_kernel(table, scratch, BLOCK_N: tl.constexpr):
    p_task, p_column, tile = rows.task_of(table, scratch)
    o_n = tile * BLOCK_N + tl.arange(0, BLOCK_N)  # [BLOCK_N]
    if tl.load(p_task + rows.KIND) == chosen_rows.ITEMS:
        m_n = o_n < chosen_rows.num_items_of(p_column)
        b_list, b_begin, b_end = chosen_rows.bounds_of(p_column, tile * BLOCK_N, BLOCK_N)
        weights = rows.pointer_at(p_column + chosen_rows.WEIGHTS, tl.float32)
        b_weight = tl.load(weights + o_n, mask=m_n, other=0.0)
        b_key = key_of(b_weight)
        # Lists are shorter than 2^31.
        b_length = tl.where(m_n, b_end - b_begin, 0).to(tl.int32)
        b_own = (o_n - b_begin).to(tl.int32)
        b_rank = tl.zeros([BLOCK_N], tl.int32)
        p_other = weights + b_begin
        for place in range(0, tl.max(b_length)):
            b_other_key = key_of(tl.load(p_other + place, mask=place < b_length, other=0.0))
            # Keys are whole numbers: of equal ones those before come first.
            m_before = tl.where(place < b_own, b_other_key >= b_key, b_other_key > b_key)
            b_rank += ((place < b_length) & m_before).to(tl.int32)
        m_kept = m_n & (b_rank < tl.load(p_column + chosen_rows.CHOICE))
        b_place, m_kept = chosen_rows.keep_items(p_column, scratch, tile, o_n, m_kept, b_list, b_begin)
        out_weights = rows.pointer_at(p_column + chosen_rows.OUT_WEIGHTS, tl.int32)
        # As integers: a NaN keeps its bits.
        b_bits = tl.load(rows.pointer_at(p_column + chosen_rows.WEIGHTS, tl.int32) + o_n, mask=m_kept, other=0)
        tl.store(out_weights + b_place, b_bits, mask=m_kept)
    else:
        chosen_rows.write_offsets(p_column, scratch, o_n)


def top_rows(
    values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], columns: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """CUDA body of the operator; see `op.py`. 1 launch of ours, a fill of torch; waits once, for the sizes."""
    choices = [k for (k,) in rows.parameters_of(columns, len(values), 1)]
    rows.check(len(weights) == len(values), f"weights: {len(weights)} tensors for {len(values)} columns")
    most = []
    for column, k in enumerate(choices):
        rows.check(k >= 0, f"columns: column {column} is to keep {k} items, but must 0 or more")
        same = weights[column].numel() == values[column].numel()
        rows.check(same, f"weights: column {column} has {weights[column].numel()} weights for {values[column].numel()} values")
        most.append(min(values[column].numel(), k * max(offsets[column].numel() - 1, 0)) if column < len(offsets) else 0)
    return chosen_rows.keep(top_kernel, values, weights, offsets, choices, most)
