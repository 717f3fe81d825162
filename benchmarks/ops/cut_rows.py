"""cut_rows: a batch of 40 columns out of a piece, beside torch's slices a column."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from benchmarks.harness import Options, Result, interleaved, rate
from sparrow.ops.cut_rows.op import cut_rows

NUM_LISTS, NUM_DENSE, NUM_ROWS = 26, 14, 10_000
REPEATS = 200


def run(options: Options) -> Iterable[Result]:
    offsets = torch.arange(NUM_ROWS + 1).repeat(NUM_LISTS, 1)
    values = [torch.arange(NUM_ROWS) for _ in range(NUM_LISTS)]
    dense = torch.zeros(NUM_DENSE, NUM_ROWS)

    def by_torch(begin: int, end: int) -> list[Tensor]:
        here = offsets[:, begin : end + 1]
        numbers = offsets.numpy()
        starts, ends = numbers[:, begin].tolist(), numbers[:, end].tolist()
        cut = [of[low:high] for of, low, high in zip(values, starts, ends, strict=True)]
        return [*dense[:, begin:end].unbind(), *cut, *(here - here[:, :1]).unbind()]

    for num_rows in (1024, 8192):
        begin, end = 512, 512 + num_rows

        def ours(begin: int = begin, end: int = end) -> None:
            for _ in range(REPEATS):
                cut_rows(offsets, values, [dense], begin, end)

        def theirs(begin: int = begin, end: int = end) -> None:
            for _ in range(REPEATS):
                by_torch(begin, end)

        assert [one.tolist() for one in cut_rows(offsets, values, [dense], begin, end)] == [one.tolist() for one in by_torch(begin, end)]
        times = interleaved({"sparrow": ours, "torch, a slice a column": theirs}, options.runs)
        moved = 16 * NUM_LISTS * num_rows * REPEATS
        yield rate(f"{num_rows:,} rows of 40 columns", num_rows * REPEATS, times, unit="M rows/s", must_move_bytes=moved)
