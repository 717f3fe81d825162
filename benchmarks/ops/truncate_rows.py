"""truncate_rows: the first 10 items of every list, 30 and 200 columns, beside FBGEMM's jagged_slice where it is installed, else torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from benchmarks.harness import Options, Result, interleaved, rate
from benchmarks.ops.ragged import NUM_COLUMNS, columns_of, number_of
from sparrow.ops.truncate_rows.op import truncate_rows

KEPT = 10


def sliced_by_fbgemm(values: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    lengths = offsets.diff()
    return torch.ops.fbgemm.jagged_slice(values, lengths, torch.zeros_like(lengths), KEPT)


def gathered_by_torch(values: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    lengths = offsets.diff().clamp(max=KEPT)
    ends = torch.cat([offsets[:1], lengths.cumsum(0)])
    places = torch.arange(int(ends[-1])) + torch.repeat_interleave(offsets[:-1] - ends[:-1], lengths)
    return values[places], ends


def peer() -> tuple[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]]:
    try:
        importlib.import_module("fbgemm_gpu")
    except (ImportError, OSError):  # not installed, or built for another torch
        return "torch, column by column", gathered_by_torch
    return "fbgemm jagged_slice", sliced_by_fbgemm


def run(options: Options) -> Iterable[Result]:
    name, cut = peer()
    for num_columns in (NUM_COLUMNS, 200):
        values, _, offsets = columns_of(num_columns)
        columns = torch.tensor([[1, 0, KEPT, 0, 0]] * num_columns)
        kept, _, ends = truncate_rows(values, [], offsets, columns)
        assert all(torch.equal(one, cut(*given)[0]) for one, given in zip(kept, zip(values, offsets, strict=True), strict=True))

        # What a function returns the harness keeps, and memory that is kept cannot be used again, as it is from batch to batch.
        def ours(values: list[Tensor] = values, offsets: list[Tensor] = offsets, columns: Tensor = columns) -> None:
            truncate_rows(values, [], offsets, columns)

        def theirs(values: list[Tensor] = values, offsets: list[Tensor] = offsets) -> None:
            for column, bounds in zip(values, offsets, strict=True):
                cut(column, bounds)

        moved = 16 * (number_of(kept) + number_of(ends))
        seconds = interleaved({"sparrow": ours, name: theirs}, options.runs)
        yield rate(f"{num_columns} columns, 8,192 rows, 10 of 20 values", number_of(values), seconds, must_move_bytes=moved)
