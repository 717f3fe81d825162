"""Arrow arrays -> tensors, without a copy where Arrow's memory already is the tensor.

Rules, all of them: a null or absent list is an empty list at any level; a null number or string inside a list is an error (it has no value
to give), but in a dense column reads the default; a null string of a scalar column is the empty string, or no value where the caller asked
for `kind="ragged"`. In maps and lists of pairs, keys and weights are such numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from sparrow.errors import DataError
from sparrow.io.arrow_types import NUMBER_DTYPES
from sparrow.io.cast import BadValueError, cast, require
from sparrow.io.plan import ColumnPlan
from sparrow.types import Column, Ragged

_MAX_INT64 = np.uint64(2**63 - 1)
# By the bytes of an unsigned number, what holds it.
_SIGNED = {1: np.int16, 2: np.int32, 4: np.int64, 8: np.int64}


@dataclass(frozen=True, slots=True)
class Where:
    """What an error names: the file, the column, and the piece (such as "stripe 3") and rows an array was read from.

    rows: which rows from `first_row` on they are, where some were left out.
    """

    path: str
    column: str
    piece: str
    first_row: int
    rows: Any | None = None

    def error(self, what: str, row: int | None = None) -> DataError:
        if row is not None and self.rows is not None:
            row = int(self.rows[row])
        place = self.piece if row is None else f"row {self.first_row + row}"
        return DataError(f"{self.path}: column {self.column!r}, {place}: {what}")


def decode(array: Any, plan: ColumnPlan, where: Where) -> Column:
    """Return the rows of an Arrow array as `plan` wants them. Raises `DataError` naming file, column and row.

    The tensor may share the array's memory, and keeps it alive. Cost: one pass over the offsets, and one over the values where they are
    cast, hold nulls, or are booleans.
    """
    if plan.is_dense:
        return _dense(array, plan, where)
    levels: list[Tensor] = []
    if plan.wraps:
        valid = np.asarray(array.is_valid().to_numpy(zero_copy_only=False), dtype=np.int64)
        levels.append(_offsets_of(valid))
        array = array.drop_null()
    for _ in range(plan.num_lists):
        offsets, array = _open_list(_plain(array), where)
        levels.append(offsets)
    if plan.weighted:
        _require_values(array, levels, where)
        array, weights = _plain(array).field(0), _plain(array).field(1)
        _require_values(weights, levels, where)
        _require_values(array, levels, where)
        return Ragged(_cast(array, plan, where, levels), tuple(levels), _weights(weights, where, levels))
    array = _plain(array)
    if plan.num_lists or plan.wraps:
        _require_values(array, levels, where)
    if plan.is_bytes:
        offsets, values = _open_bytes(array, where)
        return Ragged(values, (*levels, offsets))
    return Ragged(_cast(array, plan, where, levels), tuple(levels))


def _plain(array: Any) -> Any:
    """Return an array with its dictionary resolved."""
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _require_values(array: Any, levels: list[Tensor], where: Where) -> None:
    if array.null_count:
        index = int(np.argmax(array.is_null().to_numpy(zero_copy_only=False)))
        raise where.error("a null inside a list; write the list without it, or with a value in its place", _row_of(index, levels))


def _dense(array: Any, plan: ColumnPlan, where: Where) -> Tensor:
    num_rows, width = len(array), plan.width
    offsets: Tensor | None = None
    if plan.num_lists:
        offsets, array = _open_list(_plain(array), where)
    array = _plain(array)
    levels = [] if offsets is None else [offsets]
    nulls = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
    if nulls is not None and plan.default is None:
        row = _row_of(int(np.argmax(nulls)), levels)
        raise where.error("a null, and the column has no default; give ColumnSpec(default=...) or fill it when writing", row)
    values = _cast(array, plan, where, levels)
    if nulls is not None:
        assert plan.default is not None
        values = values.masked_fill(torch.from_numpy(nulls), plan.default)
    if offsets is not None:
        values = _fill_empty(values, offsets, plan, where)
    return values if width == 1 else values.view(num_rows, width)


def _fill_empty(values: Tensor, offsets: Tensor, plan: ColumnPlan, where: Where) -> Tensor:
    lengths = offsets.diff()
    full = lengths == plan.width
    if bool(full.all()):
        return values
    wrong = ~full if plan.default is None else ~(full | (lengths == 0))
    if bool(wrong.any()):
        row = int(wrong.to(torch.uint8).argmax())
        num_values = int(lengths[row])
        missing = ", and the column has no default" if num_values == 0 else ""
        fix = "give ColumnSpec(default=...)" if num_values == 0 else 'ask for kind="ragged" or another width'
        raise where.error(f"{num_values} values where a dense column of width {plan.width} expects {plan.width}{missing}; {fix}", row)
    assert plan.default is not None
    filled = plan.default.expand(lengths.numel(), plan.width).clone()
    return filled.masked_scatter_(full.unsqueeze(1), values).flatten()


def _cast(array: Any, plan: ColumnPlan, where: Where, levels: list[Tensor]) -> Tensor:
    try:
        return cast(_rescale(_numbers(array), plan), plan.dtype)
    except BadValueError as error:
        raise where.error(f"{error.why}; ask for another dtype, or None to keep the file's", _row_of(error.index, levels)) from None


def _weights(array: Any, where: Where, levels: list[Tensor]) -> Tensor:
    try:
        return cast(_numbers(_plain(array)), torch.float32)
    except BadValueError as error:
        raise where.error(f"its weight {error.why}; write weights that are", _row_of(error.index, levels)) from None


def _rescale(values: Tensor, plan: ColumnPlan) -> Tensor:
    """Return timestamps in the unit of the plan. Raises `BadValueError` where one has a remainder or leaves 64 bits."""
    factor, divisor = plan.scale
    if factor > 1:
        limit = (2**63 - 1) // factor
        require((values >= -limit) & (values <= limit), values, f"does not fit 64 bits in unit {plan.unit!r}; ask for a coarser one")
        return values * factor
    if divisor > 1:
        require(values % divisor == 0, values, f"is no whole number in unit {plan.unit!r}; ask for a finer one")
        return values.div(divisor, rounding_mode="floor")
    return values


def _row_of(index: int, levels: list[Tensor]) -> int:
    """Return the row that holds element `index` of the innermost of `levels`."""
    for offsets in reversed(levels):
        index = int(torch.searchsorted(offsets, index, right=True)) - 1
    return index


def _open_list(array: Any, where: Where) -> tuple[Tensor, Any]:
    """Return int64 offsets from 0, and the array of the elements they describe."""
    if len(array) == 0:
        return torch.zeros(1, dtype=torch.int64), array.values.slice(0, 0)
    if pa.types.is_fixed_size_list(array.type):
        lengths = np.full(len(array), array.type.list_size, dtype=np.int64)
        if array.null_count:
            lengths[array.is_null().to_numpy(zero_copy_only=False)] = 0
        return _offsets_of(lengths), array.flatten()
    raw = array.offsets.to_numpy(zero_copy_only=True)
    if raw[0] < 0 or raw[-1] > len(array.values) or (raw[1:] < raw[:-1]).any():
        raise where.error("the lengths of its lists make no sense, the file is damaged; write or copy it again")
    if array.null_count:
        lengths = np.diff(raw)
        hidden = lengths * array.is_null().to_numpy(zero_copy_only=False)
        if hidden.any():
            return _offsets_of(lengths - hidden), array.flatten()
    offsets = _from_zero(raw)
    return torch.from_numpy(offsets), array.values.slice(int(raw[0]), int(offsets[-1]))


def _open_bytes(array: Any, where: Where) -> tuple[Tensor, Tensor]:
    """Return int64 byte offsets from 0, and the bytes."""
    if len(array) == 0:
        return torch.zeros(1, dtype=torch.int64), torch.empty(0, dtype=torch.uint8)
    if any(test(array.type) for test in (pa.types.is_string_view, pa.types.is_binary_view, pa.types.is_fixed_size_binary)):
        array = array.cast(pa.large_string() if pa.types.is_string_view(array.type) else pa.large_binary())
    is_large = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    wide = np.dtype(np.int64 if is_large else np.int32)
    _, offsets_buffer, bytes_buffer = array.buffers()
    raw = np.frombuffer(offsets_buffer, dtype=wide, count=len(array) + 1, offset=array.offset * wide.itemsize)
    if raw[0] < 0 or raw[-1] > (bytes_buffer.size if bytes_buffer else 0) or (raw[1:] < raw[:-1]).any():
        raise where.error("the lengths of its strings make no sense, the file is damaged; write or copy it again")
    if array.null_count and (np.diff(raw) * array.is_null().to_numpy(zero_copy_only=False)).any():
        return _open_bytes(pc.fill_null(array.cast(pa.large_binary() if is_large else pa.binary()), b""), where)
    offsets = _from_zero(raw)
    if offsets[-1] == 0:
        return torch.from_numpy(offsets), torch.empty(0, dtype=torch.uint8)
    as_numbers = pa.Array.from_buffers(pa.uint8(), int(offsets[-1]), [None, bytes_buffer], offset=int(raw[0]))
    return torch.from_numpy(offsets), from_dlpack(as_numbers)


def _numbers(array: Any) -> Tensor:
    """Return the numbers, booleans, timestamps or dates of a flat array, any value where it is null. Unsigned ones become wider.

    Raises `BadValueError` for a number that 64 bits with a sign cannot hold.
    """
    if pa.types.is_temporal(array.type):
        array = (array.cast(pa.int32()) if pa.types.is_date32(array.type) else array).cast(pa.int64())
    if array.null_count:
        if pa.types.is_float16(array.type):
            array = array.cast(pa.float32())
        array = pc.fill_null(array, pa.scalar(0, pa.int64()).cast(array.type))
    if pa.types.is_boolean(array.type):
        return torch.from_numpy(array.to_numpy(zero_copy_only=False))
    if len(array) == 0:
        return torch.from_numpy(np.empty(0, dtype=array.type.to_pandas_dtype())).to(NUMBER_DTYPES[array.type])
    if pa.types.is_unsigned_integer(array.type):
        numbers = array.to_numpy()
        if pa.types.is_uint64(array.type) and bool((numbers > _MAX_INT64).any()):
            index = int((numbers > _MAX_INT64).argmax())
            raise BadValueError(index, f"{numbers[index]} is out of the range of torch.int64, which uint64 columns become")
        return torch.from_numpy(numbers.astype(_SIGNED[numbers.dtype.itemsize]))
    # DLPack, because from_numpy warns that Arrow's memory is read-only. Nobody else reads this memory: a writer harms no one.
    tensor: Tensor = from_dlpack(array)
    return tensor


def _from_zero(raw: Any) -> Any:
    offsets = raw.astype(np.int64)
    if offsets[0]:
        offsets -= offsets[0]
    return offsets


def _offsets_of(lengths: Any) -> Tensor:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return torch.from_numpy(offsets)
