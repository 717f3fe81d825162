"""truncate_rows: the first 10 items of every list, 30 and 200 columns, beside FBGEMM's jagged_slice where it is installed, else torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor

from benchmarks.harness import Options, Result
from benchmarks.ops.list_columns import NUM_COLUMNS, beside_torch, many_columns, number_of, rows_of, zipf_columns
from sparrow.ops.truncate_rows.op import truncate_rows

KEPT = 10


def sliced_by_fbgemm(values: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    lengths = offsets.diff()
    return torch.ops.fbgemm.jagged_slice(values, lengths, torch.zeros_like(lengths), KEPT)


def gathered_by_torch(values: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    lengths = offsets.diff().clamp(max=KEPT)
    ends = torch.cat([offsets[:1], lengths.cumsum(0)])
    places = torch.arange(int(ends[-1]), device=values.device) + torch.repeat_interleave(offsets[:-1] - ends[:-1], lengths)
    return values[places], ends


def peer() -> tuple[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]]:
    try:
        importlib.import_module("fbgemm_gpu")
    except (ImportError, OSError):  # not installed, or built for another torch
        return "torch, column by column", gathered_by_torch
    return "fbgemm jagged_slice", sliced_by_fbgemm


def run(options: Options) -> Iterable[Result]:
    name, cut = peer()
    for num_columns in (NUM_COLUMNS, many_columns(options)):
        num_rows = 8192 if num_columns > NUM_COLUMNS and not options.quick else rows_of(options)
        values, _, offsets = zipf_columns(options, num_columns, num_rows)
        columns = torch.tensor([[1, 0, KEPT, 0, 0]] * num_columns)
        kept, _, ends = truncate_rows(values, [], offsets, columns)
        assert all(torch.equal(one, cut(*given)[0]) for one, given in zip(kept, zip(values, offsets, strict=True), strict=True))

        yield beside_torch(
            options,
            f"{num_columns} columns, {num_rows:,} rows, 10 of 20 values",
            number_of(values),
            partial(truncate_rows, values, [], offsets, columns),
            cut,
            zip(values, offsets, strict=True),
            must_move_bytes=16 * (number_of(kept) + number_of(ends)),
            peer=name,
        )
