"""find: uniform ids in a map of a million, beside torch.searchsorted over the sorted ids (no hash table there)."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks.harness import Options, Result, interleaved, rate
from benchmarks.ops.tables import BATCH_IDS, NUM_ROWS, filled_map, offsets
from sparrow.ops.find.op import find


def run(options: Options) -> Iterable[Result]:
    lines, headers, _, known = filled_map()
    rows = torch.randint(NUM_ROWS, (BATCH_IDS,), generator=torch.Generator().manual_seed(2))
    batch = known[rows]
    assert torch.equal(find(lines, headers, batch, offsets(batch)).long(), rows)
    ordered, order = known.sort()
    assert torch.equal(order[torch.searchsorted(ordered, batch)], rows)
    functions = {
        "sparrow": lambda: find(lines, headers, batch, offsets(batch)),
        "torch.searchsorted": lambda: order[torch.searchsorted(ordered, batch)],
    }
    yield rate("uniform ids, all known", BATCH_IDS, interleaved(functions, options.runs), must_move_bytes=BATCH_IDS * 76)
