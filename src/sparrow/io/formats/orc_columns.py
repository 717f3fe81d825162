"""Stripes of ORC decoded by `decode_orc`: columns of numbers and of lists of numbers, which it reads many times faster than pyarrow.

What it does not decode, or refuses, is left to pyarrow, which also says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from sparrow.io.formats.orc_footer import Stripe
from sparrow.io.formats.ranges import read_range
from sparrow.ops.decode_orc.op import CODECS, NUMBERS, decode_orc

_NUMBERS = {pa.int32(): torch.int32, pa.int64(): torch.int64, pa.float32(): torch.float32, pa.float64(): torch.float64}
# A stripe is read whole: not for a few of its columns, and not where it is larger than anyone writes.
_LEAST_SHARE = 4
_MAX_STRIPE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class DirectColumns:
    """Columns of ORC files of one schema that are decoded directly.

    columns: as `decode_orc` wants them, in the order of `schema`, their Arrow schema. num_types: of the file.
    others: the names that are read by pyarrow.
    """

    columns: Tensor
    schema: Any
    num_types: int
    others: tuple[str, ...]

    @staticmethod
    def of(schema: Any, names: Sequence[str]) -> DirectColumns:
        """Choose those of the columns `names` that can be decoded, by the Arrow schema of a file."""
        rows: dict[str, list[int]] = {}
        seen: set[str] = set()
        # Types are numbered from the root on, each before those inside of it.
        number, num_leaves = 1, 0
        for field in schema:
            is_list = pa.types.is_list(field.type)
            item = _NUMBERS.get(field.type.value_type if is_list else field.type)
            # pyarrow reads a name with a dot as a path.
            if item is not None and "." not in field.name and field.name not in seen:
                rows[field.name] = [number, NUMBERS.index(item), int(is_list)]
            else:
                rows.pop(field.name, None)
            seen.add(field.name)
            number += _num_types(field.type)
            num_leaves += 1
        found = [name for name in names if name in rows]
        if len(found) * _LEAST_SHARE < num_leaves:
            found = []
        columns = torch.tensor([rows[name] for name in found], dtype=torch.int64).view(-1, 3)
        fields = [schema.field(name) for name in found]
        return DirectColumns(columns, pa.schema(fields), number, tuple(name for name in names if name not in found))

    def read(self, source: Any, stripe: Stripe, compression: str, block_bytes: int) -> Any | None:
        """Return the columns of a stripe as a record batch, None where they must be read another way.

        source: the open file. compression, block_bytes: of the file.
        """
        num_bytes = stripe.data_bytes + stripe.footer_bytes
        begin = stripe.offset + stripe.index_bytes
        if compression not in CODECS or num_bytes > _MAX_STRIPE_BYTES or begin + num_bytes > source.size():
            return None
        data = read_range(source, begin, begin + num_bytes)
        if data.numel() != num_bytes:
            return None
        codec = CODECS.index(compression)
        about = [stripe.num_rows, self.num_types, stripe.index_bytes, stripe.footer_bytes, codec, block_bytes]
        array = torch.empty(10, dtype=torch.int64)
        if not decode_orc(array, data, torch.tensor(about, dtype=torch.int64), self.columns):
            return None
        return pa.RecordBatch._import_from_c(array.data_ptr(), self.schema)


def _num_types(file_type: Any) -> int:
    """Return how many ORC types an Arrow type read from ORC stands for: its own, and those inside of it."""
    if pa.types.is_map(file_type):
        return 1 + _num_types(file_type.key_type) + _num_types(file_type.item_type)
    inner = range(file_type.num_fields)
    return 1 + sum(_num_types(file_type.field(place).type) for place in inner)
