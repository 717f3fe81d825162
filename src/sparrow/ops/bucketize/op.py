"""Numbers to bucket indices."""

import torch
from torch import Tensor

from sparrow.ops import library

library.define("bucketize(Tensor values, Tensor boundaries) -> Tensor")


@library.shape_function("bucketize")
def _shapes(values: Tensor, boundaries: Tensor) -> Tensor:
    return values.new_empty(values.numel(), dtype=torch.int64)


def bucketize(values: Tensor, boundaries: Tensor) -> Tensor:
    """Return how many boundaries each value reaches: int64 [N] in [0, K]; a value equal to a boundary reaches it; NaN goes to K.

    Args:
        values: float32, float64 or int64 [N]; each is compared exactly.
        boundaries: float64 [K], strictly increasing, infinities allowed.

    Cost: log2(K) comparisons a value.
    """
    return torch.ops.sparrow.bucketize.default(values, boundaries)
