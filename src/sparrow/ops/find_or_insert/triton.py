"""`find_or_insert_` on a GPU: claim a slot by one compare-and-swap on the key, then number the fresh ids by their first positions.

Four kernels over the ids, so that no lane ever waits for another:
1. `claim_kernel` walks each id's probe path; an id whose row is there is done. An empty slot is claimed by swapping the id in, which is
   the publication of the key: no lock, and lanes with the same id end on the same slot. A claimed slot gets row -1: from here on a
   fresh id and an erased one that comes back are the same.
2. `mark_kernel`: of the positions that ask for such an id the first is found by an atomic minimum on the row itself (`FIRST_PENDING`).
3. `count_kernel` counts first positions, a block at a time; torch scans the counts of the blocks.
4. `write_kernel` turns the rank of a first position into a row, for all that asked, and writes it beside the key.

So rows are those of the CPU, duplicates or not; only the order of ids within lines depends on the schedule. A program without fresh
ids leaves kernels 2 to 4 at once: a step that finds everything reads a line an id, and little else.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops import id_map, id_map_triton
from sparrow.ops.id_map_triton import (
    EMPTY,
    FIRST_PENDING,
    HEADER_WORDS,
    NO_PLACE,
    NO_ROW,
    NUM_DEAD,
    NUM_KEYS,
    RANGE_WORDS,
    SIDE_PLACE,
    SIDE_ROW,
    any_of,
    claim_places,
    homes_of,
    row_pointer,
    tables_of_block,
)

COUNTER_ROWS = tl.constexpr(id_map.COUNTER_ROWS)
COUNTER_FAILED = tl.constexpr(id_map.COUNTER_FAILED)
COUNTER_FREE = tl.constexpr(id_map.COUNTER_FREE)
# In `firsts`: the row of this position is known.
KNOWN = tl.constexpr(-1)


@triton.jit(do_not_specialize=["num_ids", "num_tables"])
def claim_kernel(
    lines, headers, ranges, counters, ids, table_offsets, rows, new_positions, places, tables, of_range, claimed, unknown, before,
    num_ids, num_tables, TABLE_BITS: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Find or claim the slot of each id. Where `unknown[block] > 0`, the other scratch tensors say of that block what is left to do."""
    program = tl.program_id(0)
    begin = program * BLOCK_N
    o_n = tl.max_contiguous(begin + tl.arange(0, BLOCK_N), 1)  # [BLOCK_N], a lane's are 32 apart
    end = tl.minimum(tl.load(table_offsets + num_tables), num_ids).to(tl.int32)
    m_n = o_n < end
    b_ids = tl.load(ids + o_n, mask=m_n, other=EMPTY)
    first_table, last_table = tables_of_block(table_offsets, begin, end, num_tables, TABLE_BITS, BLOCK_N)
    b_table, b_range, b_first, b_num_lines, b_line, b_jump = homes_of(
        headers, ranges, table_offsets, b_ids, o_n, first_table, last_table, num_tables, TABLE_BITS
    )
    in_lines = m_n & (b_ids != EMPTY)
    b_place, b_row, b_claimed = claim_places(lines, b_ids, b_first, b_num_lines, b_line, b_jump, in_lines)
    if any_of(b_claimed == 1):
        tl.store(row_pointer(lines, b_place), tl.full([BLOCK_N], NO_ROW, tl.int32), mask=b_claimed == 1)
        tl.atomic_add(ranges + b_range * RANGE_WORDS + NUM_KEYS, b_claimed.to(tl.int64), mask=b_claimed == 1, sem="relaxed", scope="gpu")

    side = m_n & (b_ids == EMPTY)
    # Row 0 beside a key may be what an empty slot holds there: `mark_kernel` looks again.
    is_known = in_lines & (b_row > 0)
    if any_of(side):
        b_side = tl.load(headers + b_table.to(tl.int64) * HEADER_WORDS + SIDE_ROW, mask=side, other=NO_ROW)
        is_known = is_known | (side & (b_side >= 0))
        b_row = tl.where(side, b_side.to(tl.int32), b_row)
    is_unknown = (side & ~is_known) | (in_lines & ~is_known & (b_place >= 0))
    tl.store(rows + o_n, tl.where(is_known, b_row, NO_ROW), mask=o_n < num_ids)
    tl.store(new_positions + o_n, tl.full([BLOCK_N], NO_ROW, tl.int32), mask=o_n < num_ids)
    num_unknown = tl.sum(is_unknown.to(tl.int32), axis=0)
    tl.store(unknown + program, num_unknown)
    if num_unknown > 0:
        tl.store(places + o_n, tl.where(is_unknown, tl.where(side, SIDE_PLACE, b_place), NO_PLACE), mask=o_n < num_ids)
        tl.store(tables + o_n, b_table, mask=is_unknown)
        tl.store(of_range + o_n, b_range.to(tl.int32), mask=is_unknown)
        tl.store(claimed + o_n, b_claimed, mask=is_unknown)

    num_failed = tl.sum((in_lines & (b_place == NO_PLACE)).to(tl.int32), axis=0)
    if num_failed > 0:
        tl.atomic_add(counters + COUNTER_FAILED, num_failed.to(tl.int64), sem="relaxed", scope="gpu")
    if program == 0:
        # `write_kernel` reads these while it writes the counters.
        tl.store(before, tl.load(counters + COUNTER_ROWS))
        tl.store(before + 1, tl.load(counters + COUNTER_FREE))


@triton.jit(do_not_specialize=["num_ids"])
def mark_kernel(lines, headers, places, tables, unknown, num_ids, BLOCK_N: tl.constexpr):
    program = tl.program_id(0)
    if tl.load(unknown + program) > 0:
        o_n = tl.max_contiguous(program * BLOCK_N + tl.arange(0, BLOCK_N), 1)  # [BLOCK_N]
        b_place = tl.load(places + o_n, mask=o_n < num_ids, other=NO_PLACE)
        p_row = row_pointer(lines, b_place)
        b_row = tl.load(p_row, mask=b_place >= 0, other=0, cache_modifier=".cg")
        tl.atomic_min(p_row, o_n + FIRST_PENDING, mask=b_row < 0, sem="relaxed", scope="gpu")
        side = b_place == SIDE_PLACE
        if any_of(side):
            p_side = headers + tl.load(tables + o_n, mask=side, other=0).to(tl.int64) * HEADER_WORDS + SIDE_ROW
            tl.atomic_min(p_side, (o_n + FIRST_PENDING).to(tl.int64), mask=side, sem="relaxed", scope="gpu")


@triton.jit(do_not_specialize=["num_ids"])
def count_kernel(
    lines, headers, ranges, rows, places, tables, of_range, claimed, unknown, firsts, ranks, num_first, num_ids, BLOCK_N: tl.constexpr
):  # fmt: skip
    """Write the first position that asked for each position's id, and its rank among the first positions of its block."""
    program = tl.program_id(0)
    total = 0
    if tl.load(unknown + program) > 0:
        o_n = tl.max_contiguous(program * BLOCK_N + tl.arange(0, BLOCK_N), 1)  # [BLOCK_N]
        b_place = tl.load(places + o_n, mask=o_n < num_ids, other=NO_PLACE)
        in_line, side = b_place >= 0, b_place == SIDE_PLACE
        b_row = tl.load(row_pointer(lines, b_place), mask=in_line, other=NO_ROW)
        if any_of(side):
            p_side = headers + tl.load(tables + o_n, mask=side, other=0).to(tl.int64) * HEADER_WORDS + SIDE_ROW
            b_row = tl.where(side, tl.load(p_side, mask=side, other=NO_ROW).to(tl.int32), b_row)
        b_first = tl.where(b_row < NO_ROW, b_row - FIRST_PENDING, KNOWN)
        tl.store(rows + o_n, b_row, mask=in_line & (b_first == KNOWN))
        if any_of(b_first != KNOWN):
            is_first = (b_first == o_n).to(tl.int32)
            total = tl.sum(is_first, axis=0)
            tl.store(firsts + o_n, b_first, mask=o_n < num_ids)
            tl.store(ranks + o_n, tl.cumsum(is_first, axis=0) - is_first, mask=o_n < num_ids)
            # A first position that claimed nothing brings back an erased id, unless another one claimed in its stead: the sum is right.
            b_range = tl.load(of_range + o_n, mask=in_line, other=0)
            b_dead = tl.load(claimed + o_n, mask=in_line, other=0) - is_first
            p_dead = ranges + b_range.to(tl.int64) * RANGE_WORDS + NUM_DEAD
            tl.atomic_add(p_dead, b_dead.to(tl.int64), mask=in_line & (b_dead != 0), sem="relaxed", scope="gpu")
        else:
            # All were known after all, as the one in row 0 always is: nothing is left to write.
            tl.store(unknown + program, 0)
    tl.store(num_first + program, total)


@triton.jit(do_not_specialize=["num_ids"])
def write_kernel(
    lines, headers, counters, free_rows, rows, new_positions, num_new, places, tables, unknown, firsts, ranks, ends, before,
    num_ids, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Write rows and counters. `ends` is the inclusive scan of `num_first`."""
    program = tl.program_id(0)
    num_rows, num_free = tl.load(before), tl.load(before + 1)
    if program == 0:
        total = tl.load(ends + tl.num_programs(0) - 1).to(tl.int64)
        reused = tl.minimum(total, num_free)
        tl.store(num_new, total)
        tl.store(counters + COUNTER_ROWS, num_rows + total - reused)
        tl.store(counters + COUNTER_FREE, num_free - reused)
    if tl.load(unknown + program) > 0:
        o_n = tl.max_contiguous(program * BLOCK_N + tl.arange(0, BLOCK_N), 1)  # [BLOCK_N]
        b_place = tl.load(places + o_n, mask=o_n < num_ids, other=NO_PLACE)
        b_first = tl.load(firsts + o_n, mask=b_place != NO_PLACE, other=KNOWN)
        m_n = b_first >= 0
        b_block = b_first // BLOCK_N
        b_rank = tl.load(ranks + b_first, mask=m_n, other=0) + tl.load(ends + b_block - 1, mask=m_n & (b_block > 0), other=0)
        reuses = m_n & (b_rank < num_free)
        b_reused = tl.load(free_rows + (num_free - 1 - b_rank), mask=reuses, other=0)
        b_row = tl.where(reuses, b_reused, (num_rows + b_rank - num_free).to(tl.int32))
        tl.store(rows + o_n, b_row, mask=m_n)
        is_first = m_n & (b_first == o_n)
        side = b_place == SIDE_PLACE
        tl.store(row_pointer(lines, b_place), b_row, mask=is_first & ~side)
        if any_of(side):
            p_side = headers + tl.load(tables + o_n, mask=side, other=0).to(tl.int64) * HEADER_WORDS + SIDE_ROW
            tl.store(p_side, b_row.to(tl.int64), mask=is_first & side)
        tl.store(new_positions + b_rank, o_n, mask=is_first)


def find_or_insert_(
    lines: Tensor, headers: Tensor, ranges: Tensor, counters: Tensor, free_rows: Tensor, ids: Tensor, table_offsets: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """CUDA body of the operator; see `op.py`. No host synchronisation. 4 launches of ours, 1 scan by torch of N / 64 counts."""
    id_map_triton.check_map(lines, headers, ranges)
    id_map_triton.check_ids(ids, table_offsets, headers)
    id_map_triton.check(counters, "counters", torch.int64, 0, lines)
    id_map_triton.check(free_rows, "free_rows", torch.int32, 0, lines)
    if counters.numel() != 4:
        raise RuntimeError(f"counters must hold 4 values, holds {counters.numel()}")
    num_ids, num_tables, warp = ids.numel(), headers.shape[0], id_map_triton.warp(id_map_triton.BLOCK)
    num_blocks = triton.cdiv(num_ids, id_map_triton.BLOCK)
    rows = torch.empty(num_ids, dtype=torch.int32, device=ids.device)
    new_positions = torch.empty_like(rows)
    if num_ids == 0:
        return rows, new_positions, ids.new_zeros(1)
    num_new, places, before = ids.new_empty(1), torch.empty_like(ids), ids.new_empty(2)
    tables, of_range, claimed, firsts, ranks = (torch.empty_like(rows) for _ in range(5))
    unknown, num_first = (rows.new_empty(num_blocks) for _ in range(2))
    claim_kernel[(num_blocks,)](
        lines, headers, ranges, counters, ids, table_offsets, rows, new_positions, places, tables, of_range, claimed, unknown, before,
        num_ids, num_tables, TABLE_BITS=id_map_triton.table_bits(num_tables), **warp,
    )  # fmt: skip
    mark_kernel[(num_blocks,)](lines, headers, places, tables, unknown, num_ids, **warp)
    count_kernel[(num_blocks,)](
        lines, headers, ranges, rows, places, tables, of_range, claimed, unknown, firsts, ranks, num_first, num_ids, **warp
    )
    ends = torch.cumsum(num_first, 0, dtype=torch.int32)
    write_kernel[(num_blocks,)](
        lines, headers, counters, free_rows, rows, new_positions, num_new, places, tables, unknown, firsts, ranks, ends, before,
        num_ids, **warp,
    )  # fmt: skip
    return rows, new_positions, num_new
