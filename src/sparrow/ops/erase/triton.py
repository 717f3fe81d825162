"""`erase_` on a GPU: two kernels, so that of several positions that erase an id the first gets its row, whatever the schedule.

1. `mark_kernel` finds each id and lowers its row to the pending value of the position (`FIRST_PENDING`); the one lane that saw the row
   itself keeps it.
2. `release_kernel`: that lane gives the row to the first position and marks the key as erased. A key has one such lane: no race.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops import id_map_triton
from sparrow.ops.id_map_triton import (
    EMPTY,
    FIRST_PENDING,
    HEADER_WORDS,
    NO_ROW,
    NUM_DEAD,
    RANGE_WORDS,
    SIDE_PLACE,
    SIDE_ROW,
    any_of,
    find_places,
    homes_of,
    row_pointer,
    tables_of,
    tables_of_block,
)


@triton.jit(do_not_specialize=["num_ids", "num_tables"])
def mark_kernel(
    lines, headers, ranges, ids, table_offsets, rows, places, held, num_ids, num_tables, TABLE_BITS: tl.constexpr, BLOCK_N: tl.constexpr
):  # fmt: skip
    begin = tl.program_id(0) * BLOCK_N
    o_n = tl.max_contiguous(begin + tl.arange(0, BLOCK_N), 1)  # [BLOCK_N], a lane's are 32 apart
    end = tl.minimum(tl.load(table_offsets + num_tables), num_ids).to(tl.int32)
    m_n = o_n < end
    b_ids = tl.load(ids + o_n, mask=m_n, other=EMPTY)
    first_table, last_table = tables_of_block(table_offsets, begin, end, num_tables, TABLE_BITS, BLOCK_N)
    b_table, b_range, b_first, b_num_lines, b_line, b_jump = homes_of(
        headers, ranges, table_offsets, b_ids, o_n, first_table, last_table, num_tables, TABLE_BITS
    )
    b_place, b_row = find_places(lines, b_ids, b_first, b_num_lines, b_line, b_jump, m_n & (b_ids != EMPTY))
    # A row is one of a living id here, or pending already; of an id erased before it stays NO_ROW throughout.
    lives = (b_place >= 0) & (b_row != NO_ROW)
    b_old = tl.atomic_min(row_pointer(lines, b_place), o_n + FIRST_PENDING, mask=lives, sem="relaxed", scope="gpu")
    b_held = tl.where(lives & (b_old >= 0), b_old, NO_ROW)
    dies = b_held >= 0
    tl.atomic_add(ranges + b_range * RANGE_WORDS + NUM_DEAD, tl.full([BLOCK_N], 1, tl.int64), mask=dies, sem="relaxed", scope="gpu")

    side = m_n & (b_ids == EMPTY)
    if any_of(side):
        p_side = headers + b_table.to(tl.int64) * HEADER_WORDS + SIDE_ROW
        lives = side & (tl.load(p_side, mask=side, other=NO_ROW) != NO_ROW)
        b_old_side = tl.atomic_min(p_side, (o_n + FIRST_PENDING).to(tl.int64), mask=lives, sem="relaxed", scope="gpu")
        b_held = tl.where(lives & (b_old_side >= 0), b_old_side.to(tl.int32), b_held)
    tl.store(rows + o_n, tl.full([BLOCK_N], NO_ROW, tl.int32), mask=o_n < num_ids)
    tl.store(places + o_n, tl.where(side, SIDE_PLACE, b_place), mask=o_n < num_ids)
    tl.store(held + o_n, b_held, mask=o_n < num_ids)


@triton.jit(do_not_specialize=["num_ids", "num_tables"])
def release_kernel(
    lines, headers, table_offsets, rows, places, held, num_ids, num_tables, TABLE_BITS: tl.constexpr, BLOCK_N: tl.constexpr
):  # fmt: skip
    o_n = tl.max_contiguous(tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N), 1)  # [BLOCK_N]
    b_held = tl.load(held + o_n, mask=o_n < num_ids, other=NO_ROW)
    b_place = tl.load(places + o_n, mask=b_held >= 0, other=0)
    in_line = (b_held >= 0) & (b_place >= 0)
    in_header = (b_held >= 0) & (b_place == SIDE_PLACE)
    p_row = row_pointer(lines, b_place)
    b_pending = tl.load(p_row, mask=in_line, other=0)
    tl.store(p_row, tl.full([BLOCK_N], NO_ROW, tl.int32), mask=in_line)
    if any_of(in_header):
        p_side = headers + tables_of(table_offsets, o_n, num_tables, TABLE_BITS).to(tl.int64) * HEADER_WORDS + SIDE_ROW
        b_pending = tl.where(in_header, tl.load(p_side, mask=in_header, other=0).to(tl.int32), b_pending)
        tl.store(p_side, tl.full([BLOCK_N], NO_ROW, tl.int64), mask=in_header)
    tl.store(rows + (b_pending - FIRST_PENDING), b_held, mask=b_held >= 0)


def erase_(lines: Tensor, headers: Tensor, ranges: Tensor, ids: Tensor, table_offsets: Tensor) -> Tensor:
    """CUDA body of the operator; see `op.py`. No host synchronisation. 2 launches of ours."""
    id_map_triton.check_map(lines, headers, ranges)
    id_map_triton.check_ids(ids, table_offsets, headers)
    num_ids, num_tables = ids.numel(), headers.shape[0]
    rows = torch.empty(num_ids, dtype=torch.int32, device=ids.device)
    if num_ids == 0:
        return rows
    held, places = torch.empty_like(rows), torch.empty_like(ids)
    grid = (triton.cdiv(num_ids, id_map_triton.BLOCK),)
    warp, bits = id_map_triton.warp(id_map_triton.BLOCK), id_map_triton.table_bits(num_tables)
    mark_kernel[grid](lines, headers, ranges, ids, table_offsets, rows, places, held, num_ids, num_tables, TABLE_BITS=bits, **warp)
    release_kernel[grid](lines, headers, table_offsets, rows, places, held, num_ids, num_tables, TABLE_BITS=bits, **warp)
    return rows
