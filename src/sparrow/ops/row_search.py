"""Ragged columns on a GPU: tables of addresses that kernels read, and the row that a value is of. Imported by Triton bodies alone."""

import itertools

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops.recorded import send_words

BLOCK = 1024
# Of a launch whose programs take as many positions each.
LANES = {"BLOCK_N": BLOCK, "num_warps": 4, "enable_fp_fusion": False}
WAYS = tl.constexpr(32)
LARGEST = tl.constexpr(2**63 - 1)


@triton.jit
def lanes_of(number, b_like):
    """`number` in every lane of a block like `b_like`: the interpreter has no masks of a block and a scalar."""
    return b_like * 0 + number


@triton.jit
def count_up_to(p_ends, low, num_ends, position):
    """How many of the first `num_ends` ends are at most `position`, of which `low` are known to be; int64 scalars. By 32 at a time."""
    o_w = tl.arange(0, WAYS)
    left = num_ends - low
    while left > 0:
        step = (left + (WAYS - 1)) // WAYS
        o_end = (o_w + 1) * step  # the end behind that many
        b_end = tl.load(p_ends + low + o_end - 1, mask=o_end <= left, other=LARGEST)
        skipped = tl.sum((b_end <= position).to(tl.int32)) * step
        low += skipped
        left = tl.minimum(step - 1, left - skipped)
    return low


@triton.jit
def rows_from(p_ends, num_ends, first, num_positions, BLOCK_N: tl.constexpr):
    """How many ends are at most first, first + 1, ...: int64 [BLOCK_N]. p_ends: int64 pointer; positions from `num_positions` on are not
    looked for, and get a number from 0 to `num_ends`, too.

    Ends between the first position and the last differ from it by less than BLOCK_N: their low halves are enough.
    """
    last = tl.minimum(first + BLOCK_N, num_positions) - 1
    low = count_up_to(p_ends, first * 0, tl.where(first <= last, num_ends, 0), first)
    left = (count_up_to(p_ends, low, tl.where(first <= last, num_ends, low), last) - low).to(tl.int32)
    p_half = (p_ends + low).to(tl.pointer_type(tl.int32))
    o_n = tl.arange(0, BLOCK_N)
    b_row = tl.zeros([BLOCK_N], tl.int32)
    while left > 0:
        half = (left + 1) // 2
        b_end = tl.load(p_half + 2 * (half - 1) + 2 * b_row) - first.to(tl.int32)
        b_row = tl.where(b_end <= o_n, b_row + half, b_row)
        left -= half
    return low + b_row


@triton.jit
def row_of(offsets, num_rows, first, num_values, BLOCK_N: tl.constexpr):
    """Row of each value from the first on, int64 [BLOCK_N], by the offsets at address `offsets`, `num_rows` behind them; without any, each
    row has one value."""
    b_row = first + tl.arange(0, BLOCK_N)
    if offsets != 0:
        b_row = rows_from(offsets.to(tl.pointer_type(tl.int64)) + 1, num_rows, first, num_values, BLOCK_N)
    return b_row


@triton.jit
def bound_of(offsets, b_row, m_row):
    """Where each row begins, by the offsets at address `offsets`; without any, each row has one value."""
    has_lists = lanes_of(offsets, b_row) != 0
    b_bound = tl.load(offsets.to(tl.pointer_type(tl.int64)) + b_row, mask=m_row & has_lists, other=0)
    return tl.where(has_lists, b_bound, b_row)


@triton.jit
def copy_items(source, b_from, m_from, default, target, b_to, m_to, item_bytes):
    """target[to] = source[from], or the low bytes of `default` where m_from is false; both are addresses of items of `item_bytes`."""
    if item_bytes == 8:
        b_item = tl.load(source.to(tl.pointer_type(tl.int64)) + b_from, mask=m_from, other=0)
        tl.store(target.to(tl.pointer_type(tl.int64)) + b_to, tl.where(m_from, b_item, default), mask=m_to)
    elif item_bytes == 4:
        b_word = tl.load(source.to(tl.pointer_type(tl.int32)) + b_from, mask=m_from, other=0)
        tl.store(target.to(tl.pointer_type(tl.int32)) + b_to, tl.where(m_from, b_word, default.to(tl.int32)), mask=m_to)
    elif item_bytes == 2:
        b_half = tl.load(source.to(tl.pointer_type(tl.int16)) + b_from, mask=m_from, other=0)
        tl.store(target.to(tl.pointer_type(tl.int16)) + b_to, tl.where(m_from, b_half, default.to(tl.int16)), mask=m_to)
    else:
        b_byte = tl.load(source.to(tl.pointer_type(tl.int8)) + b_from, mask=m_from, other=0)
        tl.store(target.to(tl.pointer_type(tl.int8)) + b_to, tl.where(m_from, b_byte, default.to(tl.int8)), mask=m_to)


def refuse_unless(is_right: bool, message: str) -> None:
    """Raise what the C++ bodies raise. Only shapes and dtypes are looked at on a GPU: what offsets hold is trusted."""
    if not is_right:
        raise RuntimeError(message)


def address_of(tensor: Tensor, name: str, dtype: torch.dtype | None = None) -> int:
    """Return the address of a contiguous tensor of `dtype`; 0 of an empty one."""
    refuse_unless(tensor.is_contiguous(), f"{name} must be contiguous")
    refuse_unless(dtype is None or tensor.dtype == dtype, f"{name} has the wrong dtype, {tensor.dtype}; must be {dtype}")
    return tensor.data_ptr() if tensor.numel() else 0


def num_rows_of(values: Tensor, offsets: Tensor) -> int:
    return offsets.numel() - 1 if offsets.numel() else values.numel()


def on_device(table: list[list[int]], like: Tensor) -> Tensor:
    """Return the table that a kernel reads, end to end, by one copy."""
    return send_words(list(itertools.chain.from_iterable(table)), like.device)


def grid_of(num_programs: int, most: int, block: int) -> tuple[int, int]:
    """Return the grid (blocks of the largest result, results)."""
    return triton.cdiv(most, block), num_programs
