"""`partition_ids` on a GPU: a stable counting sort by owner, two kernels around a scan of (owner, block) counts.

Ids are read twice, the second time mostly from the L2 cache, instead of being written with their owners in between. Ranks within a block
come from a scan of one column an owner, OWNERS columns at a time, so that a lane's place is known without atomics: the order is stable.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops import id_map_triton
from sparrow.ops.id_map_triton import mix, shift_right, tables_of

BLOCK = 256
# Owners whose lanes are counted together.
OWNERS = tl.constexpr(16)


@triton.jit
def owners_of(
    ids, table_offsets, salts, first_slices, o_n, m_n, num_tables, num_owners, TABLE_BITS: tl.constexpr, OWNER_BITS: tl.constexpr
):
    """Return the ids, their tables and their owners; of lanes that are none, owner -1."""
    b_ids = tl.load(ids + o_n, mask=m_n, other=0)
    b_table = tables_of(table_offsets, o_n, num_tables, TABLE_BITS)
    b_slice = shift_right(mix(b_ids, tl.load(salts + b_table)), 48)
    return b_ids, b_table, tl.where(m_n, tables_of(first_slices, b_slice, num_owners, OWNER_BITS), -1)


@triton.jit(do_not_specialize=["num_ids", "num_tables", "num_owners", "num_blocks"])
def count_kernel(
    ids, table_offsets, salts, first_slices, block_counts, counts, num_ids, num_tables, num_owners, num_blocks,
    TABLE_BITS: tl.constexpr, OWNER_BITS: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Write how many lanes of this block each owner has; add them to the counts of owner and table."""
    program = tl.program_id(0)
    o_n = program.to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)  # [BLOCK_N]
    m_n = o_n < tl.minimum(tl.load(table_offsets + num_tables), num_ids)
    _, b_table, b_owner = owners_of(ids, table_offsets, salts, first_slices, o_n, m_n, num_tables, num_owners, TABLE_BITS, OWNER_BITS)
    first_table = tl.min(b_table, axis=0)
    end_table = tl.max(tl.where(m_n, b_table + 1, 0), axis=0)
    for first in range(0, num_owners, OWNERS):
        o_w = first + tl.arange(0, OWNERS)  # [OWNERS]
        is_owner = b_owner[:, None] == o_w[None, :]
        b_all = tl.sum(is_owner.to(tl.int32), axis=0)
        tl.store(block_counts + o_w.to(tl.int64) * num_blocks + program, b_all, mask=o_w < num_owners)
        for table in range(first_table, end_table):
            b_own = tl.sum((is_owner & (b_table[:, None] == table)).to(tl.int64), axis=0)
            p_count = counts + o_w.to(tl.int64) * num_tables + table
            tl.atomic_add(p_count, b_own, mask=(o_w < num_owners) & (b_own > 0), sem="relaxed", scope="gpu")


@triton.jit(do_not_specialize=["num_ids", "num_tables", "num_owners", "num_blocks"])
def write_kernel(
    ids, table_offsets, salts, first_slices, ends, owned_ids, order, inverse, num_ids, num_tables, num_owners, num_blocks,
    TABLE_BITS: tl.constexpr, OWNER_BITS: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Write every id to its place. `ends` is the inclusive scan of the counts, block by block within an owner."""
    program = tl.program_id(0)
    o_n = program.to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)  # [BLOCK_N]
    m_n = o_n < tl.minimum(tl.load(table_offsets + num_tables), num_ids)
    b_ids, _, b_owner = owners_of(ids, table_offsets, salts, first_slices, o_n, m_n, num_tables, num_owners, TABLE_BITS, OWNER_BITS)
    b_place = tl.zeros([BLOCK_N], tl.int32)
    for first in range(0, num_owners, OWNERS):
        o_w = first + tl.arange(0, OWNERS)  # [OWNERS]
        b_is_owner = (b_owner[:, None] == o_w[None, :]).to(tl.int32)
        o_before = o_w.to(tl.int64) * num_blocks + program - 1
        b_begin = tl.load(ends + o_before, mask=(o_w < num_owners) & (o_before >= 0), other=0)
        b_rank = tl.cumsum(b_is_owner, axis=0) - b_is_owner
        b_place += tl.sum(b_is_owner * (b_begin[None, :] + b_rank), axis=1)
    tl.store(owned_ids + b_place, b_ids, mask=m_n)
    tl.store(order + b_place, o_n.to(tl.int32), mask=m_n)
    tl.store(inverse + o_n, tl.where(m_n, b_place, -1), mask=o_n < num_ids)
    m_none = ~m_n & (o_n < num_ids)
    tl.store(owned_ids + o_n, tl.zeros([BLOCK_N], tl.int64), mask=m_none)
    tl.store(order + o_n, tl.full([BLOCK_N], -1, tl.int32), mask=m_none)


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
    constants = {
        "TABLE_BITS": id_map_triton.table_bits(num_tables),
        "OWNER_BITS": id_map_triton.table_bits(num_owners),
        **id_map_triton.lanes(BLOCK),
    }
    given = (ids, table_offsets, salts, first_slices)
    count_kernel[(num_blocks,)](*given, block_counts, counts, *sizes, **constants)
    ends = torch.cumsum(block_counts, 0, dtype=torch.int32)
    write_kernel[(num_blocks,)](*given, ends, owned_ids, order, inverse, *sizes, **constants)
    return owned_ids, order, inverse, counts
