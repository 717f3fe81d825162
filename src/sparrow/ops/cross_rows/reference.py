"""What cross_rows does, combination by combination."""

import functools
import itertools
import operator

import torch
from torch import Tensor

from sparrow.ops import hashes, row_lists


def cross_rows(
    values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], first_input: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    out: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    for first, last in itertools.pairwise(first_input.tolist()):
        inputs = range(first, last)
        ones = [weights[i] if weights[i].numel() else torch.ones(values[i].numel()) for i in inputs]
        ids, products, ends = [], [], [0]
        rows = zip(*(row_lists.lists_of(values[i], offsets[i]) for i in inputs), strict=True)
        weighted_rows = zip(*(row_lists.lists_of(one, offsets[i]) for one, i in zip(ones, inputs, strict=True)), strict=True)
        for lists, weight_lists in zip(rows, weighted_rows, strict=True):
            for combination in itertools.product(*(one.tolist() for one in lists)):
                ids.append(hashes.murmur64a(b"".join(id.to_bytes(8, "little", signed=True) for id in combination)))
            products += [functools.reduce(operator.mul, combination) for combination in itertools.product(*weight_lists)]
            ends.append(len(ids))
        out[0].append(torch.tensor(ids, dtype=torch.int64))
        weighted = any(weights[i].numel() for i in inputs)
        out[1].append(torch.stack(products) if weighted and products else torch.empty(0))
        out[2].append(torch.tensor(ends))
    return out
