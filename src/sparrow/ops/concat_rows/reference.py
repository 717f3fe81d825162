"""What concat_rows does, row by row."""

import itertools

import torch
from torch import Tensor

from sparrow.ops import row_lists


def concat_rows(
    values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], first_input: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    out: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    for first, last in itertools.pairwise(first_input.tolist()):
        inputs = range(first, last)
        weighted = any(weights[i].numel() for i in inputs)
        ones = [weights[i] if weights[i].numel() else torch.ones(values[i].numel()) for i in inputs]
        rows = list(zip(*(row_lists.lists_of(values[i], offsets[i]) for i in inputs), strict=True))
        weight_rows = zip(*(row_lists.lists_of(one, offsets[i]) for one, i in zip(ones, inputs, strict=True)), strict=True)
        out[0].append(torch.cat([values[first][:0], *itertools.chain(*rows)]))
        out[1].append(torch.cat([torch.empty(0), *itertools.chain(*weight_rows)]) if weighted else torch.empty(0))
        out[2].append(torch.tensor([0, *(sum(one.numel() for one in row) for row in rows)]).cumsum(0))
    return out
