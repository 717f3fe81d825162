"""Rows pooled by segment, differentiable per distinct row."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sparrow.ops import library
from sparrow.ops.pool_backward.op import pool_backward

library.define(
    "gather_pool(Tensor sink, Tensor[] weights, Tensor default_row, Tensor rows, Tensor inverse, Tensor offsets, Tensor? position_weights,"
    " Tensor combiners, int num_samples) -> Tensor"
)
library.triton_body("gather_pool", "sparrow.ops.gather_pool.triton", sends=False)


@library.shape_function("gather_pool")
def _shapes(
    sink: Tensor, weights: list[Tensor], default_row: Tensor, rows: Tensor, inverse: Tensor, offsets: Tensor,
    position_weights: Tensor | None, combiners: Tensor, num_samples: int,
) -> Tensor:  # fmt: skip
    return default_row.new_empty(num_samples, combiners.shape[0], default_row.shape[0], dtype=sink.dtype)


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, weights, _, rows, inverse, offsets, position_weights, combiners, _ = inputs
    ctx.num_blocks = len(weights)
    ctx.save_for_backward(rows, inverse, offsets, position_weights, combiners)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | list[None] | None, ...]:
    return pool_backward(grad, *ctx.saved_tensors), [None] * ctx.num_blocks, *[None] * 7


torch.library.register_autograd("sparrow::gather_pool", _backward, setup_context=_save_for_backward)


def gather_pool(
    sink: Tensor, weights: list[Tensor], default_row: Tensor, rows: Tensor, inverse: Tensor, offsets: Tensor,
    position_weights: Tensor | None, combiners: Tensor, num_samples: int,
) -> Tensor:  # fmt: skip
    """Return the pooled rows of every (sample, feature), [B, F, D] of the sink's dtype.

    Args:
        sink: [U, D], stride 0, of the weights' dtype, float32 where that has 16 bits: the leaf that receives the gradient; its values are never read.
        weights: blocks [rows_per_block, D], float32, float64, bfloat16 or float16; rows_per_block a power of two.
        default_row: [D] of the weights' dtype, read where a row is -1.
        rows: int32 [U], the row of each distinct id, or -1.
        inverse: int32 [N], position -> index into `rows`.
        offsets: int64 [F * B + 1]; segment `feature * B + sample` pools positions `offsets[s]` to `offsets[s + 1]`.
        position_weights: float32 [N], or None for ones. They get no gradient.
        combiners: int64 [F]: 0 sum, 1 mean (divides by the sum of the weights), 2 sqrtn (by the root of the sum of their squares);
            without weights each is 1. Where the divisor is zero the result is.
        num_samples: B.

    An empty segment gives zeros. Rows of a segment are added 256 at a time in position order, chunk sums in order.
    Gradient: of `sink` only, summed per distinct row by `pool_backward`; rows of -1 take none.
    Cost: D random values read an id, B * F * D written (past the caches from 8 MB on); rows are prefetched 48 ids ahead.
    """
    return torch.ops.sparrow.gather_pool.default(
        sink, weights, default_row, rows, inverse, offsets, position_weights, combiners, num_samples
    )
