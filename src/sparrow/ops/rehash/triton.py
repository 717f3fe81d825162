"""`rehash_` on a GPU: set the lines of the ranges that move aside, empty the new ones, insert the living ids. Three kernels.

A table has several programs, which share out the lines of each of its ranges; ranges that stay cost one load. Ids are inserted as
`find_or_insert_` does, by compare-and-swap, thousands at a time, so the order of ids that meet in a line, and which of them overflow,
depends on the schedule; what the format promises does not: ids lie on their paths without a gap, rows stay beside them.

The host cannot be told of a table whose ids do not fit: that table is left as it was, its marks in `ranges` stay.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops import id_map, id_map_triton
from sparrow.ops.id_map_triton import (
    EMPTY,
    FIRST_LINE,
    FIRST_RANGE,
    FIRST_ROW_INT32,
    FIRST_SLICE,
    HEADER_WORDS,
    IDS_PER_LINE,
    NO_ROW,
    NUM_DEAD,
    NUM_KEYS,
    NUM_LINES,
    RANGE_BITS,
    RANGE_WORDS,
    SALT,
    SLICE_SCALE,
    WORDS_PER_LINE,
    claim_places,
    home_of,
    row_pointer,
)

REBUILD = tl.constexpr(id_map.REBUILD)
BLOCK_LINES = 64
BLOCK_SLOTS = 128
# Programs that share out the lines of a range, and how many lines are worth one.
MOST_PARTS = 256
LINES_OF_A_PART = 512


@triton.jit
def ranges_of(headers, table):
    """Return the first range of a table and how many it has."""
    p_header = headers + table * HEADER_WORDS
    return tl.load(p_header + FIRST_RANGE), tl.full([], 1, tl.int64) << tl.load(p_header + RANGE_BITS)


@triton.jit
def living_slots(lines, o_k, m_k):
    """Return the ids and rows in slots `o_k` of consecutive lines, and which of them are living ids."""
    o_line = o_k // IDS_PER_LINE
    o_slot = o_k - o_line * IDS_PER_LINE
    p_rows = lines.to(tl.pointer_type(tl.int32), bitcast=True)
    b_ids = tl.load(lines + o_line * WORDS_PER_LINE + o_slot, mask=m_k, other=EMPTY)
    b_row = tl.load(p_rows + o_line * (2 * WORDS_PER_LINE) + FIRST_ROW_INT32 + o_slot, mask=m_k, other=NO_ROW)
    return b_ids, b_row, (b_ids != EMPTY) & (b_row != NO_ROW)


@triton.jit
def save_kernel(lines, headers, ranges, old_headers, old_ranges, saved, living, BLOCK_L: tl.constexpr, BLOCK_N: tl.constexpr):
    """Copy the old lines of ranges that move to `saved`, at their own places; add to `living` how many ids each new range is to take."""
    table = tl.program_id(0)
    part, num_parts = tl.program_id(1).to(tl.int64), tl.num_programs(1)
    new, num_new = ranges_of(headers, table)
    old, num_old = ranges_of(old_headers, table)
    divides = num_new != num_old
    index = tl.zeros([], tl.int64)
    while index < num_old:
        # A range rebuilt by itself keeps its ids; only a table that changes its ranges must sort them out.
        mark = tl.load(ranges + (new + index) * RANGE_WORDS + NUM_KEYS, mask=index < num_new, other=REBUILD)
        if divides | (mark == REBUILD):
            first = tl.load(old_ranges + (old + index) * RANGE_WORDS + FIRST_LINE)
            num_lines = tl.load(old_ranges + (old + index) * RANGE_WORDS + NUM_LINES)
            at = part * BLOCK_L
            while at < num_lines:
                o_l = at + tl.arange(0, BLOCK_L)
                o_w = (first + o_l)[:, None] * WORDS_PER_LINE + tl.arange(0, WORDS_PER_LINE)[None, :]
                m_w = (o_l < num_lines)[:, None]
                tl.store(saved + o_w, tl.load(lines + o_w, mask=m_w, other=EMPTY), mask=m_w)
                at += num_parts * BLOCK_L
            at = part * BLOCK_N
            while at < num_lines * IDS_PER_LINE:
                o_k = at + tl.arange(0, BLOCK_N)
                b_ids, _, lives = living_slots(lines + first * WORDS_PER_LINE, o_k, o_k < num_lines * IDS_PER_LINE)
                if divides:
                    b_range = home_of(headers, ranges, b_ids, tl.zeros([BLOCK_N], tl.int32) + table)[0]
                    tl.atomic_add(living + b_range, tl.full([BLOCK_N], 1, tl.int64), mask=lives, sem="relaxed", scope="gpu")
                else:
                    tl.atomic_add(living + new + index, tl.sum(lives.to(tl.int64), axis=0), sem="relaxed", scope="gpu")
                at += num_parts * BLOCK_N
        index += 1


@triton.jit
def empty_kernel(lines, headers, ranges, old_headers, living, moves, BLOCK_L: tl.constexpr):
    """Empty the lines of ranges that move, and say in `moves` which those are: none of a table whose ids do not fit."""
    table = tl.program_id(0)
    part, num_parts = tl.program_id(1).to(tl.int64), tl.num_programs(1)
    new, num_new = ranges_of(headers, table)
    _, num_old = ranges_of(old_headers, table)
    divides = num_new != num_old
    p_new, p_old = headers + table * HEADER_WORDS, old_headers + table * HEADER_WORDS
    fits = (
        (tl.load(p_new + SALT) == tl.load(p_old + SALT))
        & (tl.load(p_new + FIRST_SLICE) == tl.load(p_old + FIRST_SLICE))
        & (tl.load(p_new + SLICE_SCALE) == tl.load(p_old + SLICE_SCALE))
    )
    index = tl.zeros([], tl.int64)
    while index < num_new:
        p_range = ranges + (new + index) * RANGE_WORDS
        marked = tl.load(p_range + NUM_KEYS) == REBUILD
        has_room = tl.load(living + new + index) <= tl.load(p_range + NUM_LINES) * IDS_PER_LINE
        fits = fits & (has_room | (marked == 0)) & (marked | (divides == 0))
        index += 1
    index = tl.zeros([], tl.int64)
    while index < num_new:
        p_range = ranges + (new + index) * RANGE_WORDS
        if fits & (tl.load(p_range + NUM_KEYS) == REBUILD):
            first, num_lines = tl.load(p_range + FIRST_LINE), tl.load(p_range + NUM_LINES)
            at = part * BLOCK_L
            while at < num_lines:
                o_l = at + tl.arange(0, BLOCK_L)
                o_w = (first + o_l)[:, None] * WORDS_PER_LINE + tl.arange(0, WORDS_PER_LINE)[None, :]
                tl.store(lines + o_w, tl.full([BLOCK_L, WORDS_PER_LINE], EMPTY, tl.int64), mask=(o_l < num_lines)[:, None])
                at += num_parts * BLOCK_L
            if part == 0:
                tl.store(moves + new + index, 1)
        index += 1


@triton.jit
def insert_kernel(lines, headers, ranges, old_headers, old_ranges, saved, living, moves, BLOCK_N: tl.constexpr):
    """Insert the living ids of `saved` into the ranges that move; write their counts."""
    table = tl.program_id(0)
    part, num_parts = tl.program_id(1).to(tl.int64), tl.num_programs(1)
    new, num_new = ranges_of(headers, table)
    old, num_old = ranges_of(old_headers, table)
    index = tl.zeros([], tl.int64)
    while index < num_old:
        # All ranges of a table that changes its ranges move, or none.
        if tl.load(moves + new + tl.where(num_new == num_old, index, 0)) == 1:
            first = tl.load(old_ranges + (old + index) * RANGE_WORDS + FIRST_LINE)
            num_slots = tl.load(old_ranges + (old + index) * RANGE_WORDS + NUM_LINES) * IDS_PER_LINE
            at = part * BLOCK_N
            while at < num_slots:
                o_k = at + tl.arange(0, BLOCK_N)
                b_ids, b_row, lives = living_slots(saved + first * WORDS_PER_LINE, o_k, o_k < num_slots)
                _b_range, b_first, b_num_lines, b_line, b_jump = home_of(headers, ranges, b_ids, tl.zeros([BLOCK_N], tl.int32) + table)
                b_place = claim_places(lines, b_ids, b_first, b_num_lines, b_line, b_jump, lives)[0]
                tl.store(row_pointer(lines, b_place), b_row, mask=lives)
                at += num_parts * BLOCK_N
        index += 1
    index = part
    while index < num_new:
        if tl.load(moves + new + index) == 1:
            tl.store(ranges + (new + index) * RANGE_WORDS + NUM_KEYS, tl.load(living + new + index))
            tl.store(ranges + (new + index) * RANGE_WORDS + NUM_DEAD, tl.zeros([], tl.int64))
        index += num_parts


def rehash_(lines: Tensor, headers: Tensor, ranges: Tensor, old_headers: Tensor, old_ranges: Tensor) -> None:
    """CUDA body of the operator; see `op.py`. No host synchronisation. 3 launches of ours, 1 fill of 16 bytes a range by torch.

    Scratch: as large as `lines`, of which only the old lines of ranges that move are touched: the host does not know how many.
    """
    id_map_triton.check_map(lines, headers, ranges)
    id_map_triton.check_map(lines, old_headers, old_ranges)
    if headers.shape[0] != old_headers.shape[0]:
        raise RuntimeError("headers and old_headers must describe the same tables")
    num_tables = headers.shape[0]
    if num_tables == 0:
        return
    saved = torch.empty_like(lines)
    num_ranges = ranges.shape[0] + ranges.shape[0] % 2  # even: both begin at a multiple of 16 bytes
    living, moves = torch.zeros(2, num_ranges, dtype=torch.int64, device=lines.device).unbind(0)
    grid = (num_tables, min(MOST_PARTS, triton.cdiv(lines.shape[0], old_ranges.shape[0] * LINES_OF_A_PART)))
    save_kernel[grid](
        lines, headers, ranges, old_headers, old_ranges, saved, living, BLOCK_L=BLOCK_LINES, **id_map_triton.lanes(BLOCK_SLOTS)
    )
    empty_kernel[grid](lines, headers, ranges, old_headers, living, moves, BLOCK_L=BLOCK_LINES)
    insert_kernel[grid](lines, headers, ranges, old_headers, old_ranges, saved, living, moves, **id_map_triton.lanes(BLOCK_SLOTS))
