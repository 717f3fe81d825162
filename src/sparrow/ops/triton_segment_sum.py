"""The one order in which rows are added (see `csrc/core/segment_sum.h`), cut so that no program adds more than 256 rows in a row.

Runs of positions, `offsets[r]` to `offsets[r + 1]`, are what is summed. A run of up to 256 is a task; a longer one is a task a chunk, whose
sums wait in slots and are added in order by a second launch. Where the chunk that begins at position p is kept follows from p alone, so
no count leaves the device: slot 2 (p // 256) for a whole chunk, the next for one cut short by the end of its run. Whole chunks begin 256
apart at least, and so do those cut short, as each follows a whole one: no two share a slot.
"""

import triton
import triton.language as tl

CHUNK = 256
CHUNK_ROWS = tl.constexpr(CHUNK)
# Steps whose loads are in flight together; and the length up to which a run is summed step by step, as most are.
UNROLL, FEW = tl.constexpr(4), tl.constexpr(2)
SUM, MEAN, SQRT_N = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)


def num_windows(num_positions: int) -> int:
    """Return the number of pairs of slots; 0 where no run can be long."""
    return num_positions // CHUNK + 1 if num_positions > CHUNK else 0


@triton.jit
def find_run(offsets, b_values, num_runs, num_halvings):
    """The last run whose offset is at most each value. num_halvings: the bits of num_runs, which is positive and below 2^31."""
    return last_at_most(offsets, b_values, b_values.to(tl.int32) * 0, num_runs, num_halvings, 1).to(tl.int64)


@triton.jit
def last_at_most(offsets, b_values, b_low, num_runs, num_halvings, stride):
    """The last of `num_runs` places from `b_low` on whose offset, `stride` apart, is at most each value; the first where none is. int32, as
    places of 64 bits would take twice the instructions."""
    b_high = b_low + num_runs
    for _ in range(num_halvings):
        b_middle = b_low + ((b_high - b_low) >> 1)
        below = tl.load(offsets + b_middle * stride) <= b_values
        b_low = tl.where(below, b_middle, b_low)
        b_high = tl.where(below, b_high, b_middle)
    return b_low


@triton.jit
def slot_of(b_begin, b_last):
    """The slot of the chunk that begins at `b_begin` in a long run that ends at `b_last`."""
    return (b_begin // CHUNK_ROWS) * 2 + (b_begin + CHUNK_ROWS > b_last).to(tl.int64)


@triton.jit
def task_of(offsets, num_runs, num_positions, num_halvings, num_slot_programs, ROWS: tl.constexpr):
    """What this program sums: (slot or run, run, first position, end, whether there is anything to write), each [ROWS].

    The first `num_slot_programs` programs have a slot a lane, as they take longest; the others a run a lane.
    """
    program = tl.program_id(0).to(tl.int64)
    b_lanes = tl.arange(0, ROWS)
    if program < num_slot_programs:
        b_target = program * ROWS + b_lanes
        b_short = b_target & 1
        b_window = b_target >> 1
        # A chunk cut short follows a whole one, so its run covers the window's first position; a whole one covers the last.
        b_inside = b_window * CHUNK_ROWS + tl.where(b_short == 1, 0, CHUNK_ROWS - 1)
        b_run = find_run(offsets, tl.minimum(b_inside, num_positions - 1), num_runs, num_halvings)
        b_first = tl.load(offsets + b_run).to(tl.int64)
        b_last = tl.load(offsets + b_run + 1).to(tl.int64)
        b_until = tl.where(b_short == 1, b_last, b_inside)
        b_begin = b_first + (b_until - b_first) // CHUNK_ROWS * CHUNK_ROWS
        b_end = tl.minimum(b_begin + CHUNK_ROWS, b_last)
        exists = (b_inside < num_positions) & (b_last - b_first > CHUNK_ROWS) & (b_begin < b_last)
        exists = exists & (slot_of(b_begin, b_last) == b_target)
    else:
        b_target = (program - num_slot_programs) * ROWS + b_lanes
        exists = b_target < num_runs
        b_run = tl.where(exists, b_target, 0)
        b_begin = tl.load(offsets + b_run).to(tl.int64)
        b_end = tl.load(offsets + b_run + 1).to(tl.int64)
        exists = exists & (b_end - b_begin <= CHUNK_ROWS)
    return b_target, b_run, b_begin, tl.where(exists, b_end, b_begin), exists


@triton.jit
def long_run_of(offsets, num_runs, num_positions, num_halvings, ROWS: tl.constexpr):
    """The long run that begins in this program's windows: (run, first position, end, whether there is one), each [ROWS]."""
    b_window = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    b_inside = b_window * CHUNK_ROWS + CHUNK_ROWS - 1
    b_run = find_run(offsets, tl.minimum(b_inside, num_positions - 1), num_runs, num_halvings)
    b_first = tl.load(offsets + b_run).to(tl.int64)
    b_last = tl.load(offsets + b_run + 1).to(tl.int64)
    exists = (b_inside < num_positions) & (b_last - b_first > CHUNK_ROWS) & (b_first >= b_window * CHUNK_ROWS)
    return b_run, b_first, tl.where(exists, b_last, b_first), exists


@triton.jit
def add_chunks(sums, b_first, b_last, ROWS: tl.constexpr, DIM: tl.constexpr, COLUMNS: tl.constexpr):
    """The chunk sums of long runs [ROWS] added in order, [ROWS, COLUMNS]. sums: [slots, DIM]."""
    b_columns = tl.arange(0, COLUMNS)
    b_total = tl.zeros([ROWS, COLUMNS], sums.dtype.element_ty)
    for first in range(0, tl.max(b_last - b_first, 0), CHUNK_ROWS * UNROLL):
        for step in tl.static_range(UNROLL):
            b_begin = b_first + first + step * CHUNK_ROWS
            mask = (b_begin < b_last)[:, None] & (b_columns < DIM)[None, :]
            b_total += tl.load(sums + (slot_of(b_begin, b_last) * DIM)[:, None] + b_columns[None, :], mask=mask, other=0)
    return b_total
