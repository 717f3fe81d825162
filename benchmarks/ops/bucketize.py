"""bucketize: floats and integers into a hundred buckets, beside torch.bucketize."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks.harness import Options, Result, interleaved, rate
from sparrow.ops.bucketize.op import bucketize

NUM_VALUES = 1 << 22


def run(options: Options) -> Iterable[Result]:
    values = torch.randn(NUM_VALUES, generator=torch.Generator().manual_seed(4))
    boundaries = torch.linspace(-3, 3, 99, dtype=torch.float64)
    single = boundaries.float()
    exact = values.double()
    assert torch.equal(bucketize(values, boundaries), torch.bucketize(exact, boundaries, right=True))
    functions = {"sparrow": lambda: bucketize(values, boundaries), "torch.bucketize": lambda: torch.bucketize(values, single, right=True)}
    yield rate("4 M values, 99 boundaries", NUM_VALUES, interleaved(functions, options.runs), must_move_bytes=12 * NUM_VALUES)
    integers = (values * 1000).long()
    thousands = torch.linspace(-3000, 3000, 99).round()  # whole numbers, so that torch's comparison of integers is the same
    boundaries, whole = thousands.double(), thousands.long()
    assert torch.equal(bucketize(integers, boundaries), torch.bucketize(integers, whole, right=True))
    functions = {
        "sparrow": lambda: bucketize(integers, boundaries),
        "torch.bucketize": lambda: torch.bucketize(integers, whole, right=True),
    }
    yield rate("4 M integers, 99 boundaries", NUM_VALUES, interleaved(functions, options.runs), must_move_bytes=16 * NUM_VALUES)
