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
from sparrow.ops.id_map_triton import MULTIPLIER_1, any_of, mix, tables_between, tables_of

# Lanes of a block that work for those with their ids as well.
NUM_LEADERS = tl.constexpr(8)
# A slot nobody took.
FREE = tl.constexpr(-1)
# Ids of a program, which is one warp: a loop over probes ends with its last lane, and other warps would wait for it.
CLAIM_BLOCK = 64
# Blocks whose first positions are counted together.
BLOCK = 256


@triton.jit(do_not_specialize=["mask", "num_ids", "num_tables"])
def claim_kernel(ids, table_offsets, slots, found, mask, num_ids, num_tables, TABLE_BITS: tl.constexpr, BLOCK_N: tl.constexpr):
    """Write the slot of each id. `mask` is the number of slots, a power of two, less one."""
    begin = tl.program_id(0) * BLOCK_N
    o_b = tl.max_contiguous(tl.arange(0, BLOCK_N), 1)  # [BLOCK_N], a lane's are 32 apart
    o_n = begin + o_b
    end = tl.minimum(tl.load(table_offsets + num_tables), num_ids).to(tl.int32)
    m_n = o_n < end
    b_ids = tl.load(ids + begin + o_b, mask=m_n, other=0)
    # Leaders are of lower positions than those who follow, so that their own are the least. One of another table leads nobody.
    b_leader = tl.full([BLOCK_N], NUM_LEADERS, tl.int32)
    for back in tl.static_range(NUM_LEADERS):
        leader = NUM_LEADERS - 1 - back
        led = tl.load(ids + begin + leader, mask=begin + leader < end, other=0)
        b_leader = tl.where(b_ids == led, leader, b_leader)
    first_table, last_table = tables_between(table_offsets, begin, tl.minimum(begin + BLOCK_N, end) - 1, num_tables, TABLE_BITS)
    b_begin = tl.zeros([BLOCK_N], tl.int32) + tl.load(table_offsets + first_table).to(tl.int32)
    b_size = (tl.load(table_offsets + first_table + 1).to(tl.int32) - b_begin).to(tl.uint32, bitcast=True)
    # Tables are spread by a salt of their own: small ids of many tables would meet otherwise.
    b_salt = tl.zeros([BLOCK_N], tl.int64) + first_table.to(tl.int64) * MULTIPLIER_1
    if first_table < last_table:
        b_table = tables_of(table_offsets, o_n, num_tables, TABLE_BITS)
        b_begin = tl.load(table_offsets + b_table).to(tl.int32)
        b_size = (tl.load(table_offsets + b_table + 1).to(tl.int32) - b_begin).to(tl.uint32, bitcast=True)
        b_salt = b_table.to(tl.int64) * MULTIPLIER_1
    b_slot = (mix(b_ids, b_salt) & mask).to(tl.int32)
    follows = (begin + b_leader < o_n) & (begin + b_leader >= b_begin) & (b_leader < NUM_LEADERS)
    active = m_n & ~follows
    while any_of(active):
        b_seen = tl.load(slots + b_slot, mask=active, other=0, cache_modifier=".cg")
        wants = active & (b_seen == FREE)
        if any_of(wants):
            # `tl.atomic_cas` has no mask. An idle lane replaces a value by itself, away from the slots that many want.
            b_word, b_compare = tl.where(wants, b_slot, o_n & mask), tl.where(wants, FREE, o_n)
            b_old = tl.atomic_cas(slots + b_word, b_compare, o_n, sem="relaxed", scope="gpu")
            b_seen = tl.where(wants, b_old, b_seen)
        # Who saw a free slot to the end has it. Positions tell tables apart, ids are compared where they lie.
        active = active & (b_seen != FREE)
        b_other = tl.load(ids + b_seen, mask=active, other=0)
        in_table = (b_seen - b_begin).to(tl.uint32, bitcast=True) < b_size
        same = active & (b_other == b_ids) & in_table
        # Most repeats come later than the first one seen, and write nothing.
        tl.atomic_min(slots + b_slot, o_n, mask=same & (o_n < b_seen), sem="relaxed", scope="gpu")
        active = active & ~same
        b_slot = tl.where(active, (b_slot + 1) & mask, b_slot)
    # A leader that follows another has no slot of its own, but nobody follows it: who does follows the other.
    b_led = tl.gather(b_slot, tl.minimum(b_leader, NUM_LEADERS - 1), axis=0)
    tl.store(found + begin + o_b, tl.where(follows, b_led, b_slot), mask=m_n)


@triton.jit
def count_block(slots, found, counts, begin, end, num_ids, BLOCK_N: tl.constexpr, IS_WHOLE: tl.constexpr):
    """See `count_kernel`; return the number of first positions. IS_WHOLE: all lanes are ids, and several make a load or store."""
    o_b = tl.arange(0, BLOCK_N)  # [BLOCK_N]
    o_n = begin + o_b
    m_n = o_n < end
    b_found = tl.load(found + begin + o_b) if IS_WHOLE else tl.load(found + begin + o_b, mask=m_n, other=0)
    b_first = tl.load(slots + b_found) if IS_WHOLE else tl.load(slots + b_found, mask=m_n, other=FREE)
    is_first = (b_first == o_n).to(tl.int32)
    b_first = tl.where(is_first == 1, is_first - 1 - tl.cumsum(is_first, axis=0), b_first)
    b_one = tl.full([BLOCK_N], 1, tl.int32)
    if IS_WHOLE:
        tl.store(found + begin + o_b, b_first)
        tl.store(counts + begin + o_b, b_one)
    else:
        tl.store(found + begin + o_b, b_first, mask=m_n)
        tl.store(counts + begin + o_b, b_one, mask=o_n < num_ids)
    return tl.sum(is_first, axis=0)


@triton.jit(do_not_specialize=["num_ids", "num_tables"])
def count_kernel(table_offsets, slots, found, num_first, counts, num_ids, num_tables, BLOCK_N: tl.constexpr):
    """Replace slots by first positions; and those of first positions by -1 - their rank among those of their block. Start counts."""
    program = tl.program_id(0)
    begin = program * BLOCK_N
    end = tl.minimum(tl.load(table_offsets + num_tables), num_ids).to(tl.int32)
    if begin + BLOCK_N <= end:
        tl.store(num_first + program, count_block(slots, found, counts, begin, end, num_ids, BLOCK_N, True))
    else:
        tl.store(num_first + program, count_block(slots, found, counts, begin, end, num_ids, BLOCK_N, False))


@triton.jit
def before(ends, o_n, m_n, BLOCK_N: tl.constexpr):
    """Return how many first positions lie in the blocks before those of positions, int32. `ends` is the inclusive scan of `num_first`."""
    o_b = o_n // BLOCK_N
    return tl.load(ends + o_b - 1, mask=m_n & (o_b > 0), other=0)


@triton.jit
def add_repeats(found, ends, counts, begin, end, b_first, b_rank, repeats, BLOCK_N: tl.constexpr):
    """Add repeats to the counts of their ids: those of what one of the first lanes has all at once, the others each by itself."""
    b_leader = tl.full([BLOCK_N], NUM_LEADERS, tl.int32)
    for back in tl.static_range(NUM_LEADERS):
        leader = NUM_LEADERS - 1 - back
        led = tl.load(found + begin + leader, mask=begin + leader < end, other=0)
        b_leader = tl.where(b_first == tl.where(led < 0, begin + leader, led), leader, b_leader)
    is_led = repeats & (b_leader < NUM_LEADERS)
    if any_of(is_led):
        o_k = tl.arange(0, NUM_LEADERS)
        b_num_led = tl.histogram(b_leader, NUM_LEADERS, mask=is_led)
        m_k = b_num_led > 0
        b_led = tl.load(found + begin + o_k, mask=m_k, other=0)
        b_led_first = tl.where(b_led < 0, begin + o_k, b_led)
        b_led_rank = tl.where(b_led < 0, b_led, tl.load(found + b_led, mask=m_k & (b_led >= 0), other=-1))
        p_led = counts + before(ends, b_led_first, m_k, BLOCK_N) - 1 - b_led_rank
        tl.atomic_add(p_led, b_num_led, mask=m_k, sem="relaxed", scope="gpu")
    tl.atomic_add(counts + b_rank, tl.full([BLOCK_N], 1, tl.int32), mask=repeats & ~is_led, sem="relaxed", scope="gpu")


@triton.jit(do_not_specialize=["num_ids", "num_tables"])
def write_kernel(
    ids, table_offsets, found, ends, unique_ids, unique_offsets, inverse, counts, num_ids, num_tables, BLOCK_N: tl.constexpr
):  # fmt: skip
    """Write outputs. `found` has, of each id, the position of the first like it; or, of a first one itself, -1 - its rank in its block."""
    program = tl.program_id(0)
    begin = program * BLOCK_N
    o_b = tl.max_contiguous(tl.arange(0, BLOCK_N), 1)  # [BLOCK_N], a lane's are 32 apart: what is written is scattered
    o_n = begin + o_b
    end = tl.minimum(tl.load(table_offsets + num_tables), num_ids).to(tl.int32)
    total = tl.load(ends + tl.num_programs(0) - 1)
    m_n = o_n < end
    b_found = tl.load(found + begin + o_b, mask=m_n, other=0)
    is_first = b_found < 0
    repeats = m_n & ~is_first
    b_first = tl.where(is_first, o_n, b_found)
    b_rank = tl.where(is_first, b_found, tl.load(found + b_found, mask=repeats, other=-1))
    b_rank = before(ends, b_first, m_n, BLOCK_N) - 1 - b_rank
    tl.store(inverse + begin + o_b, tl.where(m_n, b_rank, -1), mask=o_n < num_ids)
    tl.store(unique_ids + b_rank, tl.load(ids + begin + o_b, mask=is_first, other=0), mask=is_first)
    # Counts begin at one, so that firsts add nothing.
    if any_of(repeats):
        add_repeats(found, ends, counts, begin, end, b_first, b_rank, repeats, BLOCK_N)
    if begin + BLOCK_N > total:
        m_none = (o_n >= total) & (o_n < num_ids)
        tl.store(unique_ids + begin + o_b, tl.zeros([BLOCK_N], tl.int64), mask=m_none)
        tl.store(counts + begin + o_b, tl.zeros([BLOCK_N], tl.int32), mask=m_none)
    # The programs share the tables out. What begins a table, empty ones aside, is a first position.
    table = begin
    while table <= num_tables:
        o_t = tl.max_contiguous(table + tl.arange(0, BLOCK_N), 1)
        b_offset = tl.minimum(tl.load(table_offsets + o_t, mask=o_t <= num_tables, other=0), end).to(tl.int32)
        m_t = b_offset < end
        b_unique = before(ends, b_offset, m_t, BLOCK_N) - 1 - tl.load(found + b_offset, mask=m_t, other=0)
        tl.store(unique_offsets + o_t, tl.where(m_t, b_unique, total).to(tl.int64), mask=o_t <= num_tables)
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
    found = torch.empty_like(inverse)
    # At most half of the slots are taken.
    slots = torch.full((max(2 * triton.next_power_of_2(num_ids), 2 * BLOCK),), FREE.value, dtype=torch.int32, device=ids.device)
    num_blocks = triton.cdiv(num_ids, BLOCK)
    num_first = inverse.new_empty(num_blocks)
    warp = id_map_triton.warp(BLOCK)
    claim_kernel[(triton.cdiv(num_ids, CLAIM_BLOCK),)](
        ids, table_offsets, slots, found, slots.numel() - 1, num_ids, num_tables,
        TABLE_BITS=id_map_triton.table_bits(num_tables), **id_map_triton.warp(CLAIM_BLOCK),
    )  # fmt: skip
    count_kernel[(num_blocks,)](table_offsets, slots, found, num_first, counts, num_ids, num_tables, **warp)
    ends = torch.cumsum(num_first, 0, dtype=torch.int32)
    write_kernel[(num_blocks,)](ids, table_offsets, found, ends, unique_ids, unique_offsets, inverse, counts, num_ids, num_tables, **warp)
    return unique_ids, unique_offsets, inverse, counts
