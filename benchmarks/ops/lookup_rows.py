"""lookup_rows: 20 queries, and one, among 20 keys a row of 30 columns of 8,192 rows, beside sort and search of (row, key) by torch."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor

from benchmarks.harness import Options, Result
from benchmarks.ops import list_columns as lists
from benchmarks.ops.list_columns import NUM_COLUMNS
from sparrow.ops.lookup_rows.answers import ITEM
from sparrow.ops.lookup_rows.op import lookup_rows
from sparrow.ops.value_bits import value_bits

# Few enough that a third of the queries find a key, and that (row, id) fits a word, which the peer sorts.
NUM_IDS = 60


def _found(queries: Tensor, query_offsets: Tensor, keys: Tensor, key_offsets: Tensor, items: Tensor) -> Tensor:
    row = torch.arange(key_offsets.numel() - 1, device=keys.device)
    asked = torch.repeat_interleave(row, query_offsets.diff()) * NUM_IDS + queries
    known, order = torch.sort(torch.repeat_interleave(row, key_offsets.diff()) * NUM_IDS + keys, stable=True)
    place = torch.searchsorted(known, asked).clamp(max=known.numel() - 1)
    return torch.where(known[place] == asked, items[order[place]], 0.0)


def run(options: Options) -> Iterable[Result]:
    num_rows = lists.rows_of(options)
    ids, ends = lists.list_columns(options, 2 * NUM_COLUMNS, num_ids=NUM_IDS)
    asked, asked_offsets, keys, key_offsets = ids[:NUM_COLUMNS], ends[:NUM_COLUMNS], ids[NUM_COLUMNS:], ends[NUM_COLUMNS:]
    items = [torch.rand(one.numel(), generator=torch.Generator().manual_seed(7)).to(options.device) for one in keys]
    columns = torch.tensor([[ITEM, value_bits(0.0, torch.float32)]] * NUM_COLUMNS)
    cases = {
        "20 among 20": (asked, asked_offsets),
        "1 among 20": (
            [one % NUM_IDS for one in lists.dense_columns(options, NUM_COLUMNS)],
            lists.no_offsets(options, NUM_COLUMNS),
        ),
    }
    for name, (queries, query_offsets) in cases.items():
        bounds = lists.bounds_of(query_offsets, num_rows)
        arguments = list(zip(queries, bounds, keys, key_offsets, items, strict=True))
        found = lookup_rows(queries, query_offsets, keys, key_offsets, items, columns)
        assert all(torch.equal(got, _found(*one)) for got, one in zip(found, arguments, strict=True))
        moved = lists.num_bytes(queries, query_offsets, keys, key_offsets, items, found)
        del found

        yield lists.beside_torch(
            options,
            f"30 columns of {num_rows:,} rows, {name}",
            NUM_COLUMNS * num_rows,
            partial(lookup_rows, queries, query_offsets, keys, key_offsets, items, columns),
            _found,
            arguments,
            unit="M rows/s",
            must_move_bytes=moved,
        )
