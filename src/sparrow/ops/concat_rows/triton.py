"""`concat_rows` on a GPU: each value of each input goes to its own place, one launch for all results."""

import itertools

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops.row_search import (
    BLOCK,
    LANES,
    address_of,
    bound_of,
    copy_items,
    grid_of,
    lanes_of,
    num_rows_of,
    on_device,
    refuse_unless,
    row_of,
)

# Words of an input in the table.
VALUES, WEIGHTS, OFFSETS, NUM_VALUES, NUM_ROWS, FIRST, LAST, ITEM_BYTES, OUT_VALUES, OUT_WEIGHTS, OUT_OFFSETS = map(tl.constexpr, range(11))
WIDTH = tl.constexpr(11)


@triton.jit
def concat_kernel(inputs, BLOCK_N: tl.constexpr):
    first_value = tl.program_id(0).to(tl.int64) * BLOCK_N
    o_n = first_value + tl.arange(0, BLOCK_N)  # [BLOCK_N]
    number = tl.program_id(1)
    own = inputs + number * WIDTH
    first = tl.load(own + FIRST)
    last = tl.load(own + LAST)
    num_rows = tl.load(own + NUM_ROWS)

    # A value stands behind those that inputs before have up to its row's end, and those that inputs behind have up to its beginning.
    num_values = tl.load(own + NUM_VALUES)
    m_n = o_n < num_values
    b_row = row_of(tl.load(own + OFFSETS), num_rows, first_value, num_values, BLOCK_N)
    # Memory may be longer than the lists: what lies behind them goes nowhere.
    m_n = m_n & (b_row < num_rows)
    b_to = o_n
    for other in range(first, last):
        b_bound = bound_of(tl.load(inputs + other * WIDTH + OFFSETS), b_row + (other < number).to(tl.int64), m_n)
        b_to += tl.where(other == number, tl.zeros_like(b_bound), b_bound)
    copy_items(tl.load(own + VALUES), o_n, m_n, tl.zeros_like(o_n), tl.load(own + OUT_VALUES), b_to, m_n, tl.load(own + ITEM_BYTES))
    out_weights = tl.load(own + OUT_WEIGHTS)
    if out_weights != 0:
        weights = tl.load(own + WEIGHTS)
        b_weight = tl.load(weights.to(tl.pointer_type(tl.float32)) + o_n, mask=m_n & (lanes_of(weights, o_n) != 0), other=1.0)
        tl.store(out_weights.to(tl.pointer_type(tl.float32)) + b_to, b_weight, mask=m_n)

    # The first input of a result writes its offsets.
    if number == first:
        m_row = o_n <= num_rows
        b_offset = tl.zeros_like(o_n)
        for other in range(first, last):
            b_offset += bound_of(tl.load(inputs + other * WIDTH + OFFSETS), o_n, m_row)
        tl.store(tl.load(own + OUT_OFFSETS).to(tl.pointer_type(tl.int64)) + o_n, b_offset, mask=m_row)


def concat_rows(
    values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], first_input: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """CUDA body of the operator; see `op.py`. No host synchronisation. One launch."""
    bounds = first_input.tolist()
    refuse_unless(bounds[:1] == [0] and bounds[-1] == len(values), f"first_input must go from 0 to {len(values)}, the number of inputs")
    out: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    table = []
    rows = [num_rows_of(*column) for column in zip(values, offsets, strict=True)]
    for result, (first, last) in enumerate(itertools.pairwise(bounds)):
        refuse_unless(first < last, f"first_input: result {result} has {last - first} inputs, must have at least 1")
        size = sum(one.numel() for one in values[first:last])
        like, is_weighted = values[first], any(one.numel() for one in weights[first:last])
        out[0].append(like.new_empty(size))
        out[1].append(like.new_empty(size if is_weighted else 0, dtype=torch.float32))
        out[2].append(like.new_empty(rows[first] + 1, dtype=torch.int64))
        for i in range(first, last):
            refuse_unless(rows[i] == rows[first], f"result {result}: input {i} has {rows[i]} rows, its first input has {rows[first]}")
            refuse_unless(
                values[i].dtype == like.dtype, f"result {result}: values of input {i} have another dtype than those of its first input"
            )
            table.append(
                [
                    address_of(values[i], f"values of input {i}"),
                    address_of(weights[i], f"weights of input {i}", torch.float32),
                    address_of(offsets[i], f"offsets of input {i}", torch.int64),
                    values[i].numel(),
                    rows[i],
                    first,
                    last,
                    like.element_size(),
                    *(part[-1].data_ptr() for part in out),
                ]
            )
    if table:
        most = max(max(one.numel() for one in values), max(rows) + 1)
        concat_kernel[grid_of(len(table), most, BLOCK)](on_device(table, values[0]), **LANES)
    return out
