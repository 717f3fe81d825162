"""erase_: a quarter of a million ids of a map of a million, beside deleting them from a Python dict."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks.harness import Options, Result, interleaved, rate
from benchmarks.ops.tables import BATCH_IDS, NUM_ROWS, filled_map, offsets
from sparrow.ops.erase.op import erase_


def run(options: Options) -> Iterable[Result]:
    filled, known = filled_map()
    rows = torch.randperm(NUM_ROWS, generator=torch.Generator().manual_seed(2))[:BATCH_IDS]
    batch = known[rows]
    listed, row_of = batch.tolist(), {id: row for row, id in enumerate(known.tolist())}
    lines, headers, ranges = filled.lines.clone(), filled.headers.clone(), filled.ranges.clone()
    assert torch.equal(erase_(lines, headers, ranges, batch, offsets(batch)).long(), rows)

    def erase_all() -> None:
        lines.copy_(filled.lines)  # a sequential copy, a small part of the time
        erase_(lines, headers, ranges, batch, offsets(batch))

    def erase_from_dict() -> None:
        known_now = dict(row_of)
        for id in listed:
            del known_now[id]

    functions = {"sparrow, with a copy of the map": erase_all, "dict, with a copy of it": erase_from_dict}
    yield rate("known ids", BATCH_IDS, interleaved(functions, options.runs), must_move_bytes=BATCH_IDS * 140)
