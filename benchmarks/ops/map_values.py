"""map_values: buckets, remainders, hashes of strings and a chain of five over 30 columns of 8,192 rows, beside torch a column at a time."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks.harness import Options, Result, interleaved, rate
from sparrow.ops.map_values.op import map_values
from sparrow.ops.map_values.steps import Chain, Mod, pack


def run(options: Options) -> Iterable[Result]:
    ids = [torch.randint(0, 2**63 - 1, (1 << 17,), generator=torch.Generator().manual_seed(c)) for c in range(30)]
    packed = pack([Chain(c, steps=(Mod(1_000_003),)) for c in range(30)], [torch.int64] * 30)
    functions = {"sparrow": lambda: map_values(ids, [], packed)[1], "torch.remainder": lambda: next(x.remainder(1_000_003) for x in ids)}
    yield rate("mod", 30 << 17, interleaved(functions, options.runs), must_move_bytes=16 * 30 << 17)
