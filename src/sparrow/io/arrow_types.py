"""Arrow types taken apart: how many lists a column has around its values, and what these are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch

# What numbers become unless another dtype is asked for. Unsigned ones take the next wider signed dtype: uint8 means bytes of strings here,
# and torch computes with few others; 64-bit ones must fit int64.
NUMBER_DTYPES: dict[Any, torch.dtype] = {
    pa.bool_(): torch.bool,
    pa.int8(): torch.int8,
    pa.int16(): torch.int16,
    pa.int32(): torch.int32,
    pa.int64(): torch.int64,
    pa.uint8(): torch.int16,
    pa.uint16(): torch.int32,
    pa.uint32(): torch.int64,
    pa.uint64(): torch.int64,
    pa.float16(): torch.float16,
    pa.float32(): torch.float32,
    pa.float64(): torch.float64,
}
# Units of time, as how many there are in a second and how many seconds there are in one.
UNITS = {"s": (1, 1), "ms": (1000, 1), "us": (1_000_000, 1), "ns": (1_000_000_000, 1), "day": (1, 86400)}

_BYTES = (
    pa.types.is_string,
    pa.types.is_binary,
    pa.types.is_large_string,
    pa.types.is_large_binary,
    pa.types.is_fixed_size_binary,
    pa.types.is_string_view,
    pa.types.is_binary_view,
)


@dataclass(frozen=True, slots=True)
class Parts:
    """A type taken apart.

    num_lists:  list levels, maps included.
    list_width: values of every row where the only level is a list of fixed size, else None.
    value:      the type inside, of the keys where it holds pairs; dictionaries are seen through.
    weight:     the type of what goes with each value, where it holds pairs: a map, or lists of structs of two fields; else None.
    """

    num_lists: int
    list_width: int | None
    value: Any
    weight: Any = None

    @property
    def is_bytes(self) -> bool:
        return any(test(self.value) for test in _BYTES)

    @property
    def unit(self) -> str | None:
        """The unit of a timestamp or date, None for anything else."""
        if pa.types.is_timestamp(self.value):
            return str(self.value.unit)
        return "day" if pa.types.is_date32(self.value) else "ms" if pa.types.is_date64(self.value) else None

    @property
    def dtype(self) -> torch.dtype | None:
        """What the values become, None where they are not read."""
        if self.is_bytes:
            return torch.uint8
        return torch.int64 if self.unit is not None else NUMBER_DTYPES.get(self.value)


def take_apart(file_type: Any) -> Parts:
    """Return the parts of any Arrow type; what is not read shows by its `dtype`."""
    num_lists, inner = 0, _plain(file_type)
    is_fixed = pa.types.is_fixed_size_list(inner)
    list_width = inner.list_size if is_fixed else None
    while pa.types.is_list(inner) or pa.types.is_large_list(inner) or pa.types.is_fixed_size_list(inner):
        num_lists, inner = num_lists + 1, _plain(inner.value_type)
    if pa.types.is_map(inner):
        return Parts(num_lists + 1, None, _plain(inner.key_type), _plain(inner.item_type))
    if num_lists and pa.types.is_struct(inner) and inner.num_fields == 2:
        return Parts(num_lists, None, _plain(inner.field(0).type), _plain(inner.field(1).type))
    return Parts(num_lists, list_width if num_lists == 1 else None, inner)


def _plain(inner: Any) -> Any:
    while pa.types.is_dictionary(inner):
        inner = inner.value_type
    return inner


def scale_of(source: str, wanted: str) -> tuple[int, int]:
    """Return `(factor, divisor)` that turn a count of units `source` into one of `wanted`; one of the two is 1."""
    numerator = UNITS[wanted][0] * UNITS[source][1]
    denominator = UNITS[source][0] * UNITS[wanted][1]
    return (numerator // denominator, 1) if numerator >= denominator else (1, denominator // numerator)
