"""Ids modulo a number, read as unsigned."""

import torch
from torch import Tensor

from sparrow.ops import library

library.define("unsigned_mod(Tensor ids, int divisor) -> Tensor")


@library.shape_function("unsigned_mod")
def _shapes(ids: Tensor, divisor: int) -> Tensor:
    return ids.new_empty(ids.numel())


def unsigned_mod(ids: Tensor, divisor: int) -> Tensor:
    """Return each id, read as unsigned 64 bits, modulo `divisor`: int64 [N] in [0, divisor).

    Args:
        ids: int64 [N]; -1 is 2^64 - 1.
        divisor: at least 1.
    """
    return torch.ops.sparrow.unsigned_mod.default(ids, divisor)
