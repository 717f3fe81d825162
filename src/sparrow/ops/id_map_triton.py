"""The id map on a GPU: the device functions and the checks its Triton operators share. `ops/id_map.py` describes the tensors.

Memory model: within a kernel a word of `lines` changes only from `EMPTY` to an id, by one compare-and-swap that is itself the
publication of the id; rows change only in ways their kernel states. So a stale load can show an empty slot that is taken already,
and nothing worse: the swap that follows fails and returns the truth. No lane waits for another, and nothing is ordered within a
kernel: what needs everybody's work done is a kernel of its own.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops import id_map

# 64-bit constants in signed form: the interpreter refuses unsigned literals.
EMPTY = tl.constexpr(id_map.EMPTY)
MULTIPLIER_1 = tl.constexpr(0xBF58476D1CE4E5B9 - 2**64)
MULTIPLIER_2 = tl.constexpr(0x94D049BB133111EB - 2**64)
MOST_INT64 = tl.constexpr(2**63 - 1)
IDS_PER_LINE = tl.constexpr(id_map.IDS_PER_LINE)
WORDS_PER_LINE = tl.constexpr(id_map.WORDS_PER_LINE)
FIRST_ROW_INT32 = tl.constexpr(id_map.FIRST_ROW_INT32)
JUMP_LINES = tl.constexpr(id_map.JUMP_LINES)
HEADER_WORDS = tl.constexpr(id_map.HEADER_WORDS)
FIRST_RANGE = tl.constexpr(id_map.HEADER_FIRST_RANGE)
RANGE_BITS = tl.constexpr(id_map.HEADER_RANGE_BITS)
SALT = tl.constexpr(id_map.HEADER_SALT)
SIDE_ROW = tl.constexpr(id_map.HEADER_SIDE_ROW)
FIRST_SLICE = tl.constexpr(id_map.HEADER_FIRST_SLICE)
SLICE_SCALE = tl.constexpr(id_map.HEADER_SLICE_SCALE)
RANGE_WORDS = tl.constexpr(4)
FIRST_LINE = tl.constexpr(id_map.RANGE_FIRST_LINE)
NUM_LINES = tl.constexpr(id_map.RANGE_NUM_LINES)
NUM_KEYS = tl.constexpr(id_map.RANGE_NUM_KEYS)
NUM_DEAD = tl.constexpr(id_map.RANGE_NUM_DEAD)
NO_ROW = tl.constexpr(id_map.NO_ROW)
# A place is the int64 word of `lines` where a key lies; or one of these.
NO_PLACE = tl.constexpr(-1)
SIDE_PLACE = tl.constexpr(-2)
# A row that waits for the position p, of those that ask for its id in one call the first, is FIRST_PENDING + p: below every row and
# NO_ROW, and of two positions the lesser has the lesser value, so that `tl.atomic_min` finds it.
FIRST_PENDING = tl.constexpr(-(2**31) + 1)
# Up to 2^FEW_TABLE_BITS tables are looked at by all lanes at once.
FEW_TABLE_BITS = tl.constexpr(6)
# Ids a program looks up. It is one warp, so that a loop over probes waits for no other; a line is four loads of 16 bytes of a lane.
BLOCK = 64
WARP_SIZE = 64 if torch.version.hip else 32


@triton.jit
def shift_right(x, BITS: tl.constexpr):
    return (x >> BITS) & ((1 << (64 - BITS)) - 1)


@triton.jit
def mix(b_ids, b_salts):
    x = b_ids ^ b_salts
    x = (x ^ shift_right(x, 30)) * MULTIPLIER_1
    x = (x ^ shift_right(x, 27)) * MULTIPLIER_2
    return x ^ shift_right(x, 31)


@triton.jit
def any_of(m_n):
    """Return whether any lane is set, as a scalar: control flow is a program's, not a lane's."""
    return tl.max(m_n.to(tl.int32), axis=0) > 0


@triton.jit
def tables_of(table_offsets, o_n, num_tables, TABLE_BITS: tl.constexpr):
    """Return the table of each position, int32: the last that begins at or before it. `table_bits` gives TABLE_BITS."""
    b_table = tl.zeros_like(o_n).to(tl.int32)
    for bit in tl.static_range(TABLE_BITS):
        b_next = b_table + (1 << (TABLE_BITS - 1 - bit))
        b_begin = tl.load(table_offsets + b_next, mask=b_next < num_tables, other=MOST_INT64)
        b_table = tl.where(b_begin <= o_n, b_next, b_table)
    return b_table


@triton.jit
def tables_between(table_offsets, first, last, num_tables, TABLE_BITS: tl.constexpr):
    """Return the tables of two positions, scalars, int32: between them lie those of all positions in between."""
    if TABLE_BITS <= FEW_TABLE_BITS:
        # All lanes look at all tables at once; a search by halves waits for each of its loads.
        o_t = tl.arange(0, 1 << TABLE_BITS)
        b_begin = tl.load(table_offsets + o_t, mask=o_t < num_tables, other=MOST_INT64)
        return tl.sum((b_begin <= first).to(tl.int32), axis=0) - 1, tl.sum((b_begin <= last).to(tl.int32), axis=0) - 1
    else:
        b_table = tables_of(table_offsets, tl.where(tl.arange(0, 2) == 0, first, last), num_tables, TABLE_BITS)
        return tl.min(b_table, axis=0), tl.max(b_table, axis=0)


@triton.jit
def tables_of_block(table_offsets, begin, end, num_tables, TABLE_BITS: tl.constexpr, BLOCK_N: tl.constexpr):
    """Return the tables of the first and the last id of a program, which has those from `begin` that lie before `end`; table 0 of none."""
    last = tl.maximum(tl.minimum(begin + BLOCK_N, end) - 1, 0)
    return tables_between(table_offsets, tl.minimum(begin, last), last, num_tables, TABLE_BITS)


@triton.jit
def homes_of(headers, ranges, table_offsets, b_ids, o_n, first_table, last_table, num_tables, TABLE_BITS: tl.constexpr):
    """Return the table of each id, and what `home_of` does. Most programs have ids of one table, whose header is read once."""
    b_table = tl.zeros(b_ids.shape, tl.int32) + first_table
    p_header = headers + first_table.to(tl.int64) * HEADER_WORDS
    b_zero = tl.zeros(b_ids.shape, tl.int64)
    b_salt, b_scale = b_zero + tl.load(p_header + SALT), b_zero + tl.load(p_header + SLICE_SCALE)
    b_slice, b_bits = b_zero + tl.load(p_header + FIRST_SLICE), b_zero + tl.load(p_header + RANGE_BITS)
    b_first_range = b_zero + tl.load(p_header + FIRST_RANGE)
    if first_table < last_table:
        b_table = tables_of(table_offsets, o_n, num_tables, TABLE_BITS)
        b_header = headers + b_table.to(tl.int64) * HEADER_WORDS
        b_salt, b_scale = tl.load(b_header + SALT), tl.load(b_header + SLICE_SCALE)
        b_slice, b_bits, b_first_range = tl.load(b_header + FIRST_SLICE), tl.load(b_header + RANGE_BITS), tl.load(b_header + FIRST_RANGE)
    b_range, b_first, b_num_lines, b_line, b_jump = home_of(ranges, b_ids, b_salt, b_slice, b_scale, b_bits, b_first_range)
    return b_table, b_range, b_first, b_num_lines, b_line, b_jump


@triton.jit
def home_of(ranges, b_ids, b_salt, b_slice, b_scale, b_bits, b_first_range):
    """Return the range of each id, int64; the range's first line, int64, and number of lines; the id's home line in it, and its jump.

    The others are of the table's header, int64. A range has fewer than 2^31 lines: what counts within one is int32.
    """
    b_mixed = mix(b_ids, b_salt)
    b_fraction = shift_right((shift_right(b_mixed, 32) - (b_slice << 16)) * b_scale, 32)
    b_parts = b_fraction << b_bits
    b_range = b_first_range + shift_right(b_parts, 32)
    p_range = ranges + b_range * RANGE_WORDS
    b_num_lines = tl.load(p_range + NUM_LINES)
    # A product of two words of 32 bits is one instruction.
    b_line = (b_parts.to(tl.uint32).to(tl.uint64) * b_num_lines.to(tl.uint32).to(tl.uint64) >> 32).to(tl.int32)
    return b_range, tl.load(p_range + FIRST_LINE), b_num_lines.to(tl.int32), b_line, 1 + (b_mixed.to(tl.int32) & (JUMP_LINES - 1))


@triton.jit
def next_line(b_line, b_jump, b_num_lines):
    """Return `(b_line + b_jump) % b_num_lines` without a division; jumps are 1 to 8 lines."""
    b_next = b_line + b_jump
    # Below twice the number of lines, if those are 8 or more; of fewer, below 16.
    for step in tl.static_range(4):
        b_less = b_next - (b_num_lines << (3 - step))
        if step == 3:
            b_next = tl.where(b_less >= 0, b_less, b_next)
        else:
            b_next = tl.where((b_less >= 0) & (b_num_lines < JUMP_LINES), b_less, b_next)
    return b_next


@triton.jit
def two_words(p_line, WORD: tl.constexpr, m_n):
    """Return words WORD and WORD + 1 of each line, a load of 16 bytes."""
    p_word = p_line[:, None] + (WORD + tl.arange(0, 2))[None, :]
    return tl.split(tl.load(p_word, mask=m_n[:, None], other=EMPTY))


@triton.jit
def read_line(lines, b_line, m_n):
    """Return the words of lines, 8 of int64 [BLOCK], a line a lane. Each two loads share a sector, which the second finds in the L1 cache.

    So a line may be as old as the kernel, and its parts of different age.
    """
    p_line = lines + b_line * WORDS_PER_LINE
    b_0, b_1 = two_words(p_line, 0, m_n)
    b_2, b_3 = two_words(p_line, 2, m_n)
    b_4, b_5 = two_words(p_line, 4, m_n)
    b_6, b_7 = two_words(p_line, 6, m_n)
    return b_0, b_1, b_2, b_3, b_4, b_5, b_6, b_7


@triton.jit
def row_in(b_5, b_6, b_7, b_slot):
    """Return the int32 row beside slot `b_slot` of lines, whose last three words are given."""
    b_two = tl.where(b_slot < 2, b_5, tl.where(b_slot < 4, b_6, b_7))
    return tl.where(b_slot % 2 == 0, b_two.to(tl.int32), (b_two >> 32).to(tl.int32))


@triton.jit
def row_pointer(lines, b_place):
    """Return the address of the int32 row beside the key at word `b_place` of the lines; of negative places, of the first key's."""
    b_word = tl.maximum(b_place, 0)
    p_rows = lines.to(tl.pointer_type(tl.int32), bitcast=True)
    # Slot s of a line: twice its first word and FIRST_ROW_INT32 + s, of which its word has s already.
    return p_rows + (b_word * 2 - (b_word & (WORDS_PER_LINE - 1)) + FIRST_ROW_INT32)


@triton.jit
def slot_in(b_0, b_1, b_2, b_3, b_4, b_ids):
    """Return in which slot of its line each id is, where it is in one; and whether it is."""
    b_slot = tl.where(b_0 == b_ids, 0, tl.where(b_1 == b_ids, 1, tl.where(b_2 == b_ids, 2, tl.where(b_3 == b_ids, 3, 4))))
    return b_slot, (b_slot < 4) | (b_4 == b_ids)


@triton.jit
def find_places(lines, b_ids, b_first, b_num_lines, b_line, b_jump, active):
    """Return the place of each id, NO_PLACE of the absent, and the row beside it. Nobody adds keys meanwhile."""
    b_place = tl.full(b_ids.shape, NO_PLACE, tl.int64)
    b_row = tl.full(b_ids.shape, NO_ROW, tl.int32)
    b_tries = tl.zeros(b_ids.shape, tl.int32)
    while any_of(active):
        b_0, b_1, b_2, b_3, b_4, b_5, b_6, b_7 = read_line(lines, b_first + b_line, active)
        b_slot, is_there = slot_in(b_0, b_1, b_2, b_3, b_4, b_ids)
        hit = active & is_there
        b_place = tl.where(hit, (b_first + b_line) * WORDS_PER_LINE + b_slot, b_place)
        b_row = tl.where(hit, row_in(b_5, b_6, b_7, b_slot), b_row)
        b_tries += 1
        # Slots fill in order: a line whose last is empty ends the path.
        active = active & ~hit & (b_4 != EMPTY) & (b_tries <= b_num_lines)
        b_line = next_line(b_line, b_jump, b_num_lines)
        b_jump = tl.full(b_ids.shape, 1, tl.int32)
    return b_place, b_row


@triton.jit
def high(b_word):
    return (b_word >> 32).to(tl.int32)


@triton.jit
def may_have_room(b_0, b_1, b_2, b_3, b_4):
    """Return whether lines may have an empty slot, by the upper halves of ids: of others few are that of the empty marker."""
    b_least = tl.minimum(tl.minimum(high(b_0), high(b_1)), tl.minimum(high(b_2), high(b_3)))
    return tl.minimum(b_least, high(b_4)) == EMPTY >> 32


@triton.jit
def empty_from(b_word, SLOT: tl.constexpr, b_from, b_empty):
    """Return SLOT where that slot of a line is empty and not before `b_from`; else `b_empty`."""
    return tl.where((b_word == EMPTY) & (b_from <= SLOT), SLOT, b_empty)


@triton.jit
def claim_places(lines, b_ids, b_first, b_num_lines, b_line, b_jump, active):
    """Return the place of each id, of an empty slot where it had none, or NO_PLACE; the row read beside it; and whether it was claimed.

    A key that another lane claims in the same kernel may be seen before its row is written: its row then reads as that of an empty
    slot, 0 or -2^31, or as the claimer left it.
    """
    b_place = tl.full(b_ids.shape, NO_PLACE, tl.int64)
    b_row = tl.full(b_ids.shape, NO_ROW, tl.int32)
    b_claimed = tl.zeros(b_ids.shape, tl.int32)
    b_tries = tl.zeros(b_ids.shape, tl.int32)
    # Slots of this line that are known to hold others: so a lane that lost a slot moves on, however stale the line it reads.
    b_from = tl.zeros(b_ids.shape, tl.int32)
    while any_of(active):
        b_0, b_1, b_2, b_3, b_4, b_5, b_6, b_7 = read_line(lines, b_first + b_line, active)
        b_slot, is_there = slot_in(b_0, b_1, b_2, b_3, b_4, b_ids)
        hit = active & is_there
        b_row = tl.where(hit, row_in(b_5, b_6, b_7, b_slot), b_row)
        found = hit
        wants = active & ~hit & may_have_room(b_0, b_1, b_2, b_3, b_4)
        if any_of(wants):
            b_empty = empty_from(b_4, 4, b_from, tl.full(b_ids.shape, IDS_PER_LINE, tl.int32))
            b_empty = empty_from(b_2, 2, b_from, empty_from(b_3, 3, b_from, b_empty))
            b_empty = empty_from(b_0, 0, b_from, empty_from(b_1, 1, b_from, b_empty))
            wants = wants & (b_empty < IDS_PER_LINE)
            b_slot = tl.where(wants, b_empty, b_slot)
            # `tl.atomic_cas` has no mask. An idle lane replaces its id by itself: any other value might be an id in that slot by now.
            p_slot = lines + ((b_first + b_line) * WORDS_PER_LINE + b_slot)
            b_old = tl.atomic_cas(p_slot, tl.where(wants, EMPTY, b_ids), b_ids, sem="relaxed", scope="gpu")
            claimed = wants & (b_old == EMPTY)
            b_claimed = tl.where(claimed, 1, b_claimed)
            b_from = tl.where(wants, b_slot + 1, b_from)
            # Another lane of the same id may have been first: its row is not known yet.
            found = hit | claimed | (wants & (b_old == b_ids))
        b_place = tl.where(found, (b_first + b_line) * WORDS_PER_LINE + b_slot, b_place)
        leaves = active & ~hit & ~wants
        b_from = tl.where(leaves, 0, b_from)
        b_line = tl.where(leaves, next_line(b_line, b_jump, b_num_lines), b_line)
        b_jump = tl.where(leaves, 1, b_jump)
        b_tries = tl.where(leaves, b_tries + 1, b_tries)
        active = active & ~found & (b_tries <= b_num_lines)
    return b_place, b_row, b_claimed


def lanes(num_lanes: int) -> dict[str, Any]:
    """Return the launch options of a program of several warps, of `num_lanes` lanes: a thread a lane.

    More threads than lanes would hold lanes twice, and of two compare-and-swaps of one lane only one can win.
    """
    return {"BLOCK_N": num_lanes, "num_warps": max(1, num_lanes // WARP_SIZE), "enable_fp_fusion": False}


def warp(num_lanes: int) -> dict[str, Any]:
    """Return the launch options of a program of one warp for `num_lanes` lanes, a power of two."""
    return {"BLOCK_N": num_lanes, "num_warps": 1, "enable_fp_fusion": False}


def table_bits(num_tables: int) -> int:
    """Return the TABLE_BITS of `tables_of`."""
    return max(num_tables - 1, 0).bit_length()


def check(tensor: Tensor, name: str, dtype: torch.dtype, columns: int, like: Tensor) -> None:
    """Raise RuntimeError unless `tensor` is contiguous, [n] (`columns` 0) or [n, columns], of `dtype`, on the device of `like`."""
    shape = [tensor.shape[0], columns] if columns and tensor.dim() else [tensor.numel()]
    if tensor.dtype != dtype or list(tensor.shape) != shape or not tensor.is_contiguous() or tensor.device != like.device:
        raise RuntimeError(
            f"{name} must be a contiguous {dtype} tensor {['n', columns] if columns else ['n']} on {like.device}, "
            f"got {'a contiguous' if tensor.is_contiguous() else 'a strided'} {tensor.dtype} tensor {list(tensor.shape)} on {tensor.device}"
        )


def checked_step(step: int, clock: Tensor | None, like: Tensor) -> int:
    """Return the step as kernels take it: beside a clock always the same number, as Triton compiles a kernel anew for some.

    Raises RuntimeError where neither can be what rows are stamped with.
    """
    if not 0 <= step < 2**31:
        raise RuntimeError(f"step must be from 0 to 2^31 - 1, got {step}")
    if clock is not None:
        check(clock, "clock", torch.int64, 0, like)
        if clock.numel() != 1:
            raise RuntimeError(f"clock must hold one value, holds {clock.numel()}")
    return step if clock is None else 0


def check_map(lines: Tensor, headers: Tensor, ranges: Tensor) -> None:
    """Raise RuntimeError where the tensors of a map have a wrong dtype, shape or device. Their contents are trusted: the GPU holds them."""
    check(lines, "lines", torch.int64, id_map.WORDS_PER_LINE, lines)
    check(headers, "headers", torch.int64, id_map.HEADER_WORDS, lines)
    check(ranges, "ranges", torch.int64, 4, lines)


def check_ids(ids: Tensor, table_offsets: Tensor, headers: Tensor) -> None:
    """Raise RuntimeError where ids and their offsets cannot be those of the tables of `headers`."""
    check(ids, "ids", torch.int64, 0, headers)
    check(table_offsets, "table_offsets", torch.int64, 0, headers)
    if table_offsets.numel() != headers.shape[0] + 1:
        raise RuntimeError(f"table_offsets must have one more entry than the {headers.shape[0]} tables, has {table_offsets.numel()}")
    if ids.numel() > 0 and headers.shape[0] == 0:
        raise RuntimeError(f"headers must describe a table at least, for {ids.numel()} ids")
    if ids.numel() >= 2**31 - 1:
        raise RuntimeError(f"ids: one call takes fewer than 2^31, got {ids.numel()}")
