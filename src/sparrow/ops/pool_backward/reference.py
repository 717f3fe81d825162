"""`pool_backward`, plainly."""

from __future__ import annotations

import torch
from torch import Tensor

from sparrow.ops.gather_pool.reference import chunked_sum, divisor


def pool_backward(
    grad: Tensor, rows: Tensor, inverse: Tensor, offsets: Tensor, position_weights: Tensor | None, combiners: Tensor
) -> Tensor:
    num_samples, num_features, dim = grad.shape
    contributions: list[list[Tensor]] = [[] for _ in range(rows.numel())]
    for feature in range(num_features):
        for sample in range(num_samples):
            begin, end = offsets[feature * num_samples + sample : feature * num_samples + sample + 2].tolist()
            by = divisor(int(combiners[feature]), position_weights, begin, end, grad.dtype)
            for position in range(begin, end):
                own = torch.ones((), dtype=grad.dtype) if position_weights is None else position_weights[position].to(grad.dtype)
                factor = own / by if by != 0 else torch.zeros_like(own)
                contributions[int(inverse[position])].append(factor * grad[sample, feature])
    out = grad.new_zeros(rows.numel(), dim)
    for index, values in enumerate(contributions):
        if values and int(rows[index]) >= 0:
            out[index] = chunked_sum(torch.stack(values))
    return out
