"""rehash_: a map of a million ids into one twice as large, beside inserting the ids anew."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks.harness import Options, Result, interleaved, rate
from benchmarks.ops.tables import NUM_ROWS, filled_map, offsets
from sparrow.ops import id_map
from sparrow.ops.find.op import find
from sparrow.ops.find_or_insert.op import find_or_insert_
from sparrow.ops.rehash.op import rehash_


def run(options: Options) -> Iterable[Result]:
    lines, headers, _, known = filled_map()
    larger, larger_headers = id_map.empty_id_map([2 * NUM_ROWS], [12345])
    rehash_(larger, larger_headers, lines, headers)
    assert torch.equal(find(larger, larger_headers, known, offsets(known)), torch.arange(NUM_ROWS, dtype=torch.int32))
    functions = {
        "sparrow": lambda: rehash_(*id_map.empty_id_map([2 * NUM_ROWS], [12345]), lines, headers),
        "find_or_insert_": lambda: find_or_insert_(
            *id_map.empty_id_map([2 * NUM_ROWS], [12345]), torch.zeros(2, dtype=torch.int64), known, offsets(known)
        ),
    }
    moved = lines.numel() * 8 + larger.numel() * 8 * 2
    yield rate("a million ids", NUM_ROWS, interleaved(functions, options.runs), must_move_bytes=moved)
