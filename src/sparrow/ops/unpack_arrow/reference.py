"""What unpack_arrow does, on an Arrow array that Python reads value by value."""

import itertools
from typing import Any

import torch
from torch import Tensor

from sparrow.ops.unpack_arrow.op import BYTES, LIST, TYPES


def unpack_arrow(columns_of_batch: list[list[Any]], columns: Tensor, defaults: Tensor) -> list[Tensor]:
    """`columns_of_batch`: the children of the record batch as Python values, None for nulls, bytes for strings."""
    num_rows = len(columns_of_batch[0]) if columns_of_batch else 0
    is_made, offsets, dense, values = [], [], dict[int, list[Tensor]](), []
    for (child, kind, _, source, wanted, has_default), bits in zip(columns.tolist(), defaults, strict=True):
        rows = columns_of_batch[child]
        if kind in (LIST, BYTES):
            lists = [[] if row is None else list(row) for row in rows]
            is_made.append(int(all(value is not None for row in lists for value in row)))
            offsets.append(torch.tensor([0, *itertools.accumulate(map(len, lists))]))
            flat = [value or 0 for row in lists for value in row]
            values.append(torch.tensor(flat, dtype=torch.uint8 if kind == BYTES else TYPES[source]))
        else:
            default = bits.view(1).view(TYPES[wanted])[0].item()
            made = [_dense(row, TYPES[source], TYPES[wanted], default if has_default else None) for row in rows]
            is_made.append(int(None not in made))
            dense.setdefault(wanted, []).append(torch.tensor([value or 0 for value in made], dtype=TYPES[wanted]))
    matrices = [torch.stack(dense[wanted]) for wanted in sorted(dense)]
    of_lists = torch.stack(offsets) if offsets else torch.empty(0, num_rows + 1, dtype=torch.int64)
    return [torch.tensor(is_made), of_lists, *matrices, *values]


def _dense(row: Any, source: torch.dtype, wanted: torch.dtype, default: float | None) -> float | None:
    """Return a value that is `row` exactly, or to the nearest float; None where there is none."""
    if isinstance(row, list):
        if len(row) > 1 or None in row:
            return None
        row = row[0] if row else None
    if row is None:
        return default
    if not wanted.is_floating_point:
        info = torch.iinfo(wanted)
        is_whole = not source.is_floating_point or (abs(row) < 2.0**64 and row == int(row))
        return int(row) if is_whole and info.min <= int(row) <= info.max else None
    out = torch.tensor(row, dtype=torch.float64 if source.is_floating_point else torch.int64).to(wanted)
    if source.is_floating_point:
        return None if bool(out.isinf()) and abs(row) != float("inf") else out.item()
    return out.item() if abs(row) <= {torch.float32: 2**24, torch.float64: 2**53}[wanted] else None
