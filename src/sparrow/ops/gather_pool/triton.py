"""`gather_pool` on a GPU: whole rows a thread group, columns side by side, ids of a segment one after the other in position order."""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops.tiles import tile_of
from sparrow.ops.triton_rows import (
    BlockAddresses,
    column_pointers,
    compute_type,
    divide,
    exact,
    expect,
    load_wide,
    root,
    row_addresses,
)
from sparrow.ops.triton_segment_sum import FEW, SQRT_N, SUM, UNROLL, add_chunks, long_run_of, num_windows, task_of


@triton.jit
def divisor(b_combiner, b_total):
    """What sums are divided by, given the sums of weights (of their squares for SQRT_N)."""
    b_by = tl.where(b_combiner == SQRT_N, root(b_total), b_total)
    return tl.where(b_combiner == SUM, 1.0, b_by)


@triton.jit
def feature_of(b_segment, num_samples):
    """The feature of each segment. A call has fewer than 2^31 segments, and division of 32 bits is several times as fast as of 64."""
    return (b_segment.to(tl.int32) // num_samples).to(tl.int64)


@triton.jit
def finish(out, b_sum, b_total, b_segment, b_length, exists, combiners, num_samples, num_features,
           DIM: tl.constexpr, COLUMNS: tl.constexpr, WEIGHTED: tl.constexpr):  # fmt: skip
    """Divide sums as their segments' combiners say, and write them."""
    b_feature = feature_of(b_segment, num_samples)
    b_combiner = tl.load(combiners + b_feature, mask=exists, other=0)
    b_pooled = b_sum
    if tl.max((b_combiner != SUM).to(tl.int32)) > 0:  # an IEEE division is a routine, even by one
        b_by = divisor(b_combiner, b_total if WEIGHTED else b_length.to(b_sum.dtype))[:, None]
        b_pooled = tl.where(b_by == 0, 0.0, divide(b_sum, tl.broadcast_to(b_by, b_sum.shape)))
    b_columns = tl.arange(0, COLUMNS)
    b_place = (b_segment - b_feature * num_samples) * num_features + b_feature
    tl.store(out + (b_place * DIM)[:, None] + b_columns[None, :], b_pooled, mask=exists[:, None] & (b_columns < DIM)[None, :])


@triton.jit
def add_row(
    b_sum, b_total, b_position, b_end, b_combiner, default_row, table, rows, inverse, position_weights,
    WEIGHTED: tl.constexpr, W: tl.constexpr, SHIFT: tl.constexpr, ALIGNMENT: tl.constexpr, DIM: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Add to each segment's sum the row at its position, unless that is the end; to its total the weight, or its square for SQRT_N."""
    b_columns = tl.arange(0, COLUMNS)
    m_position = b_position < b_end
    b_index = tl.load(inverse + b_position, mask=m_position, other=0)
    b_row = tl.load(rows + b_index, mask=m_position, other=0)
    # The address alone says where a row is, that it is the default, or (0) that there is none: it is all that lanes of columns are told.
    b_address = row_addresses(table, b_row, m_position & (b_row >= 0), SHIFT, DIM, W)
    b_address = tl.where(b_row < 0, default_row.to(tl.int64), b_address)
    b_address = tl.where(m_position, b_address, 0)[:, None]
    b_value = load_wide(column_pointers(b_address, b_columns, ALIGNMENT, W), (b_address != 0) & (b_columns < DIM)[None, :])
    if WEIGHTED:
        b_weight = tl.load(position_weights + b_position, mask=m_position, other=0).to(b_sum.dtype)
        b_total += tl.where(b_combiner == SQRT_N, b_weight * b_weight, b_weight)
        b_value = b_weight[:, None] * b_value
    return b_sum + b_value, b_total


@triton.jit
def pool_kernel(
    out, sums, totals, table, default_row, rows, inverse, offsets, position_weights, combiners,
    num_segments, num_positions, num_samples, num_features, num_halvings, num_slot_programs,
    SHIFT: tl.constexpr, ALIGNMENT: tl.constexpr, WEIGHTED: tl.constexpr, ROWS: tl.constexpr, DIM: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Segments of up to 256 ids into `out`; of longer ones, chunk sums into `sums` [slots, DIM] and sums of weights into `totals`."""
    W: tl.constexpr = default_row.dtype.element_ty
    T: tl.constexpr = out.dtype.element_ty
    b_target, b_segment, b_begin, b_end, exists = task_of(offsets, num_segments, num_positions, num_halvings, num_slot_programs, ROWS)
    b_columns = tl.arange(0, COLUMNS)
    b_combiner = tl.load(combiners + feature_of(b_segment, num_samples), mask=exists, other=0)
    b_sum = tl.zeros([ROWS, COLUMNS], T)
    b_total = tl.zeros([ROWS], T)
    longest = tl.max(b_end - b_begin, 0)
    if longest <= FEW:
        for step in range(longest):
            b_sum, b_total = add_row(b_sum, b_total, b_begin + step, b_end, b_combiner, default_row, table, rows, inverse,
                                     position_weights, WEIGHTED, W, SHIFT, ALIGNMENT, DIM, COLUMNS)  # fmt: skip
    else:
        for first in range(0, longest, UNROLL):
            for step in tl.static_range(UNROLL):
                b_sum, b_total = add_row(b_sum, b_total, b_begin + first + step, b_end, b_combiner, default_row, table, rows, inverse,
                                         position_weights, WEIGHTED, W, SHIFT, ALIGNMENT, DIM, COLUMNS)  # fmt: skip
    if tl.program_id(0) >= num_slot_programs:
        finish(out, b_sum, b_total, b_segment, b_end - b_begin, exists, combiners, num_samples, num_features, DIM, COLUMNS, WEIGHTED)
    else:
        tl.store(sums + (b_target * DIM)[:, None] + b_columns[None, :], b_sum, mask=exists[:, None] & (b_columns < DIM)[None, :])
        if WEIGHTED:
            tl.store(totals + b_target, b_total, mask=exists)


@triton.jit
def combine_kernel(
    out, sums, totals, offsets, combiners, num_segments, num_positions, num_samples, num_features, num_halvings,
    WEIGHTED: tl.constexpr, ROWS: tl.constexpr, DIM: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Chunk sums of segments of more than 256 ids into `out`."""
    b_segment, b_first, b_last, exists = long_run_of(offsets, num_segments, num_positions, num_halvings, ROWS)
    b_sum = add_chunks(sums, b_first, b_last, ROWS, DIM, COLUMNS)
    b_total = tl.zeros([ROWS], sums.dtype.element_ty)
    if WEIGHTED:
        b_total = tl.sum(add_chunks(totals, b_first, b_last, ROWS, 1, 1), 1)
    finish(out, b_sum, b_total, b_segment, b_last - b_first, exists, combiners, num_samples, num_features, DIM, COLUMNS, WEIGHTED)


def check_segments(inverse: Tensor, offsets: Tensor, position_weights: Tensor | None, combiners: Tensor, num_samples: int) -> None:
    """Raise `RuntimeError` where these are not what `op.py` says of `gather_pool`'s."""
    if num_samples < 0:
        raise RuntimeError(f"num_samples must not be negative, got {num_samples}")
    if max(inverse.numel(), combiners.numel() * num_samples) >= 2**31 - 1:
        raise RuntimeError(f"one call takes fewer than 2^31 ids and segments, got {inverse.numel()} and {combiners.numel() * num_samples}")
    expect(inverse, "inverse", torch.int32, inverse.numel())
    expect(combiners, "combiners", torch.int64, combiners.numel())
    expect(offsets, "offsets", torch.int64, combiners.numel() * num_samples + 1)
    if position_weights is not None:
        expect(position_weights, "position_weights", torch.float32, inverse.numel())


def gather_pool(
    sink: Tensor, weights: list[Tensor], default_row: Tensor, rows: Tensor, inverse: Tensor, offsets: Tensor,
    position_weights: Tensor | None, combiners: Tensor, num_samples: int,
) -> Tensor:  # fmt: skip
    """CUDA body of the operator; see `op.py`. No host synchronisation. 1 launch, 2 where there are more than 256 ids."""
    dim, num_features, num_positions = default_row.numel(), combiners.numel(), inverse.numel()
    num_segments, dtype = num_features * num_samples, compute_type(default_row.dtype)
    expect(default_row, "default_row", default_row.dtype, dim)
    expect(rows, "rows", torch.int32, rows.numel())
    check_segments(inverse, offsets, position_weights, combiners, num_samples)
    if sink.shape != (rows.numel(), dim) or sink.dtype != dtype:
        raise RuntimeError(f"sink must be {dtype} {[rows.numel(), dim]}, got {sink.dtype} {list(sink.shape)}")
    blocks, windows = BlockAddresses(weights, "weights", default_row.dtype, offsets), num_windows(num_positions)
    if blocks.width != dim and weights:
        raise RuntimeError(f"default_row must hold as many values as a row of weights: {blocks.width}, holds {dim}")
    out = torch.empty(num_samples, num_features, dim, dtype=dtype, device=default_row.device)
    if out.numel() == 0:
        return out
    num_rows, columns, num_warps = tile_of("gather_pool", dim, default_row.dtype, out.device)
    weighted = position_weights is not None
    sums = out.new_empty(2 * windows, dim)
    totals = out.new_empty(2 * windows if weighted else 0)
    segments = (num_segments, num_positions, num_samples, num_features, num_segments.bit_length())
    shape = {"WEIGHTED": weighted, "ROWS": num_rows, "DIM": dim, "COLUMNS": columns, **exact(num_warps)}
    slot_programs = triton.cdiv(2 * windows, num_rows)
    pool_kernel[(slot_programs + triton.cdiv(num_segments, num_rows),)](
        out, sums, totals, blocks.table, default_row, rows, inverse, offsets, position_weights, combiners,
        *segments, slot_programs, SHIFT=blocks.shift, ALIGNMENT=math.gcd(blocks.alignment, default_row.data_ptr()), **shape,
    )  # fmt: skip
    if windows:
        combine_kernel[(triton.cdiv(windows, num_rows),)](out, sums, totals, offsets, combiners, *segments, **shape)
    return out
