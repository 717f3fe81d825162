"""What top_rows does, list by list."""

import itertools
import math

import torch
from torch import Tensor


def top_rows(
    values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], columns: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    out_values, out_weights, out_offsets = [], [], []
    for column, (k,) in enumerate(columns.tolist()):
        of_column = weights[column].tolist()
        kept: list[int] = []
        bounds = [0]
        for begin, end in itertools.pairwise(offsets[column].tolist()):
            # Stable: of equals the earlier comes first.
            ranked = sorted(range(begin, end), key=lambda position: _before(of_column[position]))
            kept += sorted(ranked[:k])
            bounds.append(len(kept))
        index = torch.tensor(kept, dtype=torch.int64)
        out_values.append(values[column][index])
        out_weights.append(weights[column][index])
        out_offsets.append(torch.tensor(bounds))
    return out_values, out_weights, out_offsets


def _before(weight: float) -> tuple[bool, float]:
    return (True, 0.0) if math.isnan(weight) else (False, -weight)
