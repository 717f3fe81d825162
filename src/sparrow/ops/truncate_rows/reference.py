"""What truncate_rows does, list by list."""

import itertools

import torch
from torch import Tensor

from sparrow.ops.row_options import ADDED_AT_BEGINNING, NOT_ADDED, TAIL

# The number of an empty list that was added.
_EMPTY = -1


def truncate_rows(
    values: list[Tensor], weights: list[Tensor], offsets: list[Tensor], columns: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    out_values, out_weights, out_offsets, first = [], [], [], 0
    for column, parameters in enumerate(columns.tolist()):
        levels = offsets[first : first + parameters[0]]
        first += parameters[0]
        kept, cut = _cut(levels, *parameters[1:])
        index = torch.tensor(kept, dtype=torch.int64)
        out_values.append(values[column][index])
        out_offsets += cut
        if weights:
            out_weights.append(weights[column][index] if weights[column].numel() > 0 else weights[column].clone())
    return out_values, out_weights, out_offsets


def _cut(levels: list[Tensor], level: int, length: int, kept: int, added: int) -> tuple[list[int], list[Tensor]]:
    """Return the positions of the items that stay, and the new offsets of all levels."""
    out = [offsets.clone() for offsets in levels[:level]]
    elements: list[int] = []
    lengths = []
    for begin, end in _bounds(levels[level]):
        stay = list(range(begin, end))
        if len(stay) > length:
            stay = stay[len(stay) - length :] if kept == TAIL else stay[:length]
        missing = [_EMPTY] * (0 if added == NOT_ADDED else length - len(stay))
        stay = missing + stay if added == ADDED_AT_BEGINNING else stay + missing
        lengths.append(len(stay))
        elements += stay
    out.append(_offsets(lengths))
    for offsets in levels[level + 1 :]:
        bounds = _bounds(offsets)
        lists = [range(*bounds[element]) if element != _EMPTY else range(0) for element in elements]
        out.append(_offsets([len(one) for one in lists]))
        elements = [element for one in lists for element in one]
    return elements, out


def _bounds(offsets: Tensor) -> list[tuple[int, int]]:
    ends = offsets.tolist()
    return list(itertools.pairwise(ends))


def _offsets(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *lengths], dtype=torch.int64).cumsum(0)
