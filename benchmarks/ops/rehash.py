"""rehash_: the ranges of a table of a million ids, each in its place and twice as large, beside inserting the ids anew."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks.harness import Options, Result, interleaved, rate
from benchmarks.ops.tables import NUM_ROWS, filled_map, offsets
from sparrow.ops import id_map
from sparrow.ops.find.op import find
from sparrow.ops.find_or_insert.op import find_or_insert_
from sparrow.ops.rehash.op import rehash_

_LINE_BYTES = 64


def run(options: Options) -> Iterable[Result]:
    lines, headers, ranges = id_map.empty_id_map([NUM_ROWS * 2], [12345], range_bits=5)
    _, known = filled_map()
    find_or_insert_(lines, headers, ranges, *id_map.empty_rows(), known, offsets(known))

    def rebuilt() -> torch.Tensor:
        new = ranges.clone()
        new[:, id_map.RANGE_NUM_KEYS] = id_map.REBUILD
        rehash_(lines, headers, new, headers, ranges)
        return new

    assert torch.equal(find(lines, headers, rebuilt(), known, offsets(known))[0], torch.arange(NUM_ROWS, dtype=torch.int32))
    functions = {
        "sparrow": rebuilt,
        "find_or_insert_": lambda: find_or_insert_(
            *id_map.empty_id_map([NUM_ROWS * 2], [12345], range_bits=5), *id_map.empty_rows(), known, offsets(known)
        ),
    }
    moved = int(ranges[:, id_map.RANGE_NUM_LINES].sum()) * _LINE_BYTES * 2
    yield rate("a million ids", NUM_ROWS, interleaved(functions, options.runs), must_move_bytes=moved)
