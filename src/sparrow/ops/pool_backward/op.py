"""The gradient of pooled rows, summed per distinct row."""

from __future__ import annotations

import torch
from torch import Tensor

from sparrow.ops import library

library.define(
    "pool_backward(Tensor grad, Tensor rows, Tensor inverse, Tensor offsets, Tensor? position_weights, Tensor combiners) -> Tensor"
)
library.triton_body("pool_backward", "sparrow.ops.pool_backward.triton", sends=False)


@library.shape_function("pool_backward")
def _shapes(grad: Tensor, rows: Tensor, inverse: Tensor, offsets: Tensor, position_weights: Tensor | None, combiners: Tensor) -> Tensor:
    return grad.new_empty(rows.shape[0], grad.shape[2])


def pool_backward(
    grad: Tensor, rows: Tensor, inverse: Tensor, offsets: Tensor, position_weights: Tensor | None, combiners: Tensor
) -> Tensor:
    """Return the gradient of each distinct row, [U, D]: its occurrences' gradients, weighted as `gather_pool` weighted them, added in order.

    Args:
        grad: [B, F, D] float32 or float64, the gradient of `gather_pool`'s output.
        rows, inverse, offsets, position_weights, combiners: as given to `gather_pool`.

    A row of -1 gets zeros. Occurrences are added 256 at a time in position order, chunk sums in order; no atomics.
    Cost: one counting sort of N positions, D values read an occurrence, U * D written.
    """
    # Autograd hands expanded gradients over (as after a sum); the kernel reads rows.
    return torch.ops.sparrow.pool_backward.default(grad.contiguous(), rows, inverse, offsets, position_weights, combiners)
