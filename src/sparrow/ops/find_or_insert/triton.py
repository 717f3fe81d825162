"""`find_or_insert_` on a GPU: claim a slot by one compare-and-swap on the key, number the winners, then publish their rows.

Three kernels over the ids, so that no lane ever waits for another:
1. `claim_kernel` walks each id's probe path. An empty slot is claimed by CAS; the claim itself is the publication of the key, so
   there is no lock, and two lanes with the same id end on the same slot, one of them the winner.
2. Winners are numbered by an exclusive scan in input order (torch.cumsum), so rows do not depend on the schedule.
3. `publish_kernel` writes the winners' rows beside the keys; `read_kernel` then reads everybody's row.

Idle lanes cannot be masked out of `tl.atomic_cas`: they compare with a value their slot cannot hold.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops import id_map

# 64-bit constants in signed form: the interpreter refuses unsigned literals.
EMPTY = tl.constexpr(id_map.EMPTY)
MULTIPLIER_1 = tl.constexpr(0xBF58476D1CE4E5B9 - 2**64)
MULTIPLIER_2 = tl.constexpr(0x94D049BB133111EB - 2**64)
IDS_PER_LINE = tl.constexpr(id_map.IDS_PER_LINE)
WORDS_PER_LINE = tl.constexpr(id_map.WORDS_PER_LINE)
FIRST_ROW_INT32 = tl.constexpr(id_map.FIRST_ROW_INT32)
JUMP_MASK = tl.constexpr(id_map.JUMP_LINES - 1)
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
FREE = tl.constexpr(id_map.COUNTER_FREE)
NO_ROW = tl.constexpr(id_map.NO_ROW)
# `slots` holds, per id, the int64 word of `lines` where its key lies; or one of these.
SIDE_SLOT = tl.constexpr(-2)
NO_SLOT = tl.constexpr(-1)
# A row between being claimed and being published; and a value no row ever has, for idle lanes to compare with.
PENDING_ROW = tl.constexpr(-2)
NEVER_A_ROW = tl.constexpr(-3)
BLOCK = 256


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
def row_pointer(lines, b_slot):
    """Address of the int32 row beside the key at int64 word `b_slot` of the lines."""
    line_rows = lines.to(tl.pointer_type(tl.int32), bitcast=True)
    return line_rows + (b_slot // WORDS_PER_LINE) * (2 * WORDS_PER_LINE) + FIRST_ROW_INT32 + b_slot % WORDS_PER_LINE


@triton.jit
def claim_kernel(lines, headers, ranges, ids, tables, slots, claimed, num_ids, BLOCK_N: tl.constexpr):
    o_n = tl.program_id(0).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)  # [BLOCK_N]
    m_n = o_n < num_ids
    b_ids = tl.load(ids + o_n, mask=m_n, other=EMPTY)
    b_headers = headers + tl.load(tables + o_n, mask=m_n, other=0) * HEADER_WORDS
    b_mixed = mix(b_ids, tl.load(b_headers + SALT))
    b_distance = shift_right(b_mixed, 32) - (tl.load(b_headers + FIRST_SLICE) << 16)
    b_fraction = shift_right(b_distance * tl.load(b_headers + SLICE_SCALE), 32)
    b_bits = tl.load(b_headers + RANGE_BITS)
    b_ranges = ranges + (tl.load(b_headers + FIRST_RANGE) + (b_fraction >> (32 - b_bits))) * RANGE_WORDS
    b_first = tl.load(b_ranges + FIRST_LINE)
    b_num_lines = tl.load(b_ranges + NUM_LINES)
    b_line = shift_right(((b_fraction << b_bits) & 0xFFFFFFFF) * b_num_lines, 32)
    b_step = 1 + (b_mixed & JUMP_MASK)
    b_slot = tl.full([BLOCK_N], NO_SLOT, tl.int64)
    b_claimed = tl.zeros([BLOCK_N], tl.int32)
    b_tries = tl.zeros([BLOCK_N], tl.int64)
    b_index = tl.zeros([BLOCK_N], tl.int64)
    active = m_n & (b_ids != EMPTY)
    num_active = tl.sum(active.to(tl.int32))
    while num_active > 0:
        b_word = (b_first + b_line) * WORDS_PER_LINE + b_index
        # An idle lane compares an occupied-or-empty slot with ~(its value), which it never equals; it must not be written.
        b_seen = tl.load(lines + b_word)
        b_compare = tl.where(active & (b_seen == EMPTY), EMPTY, ~b_seen)
        b_old = tl.atomic_cas(lines + b_word, b_compare, b_ids, sem="relaxed", scope="gpu")
        won = active & (b_compare == EMPTY) & (b_old == EMPTY)
        hit = active & (won | (b_old == b_ids))
        b_slot = tl.where(hit, b_word, b_slot)
        b_claimed = tl.where(won, 1, b_claimed)
        # A lane that lost an empty slot to another id looks at the same slot no more: the winner's key fills it for good.
        b_index = tl.where(active & ~hit, b_index + 1, b_index)
        overflow = b_index == IDS_PER_LINE
        b_line = tl.where(overflow, (b_line + b_step) % b_num_lines, b_line)
        b_step = tl.where(overflow, 1, b_step)
        b_tries = tl.where(overflow, b_tries + 1, b_tries)
        b_index = tl.where(overflow, 0, b_index)
        active = active & ~hit & (b_tries <= b_num_lines)
        num_active = tl.sum(active.to(tl.int32))
    tl.atomic_add(b_ranges + NUM_KEYS, b_claimed.to(tl.int64), mask=b_claimed == 1, sem="relaxed", scope="gpu")

    # An erased id keeps its key with row -1: whoever swaps that for PENDING_ROW gives it a new row.
    present = (b_slot >= 0) & (b_claimed == 0)
    p_row = row_pointer(lines, tl.where(present, b_slot, 0))
    b_old_row = tl.atomic_cas(
        p_row, tl.where(present, NO_ROW, NEVER_A_ROW), tl.full([BLOCK_N], PENDING_ROW, tl.int32), sem="relaxed", scope="gpu"
    )
    revived = present & (b_old_row == NO_ROW)
    tl.atomic_add(b_ranges + NUM_DEAD, tl.full([BLOCK_N], -1, tl.int64), mask=revived, sem="relaxed", scope="gpu")

    # The id that equals EMPTY has its row in the header.
    side = m_n & (b_ids == EMPTY)
    b_compare = tl.where(side, NO_ROW, NEVER_A_ROW).to(tl.int64)
    b_old_side = tl.atomic_cas(b_headers + SIDE_ROW, b_compare, tl.full([BLOCK_N], PENDING_ROW, tl.int64), sem="relaxed", scope="gpu")
    b_claimed = tl.where(revived | (side & (b_old_side == NO_ROW)), 1, b_claimed)
    tl.store(slots + o_n, tl.where(side, SIDE_SLOT, b_slot), mask=m_n)
    tl.store(claimed + o_n, b_claimed, mask=m_n)


@triton.jit
def publish_kernel(
    lines, headers, counters, free_rows, tables, slots, claimed, winners, new_positions, num_ids, BLOCK_N: tl.constexpr
):  # fmt: skip
    """Write each winner's row beside its key. `winners` is the inclusive scan of `claimed`."""
    o_n = tl.program_id(0).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)  # [BLOCK_N]
    m_won = tl.load(claimed + o_n, mask=o_n < num_ids, other=0) == 1
    b_slot = tl.load(slots + o_n, mask=m_won, other=0)
    b_rank = tl.load(winners + o_n, mask=m_won, other=1) - 1
    num_free = tl.load(counters + FREE)
    b_reused = tl.load(free_rows + (num_free - 1 - b_rank), mask=m_won & (b_rank < num_free), other=0)
    b_row = tl.where(b_rank < num_free, b_reused.to(tl.int64), tl.load(counters) + b_rank - num_free)
    b_table = tl.load(tables + o_n, mask=m_won, other=0)
    tl.store(row_pointer(lines, tl.maximum(b_slot, 0)), b_row.to(tl.int32), mask=m_won & (b_slot >= 0))
    tl.store(headers + b_table * HEADER_WORDS + SIDE_ROW, b_row, mask=m_won & (b_slot == SIDE_SLOT))
    tl.store(new_positions + b_rank, o_n.to(tl.int32), mask=m_won)


@triton.jit
def read_kernel(lines, headers, tables, slots, rows, num_ids, BLOCK_N: tl.constexpr):
    o_n = tl.program_id(0).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)  # [BLOCK_N]
    m_n = o_n < num_ids
    b_slot = tl.load(slots + o_n, mask=m_n, other=NO_SLOT)
    b_table = tl.load(tables + o_n, mask=m_n, other=0)
    b_row = tl.load(row_pointer(lines, tl.maximum(b_slot, 0)), mask=b_slot >= 0, other=NO_ROW)
    b_side = tl.load(headers + b_table * HEADER_WORDS + SIDE_ROW, mask=b_slot == SIDE_SLOT, other=NO_ROW)
    tl.store(rows + o_n, tl.where(b_slot == SIDE_SLOT, b_side.to(tl.int32), b_row), mask=m_n)


def find_or_insert_(
    lines: Tensor, headers: Tensor, ranges: Tensor, counters: Tensor, free_rows: Tensor, ids: Tensor, table_offsets: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """CUDA body of the operator; see `op.py`. No host synchronisation. 3 launches of ours, 1 searchsorted and 1 scan of torch."""
    num_ids = ids.numel()
    positions = torch.arange(num_ids, device=ids.device)
    tables = torch.searchsorted(table_offsets[1:], positions, right=True)
    slots = torch.empty(num_ids, dtype=torch.int64, device=ids.device)
    claimed = torch.empty(num_ids, dtype=torch.int32, device=ids.device)
    rows = torch.empty(num_ids, dtype=torch.int32, device=ids.device)
    new_positions = torch.full((num_ids,), -1, dtype=torch.int32, device=ids.device)
    if num_ids == 0:
        return rows, new_positions, counters.new_zeros(1)
    grid = (triton.cdiv(num_ids, BLOCK),)
    claim_kernel[grid](lines, headers, ranges, ids, tables, slots, claimed, num_ids, BLOCK_N=BLOCK)
    winners = torch.cumsum(claimed, 0)
    publish_kernel[grid](lines, headers, counters, free_rows, tables, slots, claimed, winners, new_positions, num_ids, BLOCK_N=BLOCK)
    read_kernel[grid](lines, headers, tables, slots, rows, num_ids, BLOCK_N=BLOCK)
    num_new = winners[-1:].clone()
    reused = torch.minimum(num_new[0], counters[id_map.COUNTER_FREE])
    counters[id_map.COUNTER_FREE] -= reused
    counters[id_map.COUNTER_ROWS] += num_new[0] - reused
    counters[id_map.COUNTER_FAILED] += (slots == NO_SLOT.value).sum()
    return rows, new_positions, num_new
