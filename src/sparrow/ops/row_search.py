"""Ragged columns on a GPU: tables of addresses that kernels read, and the row that a value is of. Imported by Triton bodies alone."""

import itertools

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops.recorded import send_words

BLOCK = 1024


@triton.jit
def lanes_of(number, b_like):
    """`number` in every lane of a block like `b_like`: the interpreter has no masks of a block and a scalar."""
    return b_like * 0 + number


@triton.jit
def row_of(offsets, num_rows, b_position, m_position, num_steps):
    """Row of the value at each position, by binary search in the offsets at address `offsets`; without any, each row has one value."""
    has_lists = lanes_of(offsets, b_position) != 0
    p_offsets = offsets.to(tl.pointer_type(tl.int64))
    b_low = tl.zeros_like(b_position)
    b_high = tl.zeros_like(b_position) + num_rows
    for _ in range(num_steps):
        b_middle = (b_low + b_high) // 2
        searching = m_position & (b_low < b_high) & has_lists
        b_end = tl.load(p_offsets + b_middle + 1, mask=searching, other=0)
        behind = b_end <= b_position
        b_high = tl.where(searching & ~behind, b_middle, b_high)
        b_low = tl.where(searching & behind, b_middle + 1, b_low)
    return tl.where(has_lists, b_low, b_position)


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


def steps_of(num_rows: list[int]) -> int:
    """Return how many steps a binary search of as many rows takes at most."""
    return max(num_rows, default=0).bit_length()
