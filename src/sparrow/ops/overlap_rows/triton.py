"""`overlap_rows` on a GPU: a program takes a few rows and compares every pair of a row, an id a lane; one launch for all results."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops.overlap_rows.kinds import KINDS
from sparrow.ops.row_search import address_of, bound_of, grid_of, num_rows_of, on_device, refuse_unless

COUNT, RATIO, JACCARD, CONTAINS, EQUAL, ANY = map(tl.constexpr, range(len(KINDS)))
# Words of a result in the table.
A, A_OFFSETS, B, B_OFFSETS, NUM_ROWS, KIND, OUT = map(tl.constexpr, range(7))
WIDTH = tl.constexpr(7)
ROWS_PER_PROGRAM, TILE, NUM_WARPS = 8, 32, 1
ITEMS_A_STEP = tl.constexpr(4)


@triton.jit
def are_in(b_id, p_list, count, o_own, ONLY_BEFORE: tl.constexpr):
    """1 where an id is in a list of `count`, else 0; or only among those before its own place there. Every lane looks at the same item."""
    b_is_in = tl.zeros_like(o_own)
    for first in range(0, count, ITEMS_A_STEP):
        for step in tl.static_range(ITEMS_A_STEP):
            place = first + step
            m_equal = b_id == tl.load(p_list + tl.minimum(place, count - 1))  # the last one again does not matter
            if ONLY_BEFORE:
                m_equal = m_equal & (place < o_own)
            b_is_in = tl.where(m_equal, 1, b_is_in)
    return b_is_in


@triton.jit
def count_distinct(p_list, count, p_other, num_other, BLOCK_N: tl.constexpr):
    """How many distinct ids a list has, and how many of them another has, too. An id is counted where it lies first."""
    b_distinct = tl.zeros([BLOCK_N], tl.int32)
    b_in_other = tl.zeros([BLOCK_N], tl.int32)
    for begin in range(0, count, BLOCK_N):
        o_list = begin + tl.arange(0, BLOCK_N)
        m_list = o_list < count
        b_id = tl.load(p_list + o_list, mask=m_list, other=0)
        b_first = tl.where(m_list, 1 - are_in(b_id, p_list, tl.minimum(count, begin + BLOCK_N), o_list, True), 0)
        b_distinct += b_first
        b_in_other += b_first * are_in(b_id, p_other, num_other, o_list, False)
    return tl.sum(b_distinct), tl.sum(b_in_other)


@triton.jit
def overlap_kernel(results, ROWS: tl.constexpr, BLOCK_N: tl.constexpr):
    own = results + tl.program_id(1) * WIDTH
    kind = tl.load(own + KIND)
    a_offsets = tl.load(own + A_OFFSETS)
    b_offsets = tl.load(own + B_OFFSETS)
    first = tl.program_id(0).to(tl.int64) * ROWS
    for row in range(first, tl.minimum(first + ROWS, tl.load(own + NUM_ROWS))):
        begin_a = bound_of(a_offsets, row, True)
        begin_b = bound_of(b_offsets, row, True)
        # Lists are shorter than 2^31.
        num_a = (bound_of(a_offsets, row + 1, True) - begin_a).to(tl.int32)
        num_b = (bound_of(b_offsets, row + 1, True) - begin_b).to(tl.int32)
        p_a = tl.load(own + A).to(tl.pointer_type(tl.int64)) + begin_a
        p_b = tl.load(own + B).to(tl.pointer_type(tl.int64)) + begin_b
        in_a, in_both = count_distinct(p_a, num_a, p_b, num_b, BLOCK_N)
        in_b = in_both * 0
        if (kind == JACCARD) | (kind == CONTAINS) | (kind == EQUAL):
            in_b, _ = count_distinct(p_b, num_b, p_a, in_b, BLOCK_N)
        whole = tl.where(kind == RATIO, in_a, in_a + in_b - in_both)
        ratio = tl.where(whole == 0, 0.0, tl.div_rn(in_both.to(tl.float32), tl.maximum(whole, 1).to(tl.float32)))
        has_all = in_both == in_b
        is_so = tl.where(kind == CONTAINS, has_all, tl.where(kind == EQUAL, has_all & (in_both == in_a), in_both > 0))
        number = tl.where(kind == COUNT, in_both.to(tl.float32), is_so.to(tl.float32))
        number = tl.where((kind == RATIO) | (kind == JACCARD), ratio, number)
        tl.store(tl.load(own + OUT).to(tl.pointer_type(tl.float32)) + row, number)


def overlap_rows(a: list[Tensor], a_offsets: list[Tensor], b: list[Tensor], b_offsets: list[Tensor], columns: Tensor) -> list[Tensor]:
    """CUDA body of the operator; see `op.py`. No host synchronisation. One launch."""
    refuse_unless(columns.numel() == len(a), f"columns must be [{len(a)}], has {columns.numel()}")
    out: list[Tensor] = []
    table = []
    for x, kind in enumerate(columns.tolist()):
        num_rows, of_b = num_rows_of(a[x], a_offsets[x]), num_rows_of(b[x], b_offsets[x])
        refuse_unless(num_rows == of_b, f"result {x}: a has {num_rows} rows, b {of_b}")
        refuse_unless(0 <= kind < len(KINDS), f"columns: result {x} has kind {kind}, must be from 0 to {len(KINDS) - 1}")
        out.append(a[x].new_empty(num_rows, dtype=torch.float32))
        table.append(
            [
                address_of(a[x], f"a of result {x}", torch.int64),
                address_of(a_offsets[x], f"a_offsets of result {x}", torch.int64),
                address_of(b[x], f"b of result {x}", torch.int64),
                address_of(b_offsets[x], f"b_offsets of result {x}", torch.int64),
                num_rows,
                kind,
                out[-1].data_ptr(),
            ]
        )
    most = max((one.numel() for one in out), default=0)
    if most:
        grid = grid_of(len(table), most, ROWS_PER_PROGRAM)
        overlap_kernel[grid](on_device(table, a[0]), ROWS=ROWS_PER_PROGRAM, BLOCK_N=TILE, num_warps=NUM_WARPS, enable_fp_fusion=False)
    return out
