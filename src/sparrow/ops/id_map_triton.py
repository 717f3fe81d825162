"""The id map on a GPU: the device functions and the checks its Triton operators share. `ops/id_map.py` describes the tensors.

Memory model: within a kernel a word of `lines` changes only from `EMPTY` to an id, by one compare-and-swap that is itself the
publication of the id; rows change only in ways their kernel states. So a stale load can show an empty slot that is taken already,
and nothing worse: the swap that follows fails and returns the truth. No lane waits for another, and nothing is ordered within a
kernel: what needs everybody's work done is a kernel of its own.
"""

from __future__ import annotations

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
FIRST_ROW_WORD = tl.constexpr(id_map.FIRST_ROW_INT32 // 2)
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
# What `look` says of a line: below 8, the slot of the key; from 8, the first empty slot + 8; or that the line is full of others.
ABSENT = tl.constexpr(8)
FULL = tl.constexpr(16)
# A row that waits for the position p, of those that ask for its id in one call the first, is FIRST_PENDING + p: below every row and
# NO_ROW, and of two positions the lesser has the lesser value, so that `tl.atomic_min` finds it.
FIRST_PENDING = tl.constexpr(-(2**31) + 1)
# Up to 2^FEW_TABLE_BITS tables are looked at by all lanes at once.
FEW_TABLE_BITS = tl.constexpr(6)
# Ids a program looks up: one a thread (`lanes`), whose line is four loads of 16 bytes.
BLOCK = 128
_WARP_SIZE = 64 if torch.version.hip else 32


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
def tables_in(table_offsets, o_n, first_table, last_table, num_tables, TABLE_BITS: tl.constexpr):
    """Return the table of each position, int32, of positions in tables `first_table` to `last_table`: mostly they are the same."""
    b_table = tl.zeros_like(o_n).to(tl.int32) + first_table
    if first_table < last_table:
        b_table = tables_of(table_offsets, o_n, num_tables, TABLE_BITS)
    return b_table


@triton.jit
def home_of(headers, ranges, b_ids, b_table):
    """Return, int64 each: the range of each id, the range's first line and number of lines, the id's home line in it, and its jump."""
    p_header = headers + b_table.to(tl.int64) * HEADER_WORDS
    b_mixed = mix(b_ids, tl.load(p_header + SALT))
    b_distance = shift_right(b_mixed, 32) - (tl.load(p_header + FIRST_SLICE) << 16)
    b_fraction = shift_right(b_distance * tl.load(p_header + SLICE_SCALE), 32)
    b_bits = tl.load(p_header + RANGE_BITS)
    b_range = tl.load(p_header + FIRST_RANGE) + (b_fraction >> (32 - b_bits))
    p_range = ranges + b_range * RANGE_WORDS
    b_num_lines = tl.load(p_range + NUM_LINES)
    b_line = shift_right(((b_fraction << b_bits) & 0xFFFFFFFF) * b_num_lines, 32)
    return b_range, tl.load(p_range + FIRST_LINE), b_num_lines, b_line, 1 + (b_mixed & (JUMP_LINES - 1))


@triton.jit
def next_line(b_line, b_jump, b_num_lines):
    """Return `(b_line + b_jump) % b_num_lines` without a 64-bit division; jumps are 1 to 8 lines."""
    b_next = b_line + b_jump
    b_of_few = b_next.to(tl.int32) % tl.minimum(b_num_lines, JUMP_LINES).to(tl.int32)
    return tl.where(b_num_lines > JUMP_LINES, b_next - tl.where(b_next >= b_num_lines, b_num_lines, 0), b_of_few.to(tl.int64))


@triton.jit
def read_lines(lines, b_line, m_n):
    """Return whole lines, int64 [BLOCK, 8], from the L2 cache, where compare-and-swap happens: an L1 line would stay as it was."""
    p_word = lines + b_line[:, None] * WORDS_PER_LINE + tl.arange(0, WORDS_PER_LINE)[None, :]
    return tl.load(p_word, mask=m_n[:, None], other=EMPTY, cache_modifier=".cg")


@triton.jit
def look(b_words, b_ids, b_from):
    """Return where in its line [BLOCK, 8] each id is, slots before `b_from` left out: slot, ABSENT + the first empty slot, or FULL."""
    o_w = tl.arange(0, WORDS_PER_LINE)[None, :]
    m_key = (o_w < IDS_PER_LINE) & (o_w >= b_from[:, None])
    b_empty = tl.where((b_words == EMPTY) & m_key, o_w + ABSENT, FULL)
    return tl.min(tl.where((b_words == b_ids[:, None]) & m_key, o_w, b_empty), axis=1)


@triton.jit
def row_in(b_words, b_slot):
    """Return the int32 row beside slot `b_slot` of each line [BLOCK, 8]."""
    o_w = tl.arange(0, WORDS_PER_LINE)[None, :]
    b_two = tl.sum(tl.where(o_w == (b_slot >> 1)[:, None] + FIRST_ROW_WORD, b_words, 0), axis=1)
    return (b_two >> ((b_slot & 1) * 32).to(tl.int64)).to(tl.int32)


@triton.jit
def row_pointer(lines, b_place):
    """Return the address of the int32 row beside the key at word `b_place` of the lines; of negative places, of the first key's."""
    b_word = tl.maximum(b_place, 0)
    p_rows = lines.to(tl.pointer_type(tl.int32), bitcast=True)
    return p_rows + (b_word // WORDS_PER_LINE) * (2 * WORDS_PER_LINE) + FIRST_ROW_INT32 + b_word % WORDS_PER_LINE


@triton.jit
def find_places(lines, b_ids, b_first, b_num_lines, b_line, b_jump, active):
    """Return the place of each id, NO_PLACE of the absent, and the row beside it."""
    b_place = tl.full(b_ids.shape, NO_PLACE, tl.int64)
    b_row = tl.full(b_ids.shape, NO_ROW, tl.int32)
    b_tries = tl.zeros(b_ids.shape, tl.int64)
    while any_of(active):
        b_words = read_lines(lines, b_first + b_line, active)
        b_code = look(b_words, b_ids, tl.zeros(b_ids.shape, tl.int32))
        hit = active & (b_code < ABSENT)
        b_place = tl.where(hit, (b_first + b_line) * WORDS_PER_LINE + b_code, b_place)
        b_row = tl.where(hit, row_in(b_words, b_code), b_row)
        b_tries += 1
        active = active & (b_code == FULL) & (b_tries <= b_num_lines)
        b_line = next_line(b_line, b_jump, b_num_lines)
        b_jump = tl.full(b_ids.shape, 1, tl.int64)
    return b_place, b_row


@triton.jit
def claim_places(lines, b_ids, b_first, b_num_lines, b_line, b_jump, active):
    """Return the place of each id, of an empty slot where it had none, or NO_PLACE; the row read beside it; and whether it was claimed.

    A key that another lane claims in the same kernel may be seen before its row is written: its row then reads as that of an empty
    slot, 0 or -2^31, or as the claimer left it.
    """
    b_place = tl.full(b_ids.shape, NO_PLACE, tl.int64)
    b_row = tl.full(b_ids.shape, NO_ROW, tl.int32)
    b_claimed = tl.zeros(b_ids.shape, tl.int32)
    b_tries = tl.zeros(b_ids.shape, tl.int64)
    # Slots of this line that are known to hold others: so a lane that lost a slot moves on, however stale the line it reads.
    b_from = tl.zeros(b_ids.shape, tl.int32)
    while any_of(active):
        b_words = read_lines(lines, b_first + b_line, active)
        b_code = look(b_words, b_ids, b_from)
        hit = active & (b_code < ABSENT)
        wants = active & (b_code >= ABSENT) & (b_code < FULL)
        b_slot = b_code & (WORDS_PER_LINE - 1)
        b_word = (b_first + b_line) * WORDS_PER_LINE + b_slot
        b_row = tl.where(hit, row_in(b_words, b_slot), b_row)
        b_old = b_ids
        if any_of(wants):
            # `tl.atomic_cas` has no mask. An idle lane replaces its id by itself: any other value might be an id in that slot by now.
            b_old = tl.atomic_cas(lines + b_word, tl.where(wants, EMPTY, b_ids), b_ids, sem="relaxed", scope="gpu")
        claimed = wants & (b_old == EMPTY)
        found = hit | claimed | (wants & (b_old == b_ids))
        b_claimed = tl.where(claimed, 1, b_claimed)
        # Another lane of the same id was first: its row is not known yet.
        b_row = tl.where(found & ~hit, NO_ROW, b_row)
        b_place = tl.where(found, b_word, b_place)
        leaves = active & (b_code == FULL)
        b_from = tl.where(leaves, 0, tl.where(wants, b_slot + 1, b_from))
        b_line = tl.where(leaves, next_line(b_line, b_jump, b_num_lines), b_line)
        b_jump = tl.where(leaves, 1, b_jump)
        b_tries = tl.where(leaves, b_tries + 1, b_tries)
        active = active & ~found & (b_tries <= b_num_lines)
    return b_place, b_row, b_claimed


def lanes(num_lanes: int) -> dict[str, int]:
    """Return the launch options of a program of `num_lanes` lanes: a thread a lane.

    More threads than lanes would hold lanes twice, and of two compare-and-swaps of one lane only one can win.
    """
    return {"BLOCK_N": num_lanes, "num_warps": max(1, num_lanes // _WARP_SIZE)}


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
