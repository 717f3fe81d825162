"""find: uniform ids in a filled map, beside torch.searchsorted over the sorted ids (no hash table there)."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks.harness import Options, Result, compared
from benchmarks.ops.tables import filled_map, offsets, sizes_of, uniform_ranks
from sparrow.ops.find.op import find


def run(options: Options) -> Iterable[Result]:
    filled, known = filled_map(options)
    num_ids = 4 * sizes_of(options).batch_ids
    rows = uniform_ranks(options, num_ids)
    batch = known[rows]
    tables = offsets(batch)
    assert torch.equal(find(*filled[:3], batch, tables)[0].long(), rows)
    ordered, order = known.sort()
    assert torch.equal(order[torch.searchsorted(ordered, batch)], rows)
    functions = {
        "sparrow": lambda: find(*filled[:3], batch, tables)[0],
        "torch.searchsorted": lambda: order[torch.searchsorted(ordered, batch)],
    }
    case = f"{num_ids:,} uniform ids among {known.numel():,}"
    yield compared(options, case, num_ids, functions, must_move_bytes=num_ids * 76)
