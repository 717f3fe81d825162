"""`pool_backward` on a GPU: positions sorted by distinct row, then runs of occurrences summed as segments are.

The sort and the search for where runs begin are torch's; what each occurrence receives, and times what, is written in sorted order, so that
the sums read it in order and the gradient alone at random.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops.gather_pool.triton import check_segments, divisor, feature_of
from sparrow.ops.tiles import tile_of
from sparrow.ops.triton_rows import divide, exact, expect
from sparrow.ops.triton_segment_sum import FEW, SQRT_N, UNROLL, add_chunks, last_at_most, long_run_of, num_windows, task_of

BLOCK = 256  # lanes of the kernels over positions and over segments


@triton.jit
def weights_kernel(
    totals, sums, offsets, position_weights, combiners, num_segments, num_positions, num_samples, num_halvings, num_slot_programs,
    ROWS: tl.constexpr,
):  # fmt: skip
    """The weights of each segment added up (their squares for SQRT_N): short segments into `totals`, chunks of long ones into `sums`."""
    T: tl.constexpr = totals.dtype.element_ty
    b_target, b_segment, b_begin, b_end, exists = task_of(offsets, num_segments, num_positions, num_halvings, num_slot_programs, ROWS)
    b_combiner = tl.load(combiners + feature_of(b_segment, num_samples), mask=exists, other=0)
    b_total = tl.zeros([ROWS], T)
    for first in range(0, tl.max(b_end - b_begin, 0), UNROLL):
        for step in tl.static_range(UNROLL):
            b_position = b_begin + first + step
            b_weight = tl.load(position_weights + b_position, mask=b_position < b_end, other=0).to(T)
            b_total += tl.where(b_combiner == SQRT_N, b_weight * b_weight, b_weight)
    into = totals
    if tl.program_id(0) < num_slot_programs:
        into = sums
    tl.store(into + b_target, b_total, mask=exists)


@triton.jit
def combine_weights_kernel(totals, sums, offsets, num_segments, num_positions, num_halvings, ROWS: tl.constexpr):
    b_segment, b_first, b_last, exists = long_run_of(offsets, num_segments, num_positions, num_halvings, ROWS)
    tl.store(totals + b_segment, tl.sum(add_chunks(sums, b_first, b_last, ROWS, 1, 1), 1), mask=exists)


@triton.jit
def feature_and_segment(offsets, b_position, num_samples, num_features, num_feature_halvings, num_sample_halvings):
    """The feature and the segment of each position.

    Where a feature's segments are of one length, as where each sample has one id, a guess is right: without one, a position would look at
    some twenty places all over the offsets. Programs that guess wrong look from there.
    """
    b_feature = last_at_most(offsets, b_position, b_position.to(tl.int32) * 0, num_features, num_feature_halvings, num_samples)
    b_low = b_feature * num_samples
    b_begin = tl.load(offsets + b_low)
    b_length = tl.load(offsets + b_low + num_samples) - b_begin
    b_share = divide((b_position - b_begin).to(tl.float32) + 0.5, b_length.to(tl.float32))
    # Kept inside as an integer: a float32 cannot tell the last of many samples from the one behind.
    b_guess = tl.maximum(b_share * num_samples, 0.0).to(tl.int32)
    b_segment = b_low + tl.maximum(tl.minimum(b_guess, num_samples - 1), 0)
    is_right = (tl.load(offsets + b_segment) <= b_position) & (tl.load(offsets + b_segment + 1) > b_position)
    if tl.min(is_right.to(tl.int32)) == 0:
        b_segment = last_at_most(offsets, b_position, b_low, num_samples, num_sample_halvings, 1)
    return b_feature, b_segment


@triton.jit
def sources_kernel(
    sources, factors, order, offsets, position_weights, totals, combiners,
    num_positions, num_samples, num_features, num_feature_halvings, num_sample_halvings, WEIGHTED: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """For each occurrence, in sorted order, which [D] of the gradient it receives, and times what."""
    T: tl.constexpr = factors.dtype.element_ty
    o_n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)  # [BLOCK_N]; a call has fewer than 2^31 positions
    m_n = o_n < num_positions
    b_position = tl.load(order + o_n, mask=m_n, other=0)
    b_feature, b_segment = feature_and_segment(
        offsets, b_position, num_samples, num_features, num_feature_halvings, num_sample_halvings
    )  # fmt: skip
    if WEIGHTED:
        b_own = tl.load(position_weights + b_position, mask=m_n, other=0).to(T)
        b_total = tl.load(totals + b_segment, mask=m_n, other=0)
    else:
        b_own = tl.full([BLOCK_N], 1.0, T)
        b_total = (tl.load(offsets + b_segment + 1) - tl.load(offsets + b_segment)).to(T)
    b_by = divisor(tl.load(combiners + b_feature, mask=m_n, other=0), b_total)
    tl.store(factors + o_n, tl.where(b_by == 0, 0.0, divide(b_own, b_by)), mask=m_n)
    b_source = (b_segment - b_feature * num_samples) * num_features + b_feature
    tl.store(sources + o_n, b_source.to(tl.int32), mask=m_n)


@triton.jit
def add_occurrence(b_sum, b_at, b_end, grad, sources, factors, DIM: tl.constexpr, COLUMNS: tl.constexpr):
    """Add to each row's sum the gradient of the occurrence at its place, times its factor, unless that is the end."""
    b_columns = tl.arange(0, COLUMNS)
    m_at = b_at < b_end
    b_source = tl.load(sources + b_at, mask=m_at, other=-1)[:, None]  # what it is told, it tells lanes of columns alone
    b_factor = tl.load(factors + b_at, mask=m_at, other=0)
    mask = (b_source >= 0) & (b_columns < DIM)[None, :]
    return b_sum + b_factor[:, None] * tl.load(grad + b_source.to(tl.int64) * DIM + b_columns[None, :], mask=mask, other=0)


@triton.jit
def sum_occurrences(grad, sources, factors, b_begin, b_end, ROWS: tl.constexpr, DIM: tl.constexpr, COLUMNS: tl.constexpr):
    """The gradients of occurrences `b_begin` to `b_end`, each times its factor, added in order, [ROWS, COLUMNS]."""
    b_sum = tl.zeros([ROWS, COLUMNS], grad.dtype.element_ty)
    longest = tl.max(b_end - b_begin, 0)
    if longest <= FEW:
        for step in range(longest):
            b_sum = add_occurrence(b_sum, b_begin + step, b_end, grad, sources, factors, DIM, COLUMNS)
    else:
        for first in range(0, longest, UNROLL):
            for step in tl.static_range(UNROLL):
                b_sum = add_occurrence(b_sum, b_begin + first + step, b_end, grad, sources, factors, DIM, COLUMNS)
    return b_sum


@triton.jit
def sum_kernel(
    out, sums, grad, sources, factors, rows, first, num_unique, num_positions, num_halvings, num_slot_programs,
    ROWS: tl.constexpr, DIM: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Rows of up to 256 occurrences into `out`; of others, chunk sums into `sums` [slots, DIM]."""
    b_target, b_unique, b_begin, b_end, exists = task_of(first, num_unique, num_positions, num_halvings, num_slot_programs, ROWS)
    absent = tl.load(rows + b_unique, mask=exists, other=-1) < 0
    b_sum = sum_occurrences(grad, sources, factors, b_begin, tl.where(absent, b_begin, b_end), ROWS, DIM, COLUMNS)
    into = out
    if tl.program_id(0) < num_slot_programs:
        into = sums
    b_columns = tl.arange(0, COLUMNS)
    tl.store(into + (b_target * DIM)[:, None] + b_columns[None, :], b_sum, mask=exists[:, None] & (b_columns < DIM)[None, :])


@triton.jit
def combine_kernel(
    out, sums, first, num_unique, num_positions, num_halvings,
    ROWS: tl.constexpr, DIM: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Chunk sums of rows of more than 256 occurrences into `out`; those of a row of -1 are zeros."""
    b_unique, b_first, b_last, exists = long_run_of(first, num_unique, num_positions, num_halvings, ROWS)
    b_sum = add_chunks(sums, b_first, b_last, ROWS, DIM, COLUMNS)
    b_columns = tl.arange(0, COLUMNS)
    tl.store(out + (b_unique * DIM)[:, None] + b_columns[None, :], b_sum, mask=exists[:, None] & (b_columns < DIM)[None, :])


class Occurrences(NamedTuple):
    """Where the gradients of each distinct row lie, as csrc/core/pool_backward.h says: in position order within each.

    first:   int64 [U + 1]; row u owns occurrences `first[u]` to `first[u + 1]`.
    sources: int32 [N]; which [D] of the gradient an occurrence receives. factors: [N]; times what.
    """

    first: Tensor
    sources: Tensor
    factors: Tensor


def occurrences_of(
    grad: Tensor, num_unique: int, inverse: Tensor, offsets: Tensor, position_weights: Tensor | None, combiners: Tensor
) -> Occurrences:
    """Sort the occurrences. 1 launch, with weights 2, 3 where there are more than 256 positions; a sort, a range and a search of torch."""
    num_samples, num_features, dim = grad.shape
    expect(grad, "grad", torch.float64 if grad.dtype == torch.float64 else torch.float32, num_samples, combiners.numel(), dim)
    check_segments(inverse, offsets, position_weights, combiners, num_samples)
    num_positions, num_segments = inverse.numel(), num_samples * num_features
    distinct, order = torch.sort(inverse, stable=True)
    first = torch.searchsorted(distinct, torch.arange(num_unique + 1, dtype=inverse.dtype, device=inverse.device))
    sources = torch.empty(num_positions, dtype=torch.int32, device=grad.device)
    factors = grad.new_empty(num_positions)
    if num_positions == 0:
        return Occurrences(first, sources, factors)
    halvings = num_segments.bit_length()
    totals = factors  # not read without weights
    if position_weights is not None:
        totals, windows = grad.new_empty(num_segments), num_windows(num_positions)
        sums, programs = grad.new_empty(2 * windows), triton.cdiv(2 * windows, BLOCK)
        weights_kernel[(programs + triton.cdiv(num_segments, BLOCK),)](
            totals, sums, offsets, position_weights, combiners, num_segments, num_positions, num_samples, halvings, programs,
            ROWS=BLOCK, **exact(),
        )  # fmt: skip
        if windows:
            combine_weights_kernel[(triton.cdiv(windows, BLOCK),)](
                totals, sums, offsets, num_segments, num_positions, halvings, ROWS=BLOCK, **exact()
            )
    sources_kernel[(triton.cdiv(num_positions, BLOCK),)](
        sources, factors, order, offsets, position_weights, totals, combiners,
        num_positions, num_samples, num_features, num_features.bit_length(), num_samples.bit_length(),
        WEIGHTED=position_weights is not None, BLOCK_N=BLOCK, **exact(),
    )  # fmt: skip
    return Occurrences(first, sources, factors)


def pool_backward(
    grad: Tensor, rows: Tensor, inverse: Tensor, offsets: Tensor, position_weights: Tensor | None, combiners: Tensor
) -> Tensor:
    """CUDA body of the operator; see `op.py`. No host synchronisation.

    2 launches, 3 where there are more than 256 positions; with weights 3 and 5. Beside these what `occurrences_of` has torch do.
    """
    num_unique, dim, num_positions = rows.numel(), grad.shape[2], inverse.numel()
    expect(rows, "rows", torch.int32, num_unique)
    out = grad.new_empty(num_unique, dim)
    if out.numel() == 0:
        return out
    found = occurrences_of(grad, num_unique, inverse, offsets, position_weights, combiners)
    num_rows, columns, num_warps = tile_of("pool_backward", dim, grad.dtype, grad.device)
    windows = num_windows(num_positions)
    sums = grad.new_empty(2 * windows, dim)
    shape = {"ROWS": num_rows, "DIM": dim, "COLUMNS": columns, **exact(num_warps)}
    runs = (num_unique, num_positions, num_unique.bit_length())
    programs = triton.cdiv(2 * windows, num_rows)
    sum_kernel[(programs + triton.cdiv(num_unique, num_rows),)](
        out, sums, grad, found.sources, found.factors, rows, found.first, *runs, programs, **shape
    )
    if windows:
        combine_kernel[(triton.cdiv(windows, num_rows),)](out, sums, found.first, *runs, **shape)
    return out
