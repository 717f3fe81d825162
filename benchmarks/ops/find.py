"""find: uniform ids in a map of a million, beside torch.searchsorted over the sorted ids (no hash table there)."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks.harness import Options, Result, interleaved, rate
from benchmarks.ops.tables import BATCH_IDS, NUM_ROWS, filled_map, offsets
from sparrow.ops.find.op import find


def run(options: Options) -> Iterable[Result]:
    filled, known = filled_map()
    rows = torch.randint(NUM_ROWS, (BATCH_IDS,), generator=torch.Generator().manual_seed(2))
    batch = known[rows]
    assert torch.equal(find(filled.lines, filled.headers, filled.ranges, batch, offsets(batch))[0].long(), rows)
    ordered, order = known.sort()
    assert torch.equal(order[torch.searchsorted(ordered, batch)], rows)
    functions = {
        "sparrow": lambda: find(filled.lines, filled.headers, filled.ranges, batch, offsets(batch))[0],
        "torch.searchsorted": lambda: order[torch.searchsorted(ordered, batch)],
    }
    yield rate("uniform ids, all known", BATCH_IDS, interleaved(functions, options.runs), must_move_bytes=BATCH_IDS * 76)
