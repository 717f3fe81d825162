"""`cross_rows` on a GPU: count each row's combinations, scan the counts (torch.cumsum), then a combination a lane."""

import itertools

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops.row_search import BLOCK, address_of, bound_of, grid_of, lanes_of, num_rows_of, on_device, refuse_unless, row_of, steps_of

MULTIPLIER = tl.constexpr(0xC6A4A7935BD1E995 - 2**64)
MOST_CROSSED = 2**31
STOP = tl.constexpr(MOST_CROSSED + 1)
# Words of an input, and of a result, in their tables. BASE is the place of a result's first row among the rows of all results.
IDS, WEIGHTS, OFFSETS = map(tl.constexpr, range(3))
INPUT_WIDTH = tl.constexpr(3)
FIRST, LAST, NUM_ROWS, BASE, NUM_IDS, OUT_IDS, OUT_WEIGHTS, OUT_OFFSETS = map(tl.constexpr, range(8))
WIDTH = tl.constexpr(8)


@triton.jit
def shift_right_47(x):
    return (x >> 47) & ((1 << 17) - 1)


@triton.jit
def count_kernel(inputs, results, counts, BLOCK_N: tl.constexpr):
    """counts[base + row] = how many combinations a row has; at most STOP, so that nothing overflows."""
    o_r = tl.program_id(0).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)  # [BLOCK_N]
    own = results + tl.program_id(1) * WIDTH
    m_r = o_r < tl.load(own + NUM_ROWS)
    b_count = tl.full([BLOCK_N], 1, tl.int64)
    for i in range(tl.load(own + FIRST), tl.load(own + LAST)):
        offsets = tl.load(inputs + i * INPUT_WIDTH + OFFSETS)
        b_length = bound_of(offsets, o_r + 1, m_r) - bound_of(offsets, o_r, m_r)
        b_count = tl.minimum(b_count * tl.minimum(b_length, STOP), STOP)
    tl.store(counts + tl.load(own + BASE) + o_r, b_count, mask=m_r)


@triton.jit
def cross_kernel(inputs, results, begins, num_steps, BLOCK_N: tl.constexpr):
    """`begins` is the exclusive scan of the counts of all rows of all results, and its total behind."""
    o_n = tl.program_id(0).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)  # [BLOCK_N]
    own = results + tl.program_id(1) * WIDTH
    first = tl.load(own + FIRST)
    last = tl.load(own + LAST)
    num_rows = tl.load(own + NUM_ROWS)
    own_begins = begins + tl.load(own + BASE)
    base = tl.load(own_begins)
    b_begin = tl.load(own_begins + o_n, mask=o_n <= num_rows, other=0)
    tl.store(tl.load(own + OUT_OFFSETS).to(tl.pointer_type(tl.int64)) + o_n, b_begin - base, mask=o_n <= num_rows)

    m_n = o_n < tl.load(own + NUM_IDS)
    b_row = row_of(own_begins.to(tl.int64), num_rows, o_n + base, m_n, num_steps)
    b_first = tl.load(own_begins + b_row, mask=m_n, other=0)
    # How many combinations share what was chosen so far; and which of these this one is.
    b_stride = tl.load(own_begins + b_row + 1, mask=m_n, other=1) - b_first
    b_rest = o_n + base - b_first
    b_state = (tl.zeros([BLOCK_N], tl.int64) + 8 * (last - first)) * MULTIPLIER
    b_product = tl.full([BLOCK_N], 1.0, tl.float32)
    for i in range(first, last):
        offsets = tl.load(inputs + i * INPUT_WIDTH + OFFSETS)
        b_from = bound_of(offsets, b_row, m_n)
        b_length = tl.where(m_n, bound_of(offsets, b_row + 1, m_n) - b_from, 1)
        b_stride = tl.where(m_n, b_stride // b_length, 1)
        b_place = b_from + b_rest // b_stride
        b_rest = b_rest % b_stride
        b_word = tl.load(tl.load(inputs + i * INPUT_WIDTH + IDS).to(tl.pointer_type(tl.int64)) + b_place, mask=m_n, other=0) * MULTIPLIER
        b_state = (b_state ^ (b_word ^ shift_right_47(b_word)) * MULTIPLIER) * MULTIPLIER
        weights = tl.load(inputs + i * INPUT_WIDTH + WEIGHTS)
        b_product *= tl.load(weights.to(tl.pointer_type(tl.float32)) + b_place, mask=m_n & (lanes_of(weights, o_n) != 0), other=1.0)
    b_state = (b_state ^ shift_right_47(b_state)) * MULTIPLIER
    tl.store(tl.load(own + OUT_IDS).to(tl.pointer_type(tl.int64)) + o_n, b_state ^ shift_right_47(b_state), mask=m_n)
    out_weights = tl.load(own + OUT_WEIGHTS)
    tl.store(out_weights.to(tl.pointer_type(tl.float32)) + o_n, b_product, mask=m_n & (lanes_of(out_weights, o_n) != 0))


def _refuse_too_many(begins: Tensor, bases: list[int]) -> None:
    """Name the row with which the call makes too many."""
    row = int((begins > MOST_CROSSED).nonzero()[0]) - 1
    result = max(x for x, base in enumerate(bases) if base <= row)
    raise RuntimeError(
        f"result {result} makes too many ids: with row {row - bases[result]} this call makes more than {MOST_CROSSED}; shorten the lists "
        "before they are crossed"
    )


def cross_rows(
    values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], first_input: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """CUDA body of the operator; see `op.py`. One read of the sizes by the host. 2 launches of ours, 1 scan of torch."""
    bounds = first_input.tolist()
    refuse_unless(bounds[:1] == [0] and bounds[-1] == len(values), f"first_input must go from 0 to {len(values)}, the number of inputs")
    rows = [num_rows_of(*column) for column in zip(values, offsets, strict=True)]
    for result, (first, last) in enumerate(itertools.pairwise(bounds)):
        refuse_unless(last - first >= 2, f"first_input: result {result} has {last - first} inputs, must have at least 2")
        for i in range(first, last):
            refuse_unless(rows[i] == rows[first], f"result {result}: input {i} has {rows[i]} rows, its first input has {rows[first]}")
    inputs = [
        [
            address_of(values[i], f"values of input {i}", torch.int64),
            address_of(weights[i], f"weights of input {i}", torch.float32),
            address_of(offsets[i], f"offsets of input {i}", torch.int64),
        ]
        for i in range(len(values))
    ]
    out: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    if not inputs:
        return out
    like, firsts = values[0], bounds[:-1]
    bases = list(itertools.accumulate((rows[first] for first in firsts), initial=0))
    results = [[first, last, rows[first], base, 0, 0, 0, 0] for (first, last), base in zip(itertools.pairwise(bounds), bases, strict=False)]
    of_inputs, begins = on_device(inputs, like), like.new_zeros(bases[-1] + 1)
    most_rows = max(rows)
    if most_rows:
        count_kernel[grid_of(len(results), most_rows, BLOCK)](of_inputs, on_device(results, like), begins[1:], BLOCK_N=BLOCK)
    begins = begins.cumsum(0)
    ends = begins[torch.tensor(bases, device=like.device)].tolist()
    if ends[-1] > MOST_CROSSED:
        _refuse_too_many(begins, bases)
    for one, (begin, end) in zip(results, itertools.pairwise(ends), strict=True):
        is_weighted = any(weight.numel() for weight in weights[one[FIRST.value] : one[LAST.value]])
        out[0].append(like.new_empty(end - begin))
        out[1].append(like.new_empty(end - begin if is_weighted else 0, dtype=torch.float32))
        out[2].append(like.new_empty(one[NUM_ROWS.value] + 1))
        one[NUM_IDS.value :] = [end - begin, *(part[-1].data_ptr() for part in out)]
    most = max(most_rows + 1, *(one[NUM_IDS.value] for one in results))
    cross_kernel[grid_of(len(results), most, BLOCK)](of_inputs, on_device(results, like), begins, steps_of(rows), BLOCK_N=BLOCK)
    return out
