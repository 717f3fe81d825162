"""What pack_lists does, row by row."""

import itertools

import torch
from torch import Tensor


def pack_lists(offsets: list[Tensor], values: list[Tensor], rows: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    num_columns = offsets[0].shape[0]
    runs = [(row, row + 1) for row in rows.tolist()] if rows.dim() == 1 else rows.tolist()
    out_offsets, out_values = [], []
    for column in range(num_columns):
        lists = []
        for part, bounds in enumerate(offsets):
            of_column = values[part * num_columns + column]
            ends = bounds[column].tolist()
            lists += [of_column[begin:end] for begin, end in itertools.pairwise(ends)]
        taken = [lists[row] for begin, end in runs for row in range(begin, end)]
        lengths = torch.tensor([0, *(one.numel() for one in taken)])
        out_offsets.append(lengths.cumsum(0))
        out_values.append(torch.cat([values[0].new_empty(0), *taken]))
    found = torch.tensor([one.numel() for one in out_values])
    assert sizes is None or torch.equal(sizes, found)
    return torch.stack(out_offsets), torch.cat(out_values), found
