"""What the benchmarks of operators on many ragged columns share: 30 columns of 8,192 rows, 20 values a row on average, and their peers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from benchmarks.harness import Options, Result, compared, zipf_ids

NUM_COLUMNS, MEAN = 30, 20
LONGEST = 2 * MEAN


def beside_torch(
    options: Options,
    case: str,
    num_items: int,
    ours: Callable[[], object],
    theirs: Callable[..., object],
    columns: Iterable[tuple[Tensor, ...]],
    *,
    unit: str = "M/s",
    must_move_bytes: int,
    peer: str = "torch, column by column",
) -> Result:
    """Time `ours`, one call for all columns, beside `theirs`, a call a column."""
    columns = list(columns)

    def one_by_one() -> None:
        for column in columns:
            theirs(*column)

    return compared(options, case, num_items, {"sparrow": ours, peer: one_by_one}, unit=unit, must_move_bytes=must_move_bytes)


def many_columns(options: Options) -> int:
    """Return how many columns a wide batch has."""
    return 40 if options.quick else 200


def rows_of(options: Options) -> int:
    """Return the rows a column has: four times as many on a GPU, so that a call is long beside its launch."""
    return 64 if options.quick else 8192 if options.device == "cpu" else 32_768


def on_device(options: Options, tensors: list[Tensor]) -> list[Tensor]:
    return [tensor.to(options.device) for tensor in tensors]


def no_offsets(options: Options, count: int) -> list[Tensor]:
    """Return what stands for the offsets of `count` columns of one value a row."""
    return [torch.zeros(0, dtype=torch.int64, device=options.device)] * count


def no_weights(options: Options, count: int) -> list[Tensor]:
    return [torch.zeros(0, device=options.device)] * count


def list_columns(
    options: Options, count: int, *, shortest: int = 0, longest: int = LONGEST, num_ids: int = 10**9
) -> tuple[list[Tensor], list[Tensor]]:
    """Return ids and offsets of `count` columns: rows of `shortest` to `longest` ids, all lengths as likely."""
    generator = torch.Generator().manual_seed(5)
    columns, ends = [], []
    for _ in range(count):
        offsets = torch.zeros(rows_of(options) + 1, dtype=torch.int64)
        offsets[1:] = torch.randint(shortest, longest + 1, (rows_of(options),), generator=generator).cumsum(0)
        columns.append(torch.randint(0, num_ids, (int(offsets[-1]),), generator=generator))
        ends.append(offsets)
    return on_device(options, columns), on_device(options, ends)


def dense_columns(options: Options, count: int) -> list[Tensor]:
    """Return `count` columns of one id a row."""
    generator = torch.Generator().manual_seed(6)
    return on_device(options, [torch.randint(0, 10**9, (rows_of(options),), generator=generator) for _ in range(count)])


def zipf_columns(
    options: Options, num_columns: int, num_rows: int, *, weighted: bool = False
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return values (Zipf ids), weights (none unless asked for) and offsets of columns with lists of 0 to 40 items. Shared: leave them."""
    return _zipf_columns(options.device, num_columns, num_rows, weighted)


@functools.lru_cache(4)
def _zipf_columns(device: str, num_columns: int, num_rows: int, weighted: bool) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(5)
    values, weights, offsets = [], [], []
    for column in range(num_columns):
        lengths = torch.randint(0, 2 * MEAN + 1, (num_rows,), generator=generator)
        offsets.append(torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]).to(device))
        values.append(zipf_ids(int(offsets[-1][-1]), 1_000_000, seed=column).to(device))
        if weighted:
            weights.append(torch.rand(values[-1].numel(), generator=generator).to(device))
    return values, weights, offsets


def bounds_of(offsets: list[Tensor], num_rows: int) -> list[Tensor]:
    """Return offsets of every column: written out where a column of one value a row has none."""
    return [one if one.numel() else torch.arange(num_rows + 1, device=one.device) for one in offsets]


def paired(first: list[Tensor], second: list[Tensor]) -> list[Tensor]:
    """Return first[0], second[0], first[1], ...: the inputs of results of two each."""
    return [one for pair in zip(first, second, strict=True) for one in pair]


def num_bytes(*lists: list[Tensor]) -> int:
    """Return the bytes of all tensors."""
    return sum(one.numel() * one.element_size() for tensors in lists for one in tensors)


def number_of(tensors: list[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)
