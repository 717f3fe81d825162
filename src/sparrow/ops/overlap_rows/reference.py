"""What overlap_rows does, by Python's sets."""

import torch
from torch import Tensor

from sparrow.ops import row_lists
from sparrow.ops.overlap_rows.op import KINDS


def _sets(values: Tensor, offsets: Tensor) -> list[set[int]]:
    return [set(one.tolist()) for one in row_lists.lists_of(values, offsets)]


def _ratio(part: int, whole: int) -> Tensor:
    return torch.tensor(float(part)) / torch.tensor(float(whole)) if whole else torch.tensor(0.0)


_MEASURES = {
    "count": lambda a, b: torch.tensor(float(len(a & b))),
    "ratio": lambda a, b: _ratio(len(a & b), len(a)),
    "jaccard": lambda a, b: _ratio(len(a & b), len(a | b)),
    "contains": lambda a, b: torch.tensor(float(b <= a)),
    "equal": lambda a, b: torch.tensor(float(a == b)),
    "any": lambda a, b: torch.tensor(float(not a.isdisjoint(b))),
}


def overlap_rows(a: list[Tensor], a_offsets: list[Tensor], b: list[Tensor], b_offsets: list[Tensor], columns: Tensor) -> list[Tensor]:
    out = []
    for x, kind in enumerate(columns.tolist()):
        rows = zip(_sets(a[x], a_offsets[x]), _sets(b[x], b_offsets[x]), strict=True)
        numbers = [_MEASURES[KINDS[kind]](*row) for row in rows]
        out.append(torch.stack(numbers) if numbers else torch.empty(0))
    return out
