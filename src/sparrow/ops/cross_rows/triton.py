"""`cross_rows` on a GPU, in one launch: tiles of rows count their combinations and publish where each row's begin (`look_back`), tiles of
outputs have a combination a lane.

How many combinations there are only the device knows, and the product of the inputs' sizes is far too much to set aside. So room is made
for twice as many as there would be if all rows of an input were equally long. Where that is too little, or so much that a launch more is
nothing beside the work, the sizes that were read back make exact room for a second launch. Where at most one input of a result has lists,
the first one is exact.
"""

import itertools
import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops import look_back, recorded
from sparrow.ops import row_kernels as rows
from sparrow.ops.row_search import address_of, bound_of, lanes_of, num_rows_of, refuse_unless

MULTIPLIER = tl.constexpr(0xC6A4A7935BD1E995 - 2**64)
MOST_CROSSED = 2**31
STOP = tl.constexpr(MOST_CROSSED + 1)
# Words of an input, and of a result, which has its inputs' behind. STATES, STARTS: places in the scratch.
IDS, WEIGHTS, OFFSETS = map(tl.constexpr, range(3))
INPUT_WORDS = tl.constexpr(3)
NUM_INPUTS, NUM_ROWS, CAPACITY, OUT_IDS, OUT_WEIGHTS, OUT_OFFSETS, STATES, STARTS, TOTAL, INPUTS = map(tl.constexpr, range(10))
# Kinds of tasks.
COUNTED, CROSSED = map(tl.constexpr, range(2))
# Room for combinations, as a multiple of their number if all rows were equally long; and the most ids that room is made for unasked.
ROOM, MOST_ROOM = 2, 2**24


@triton.jit
def shift_right_47(x):
    return (x >> 47) & ((1 << 17) - 1)


@triton.jit
def count(p_column, scratch, tile, o_r):
    """Publish where each row's combinations begin; a row has at most STOP, so that nothing overflows."""
    num_rows = tl.load(p_column + NUM_ROWS)
    m_r = o_r < num_rows
    b_count = tl.where(m_r, o_r * 0 + 1, 0)
    for i in range(tl.load(p_column + NUM_INPUTS)):
        offsets = tl.load(p_column + INPUTS + i * INPUT_WORDS + OFFSETS)
        b_length = bound_of(offsets, o_r + 1, m_r) - bound_of(offsets, o_r, m_r)
        b_count = tl.minimum(b_count * tl.minimum(b_length, STOP), STOP)
    before = look_back.sum_before(scratch + tl.load(p_column + STATES), tile, tl.sum(b_count))
    b_begin = before + tl.cumsum(b_count) - b_count
    look_back.publish(scratch + tl.load(p_column + STARTS) + o_r, b_begin, o_r <= num_rows)
    tl.store(rows.pointer_at(p_column + OUT_OFFSETS, tl.int64) + o_r, b_begin, mask=o_r <= num_rows)
    tl.store(scratch + tl.load(p_column + TOTAL) + o_r * 0, b_begin, mask=o_r == num_rows)


@triton.jit
def cross(p_column, starts, total, o_n):
    num_rows = tl.load(p_column + NUM_ROWS)
    num_inputs = tl.load(p_column + NUM_INPUTS)
    m_n = o_n < total
    b_row = look_back.list_of_published(starts, num_rows, o_n, m_n)
    b_first = look_back.wait_for(starts, b_row, m_n)
    # How many combinations share what was chosen so far; and which of these this one is.
    b_stride = tl.where(m_n, look_back.wait_for(starts, b_row + 1, m_n) - b_first, 1)
    b_rest = o_n - b_first
    b_state = (o_n * 0 + 8 * num_inputs) * MULTIPLIER
    b_product = o_n.to(tl.float32) * 0.0 + 1.0
    for i in range(num_inputs):
        p_input = p_column + INPUTS + i * INPUT_WORDS
        offsets = tl.load(p_input + OFFSETS)
        b_from = bound_of(offsets, b_row, m_n)
        b_length = tl.where(m_n, bound_of(offsets, b_row + 1, m_n) - b_from, 1)
        b_stride = tl.where(m_n, b_stride // b_length, 1)
        b_place = b_from + b_rest // b_stride
        b_rest = b_rest % b_stride
        b_word = tl.load(rows.pointer_at(p_input + IDS, tl.int64) + b_place, mask=m_n, other=0) * MULTIPLIER
        b_state = (b_state ^ (b_word ^ shift_right_47(b_word)) * MULTIPLIER) * MULTIPLIER
        weights = tl.load(p_input + WEIGHTS)
        b_product *= tl.load(weights.to(tl.pointer_type(tl.float32)) + b_place, mask=m_n & (lanes_of(weights, o_n) != 0), other=1.0)
    b_state = (b_state ^ shift_right_47(b_state)) * MULTIPLIER
    tl.store(rows.pointer_at(p_column + OUT_IDS, tl.int64) + o_n, b_state ^ shift_right_47(b_state), mask=m_n)
    out_weights = tl.load(p_column + OUT_WEIGHTS)
    tl.store(out_weights.to(tl.pointer_type(tl.float32)) + o_n, b_product, mask=m_n & (lanes_of(out_weights, o_n) != 0))


@triton.jit
def cross_kernel(table, scratch, BLOCK_N: tl.constexpr):
    p_task, p_column, tile = rows.task_of(table, scratch)
    first = tile * BLOCK_N
    o_n = first + tl.arange(0, BLOCK_N)  # [BLOCK_N]
    if tl.load(p_task + rows.KIND) == COUNTED:
        count(p_column, scratch, tile, o_n)
    else:
        starts = scratch + tl.load(p_column + STARTS)
        total = look_back.wait_for_one(starts, tl.load(p_column + NUM_ROWS))
        # Where there is too little room, nothing of this launch is used but the sizes.
        if (first < total) & (total <= tl.load(p_column + CAPACITY)):
            cross(p_column, starts, total, o_n)


class _Crosses:
    """The results of a call. addresses: of each input's ids, weights and offsets. num_rows: of each result."""

    def __init__(self, bounds: list[int], weights: list[Tensor], addresses: list[list[int]], num_rows: list[int], like: Tensor) -> None:
        self.inputs = list(itertools.pairwise(bounds))
        self.is_weighted = [any(one.numel() for one in weights[first:last]) for first, last in self.inputs]
        self.addresses, self.num_rows, self.like = addresses, num_rows, like

    def run(self, room: list[int]) -> tuple[tuple[list[Tensor], list[Tensor], list[Tensor]], list[int] | None]:
        """Return results with `room` for so many ids, and how many ids each has: where that is more, the ids are not there.

        Nobody knows how many in a step that a graph repeats.
        """
        launch, out = rows.Launch(), ([], [], [])
        totals = [launch.read_back(1) for _ in self.inputs]
        for x, (first, last) in enumerate(self.inputs):
            num_rows = self.num_rows[x]
            out[0].append(self.like.new_empty(room[x]))
            out[1].append(self.like.new_empty(room[x] if self.is_weighted[x] else 0, dtype=torch.float32))
            out[2].append(self.like.new_empty(num_rows + 1))
            out_weights = out[1][-1].data_ptr() if self.is_weighted[x] else 0
            of_result = launch.add_column(
                last - first, num_rows, room[x], out[0][-1].data_ptr(), out_weights, out[2][-1].data_ptr(),
                launch.reserve(rows.tiles_of(num_rows + 1)), launch.reserve(num_rows + 1), totals[x],
                *itertools.chain(*self.addresses[first:last]),
            )  # fmt: skip
            launch.add(num_rows + 1, COUNTED.value, of_result)
            launch.add_waiting(room[x], CROSSED.value, of_result)
        read = launch.run(cross_kernel, self.like.device)
        return out, None if read is None else [read[place] for place in totals]


def _room_of(sizes: list[int], has_lists: list[bool], num_rows: int) -> int:
    """Return how many combinations there is to be room for, unasked."""
    if num_rows == 0 or min(sizes) == 0:
        return 0
    if sum(has_lists) <= 1:
        return max(sizes) if not any(has_lists) else sizes[has_lists.index(True)]
    product = math.prod(sizes)
    # Rounded up: product / num_rows ** (inputs - 1) is num_rows times the mean lengths.
    expected = -(-product // num_rows ** (len(sizes) - 1))
    room = min(ROOM * expected, product)
    return room if room <= MOST_ROOM else 0


def _refuse_too_many(offsets: list[Tensor]) -> None:
    """Name the row with which the call makes too many."""
    before = 0
    for result, begins in enumerate(offsets):
        too_many = (begins > MOST_CROSSED - before).nonzero()
        if too_many.numel():
            row = int(too_many[0]) - 1
            raise RuntimeError(
                f"result {result} makes too many ids: with row {row} this call makes more than {MOST_CROSSED}; shorten the lists before "
                "they are crossed"
            )
        before += int(begins[-1])


def cross_rows(
    values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], first_input: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """CUDA body of the operator; see `op.py`. One read of the sizes by the host. 1 launch of ours, or 2 where lists are very uneven."""
    bounds = first_input.tolist()
    refuse_unless(bounds[:1] == [0] and bounds[-1] == len(values), f"first_input must go from 0 to {len(values)}, the number of inputs")
    num_rows = [num_rows_of(*column) for column in zip(values, offsets, strict=True)]
    for result, (first, last) in enumerate(itertools.pairwise(bounds)):
        refuse_unless(last - first >= 2, f"first_input: result {result} has {last - first} inputs, must have at least 2")
        for i in range(first, last):
            same = num_rows[i] == num_rows[first]
            refuse_unless(same, f"result {result}: input {i} has {num_rows[i]} rows, its first input has {num_rows[first]}")
    addresses = [
        [
            address_of(values[i], f"values of input {i}", torch.int64),
            address_of(weights[i], f"weights of input {i}", torch.float32),
            address_of(offsets[i], f"offsets of input {i}", torch.int64),
        ]
        for i in range(len(values))
    ]
    if not values:
        return [], [], []
    crosses = _Crosses(bounds, weights, addresses, [num_rows[first] for first in bounds[:-1]], values[0])
    sizes, has_lists = [one.numel() for one in values], [one.numel() > 0 for one in offsets]
    room = [_room_of(sizes[first:last], has_lists[first:last], num_rows[first]) for first, last in crosses.inputs]
    if recorded.current() is not None:
        for result, (first, last) in enumerate(crosses.inputs):
            predictable = sum(has_lists[first:last]) <= 1
            refuse_unless(predictable, f"result {result} crosses several inputs of lists: how many ids it has, a captured step cannot know")
    out, totals = crosses.run(room)
    if totals is None:
        return out
    if sum(totals) > MOST_CROSSED:
        _refuse_too_many(out[2])
    if any(total > most for total, most in zip(totals, room, strict=True)):
        out, totals = crosses.run(totals)
    for x, total in enumerate(totals):
        out[0][x] = out[0][x].narrow(0, 0, total)
        out[1][x] = out[1][x].narrow(0, 0, total if crosses.is_weighted[x] else 0)
    return out
