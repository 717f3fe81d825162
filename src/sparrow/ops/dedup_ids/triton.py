"""`dedup_ids` on a GPU: a scratch table of positions, three kernels.

A slot of the table holds the position of an id, found by hashing (table, id); it is filled by compare-and-swap and lowered by an atomic
minimum, so that in the end it holds the id's first position, whatever the schedule. The ids themselves are never copied: a lane compares
with `ids[position]`, which nobody writes, so there is nothing to order and no id is special.

Why not a sort: a stable sort by (table, id) moves 12 bytes an id eight times and more, in a dozen launches; the table is 8 to 16 bytes an
id, which for a batch lie in the L2 cache, and an id reads about two of its sectors. Atomics on one word queue, though, so repeats of a
frequent id must not all meet there: the first lanes of a block are its leaders, and a lane whose id is a leader's leaves the work to it.
An id that fills a share s of a batch escapes the leaders with probability (1 - s)^8: at most a 23rd of a batch queues, and a lane a block.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops import id_map_triton
from sparrow.ops.id_map_triton import MULTIPLIER_1, any_of, mix, tables_of

# Lanes of a block that work for those with their ids as well.
NUM_LEADERS = tl.constexpr(8)
# A slot nobody took.
FREE = tl.constexpr(-1)
BLOCK = 256


@triton.jit
def leader_of(match):
    """Return which leader each lane [BLOCK] follows: the first of those it matches, [BLOCK, NUM_LEADERS], or NUM_LEADERS."""
    return tl.min(tl.where(match, tl.arange(0, NUM_LEADERS)[None, :], NUM_LEADERS), axis=1)


@triton.jit(do_not_specialize=["mask", "num_ids", "num_tables"])
def claim_kernel(ids, table_offsets, slots, found, mask, num_ids, num_tables, TABLE_BITS: tl.constexpr, BLOCK_N: tl.constexpr):
    """Write the slot of each id. `mask` is the number of slots, a power of two, less one."""
    begin = tl.program_id(0).to(tl.int64) * BLOCK_N
    o_n = begin + tl.arange(0, BLOCK_N)  # [BLOCK_N]
    end = tl.minimum(tl.load(table_offsets + num_tables), num_ids)
    m_n = o_n < end
    b_ids = tl.load(ids + o_n, mask=m_n, other=0)
    b_table = tables_of(table_offsets, o_n, num_tables, TABLE_BITS)
    b_begin, b_end = tl.load(table_offsets + b_table), tl.load(table_offsets + b_table + 1)
    # Tables are spread by a salt of their own: small ids of many tables would meet otherwise.
    b_slot = (mix(b_ids, b_table.to(tl.int64) * MULTIPLIER_1) & mask).to(tl.int32)
    b_own = o_n.to(tl.int32)
    # Leaders are of lower positions than those who follow, so that their own are the least.
    o_k = begin + tl.arange(0, NUM_LEADERS)[None, :]
    match = (b_ids[:, None] == tl.load(ids + o_k, mask=o_k < end, other=0)) & (o_k >= b_begin[:, None]) & (o_k < b_end[:, None])
    b_leader = leader_of(match & (o_k < o_n[:, None]))
    active = m_n & (b_leader == NUM_LEADERS)
    while any_of(active):
        b_seen = tl.load(slots + b_slot, mask=active, other=0, cache_modifier=".cg")
        wants = active & (b_seen == FREE)
        won = wants
        if any_of(wants):
            # `tl.atomic_cas` has no mask. An idle lane replaces a value by itself, away from the slots that many want.
            b_word, b_compare = tl.where(wants, b_slot, b_own & mask), tl.where(wants, FREE, b_own)
            b_old = tl.atomic_cas(slots + b_word, b_compare, b_own, sem="relaxed", scope="gpu")
            won = wants & (b_old == FREE)
            b_seen = tl.where(wants, tl.where(won, b_own, b_old), b_seen)
        # Positions tell tables apart, ids are compared where they lie.
        b_other = tl.load(ids + b_seen, mask=active & ~won, other=0)
        same = active & ~won & (b_other == b_ids) & (b_seen >= b_begin) & (b_seen < b_end)
        # Most repeats come later than the first one seen, and write nothing.
        tl.atomic_min(slots + b_slot, b_own, mask=same & (b_own < b_seen), sem="relaxed", scope="gpu")
        active = active & ~won & ~same
        b_slot = tl.where(active, (b_slot + 1) & mask, b_slot)
    # A leader that follows another has no slot of its own, but nobody follows it: who does follows the other.
    b_slot_of = tl.sum(tl.where(o_k == o_n[:, None], b_slot[:, None], 0), axis=0)  # [NUM_LEADERS]
    o_k = tl.arange(0, NUM_LEADERS)[None, :]
    b_led = tl.sum(tl.where(b_leader[:, None] == o_k, b_slot_of[None, :], 0), axis=1)
    tl.store(found + o_n, tl.where(b_leader < NUM_LEADERS, b_led, b_slot), mask=m_n)


@triton.jit(do_not_specialize=["num_ids", "num_tables"])
def count_kernel(table_offsets, slots, found, ranks, num_first, unique_ids, counts, num_ids, num_tables, BLOCK_N: tl.constexpr):
    """Replace slots by first positions; rank first positions within their block; clear what `write_kernel` adds to."""
    program = tl.program_id(0)
    o_n = program.to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)  # [BLOCK_N]
    m_n = o_n < tl.minimum(tl.load(table_offsets + num_tables), num_ids)
    b_first = tl.load(slots + tl.load(found + o_n, mask=m_n, other=0), mask=m_n, other=FREE)
    is_first = (b_first == o_n).to(tl.int32)
    tl.store(found + o_n, b_first, mask=m_n)
    tl.store(ranks + o_n, tl.cumsum(is_first, axis=0) - is_first, mask=o_n < num_ids)
    tl.store(num_first + program, tl.sum(is_first, axis=0))
    tl.store(unique_ids + o_n, tl.zeros([BLOCK_N], tl.int64), mask=o_n < num_ids)
    tl.store(counts + o_n, tl.zeros([BLOCK_N], tl.int32), mask=o_n < num_ids)


@triton.jit
def rank_of(ranks, ends, o_n, m_n, BLOCK_N: tl.constexpr):
    """Return how many first positions lie before each position, int32. `ends` is the inclusive scan of `num_first`."""
    o_b = o_n // BLOCK_N
    return tl.load(ranks + o_n, mask=m_n, other=0) + tl.load(ends + o_b - 1, mask=m_n & (o_b > 0), other=0)


@triton.jit(do_not_specialize=["num_ids", "num_tables"])
def write_kernel(
    ids, table_offsets, firsts, ranks, ends, unique_ids, unique_offsets, inverse, counts, num_ids, num_tables, BLOCK_N: tl.constexpr
):  # fmt: skip
    program = tl.program_id(0)
    o_n = program.to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)  # [BLOCK_N]
    m_n = o_n < tl.minimum(tl.load(table_offsets + num_tables), num_ids)
    b_first = tl.load(firsts + o_n, mask=m_n, other=FREE)
    b_rank = rank_of(ranks, ends, b_first, m_n, BLOCK_N)
    tl.store(inverse + o_n, tl.where(m_n, b_rank, -1), mask=o_n < num_ids)
    is_first = b_first == o_n
    tl.store(unique_ids + b_rank, tl.load(ids + o_n, mask=is_first, other=0), mask=is_first)
    o_k = tl.arange(0, NUM_LEADERS)
    o_l = program.to(tl.int64) * BLOCK_N + o_k
    b_led = tl.load(firsts + o_l, mask=o_l < num_ids, other=FREE)
    b_leader = leader_of((b_first[:, None] == b_led[None, :]) & m_n[:, None])
    b_num_led = tl.sum((b_leader[:, None] == o_k[None, :]).to(tl.int32), axis=0)  # [NUM_LEADERS]
    tl.atomic_add(counts + rank_of(ranks, ends, b_led, b_num_led > 0, BLOCK_N), b_num_led, mask=b_num_led > 0, sem="relaxed", scope="gpu")
    alone = m_n & (b_leader == NUM_LEADERS)
    tl.atomic_add(counts + b_rank, tl.full([BLOCK_N], 1, tl.int32), mask=alone, sem="relaxed", scope="gpu")
    # The programs share the tables out.
    table = program * BLOCK_N
    while table <= num_tables:
        o_t = table + tl.arange(0, BLOCK_N)
        b_offset = tl.load(table_offsets + o_t, mask=o_t <= num_tables, other=0)
        total = tl.load(ends + tl.num_programs(0) - 1)
        b_unique = tl.where(b_offset < num_ids, rank_of(ranks, ends, b_offset, b_offset < num_ids, BLOCK_N), total)
        tl.store(unique_offsets + o_t, b_unique.to(tl.int64), mask=o_t <= num_tables)
        table += tl.num_programs(0) * BLOCK_N


def dedup_ids(columns: list[Tensor], table_offsets: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """CUDA body of the operator; see `op.py`. No host synchronisation.

    3 launches of ours; by torch a fill, a scan of N / 256 counts and, where there are several columns, one concatenation.
    """
    id_map_triton.check(table_offsets, "table_offsets", torch.int64, 0, table_offsets)
    for index, column in enumerate(columns):
        id_map_triton.check(column, f"ids: column {index}", torch.int64, 0, table_offsets)
    ids = columns[0] if len(columns) == 1 else torch.cat([*columns, table_offsets[:0]])
    num_ids, num_tables = ids.numel(), table_offsets.numel() - 1
    if num_ids > 0 and num_tables < 1:
        raise RuntimeError(f"table_offsets must have one more entry than there are tables, has {table_offsets.numel()}, with {num_ids} ids")
    if num_ids >= 2**30:
        raise RuntimeError(f"ids: one call on a GPU takes fewer than 2^30, got {num_ids}")
    inverse = torch.empty(num_ids, dtype=torch.int32, device=ids.device)
    if num_ids == 0:
        return ids.new_empty(0), torch.zeros_like(table_offsets), inverse, torch.empty_like(inverse)
    unique_ids, unique_offsets, counts = torch.empty_like(ids), torch.empty_like(table_offsets), torch.empty_like(inverse)
    found, ranks = torch.empty_like(inverse), torch.empty_like(inverse)
    # At most half of the slots are taken.
    slots = torch.full((max(2 * triton.next_power_of_2(num_ids), 2 * BLOCK),), FREE.value, dtype=torch.int32, device=ids.device)
    num_blocks = triton.cdiv(num_ids, BLOCK)
    num_first = inverse.new_empty(num_blocks)
    claim_kernel[(num_blocks,)](
        ids, table_offsets, slots, found, slots.numel() - 1, num_ids, num_tables,
        TABLE_BITS=id_map_triton.table_bits(num_tables), **id_map_triton.lanes(BLOCK),
    )  # fmt: skip
    count_kernel[(num_blocks,)](
        table_offsets, slots, found, ranks, num_first, unique_ids, counts, num_ids, num_tables, **id_map_triton.lanes(BLOCK)
    )
    ends = torch.cumsum(num_first, 0, dtype=torch.int32)
    write_kernel[(num_blocks,)](
        ids,
        table_offsets,
        found,
        ranks,
        ends,
        unique_ids,
        unique_offsets,
        inverse,
        counts,
        num_ids,
        num_tables,
        **id_map_triton.lanes(BLOCK),
    )
    return unique_ids, unique_offsets, inverse, counts
