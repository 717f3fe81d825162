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
    FIRST_SLICE,
    HEADER_WORDS,
    IDS_PER_LINE,
    MOST_INT64,
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
    read_line,
    row_in,
    row_pointer,
)

REBUILD = tl.constexpr(id_map.REBUILD)
# Lines a program, which is one warp, takes at once: one a lane.
BLOCK_LINES = id_map_triton.WARP_SIZE
MOST_INT32 = tl.constexpr(2**31 - 1)
# Programs that share out the lines of a range, and how many lines are worth one.
MOST_PARTS = 4096
LINES_OF_A_PART = 64


@triton.jit
def ranges_of(headers, table):
    """Return the first range of a table and how many it has."""
    p_header = headers + table * HEADER_WORDS
    return tl.load(p_header + FIRST_RANGE), tl.full([], 1, tl.int64) << tl.load(p_header + RANGE_BITS)


@triton.jit
def word_pointers(first, at, num_lines, BLOCK_L: tl.constexpr):
    """Return which words BLOCK_L lines of a range have, [BLOCK_L, 8], from its line `at` on, and which of these are the range's."""
    o_l = at + tl.arange(0, BLOCK_L)
    return (first + o_l)[:, None] * WORDS_PER_LINE + tl.arange(0, WORDS_PER_LINE)[None, :], (o_l < num_lines)[:, None]


@triton.jit
def key_in(b_0, b_1, b_2, b_3, b_4, slot):
    return tl.where(slot < 2, tl.where(slot == 0, b_0, b_1), tl.where(slot == 2, b_2, tl.where(slot == 3, b_3, b_4)))


@triton.jit
def header_of(headers, table):
    """Return of a table's header what `home_of` takes."""
    p_header = headers + table * HEADER_WORDS
    return (
        tl.load(p_header + SALT), tl.load(p_header + FIRST_SLICE), tl.load(p_header + SLICE_SCALE), tl.load(p_header + RANGE_BITS),
        tl.load(p_header + FIRST_RANGE),
    )  # fmt: skip


@triton.jit
def count_lines(lines, ranges, salt, slice, scale, bits, first_range, first, at, num_lines, living, BLOCK_L: tl.constexpr):
    """Add the living ids of lines from `at` on to `living` of the ranges they go to: neighbours mostly go to one."""
    o_l = at + tl.arange(0, BLOCK_L)
    b_0, b_1, b_2, b_3, b_4, b_5, b_6, b_7 = read_line(lines, first + o_l, o_l < num_lines)
    for slot in range(IDS_PER_LINE):
        b_ids = key_in(b_0, b_1, b_2, b_3, b_4, slot)
        lives = (b_ids != EMPTY) & (row_in(b_5, b_6, b_7, slot) != NO_ROW)
        b_range = home_of(ranges, b_ids, salt, slice, scale, bits, first_range)[0].to(tl.int32)
        least = tl.min(tl.where(lives, b_range, MOST_INT32), axis=0)
        near = lives & (b_range == least)
        num_near = tl.sum(near.to(tl.int32), axis=0)
        if num_near > 0:
            tl.atomic_add(living + least, num_near.to(tl.int64), sem="relaxed", scope="gpu")
        tl.atomic_add(living + b_range, tl.full([BLOCK_L], 1, tl.int64), mask=lives & ~near, sem="relaxed", scope="gpu")


@triton.jit
def save_kernel(lines, headers, ranges, old_headers, old_ranges, saved, living, BLOCK_L: tl.constexpr):
    """Copy the old lines of ranges that move to `saved`, at their own places; add to `living` how many ids each new range is to take."""
    table = tl.program_id(0)
    part, num_parts = tl.program_id(1), tl.num_programs(1)
    new, num_new = ranges_of(headers, table)
    salt, slice, scale, bits, first_range = header_of(headers, table)
    old, num_old = ranges_of(old_headers, table)
    divides = num_new != num_old
    index = tl.zeros([], tl.int64)
    while index < num_old:
        # A range rebuilt by itself keeps its ids; only a table that changes its ranges must sort them out.
        mark = tl.load(ranges + (new + index) * RANGE_WORDS + NUM_KEYS, mask=index < num_new, other=REBUILD)
        if divides | (mark == REBUILD):
            p_old = old_ranges + (old + index) * RANGE_WORDS
            first, num_lines = tl.load(p_old + FIRST_LINE), tl.load(p_old + NUM_LINES).to(tl.int32)
            at = part * BLOCK_L
            while at < num_lines:
                o_w, m_w = word_pointers(first, at, num_lines, BLOCK_L)
                tl.store(saved + o_w, tl.load(lines + o_w, mask=m_w, other=EMPTY), mask=m_w)
                if divides:
                    count_lines(lines, ranges, salt, slice, scale, bits, first_range, first, at, num_lines, living, BLOCK_L)
                at += num_parts * BLOCK_L
            if (part == 0) & (divides == 0):
                num_keys = tl.load(p_old + NUM_KEYS)
                # Nobody counted the keys of a range that was refused before.
                num_living = tl.where(num_keys == REBUILD, MOST_INT64, num_keys - tl.load(p_old + NUM_DEAD))
                tl.store(living + new + index, num_living)
        index += 1


@triton.jit
def empty_kernel(lines, headers, ranges, old_headers, living, moves, BLOCK_L: tl.constexpr):
    """Empty the lines of ranges that move, and say in `moves` which those are: none of a table whose ids do not fit."""
    table = tl.program_id(0)
    part, num_parts = tl.program_id(1), tl.num_programs(1)
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
            first, num_lines = tl.load(p_range + FIRST_LINE), tl.load(p_range + NUM_LINES).to(tl.int32)
            at = part * BLOCK_L
            while at < num_lines:
                o_w, m_w = word_pointers(first, at, num_lines, BLOCK_L)
                tl.store(lines + o_w, tl.full([BLOCK_L, WORDS_PER_LINE], EMPTY, tl.int64), mask=m_w)
                at += num_parts * BLOCK_L
            if part == 0:
                tl.store(moves + new + index, 1)
        index += 1


@triton.jit
def insert_lines(lines, ranges, salt, slice, scale, bits, first_range, saved, first, at, num_lines, BLOCK_L: tl.constexpr):
    """Insert the living ids of lines of `saved`, slot by slot: ids of one line go to one another's neighbours, and would meet there."""
    o_l = at + tl.arange(0, BLOCK_L)
    b_0, b_1, b_2, b_3, b_4, b_5, b_6, b_7 = read_line(saved, first + o_l, o_l < num_lines)
    for slot in range(IDS_PER_LINE):
        b_ids, b_row = key_in(b_0, b_1, b_2, b_3, b_4, slot), row_in(b_5, b_6, b_7, slot)
        lives = (b_ids != EMPTY) & (b_row != NO_ROW)
        _b_range, b_first, b_num_lines, b_line, b_jump = home_of(ranges, b_ids, salt, slice, scale, bits, first_range)
        b_place = claim_places(lines, b_ids, b_first, b_num_lines, b_line, b_jump, lives)[0]
        tl.store(row_pointer(lines, b_place), b_row, mask=lives)


@triton.jit
def insert_kernel(lines, headers, ranges, old_headers, old_ranges, saved, living, moves, BLOCK_L: tl.constexpr):
    """Insert the living ids of `saved` into the ranges that move; write their counts."""
    table = tl.program_id(0)
    part, num_parts = tl.program_id(1), tl.num_programs(1)
    new, num_new = ranges_of(headers, table)
    salt, slice, scale, bits, first_range = header_of(headers, table)
    old, num_old = ranges_of(old_headers, table)
    index = tl.zeros([], tl.int64)
    while index < num_old:
        # All ranges of a table that changes its ranges move, or none.
        if tl.load(moves + new + tl.where(num_new == num_old, index, 0)) == 1:
            p_old = old_ranges + (old + index) * RANGE_WORDS
            first, num_lines = tl.load(p_old + FIRST_LINE), tl.load(p_old + NUM_LINES).to(tl.int32)
            at = part * BLOCK_L
            while at < num_lines:
                insert_lines(lines, ranges, salt, slice, scale, bits, first_range, saved, first, at, num_lines, BLOCK_L)
                at += num_parts * BLOCK_L
        index += 1
    index = part.to(tl.int64)
    while index < num_new:
        if tl.load(moves + new + index) == 1:
            tl.store(ranges + (new + index) * RANGE_WORDS + NUM_KEYS, tl.load(living + new + index))
            tl.store(ranges + (new + index) * RANGE_WORDS + NUM_DEAD, tl.zeros([], tl.int64))
        index += num_parts


def rehash_(lines: Tensor, headers: Tensor, ranges: Tensor, old_headers: Tensor, old_ranges: Tensor) -> None:
    """CUDA body of the operator; see `op.py`. No host synchronisation. 3 launches of ours, 1 fill of 16 bytes a range by torch.

    A range rebuilt by itself is taken to have the ids that `old_ranges` counts; one that was refused before is refused again.
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
    options = {"BLOCK_L": BLOCK_LINES, "num_warps": 1, "enable_fp_fusion": False}
    save_kernel[grid](lines, headers, ranges, old_headers, old_ranges, saved, living, **options)
    empty_kernel[grid](lines, headers, ranges, old_headers, living, moves, **options)
    insert_kernel[grid](lines, headers, ranges, old_headers, old_ranges, saved, living, moves, **options)
