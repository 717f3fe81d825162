"""map_values: buckets, remainders, hashes of strings and a chain of five over 30 columns of 8,192 rows, beside torch a column at a time."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks.harness import Options, Result, compared
from sparrow.ops.map_values.op import map_values
from sparrow.ops.map_values.steps import Chain, Mod, pack


def run(options: Options) -> Iterable[Result]:
    num_ids = 1 << (7 if options.quick else 17)
    ids = [torch.randint(0, 2**63 - 1, (num_ids,), generator=torch.Generator().manual_seed(c)).to(options.device) for c in range(30)]
    packed = pack([Chain(c, steps=(Mod(1_000_003),)) for c in range(30)], [torch.int64] * 30)
    functions = {"sparrow": lambda: map_values(ids, [], packed)[1], "torch.remainder": lambda: next(x.remainder(1_000_003) for x in ids)}
    yield compared(options, "mod", 30 * num_ids, functions, must_move_bytes=16 * 30 * num_ids)
