"""unsigned_mod: hashed ids modulo a million, beside torch.remainder (whose answer differs for negative ids)."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks.harness import Options, Result, interleaved, rate
from sparrow.ops.unsigned_mod.op import unsigned_mod

NUM_IDS, DIVISOR = 1 << 22, 1_000_003


def run(options: Options) -> Iterable[Result]:
    ids = torch.randint(0, 2**63 - 1, (NUM_IDS,), generator=torch.Generator().manual_seed(3))
    assert torch.equal(unsigned_mod(ids, DIVISOR), torch.remainder(ids, DIVISOR))
    functions = {"sparrow": lambda: unsigned_mod(ids, DIVISOR), "torch.remainder": lambda: torch.remainder(ids, DIVISOR)}
    yield rate("4 M ids", NUM_IDS, interleaved(functions, options.runs), must_move_bytes=16 * NUM_IDS)
