"""Record batches -> columns, by one operator for all that lie in Arrow as most do, and column by column for the others."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from sparrow.io.arrow_types import NUMBER_DTYPES
from sparrow.io.plan import ColumnPlan
from sparrow.ops.unpack_arrow.op import BYTES, DENSE, DENSE_LIST, LIST, TYPES, unpack_arrow
from sparrow.types import Column, Ragged

_WANTED = (torch.int32, torch.int64, torch.float32, torch.float64)


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns of a piece lie in matrices, and where.

    dense: names of the dense columns in each matrix, a matrix a dtype.
    lists: names of the ragged columns of one level.
    groups: runs of `lists` of one dtype, as begin and end.
    others: columns that lie by themselves.
    order: all of them, as the caller wants them.
    """

    dense: tuple[tuple[str, ...], ...]
    lists: tuple[str, ...]
    groups: tuple[tuple[int, int], ...]
    others: tuple[str, ...]
    order: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """The columns of a piece of N rows, so that many are cut or joined at once.

    dense:   [columns, N] for each dtype.
    offsets: int64 [lists, N + 1], each row from 0 on.
    values:  those of the lists.
    others:  columns that lie by themselves.
    """

    layout: Layout
    dense: tuple[Tensor, ...]
    offsets: Tensor
    values: Sequence[Tensor]
    others: dict[str, Column]

    def columns(self) -> dict[str, Column]:
        """Return the columns one by one. They share the memory of the blocks."""
        found = columns_of_matrices(self.layout, self.dense)
        for name, of, bounds in zip(self.layout.lists, self.values, self.offsets.unbind(), strict=True):
            found[name] = Ragged(of, (bounds,))
        found.update(self.others)
        return {name: found[name] for name in self.layout.order}


def columns_of_matrices(layout: Layout, dense: Sequence[Tensor]) -> dict[str, Column]:
    """Return the dense columns of matrices laid out so."""
    columns: dict[str, Column] = {}
    for names, matrix in zip(layout.dense, dense, strict=True):
        columns.update(zip(names, matrix.unbind(), strict=True))
    return columns


@dataclass(frozen=True, slots=True, eq=False)
class Unpacking:
    """How record batches of one schema become columns.

    schema: of the batches. plans: of the columns. layout, columns, defaults: as `Blocks` and `unpack_arrow` want them.
    """

    schema: Any
    plans: tuple[ColumnPlan, ...]
    layout: Layout
    columns: Tensor
    defaults: Tensor

    def unpack(self, batch: Any, decode: Callable[[str], Column]) -> Blocks | dict[str, Column]:
        """Return the columns of a record batch, one by one where some that should lie in blocks had to be made another way.

        decode: makes a column of the batch another way, or raises what is wrong with it.
        """
        layout = self.layout
        array = torch.empty(10, dtype=torch.int64)
        batch._export_to_c(array.data_ptr())
        made, offsets, *rest = unpack_arrow(array, self.columns, self.defaults)
        dense, values = rest[: len(layout.dense)], rest[len(layout.dense) :]
        if bool(made.all()):
            return Blocks(layout, tuple(dense), offsets, values, {name: decode(name) for name in layout.others})
        in_order = [*(name for names in layout.dense for name in names), *layout.lists]
        odd = {name for name, is_made in zip(in_order, made.tolist(), strict=True) if not is_made}
        found = Blocks(layout, tuple(dense), offsets, values, {name: torch.empty(0) for name in layout.others}).columns()
        return {name: decode(name) if name in odd or name in layout.others else found[name] for name in layout.order}


def unpacking_of(schema: Any, plans: tuple[ColumnPlan, ...]) -> Unpacking:
    """Plan the columns `plans` of record batches of an Arrow schema."""
    dense: list[tuple[int, str, list[int], int]] = []
    lists: list[tuple[int, str, list[int], int]] = []
    for plan in plans:
        place = schema.get_field_index(plan.name)
        row = None if place < 0 else _row_of(plan, schema.field(place).type)
        if row is not None:
            kind, offset_bytes, source, wanted = row
            entry = (wanted, plan.name, [place, kind, offset_bytes, source, wanted, int(plan.default is not None)], _bits_of(plan.default))
            (dense if kind in (DENSE, DENSE_LIST) else lists).append(entry)
    # Sorted by dtype alone, so that columns of one dtype are neighbours and otherwise keep their order.
    dense.sort(key=lambda entry: entry[0])
    lists.sort(key=lambda entry: entry[0])
    fast = [*dense, *lists]
    matrices = tuple(tuple(name for _, name, *_ in group) for _, group in groupby(dense, key=lambda entry: entry[0]))
    groups, begin = [], 0
    for _, group in groupby(lists, key=lambda entry: entry[0]):
        end = begin + len(list(group))
        groups.append((begin, end))
        begin = end
    known = {name for _, name, *_ in fast}
    layout = Layout(
        matrices,
        tuple(name for _, name, *_ in lists),
        tuple(groups),
        tuple(p.name for p in plans if p.name not in known),
        tuple(p.name for p in plans),
    )
    columns = torch.tensor([row for _, _, row, _ in fast], dtype=torch.int64).view(-1, 6)
    defaults = torch.tensor([bits for *_, bits in fast], dtype=torch.int64)
    return Unpacking(schema, plans, layout, columns, defaults)


def _bits_of(default: Tensor | None) -> int:
    if default is None or default.dtype not in _WANTED:
        return 0
    word = torch.zeros(8, dtype=torch.uint8)
    word[: default.itemsize] = default.reshape(1).view(torch.uint8)
    return int(word.view(torch.int64))


def _row_of(plan: ColumnPlan, file_type: Any) -> tuple[int, int, int, int] | None:
    """Return kind, bytes of an offset, type and dtype wanted of a column, None for one that lies otherwise."""
    if file_type != plan.file_type or plan.wraps or plan.weighted or plan.width > 1 or plan.unit is not None or plan.num_lists > 1:
        return None
    is_large = pa.types.is_large_list(file_type) or pa.types.is_large_string(file_type) or pa.types.is_large_binary(file_type)
    offset_bytes = 8 if is_large else 4
    if plan.is_bytes:
        is_plain = any(
            test(file_type) for test in (pa.types.is_string, pa.types.is_binary, pa.types.is_large_string, pa.types.is_large_binary)
        )
        return (BYTES, offset_bytes, TYPES.index(torch.uint8), TYPES.index(torch.uint8)) if is_plain else None
    if plan.num_lists and not (pa.types.is_list(file_type) or pa.types.is_large_list(file_type)):
        return None
    source = _plain_number(file_type.value_type if plan.num_lists else file_type)
    if source is None:
        return None
    if plan.is_dense:
        is_wanted = plan.dtype in _WANTED
        return (DENSE_LIST if plan.num_lists else DENSE, offset_bytes, source, TYPES.index(plan.dtype)) if is_wanted else None
    return (LIST, offset_bytes, source, source) if plan.num_lists and TYPES[source] == plan.dtype else None


@functools.cache
def _plain_number(file_type: Any) -> int | None:
    """Return the place in `TYPES` of signed integers and floats of 32 and 64 bits, None for other types."""
    is_plain = pa.types.is_signed_integer(file_type) or pa.types.is_float32(file_type) or pa.types.is_float64(file_type)
    return TYPES.index(NUMBER_DTYPES[file_type]) if is_plain else None
