"""`partition_ids` on a GPU: a stable counting sort by owner, two kernels around a scan of (owner, block) counts.

`count_kernel` reads ids, finds owners, and leaves in `inverse` what `write_kernel` needs of each: its owner and its rank among those
of its block. Ranks come of scans of words, in each of which four owners have a counter of 8 bits: no atomics, so the order is stable,
and a program is one warp, so nobody waits at barriers. Ids are read again, mostly from the L2 cache.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops import id_map, id_map_triton
from sparrow.ops.id_map_triton import mix, shift_right, tables_between, tables_of

# Ids of a program. A rank within them has RANK_BITS bits, and so have the counters of an owner.
BLOCK = 256
RANK_BITS = tl.constexpr(8)
RANK_MASK = tl.constexpr(255)
# Owners that share a word of counters.
OWNERS = tl.constexpr(4)
# Of up to 2^FEW_BITS owners, slices and where their ids begin are kept in registers.
FEW_BITS = tl.constexpr(3)
# Beyond every slice.
NO_SLICE = tl.constexpr(id_map.NUM_SLICES)


@triton.jit
def first_slice_of(first_slices, o_w, num_owners):
    return tl.load(first_slices + o_w, mask=o_w < num_owners, other=NO_SLICE).to(tl.int32)


@triton.jit
def owners_of(b_slice, first_slices, num_owners, OWNER_BITS: tl.constexpr):
    """Return the owner of each slice, int32: the last that begins at or before it."""
    if OWNER_BITS > FEW_BITS:
        b_owner = tl.zeros_like(b_slice)
        for bit in tl.static_range(OWNER_BITS):
            b_next = b_owner + (1 << (OWNER_BITS - 1 - bit))
            b_owner = tl.where(first_slice_of(first_slices, b_next, num_owners) <= b_slice, b_next, b_owner)
        return b_owner
    else:
        # The same search, of what all lanes hold in registers.
        is_upper = first_slice_of(first_slices, 4, num_owners) <= b_slice
        b_second = tl.where(is_upper, first_slice_of(first_slices, 6, num_owners), first_slice_of(first_slices, 2, num_owners))
        b_first = tl.where(is_upper, first_slice_of(first_slices, 5, num_owners), first_slice_of(first_slices, 1, num_owners))
        b_third = tl.where(is_upper, first_slice_of(first_slices, 7, num_owners), first_slice_of(first_slices, 3, num_owners))
        is_second = b_second <= b_slice
        b_owner = tl.where(is_upper, 4, 0) + tl.where(is_second, 2, 0)
        return b_owner + (tl.where(is_second, b_third, b_first) <= b_slice).to(tl.int32)


@triton.jit
def count_block(
    ids, table_offsets, salts, first_slices, block_counts, counts, inverse, begin, end, num_tables, num_owners, num_blocks,
    TABLE_BITS: tl.constexpr, OWNER_BITS: tl.constexpr, BLOCK_N: tl.constexpr, IS_WHOLE: tl.constexpr,
):  # fmt: skip
    """See `count_kernel`. IS_WHOLE: all lanes are ids, so that loads and stores need no mask, and several make one."""
    o_n = begin + tl.arange(0, BLOCK_N)  # [BLOCK_N]
    m_n = o_n < end
    b_ids = tl.load(ids + o_n) if IS_WHOLE else tl.load(ids + o_n, mask=m_n, other=0)
    first_table, last_table = tables_between(table_offsets, begin, tl.minimum(begin + BLOCK_N, end) - 1, num_tables, TABLE_BITS)
    # Most blocks are of one table.
    b_table = tl.zeros([BLOCK_N], tl.int32) + first_table
    b_salt = tl.zeros([BLOCK_N], tl.int64) + tl.load(salts + first_table)
    if first_table < last_table:
        b_table = tables_of(table_offsets, o_n, num_tables, TABLE_BITS)
        b_salt = tl.load(salts + b_table)
    b_slice = shift_right(mix(b_ids, b_salt), 48).to(tl.int32)
    b_owner = owners_of(b_slice, first_slices, num_owners, OWNER_BITS)
    if not IS_WHOLE:
        b_owner = tl.where(m_n, b_owner, -1)
    b_shift = (b_owner % OWNERS) * RANK_BITS
    b_one = tl.full([BLOCK_N], 1, tl.int32) << b_shift
    b_rank = tl.zeros([BLOCK_N], tl.int32)
    program = begin // BLOCK_N
    for first in range(0, num_owners, OWNERS):
        b_own = tl.where(b_owner // OWNERS == first // OWNERS, b_one, 0)
        # One owner may have them all: the sum of a half fits its counter, and of what precedes a lane as well.
        b_half = tl.sum(tl.reshape(b_own, [2, BLOCK_N // 2]), axis=1)
        o_w = tl.arange(0, OWNERS)
        b_all = tl.sum((b_half[:, None] >> (o_w * RANK_BITS)[None, :]) & RANK_MASK, axis=0)
        b_rank += tl.where(b_own != 0, ((tl.cumsum(b_own, axis=0) - b_own) >> b_shift) & RANK_MASK, 0)
        o_w = first + o_w
        tl.store(block_counts + o_w.to(tl.int64) * num_blocks + program, b_all, mask=o_w < num_owners)
        if first_table == last_table:
            p_count = counts + o_w.to(tl.int64) * num_tables + first_table
            tl.atomic_add(p_count, b_all.to(tl.int64), mask=(o_w < num_owners) & (b_all > 0), sem="relaxed", scope="gpu")
    if first_table < last_table:
        p_count = counts + b_owner.to(tl.int64) * num_tables + b_table
        tl.atomic_add(p_count, tl.full([BLOCK_N], 1, tl.int64), mask=m_n, sem="relaxed", scope="gpu")
    b_found = (b_owner << RANK_BITS) | b_rank
    if IS_WHOLE:
        tl.store(inverse + o_n, b_found)
    else:
        tl.store(inverse + o_n, b_found, mask=m_n)


@triton.jit(do_not_specialize=["num_ids", "num_tables", "num_owners", "num_blocks"])
def count_kernel(
    ids, table_offsets, salts, first_slices, block_counts, counts, inverse, num_ids, num_tables, num_owners, num_blocks,
    TABLE_BITS: tl.constexpr, OWNER_BITS: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Write how many lanes of this block each owner has; add them to the counts of owner and table; write owners and ranks to `inverse`."""
    begin = tl.program_id(0) * BLOCK_N
    end = tl.minimum(tl.load(table_offsets + num_tables), num_ids).to(tl.int32)
    if begin + BLOCK_N <= end:
        count_block(
            ids, table_offsets, salts, first_slices, block_counts, counts, inverse, begin, end, num_tables, num_owners, num_blocks,
            TABLE_BITS, OWNER_BITS, BLOCK_N, True,
        )  # fmt: skip
    else:
        count_block(
            ids, table_offsets, salts, first_slices, block_counts, counts, inverse, begin, end, num_tables, num_owners, num_blocks,
            TABLE_BITS, OWNER_BITS, BLOCK_N, False,
        )  # fmt: skip


@triton.jit(do_not_specialize=["num_ids", "num_tables", "num_owners", "num_blocks"])
def write_kernel(
    ids, table_offsets, ends, owned_ids, order, inverse, num_ids, num_tables, num_owners, num_blocks,
    OWNER_BITS: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Write every id to its place. `ends` is the inclusive scan of the counts, block by block within an owner."""
    program = tl.program_id(0)
    # A lane takes every 32nd id: their places are scattered, and near one another only where ids are.
    o_n = tl.max_contiguous(program * BLOCK_N + tl.arange(0, BLOCK_N), 1)  # [BLOCK_N]
    end = tl.minimum(tl.load(table_offsets + num_tables), num_ids).to(tl.int32)
    m_n = o_n < end
    b_ids = tl.load(ids + o_n, mask=m_n, other=0)
    b_found = tl.load(inverse + o_n, mask=m_n, other=0)
    b_owner = b_found >> RANK_BITS
    if OWNER_BITS <= FEW_BITS:
        o_w = tl.arange(0, 1 << OWNER_BITS)
        o_before = o_w.to(tl.int64) * num_blocks + program - 1
        b_begins = tl.load(ends + o_before, mask=(o_w < num_owners) & (o_before >= 0), other=0)
        b_begin = tl.gather(b_begins, b_owner, axis=0)
    else:
        o_before = b_owner.to(tl.int64) * num_blocks + program - 1
        b_begin = tl.load(ends + o_before, mask=o_before >= 0, other=0)
    b_place = b_begin + (b_found & RANK_MASK)
    tl.store(owned_ids + b_place, b_ids, mask=m_n)
    tl.store(order + b_place, o_n, mask=m_n)
    tl.store(inverse + o_n, b_place, mask=m_n)
    if end < (program + 1) * BLOCK_N:
        m_none = (o_n >= end) & (o_n < num_ids)
        b_none = tl.full([BLOCK_N], -1, tl.int32)
        tl.store(owned_ids + o_n, tl.zeros([BLOCK_N], tl.int64), mask=m_none)
        tl.store(order + o_n, b_none, mask=m_none)
        tl.store(inverse + o_n, b_none, mask=m_none)


def partition_ids(
    columns: list[Tensor], table_offsets: Tensor, salts: Tensor, first_slices: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """CUDA body of the operator; see `op.py`. No host synchronisation.

    2 launches of ours; by torch a fill, a scan of W N / 256 counts and, where there are several columns, one concatenation.
    """
    for tensor, name in ((table_offsets, "table_offsets"), (salts, "salts"), (first_slices, "first_slices")):
        id_map_triton.check(tensor, name, torch.int64, 0, table_offsets)
    for index, column in enumerate(columns):
        id_map_triton.check(column, f"ids: column {index}", torch.int64, 0, table_offsets)
    ids = columns[0] if len(columns) == 1 else torch.cat([*columns, table_offsets[:0]])
    num_ids, num_tables, num_owners = ids.numel(), table_offsets.numel() - 1, first_slices.numel() - 1
    if salts.numel() != num_tables:
        raise RuntimeError(f"salts must have one entry a table, has {salts.numel()} for {num_tables} tables")
    if num_owners < 1:
        raise RuntimeError(f"first_slices must have one more entry than there are owners, has {first_slices.numel()}")
    if num_ids > 0 and num_tables < 1:
        raise RuntimeError(f"table_offsets must have one more entry than there are tables, has {table_offsets.numel()}, with {num_ids} ids")
    if num_ids >= 2**30:
        raise RuntimeError(f"ids: one call on a GPU takes fewer than 2^30, got {num_ids}")
    counts = ids.new_zeros(num_owners, max(num_tables, 0))
    owned_ids, order = torch.empty_like(ids), torch.empty(num_ids, dtype=torch.int32, device=ids.device)
    inverse = torch.empty_like(order)
    if num_ids == 0:
        return owned_ids, order, inverse, counts
    num_blocks = triton.cdiv(num_ids, BLOCK)
    block_counts = order.new_empty(num_owners * num_blocks)
    sizes = (num_ids, num_tables, num_owners, num_blocks)
    options = {"OWNER_BITS": id_map_triton.table_bits(num_owners), "BLOCK_N": BLOCK, "num_warps": 1, "enable_fp_fusion": False}
    count_kernel[(num_blocks,)](
        ids,
        table_offsets,
        salts,
        first_slices,
        block_counts,
        counts,
        inverse,
        *sizes,
        TABLE_BITS=id_map_triton.table_bits(num_tables),
        **options,
    )
    ends = torch.cumsum(block_counts, 0, dtype=torch.int32)
    write_kernel[(num_blocks,)](ids, table_offsets, ends, owned_ids, order, inverse, *sizes, **options)
    return owned_ids, order, inverse, counts
