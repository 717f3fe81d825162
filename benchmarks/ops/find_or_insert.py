"""find_or_insert_: Zipf batches into a map of a million ids, and inserting them, beside a Python dict."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.harness import Options, Result, interleaved, rate
from benchmarks.ops.tables import NUM_ROWS, filled_map, offsets, zipf_batch
from sparrow.ops import id_map
from sparrow.ops.find_or_insert.op import find_or_insert_

LINE_BYTES = 64


def run(options: Options) -> Iterable[Result]:
    filled, known = filled_map()
    state = (filled.lines, filled.headers, filled.ranges, filled.counters, filled.free_rows)
    batch = zipf_batch()
    rows = {id: row for row, id in enumerate(known.tolist())}
    listed = batch.tolist()
    got, _, num_new = find_or_insert_(*state, batch, offsets(batch))
    assert got.tolist() == [rows[id] for id in listed]
    assert int(num_new) == 0

    functions = {
        "sparrow": lambda: find_or_insert_(*state, batch, offsets(batch)),
        "dict": lambda: [rows.setdefault(id, len(rows)) for id in listed],
    }
    yield rate(
        "Zipf ids, all known", batch.numel(), interleaved(functions, options.runs), must_move_bytes=batch.numel() * (LINE_BYTES + 12)
    )

    def insert_all() -> None:
        find_or_insert_(*id_map.empty_id_map([NUM_ROWS], [7], range_bits=5), *id_map.empty_rows(), known, offsets(known))

    listed_known = known.tolist()
    functions = {"sparrow": insert_all, "dict": lambda: {id: row for row, id in enumerate(listed_known)}}
    yield rate(
        "a million new ids, reserved", NUM_ROWS, interleaved(functions, options.runs), must_move_bytes=NUM_ROWS * (2 * LINE_BYTES + 12)
    )
