"""partition_ids: uniform ids of 26 tables for 8 owners, beside a stable sort by owner in torch."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from benchmarks.harness import Goal, Options, Result, compared
from benchmarks.ops.tables import sizes_of
from sparrow.ops import id_map
from sparrow.ops.partition_ids.op import partition_ids

NUM_TABLES, NUM_OWNERS = 26, 8


def run(options: Options) -> Iterable[Result]:
    generator = torch.Generator().manual_seed(4)
    num_ids = 8 * sizes_of(options).batch_ids
    ids = torch.randint(-(2**63), 2**63 - 1, (num_ids,), generator=generator).to(options.device)
    tables = (torch.arange(NUM_TABLES + 1) * num_ids // NUM_TABLES).to(options.device)
    bounds = (torch.arange(NUM_OWNERS + 1) * id_map.NUM_SLICES // NUM_OWNERS).to(options.device)
    # A salt for every table says nothing about speed; one for all lets the peer find owners without looking up tables.
    salts = torch.full((NUM_TABLES,), 7, device=options.device)

    def sorted_by_owner() -> tuple[Tensor, Tensor, Tensor, Tensor]:
        owner = torch.bucketize(id_map.slice_of(ids, 7), bounds[1:], right=True)
        order = owner.sort(stable=True).indices
        inverse = torch.empty_like(order)
        inverse[order] = torch.arange(num_ids, device=order.device)
        return ids[order], order, inverse, torch.bincount(owner, minlength=NUM_OWNERS)

    owned_ids, order, inverse, counts = partition_ids([ids], tables, salts, bounds)
    expected = sorted_by_owner()
    assert torch.equal(owned_ids, expected[0])
    assert torch.equal(order.long(), expected[1])
    assert torch.equal(inverse.long(), expected[2])
    assert torch.equal(counts.sum(1), expected[3])
    functions = {"sparrow": lambda: partition_ids([ids], tables, salts, bounds), "torch sort": sorted_by_owner}
    case = f"{num_ids:,} ids of {NUM_TABLES} tables, {NUM_OWNERS} owners"
    yield compared(options, case, num_ids, functions, must_move_bytes=24 * num_ids, goal=Goal(mbu=0.75, ratio=3))
