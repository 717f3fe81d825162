"""pack_lists: rows of 26 id columns of several pieces into one, runs and shuffled rows, beside torch's own operations a column."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks.harness import Options, Result, compared
from benchmarks.ops.list_columns import on_device, rows_of
from sparrow.ops.pack_lists.op import pack_lists

NUM_COLUMNS = 26


def run(options: Options) -> Iterable[Result]:
    batch = rows_of(options) if options.device == "cpu" else 65_536
    num_rows = batch * 5 // 4
    generator = torch.Generator().manual_seed(6)
    offsets, values = [], []
    for _ in range(2):
        bounds = torch.randint(0, 3, (NUM_COLUMNS, num_rows + 1), generator=generator)
        bounds[:, 0] = 0
        offsets.append(bounds.cumsum(1))
        values += [torch.randint(0, 1 << 40, (int(end),), generator=generator) for end in offsets[-1][:, -1]]
    offsets, values = on_device(options, offsets), on_device(options, values)
    half = batch // 2
    runs = torch.tensor([[num_rows - half, num_rows], [num_rows, num_rows + half]])
    sizes_of_runs = pack_lists(offsets, values, runs)[2]

    # What a function returns the harness keeps, and memory that is kept cannot be used again, as it is from batch to batch.
    def packed(rows: torch.Tensor, sizes: torch.Tensor) -> None:
        # A reader knows the sizes, and a GPU must be waited for without them.
        pack_lists(offsets, values, rows, sizes if options.device != "cpu" or options.quick else None)

    def by_torch() -> None:
        for column in range(NUM_COLUMNS):
            first, second = offsets[0][column, -half - 1 :], offsets[1][column, : half + 1]
            ids = values[column][first[0] :]
            torch.cat([first - first[0], second[1:] + ids.numel()])
            torch.cat([ids, values[NUM_COLUMNS + column][: second[-1]]])

    moved = 16 * (NUM_COLUMNS * batch + int(sizes_of_runs.sum()))
    functions = {"sparrow": lambda: packed(runs, sizes_of_runs), "torch, column by column": by_torch}
    yield compared(options, f"{NUM_COLUMNS} columns, {batch:,} rows of 2 pieces", batch, functions, must_move_bytes=moved)
    index = torch.randperm(2 * num_rows, generator=generator)[:batch]
    rows = torch.stack([index, index + 1], 1)
    sizes_of_rows = pack_lists(offsets, values, rows)[2]
    index = index.to(options.device)
    starts = [torch.cat([offsets[0][c, :-1], offsets[1][c, :-1] + offsets[0][c, -1]]) for c in range(NUM_COLUMNS)]
    lengths = [torch.cat([offsets[0][c].diff(), offsets[1][c].diff()]) for c in range(NUM_COLUMNS)]
    whole = [torch.cat([values[c], values[NUM_COLUMNS + c]]) for c in range(NUM_COLUMNS)]

    def gathered() -> None:
        for column in range(NUM_COLUMNS):
            taken = lengths[column][index]
            ends = taken.cumsum(0)
            places = torch.repeat_interleave(starts[column][index] - ends + taken, taken) + torch.arange(
                int(ends[-1]), device=options.device
            )
            whole[column][places]

    functions = {"sparrow": lambda: packed(rows, sizes_of_rows), "torch, column by column": gathered}
    yield compared(options, f"{NUM_COLUMNS} columns, {batch:,} shuffled rows", batch, functions, must_move_bytes=moved)
