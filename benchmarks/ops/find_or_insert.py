"""find_or_insert_: Zipf and uniform batches into a filled map, and inserting new ids, beside a Python dict, or on a GPU torch's sorts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from benchmarks.harness import Goal, Options, Result, compared
from benchmarks.ops.tables import empty_map, filled_map, offsets, sizes_of, uniform_ranks, zipf_batch
from sparrow.ops.find_or_insert.op import find_or_insert_

LINE_BYTES = 64


def run(options: Options) -> Iterable[Result]:
    filled, known = filled_map(options)
    num_ids = 4 * sizes_of(options).batch_ids
    batches = {
        f"Zipf ids, {known.numel():,} known": zipf_batch(options),
        f"uniform ids, {known.numel():,} known": known[uniform_ranks(options, num_ids)],
    }
    peer = _of_dict(known) if options.device == "cpu" else _of_sorted(known)
    for case, batch in batches.items():
        tables = offsets(batch)
        got, _, num_new = find_or_insert_(*filled, batch, tables)
        name, find = peer(batch)
        assert torch.equal(got.long(), torch.as_tensor(find(), device=got.device).long())
        assert int(num_new) == 0
        functions = {"sparrow": lambda batch=batch, tables=tables: find_or_insert_(*filled, batch, tables), name: find}
        moved = batch.numel() * (LINE_BYTES + 12)
        # Two billion ids a second is asked of ids that share no lines; popular ones lie in the cache.
        goal = Goal(value=2000) if case.startswith("uniform") else None
        yield compared(options, case, batch.numel(), functions, must_move_bytes=moved, goal=goal)
    yield _inserting(options, known[: 4 * num_ids])


def _inserting(options: Options, new: Tensor) -> Result:
    empty = empty_map(new.numel(), sizes_of(options).load, options.device)
    state, tables = empty.copy(), offsets(new)
    rows = find_or_insert_(*state, new, tables)[0]
    assert torch.equal(rows.long(), torch.arange(new.numel(), device=new.device))
    peer: dict[str, Callable[[], object]]
    if options.device == "cpu":
        listed = new.tolist()
        peer = {"dict": lambda: {id: row for row, id in enumerate(listed)}}
    else:
        peer = {"torch.sort": lambda: new.sort()}
    functions = {"sparrow": lambda: find_or_insert_(*state, new, tables), **peer}
    moved = new.numel() * (2 * LINE_BYTES + 12)
    case = f"{new.numel():,} new ids, reserved"
    return compared(options, case, new.numel(), functions, before=lambda: state.take(empty), must_move_bytes=moved)


def _of_dict(known: Tensor) -> Callable[[Tensor], tuple[str, Callable[[], list[int]]]]:
    rows = {id: row for row, id in enumerate(known.tolist())}

    def peer(batch: Tensor) -> tuple[str, Callable[[], list[int]]]:
        listed = batch.tolist()
        return "dict", lambda: [rows.setdefault(id, len(rows)) for id in listed]

    return peer


def _of_sorted(known: Tensor) -> Callable[[Tensor], tuple[str, Callable[[], Tensor]]]:
    ordered, order = known.sort()
    return lambda batch: ("torch.searchsorted", lambda: order[torch.searchsorted(ordered, batch)])
