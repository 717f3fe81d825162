"""`pad_rows` on a GPU: one launch for all columns; every place of the output finds its item."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops import row_kernels as rows

VALUES, OUT, ITEM_BYTES, COUNT, NUM_LEVELS, KEEPS_TAIL, FILLS_BEGIN, PADDING = (tl.constexpr(i) for i in range(8))
# Three words a level.
OFFSETS, LENGTH, BELOW = (tl.constexpr(i) for i in range(8, 11))
COLUMN_WORDS = tl.constexpr(8 + 3 * rows.MOST_LEVELS)
MOST_LEVELS = tl.constexpr(rows.MOST_LEVELS)
# The item size that asks for the mask.
MASK = tl.constexpr(0)


@triton.jit
def store_items(values, out, item_bytes, b_item, o_n, padding, m_there, m_n):
    if item_bytes == 8:
        b_8 = tl.load(values.to(tl.pointer_type(tl.int64)) + b_item, mask=m_there, other=0)
        tl.store(out.to(tl.pointer_type(tl.int64)) + o_n, tl.where(m_there, b_8, padding), mask=m_n)
    elif item_bytes == 4:
        b_4 = tl.load(values.to(tl.pointer_type(tl.int32)) + b_item, mask=m_there, other=0)
        tl.store(out.to(tl.pointer_type(tl.int32)) + o_n, tl.where(m_there, b_4, padding.to(tl.int32)), mask=m_n)
    elif item_bytes == 2:
        b_2 = tl.load(values.to(tl.pointer_type(tl.int16)) + b_item, mask=m_there, other=0)
        tl.store(out.to(tl.pointer_type(tl.int16)) + o_n, tl.where(m_there, b_2, padding.to(tl.int16)), mask=m_n)
    elif item_bytes == 1:
        b_1 = tl.load(values.to(tl.pointer_type(tl.int8)) + b_item, mask=m_there, other=0)
        tl.store(out.to(tl.pointer_type(tl.int8)) + o_n, tl.where(m_there, b_1, padding.to(tl.int8)), mask=m_n)
    else:
        tl.store(out.to(tl.pointer_type(tl.float32)) + o_n, m_there.to(tl.float32), mask=m_n)


@triton.jit
def divided(first, by, BLOCK_N: tl.constexpr):
    """Quotients and rests of first, first + 1, ...; int64 [BLOCK_N]. Divided in 32 bits where that is enough: it takes far less."""
    o_n = tl.arange(0, BLOCK_N)
    b_quotient = tl.zeros([BLOCK_N], tl.int64)
    b_rest = b_quotient
    if by < 2**31:
        b_short = (first % by).to(tl.uint32) + o_n.to(tl.uint32)
        b_quotient = (b_short // by.to(tl.uint32)).to(tl.int64)
        b_rest = b_short.to(tl.int64) - b_quotient * by
        b_quotient += first // by
    else:
        b_quotient = (first + o_n) // by
        b_rest = (first + o_n) % by
    return b_quotient, b_rest


@triton.jit
def pad_kernel(columns, BLOCK_N: tl.constexpr):
    p_column = columns + tl.program_id(1) * COLUMN_WORDS
    count = tl.load(p_column + COUNT)
    first = tl.program_id(0).to(tl.int64) * BLOCK_N
    if first < count:
        o_n = first + tl.arange(0, BLOCK_N)  # [BLOCK_N]
        m_n = o_n < count
        num_levels = tl.load(p_column + NUM_LEVELS)
        keeps_tail = tl.load(p_column + KEEPS_TAIL)
        fills_begin = tl.load(p_column + FILLS_BEGIN)
        row_items = tl.load(p_column + LENGTH) * tl.load(p_column + BELOW)
        # From a place to the list it lies in, level by level.
        b_element, b_rest = divided(first, row_items, BLOCK_N)
        m_there = m_n
        for level in tl.static_range(MOST_LEVELS):
            if level < num_levels:
                p_level = p_column + 3 * level
                offsets = rows.pointer_at(p_level + OFFSETS, tl.int64)
                length = tl.load(p_level + LENGTH)
                below = tl.load(p_level + BELOW)
                b_place = b_rest
                if below != 1:
                    b_place = b_rest // below
                    b_rest = b_rest % below
                else:
                    b_rest = tl.zeros([BLOCK_N], tl.int64)
                b_begin = tl.load(offsets + b_element, mask=m_there, other=0)
                b_size = tl.load(offsets + b_element + 1, mask=m_there, other=0) - b_begin
                b_count = tl.minimum(b_size, length)
                b_place -= fills_begin * (length - b_count)
                m_there = m_there & (b_place >= 0) & (b_place < b_count)
                b_element = b_begin + keeps_tail * (b_size - b_count) + b_place
        values = tl.load(p_column + VALUES)
        out = tl.load(p_column + OUT)
        store_items(values, out, tl.load(p_column + ITEM_BYTES), b_element, o_n, tl.load(p_column + PADDING), m_there, m_n)


def pad_rows(values: list[Tensor], offsets: list[Tensor], columns: Tensor, mask: bool = False) -> list[Tensor]:
    """CUDA body of the operator; see `op.py`. No host synchronisation, one launch. Offsets are trusted."""
    parameters = rows.parameters_of(columns, columns.shape[0] if mask else len(values), 7)
    rows.check((mask and not values) or len(values) == len(parameters), f"values: {len(values)} tensors for {len(parameters)} columns")
    rows.check_items(values, [])
    levels = rows.levels_of(offsets, [one[0] for one in parameters])
    table, outputs = [], []
    for column, (num_levels, *lengths, kept, side, padding) in enumerate(parameters):
        rows.check(min(lengths[:num_levels]) >= 0, f"columns: column {column} is to have lists of negative length")
        rows.check(kept in (0, 1), f"columns: column {column} keeps side {kept}, but must keep 0 (head) or 1 (tail)")
        rows.check(side in (0, 1), f"columns: column {column} is filled on side {side}, but must on 0 (right) or 1 (left)")
        words, below = [0] * (3 * rows.MOST_LEVELS), 1
        for level in range(num_levels - 1, -1, -1):
            words[3 * level : 3 * level + 3] = [levels[column][level].data_ptr(), lengths[level], below]
            below *= lengths[level]
        count = (levels[column][0].numel() - 1) * below
        like = levels[column][0] if mask else values[column]
        outputs.append(like.new_empty(count, dtype=torch.float32 if mask else like.dtype))
        source, size = (0, MASK.value) if mask else (values[column].data_ptr(), values[column].element_size())
        table.append([source, outputs[-1].data_ptr(), size, count, num_levels, kept, side, padding, *words])
    if any(out.numel() > 0 for out in outputs):
        pad_kernel[rows.grid_of([out.numel() for out in outputs])](rows.device_table(table, offsets[0].device), **rows.LANES)
    return outputs
