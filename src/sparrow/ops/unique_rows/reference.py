"""What unique_rows does, item by item."""

import itertools

import torch
from torch import Tensor

from sparrow.ops.row_options import SUM


def unique_rows(
    values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], columns: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    out_values, out_weights, out_offsets = [], [], []
    for column, (policy,) in enumerate(columns.tolist()):
        has_weights = bool(weights) and weights[column].numel() > 0
        kept: list[int] = []
        sums: list[Tensor] = []
        bounds = [0]
        items = values[column].tolist()
        for begin, end in itertools.pairwise(offsets[column].tolist()):
            places: dict[int, int] = {}
            for position in range(begin, end):
                if items[position] not in places:
                    places[items[position]] = len(kept)
                    kept.append(position)
                    if has_weights:
                        sums.append(weights[column][position])
                elif has_weights and policy == SUM:
                    place = places[items[position]]
                    sums[place] = sums[place] + weights[column][position]
            bounds.append(len(kept))
        out_values.append(values[column][torch.tensor(kept, dtype=torch.int64)])
        out_offsets.append(torch.tensor(bounds))
        if weights:
            out_weights.append(torch.stack(sums) if sums else weights[column].new_empty(0))
    return out_values, out_weights, out_offsets
