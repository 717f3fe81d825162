"""erase_: ids of a filled map, beside deleting them from a Python dict, or on a GPU from a tensor of ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from benchmarks.harness import Options, Result, compared
from benchmarks.ops.tables import filled_map, offsets, sizes_of
from sparrow.ops.erase.op import erase_


def run(options: Options) -> Iterable[Result]:
    filled, known = filled_map(options)
    num_ids = sizes_of(options).batch_ids
    rows = torch.randperm(known.numel(), generator=torch.Generator().manual_seed(2))[:num_ids].to(options.device)
    batch = known[rows]
    tables, state = offsets(batch), filled.copy()
    assert torch.equal(erase_(*state[:3], batch, tables).long(), rows)
    row_of: dict[int, int] = {}

    def restore() -> None:
        state.take(filled)
        row_of.update(known_rows)

    def erase_from_dict() -> None:
        for id in listed:
            del row_of[id]

    peer: dict[str, Callable[[], object]]
    if options.device == "cpu":
        listed, known_rows = batch.tolist(), {id: row for row, id in enumerate(known.tolist())}
        peer = {"dict": erase_from_dict}
    else:
        known_rows = {}
        peer = {"torch.isin": lambda: _without(known, batch)}
    functions = {"sparrow": lambda: erase_(*state[:3], batch, tables), **peer}
    yield compared(options, f"{num_ids:,} known ids", num_ids, functions, before=restore, must_move_bytes=num_ids * 140)


def _without(known: Tensor, batch: Tensor) -> Tensor:
    return known[~torch.isin(known, batch)]
