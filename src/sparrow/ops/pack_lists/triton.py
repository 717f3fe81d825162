"""`pack_lists` on a GPU: a few runs of rows by one launch; many by a look at every row, a scan by torch, and a copy of the values."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops.row_search import BLOCK, LANES, bound_of, copy_items, grid_of, refuse_unless, row_of

# Words of a row of the tables: of columns, of the columns of each part, of runs.
OUT_VALUES, OUT_OFFSETS, NUM_VALUES, ITEM_BYTES = (tl.constexpr(i) for i in range(4))
COLUMN_WORDS = tl.constexpr(4)
OFFSETS, VALUES, ITEM = (tl.constexpr(i) for i in range(3))
LIST_WORDS = tl.constexpr(3)
PART, BEGIN, END, OUT_ROW = (tl.constexpr(i) for i in range(4))
RUN_WORDS = tl.constexpr(4)
# Every program goes through all runs.
MOST_RUNS = 32


@triton.jit
def in_block(begin, end, first, BLOCK_N: tl.constexpr):
    """The part of begin, ..., end - 1 that lies in the block from `first` on, counted from there: int32."""
    low = tl.minimum(tl.maximum(begin - first, 0), BLOCK_N)
    return low.to(tl.int32), tl.minimum(tl.maximum(end - first, 0), BLOCK_N).to(tl.int32)


@triton.jit(do_not_specialize=["num_runs"])
def pack_runs_kernel(columns, lists, runs, num_runs, BLOCK_N: tl.constexpr):
    column = tl.program_id(1)
    num_columns = tl.num_programs(1)
    own = columns + column * COLUMN_WORDS
    first_of_block = tl.program_id(0).to(tl.int64) * BLOCK_N
    o_n = tl.arange(0, BLOCK_N)  # [BLOCK_N], of the block
    item_bytes = tl.load(own + ITEM_BYTES)
    out_values = tl.load(own + OUT_VALUES) + first_of_block * item_bytes
    p_out = tl.load(own + OUT_OFFSETS).to(tl.pointer_type(tl.int64)) + first_of_block
    num_values = tl.load(own + NUM_VALUES)

    # How many values and rows the runs before have.
    before = first_of_block * 0
    num_rows = first_of_block * 0
    for number in range(num_runs):
        run = runs + number * RUN_WORDS
        begin = tl.load(run + BEGIN)
        count = tl.load(run + END) - begin
        p_list = lists + (tl.load(run + PART) * num_columns + column) * LIST_WORDS
        p_offsets = tl.load(p_list + OFFSETS).to(tl.pointer_type(tl.int64)) + begin
        first = tl.load(p_offsets)
        size = tl.load(p_offsets + count) - first
        low, high = in_block(before, tl.minimum(before + size, num_values), first_of_block, BLOCK_N)
        if low < high:
            m_n = (o_n >= low) & (o_n < high)
            source = tl.load(p_list + VALUES) + (first + first_of_block - before) * item_bytes
            copy_items(source, o_n, m_n, tl.zeros([BLOCK_N], tl.int64), out_values, o_n, m_n, item_bytes)
        low, high = in_block(num_rows, num_rows + count, first_of_block, BLOCK_N)
        if low < high:
            m_row = (o_n >= low) & (o_n < high)
            b_offset = tl.load(p_offsets + (first_of_block - num_rows) + o_n, mask=m_row, other=0)
            tl.store(p_out + o_n, b_offset + (before - first), mask=m_row)
        before += size
        num_rows += count
    low, high = in_block(num_rows, num_rows + 1, first_of_block, BLOCK_N)
    tl.store(p_out + o_n, tl.zeros([BLOCK_N], tl.int64) + before, mask=(o_n >= low) & (o_n < high))


@triton.jit(do_not_specialize=["num_parts", "num_rows"])
def find_lists_kernel(lists, starts, num_parts, wanted, num_rows, lengths, begins, BLOCK_N: tl.constexpr):
    """lengths: int64 [C, R + 1], of each column a 0 and the length of each row wanted. begins: int64 [C, R], addresses of their values."""
    column = tl.program_id(1).to(tl.int64)
    num_columns = tl.num_programs(1)
    o_n = tl.program_id(0).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)  # [BLOCK_N]
    m_n = (o_n > 0) & (o_n <= num_rows)
    b_row = tl.load(wanted + o_n - 1, mask=m_n, other=0)
    b_part = tl.zeros_like(o_n)
    b_start = tl.zeros_like(o_n)
    for part in range(1, num_parts):
        start = tl.load(starts + part)
        is_behind = b_row >= start
        b_part = tl.where(is_behind, part, b_part)
        b_start = tl.where(is_behind, start, b_start)
    p_list = lists + (b_part * num_columns + column) * LIST_WORDS
    p_offsets = tl.load(p_list + OFFSETS, mask=m_n, other=0).to(tl.pointer_type(tl.int64)) + (b_row - b_start)
    b_first = tl.load(p_offsets, mask=m_n, other=0)
    b_length = tl.load(p_offsets + 1, mask=m_n, other=0) - b_first
    tl.store(lengths + column * (num_rows + 1) + o_n, b_length, mask=o_n <= num_rows)
    b_values = tl.load(p_list + VALUES, mask=m_n, other=0) + b_first * tl.load(p_list + ITEM, mask=m_n, other=0)
    tl.store(begins + column * num_rows + o_n - 1, b_values, mask=m_n)


@triton.jit(do_not_specialize=["num_rows"])
def copy_lists_kernel(columns, begins, num_rows, BLOCK_N: tl.constexpr):
    column = tl.program_id(1).to(tl.int64)
    own = columns + column * COLUMN_WORDS
    first = tl.program_id(0).to(tl.int64) * BLOCK_N
    o_n = first + tl.arange(0, BLOCK_N)  # [BLOCK_N]
    num_values = tl.load(own + NUM_VALUES)
    m_n = o_n < num_values
    offsets = tl.load(own + OUT_OFFSETS)
    b_row = row_of(offsets, num_rows, first, num_values, BLOCK_N)
    m_n = m_n & (b_row < num_rows)
    b_values = tl.load(begins + column * num_rows + b_row, mask=m_n, other=0)
    b_from = o_n - bound_of(offsets, b_row, m_n)
    copy_items(b_values, b_from, m_n, tl.zeros_like(o_n), tl.load(own + OUT_VALUES), o_n, m_n, tl.load(own + ITEM_BYTES))


def pack_lists(offsets: list[Tensor], values: list[Tensor], rows: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """CUDA body of the operator; see `op.py`. The host waits where `sizes` are not given, and for runs that lie on the device."""
    _check(offsets, values, sizes)
    lists = _lists(offsets, values)
    sizes = None if sizes is None else sizes.cpu()
    starts = [0, *itertools.accumulate(of.shape[1] - 1 for of in offsets)]
    if rows.dim() == 2:
        rows = rows.cpu()
    if rows.device.type == "cpu":
        _check_rows(rows, starts[-1])
        if sizes is not None and rows.shape[0] <= MOST_RUNS:
            runs = _runs([(row, row + 1) for row in rows.tolist()] if rows.dim() == 1 else rows.tolist(), starts)
            if len(runs) <= MOST_RUNS:
                return _by_run(offsets[0], values[0], lists, runs, sizes)
    return _by_row(offsets[0], values[0], lists, starts[:-1], rows if rows.dim() == 1 else _wanted(rows), sizes)


def _by_run(like: Tensor, values: Tensor, lists: Tensor, runs: list[list[int]], sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    num_rows = sum(end - begin for _, begin, end, _ in runs)
    out = like.new_empty(like.shape[0], num_rows + 1)
    packed = values.new_empty(int(sizes.sum()))
    columns, lists, table = _on_device([_columns(out, packed, sizes), lists, torch.tensor(runs, dtype=torch.int64)], like.device)
    grid = grid_of(like.shape[0], max(num_rows + 1, int(sizes.max())), BLOCK)
    pack_runs_kernel[grid](columns, lists, table, len(runs), **LANES)
    return out, packed, sizes.clone()


def _by_row(
    like: Tensor, values: Tensor, lists: Tensor, starts: list[int], wanted: Tensor, sizes: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Take the lists of rows `wanted` (int64), numbered through all parts."""
    num_columns, num_rows = like.shape[0], wanted.numel()
    lengths, begins = like.new_empty(num_columns, num_rows + 1), like.new_empty(num_columns, num_rows)
    is_there = wanted.device == like.device
    lists, of_parts, *sent = _on_device([lists, torch.tensor(starts), *([] if is_there else [wanted])], like.device)
    of_rows = wanted.contiguous() if is_there else sent[0]
    find_lists_kernel[grid_of(num_columns, num_rows + 1, BLOCK)](lists, of_parts, len(starts), of_rows, num_rows, lengths, begins, **LANES)
    out = lengths.cumsum(1)
    sizes = out[:, -1].cpu() if sizes is None else sizes.clone()
    packed = values.new_empty(int(sizes.sum()))
    (columns,) = _on_device([_columns(out, packed, sizes)], like.device)
    if packed.numel():
        grid = grid_of(num_columns, int(sizes.max()), BLOCK)
        copy_lists_kernel[grid](columns, begins, num_rows, **LANES)
    return out, packed, sizes


def _lists(offsets: list[Tensor], values: list[Tensor]) -> Tensor:
    """Return the table of the columns of each part. There may be hundreds of them: as little as can be is done for each."""
    held = iter([of.data_ptr() if of.numel() else 0 for of in values])
    item, table = values[0].element_size(), []
    for of in offsets:
        first, width = of.data_ptr(), of.shape[1] * of.element_size()
        table += [(first + column * width, next(held), item) for column in range(of.shape[0])]
    return torch.tensor(table)


def _columns(out: Tensor, packed: Tensor, sizes: Tensor) -> Tensor:
    """Return the table of columns, which lie one after the other in `packed`."""
    item, width = packed.element_size(), out.shape[1] * out.element_size()
    begins = [packed.data_ptr() + item * before for before in itertools.accumulate(sizes.tolist(), initial=0)]
    return torch.tensor([[begins[column], out.data_ptr() + column * width, size, item] for column, size in enumerate(sizes.tolist())])


def _runs(rows: Sequence[Sequence[int]], starts: list[int]) -> list[list[int]]:
    """Return part, begin and end of runs that each lie in one part, and how many rows come before."""
    runs, num_rows = [], 0
    for begin, end in rows:
        for part, (first, stop) in enumerate(itertools.pairwise(starts)):
            low, high = max(begin, first), min(end, stop)
            if low < high:
                runs.append([part, low - first, high - first, num_rows])
                num_rows += high - low
    return runs


def _wanted(rows: Tensor) -> Tensor:
    """Return the rows of all runs, one after the other."""
    lengths = rows[:, 1] - rows[:, 0]
    ends = lengths.cumsum(0)
    return torch.repeat_interleave(rows[:, 0] - ends + lengths, lengths) + torch.arange(int(lengths.sum()))


def _on_device(tables: list[Tensor], device: torch.device) -> list[Tensor]:
    """Return int64 tables on `device`, each at a multiple of 16 bytes, by one copy which nobody waits for."""
    sizes = [table.numel() + table.numel() % 2 for table in tables]
    held = torch.zeros(sum(sizes), dtype=torch.int64, pin_memory=device.type == "cuda")
    for table, place in zip(tables, held.split(sizes), strict=True):
        place[: table.numel()] = table.reshape(-1)
    return list(held.to(device, non_blocking=True).split(sizes))


def _check(offsets: list[Tensor], values: list[Tensor], sizes: Tensor | None) -> None:
    refuse_unless(bool(offsets), "offsets must have a part")
    refuse_unless(all(of.dim() == 2 for of in offsets), "offsets must be [columns, rows + 1]")
    num_columns = offsets[0].shape[0]
    is_right = num_columns > 0 and len(values) == len(offsets) * num_columns
    refuse_unless(is_right, "values must be parts x columns tensors")
    for part, of in enumerate(offsets):
        is_right = of.dtype == torch.int64 and of.is_contiguous() and of.shape[0] == num_columns and of.shape[1] > 0
        refuse_unless(is_right, f"offsets: part {part} must be contiguous int64 [columns, rows + 1]")
    dtype = values[0].dtype
    refuse_unless(all(of.dtype == dtype and of.is_contiguous() for of in values), "values must be contiguous tensors of one dtype")
    refuse_unless(values[0].element_size() in (1, 2, 4, 8), "values have a dtype that columns do not have")
    refuse_unless(sizes is None or sizes.shape == (num_columns,), "sizes must be a number a column")


def _check_rows(rows: Tensor, num_rows: int) -> None:
    is_right = rows.dtype == torch.int64 and (rows.dim() == 1 or (rows.dim() == 2 and rows.shape[1] == 2))
    refuse_unless(is_right, "rows must be int64 [R, 2], or [R]")
    begin, end = (rows, rows + 1) if rows.dim() == 1 else rows.unbind(1)
    wrong = (begin < 0) | (begin > end) | ((begin < end) & (end > num_rows))
    if bool(wrong.any()):
        run = int(wrong.to(torch.uint8).argmax())
        raise RuntimeError(f"rows: run {run} from {int(begin[run])} to {int(end[run])} is not among {num_rows} rows")
