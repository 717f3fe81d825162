"""overlap_rows: 20 ids beside 20, of 30 columns of 8,192 rows, for each kind, beside sorted (row, id) by torch's operations."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor

from benchmarks.harness import Options, Result, compared
from benchmarks.ops.list_columns import NUM_COLUMNS, beside_torch, list_columns, num_bytes, rows_of
from sparrow.ops.overlap_rows.kinds import KINDS
from sparrow.ops.overlap_rows.op import overlap_rows

# Few enough that lists share ids, and that (row, id) fits a word, which the peer sorts.
NUM_IDS = 60


def _counted(a: Tensor, a_offsets: Tensor, b: Tensor, b_offsets: Tensor) -> Tensor:
    """The ids of both: those that the distinct ids of each, sorted together, have twice."""
    num_rows = a_offsets.numel() - 1
    row = torch.arange(num_rows, device=a.device)
    in_a = torch.unique(torch.repeat_interleave(row, a_offsets.diff()) * NUM_IDS + a)
    in_b = torch.unique(torch.repeat_interleave(row, b_offsets.diff()) * NUM_IDS + b)
    both, _ = torch.sort(torch.cat([in_a, in_b]))
    both = both[1:][both[1:] == both[:-1]]
    return torch.bincount(both // NUM_IDS, minlength=num_rows).float()


def run(options: Options) -> Iterable[Result]:
    ids, ends = list_columns(options, 2 * NUM_COLUMNS, num_ids=NUM_IDS)
    a, a_offsets, b, b_offsets = ids[:NUM_COLUMNS], ends[:NUM_COLUMNS], ids[NUM_COLUMNS:], ends[NUM_COLUMNS:]
    pairs = list(zip(a, a_offsets, b, b_offsets, strict=True))
    num_rows = rows_of(options)
    for kind, name in enumerate(KINDS):
        columns = torch.full((NUM_COLUMNS,), kind)
        numbers = overlap_rows(a, a_offsets, b, b_offsets, columns)
        moved = num_bytes(a, a_offsets, b, b_offsets, numbers)

        ours = partial(overlap_rows, a, a_offsets, b, b_offsets, columns)
        case, of = f"30 columns of {num_rows:,} rows, {name}", {"unit": "M rows/s", "must_move_bytes": moved}
        if name == "count":
            assert all(torch.equal(got, _counted(*pair)) for got, pair in zip(numbers, pairs, strict=True))
            yield beside_torch(options, case, NUM_COLUMNS * num_rows, ours, _counted, pairs, **of)
        else:
            yield compared(options, case, NUM_COLUMNS * num_rows, {"sparrow": ours}, **of)
