"""rehash_: the ranges of a filled table, each in its place, beside inserting the ids anew."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks.harness import Options, Result, compared
from benchmarks.ops.tables import empty_map, filled_map, offsets
from sparrow.ops import id_map
from sparrow.ops.find.op import find
from sparrow.ops.find_or_insert.op import find_or_insert_
from sparrow.ops.rehash.op import rehash_

_LINE_BYTES = 64


def run(options: Options) -> Iterable[Result]:
    _, known = filled_map(options)
    num_ids, tables = known.numel(), offsets(known)
    held = empty_map(num_ids * 2, 0.75, options.device)
    find_or_insert_(*held, known, tables)
    empty = empty_map(num_ids * 2, 0.75, options.device)
    anew = empty.copy()
    marked = held.ranges.clone()
    marked[:, id_map.RANGE_NUM_KEYS] = id_map.REBUILD
    new = marked.clone()

    def rebuild() -> None:
        rehash_(held.lines, held.headers, new, held.headers, held.ranges)

    def restore() -> None:
        new.copy_(marked)
        anew.take(empty)

    rebuild()
    rows = find(held.lines, held.headers, new, known, tables)[0]
    assert torch.equal(rows, torch.arange(num_ids, dtype=torch.int32, device=known.device))
    functions = {"sparrow": rebuild, "find_or_insert_": lambda: find_or_insert_(*anew, known, tables)}
    moved = int(held.ranges[:, id_map.RANGE_NUM_LINES].sum()) * _LINE_BYTES * 2
    yield compared(options, f"{num_ids:,} ids", num_ids, functions, before=restore, must_move_bytes=moved)
