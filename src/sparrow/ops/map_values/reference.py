"""`map_values`, plainly: a chain at a time, a step at a time, on Python's integers where a step is of ids, else on float64 tensors."""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sparrow.ops.hashes import fingerprint, murmur64a, signed, xxh64
from sparrow.ops.map_values import log_number
from sparrow.ops.map_values.packed import OUTPUT_DTYPES, Source

_MASK = 2**64 - 1
HASHES: dict[int, Callable[[bytes], int]] = {0: fingerprint, 1: murmur64a, 2: xxh64}


@dataclass
class Column:
    """A column on its way: float32 or float64 `values`, int64 ones, or `strings`; and what it counts."""

    values: Tensor
    strings: list[bytes] = field(default_factory=list)
    not_finite: int = 0
    refused_by: dict[int, int] = field(default_factory=dict)

    def ids(self) -> list[int]:
        return self.values.tolist()

    def numbers(self) -> Tensor:
        return self.values.double()

    def refuse(self, wrong: Tensor, step: int) -> None:
        for position in wrong.nonzero().flatten().tolist():
            self.refused_by.setdefault(position, step)

    def set_ids(self, ids: list[int]) -> None:
        self.values = torch.tensor(ids, dtype=torch.int64)

    def set_numbers(self, numbers: Tensor) -> None:
        """Round to the column's dtype; ids have become float64."""
        self.values = numbers.to(torch.float64 if self.values.dtype == torch.int64 else self.values.dtype)


def number(bits: int) -> float:
    return struct.unpack("<d", struct.pack("<q", bits))[0]


def map_values(
    values: Sequence[Tensor], offsets: Sequence[Tensor], chains: Tensor, steps: Tensor, tables: Sequence[Tensor]
) -> tuple[list[Tensor], Tensor]:
    outputs, counts = [], []
    for value, cuts, source, first, num_steps, dtype in chains.tolist():
        rows = steps[first : first + num_steps].tolist()
        column = entered(values[value], offsets[cuts] if cuts >= 0 else None, Source(source), rows)
        for place, (code, *parameters) in enumerate(rows):
            STEPS[code](column, place, parameters, tables)
        assert column.values.dtype == OUTPUT_DTYPES[dtype]
        outputs.append(column.values)
        position = min(column.refused_by, default=-1)
        counts.append([column.not_finite, len(column.refused_by), position, column.refused_by.get(position, -1)])
    return outputs, torch.tensor(counts, dtype=torch.int64).reshape(-1, 4)


def entered(values: Tensor, offsets: Tensor | None, source: Source, steps: list[list[int]]) -> Column:
    if source == Source.BYTES:
        assert offsets is not None
        data = bytes(values.tolist())
        return Column(torch.empty(0, dtype=torch.int64), [data[begin:end] for begin, end in itertools.pairwise(offsets.tolist())])
    kept = values.clone() if values.dtype == torch.float64 else values.float() if values.is_floating_point() else values.long()
    if source == Source.VALUES:
        return Column(kept)
    assert offsets is not None
    lengths = offsets.diff()
    filler = number(steps[0][1]) if kept.is_floating_point() else steps[0][2]
    dense = torch.full((len(lengths),), filler, dtype=kept.dtype)
    dense[lengths == 1] = kept[offsets[:-1][lengths == 1]]
    column = Column(dense)
    column.refuse(lengths > 1, 0)
    return column


Parameters = list[int]
Tables = Sequence[Tensor]


def fill(column: Column, place: int, parameters: Parameters, tables: Tables) -> None:
    if column.values.is_floating_point():
        column.values = torch.where(column.values.isnan(), number(parameters[0]), column.values)


def cast(column: Column, place: int, parameters: Parameters, tables: Tables) -> None:
    dtype, values = OUTPUT_DTYPES[parameters[0]], column.values
    if dtype == torch.int64 and values.is_floating_point():
        wide = values.double()
        fits = (wide >= -(2.0**63)) & (wide < 2.0**63) & (wide == wide.trunc())
        column.refuse(~fits, place)
        column.values = torch.where(fits, wide, 0.0).long()
        return
    column.values = values.to(dtype)
    if values.is_floating_point():
        column.refuse(column.values.isinf() & ~values.isinf(), place)


def log1p(column: Column, place: int, parameters: Parameters, tables: Tables) -> None:
    column.set_numbers(log_number.log1p_number(column.numbers()))


def log(column: Column, place: int, parameters: Parameters, tables: Tables) -> None:
    column.set_numbers(log_number.log_number(column.numbers()))


def z_score(column: Column, place: int, parameters: Parameters, tables: Tables) -> None:
    column.set_numbers((column.numbers() - number(parameters[0])) / number(parameters[1]))


def min_max(column: Column, place: int, parameters: Parameters, tables: Tables) -> None:
    low, high = number(parameters[0]), number(parameters[1])
    column.set_numbers((column.numbers() - low) / (high - low))


def clip(column: Column, place: int, parameters: Parameters, tables: Tables) -> None:
    if column.values.dtype == torch.int64:
        column.set_ids([min(max(id, parameters[0]), parameters[1]) for id in column.ids()])
        return
    low, high = number(parameters[0]), number(parameters[1])
    numbers = column.numbers()
    column.set_numbers(torch.where(numbers < low, low, torch.where(numbers > high, high, numbers)))


def finite(column: Column, place: int, parameters: Parameters, tables: Tables) -> None:
    numbers = column.numbers()
    wrong = ~numbers.isfinite()
    column.not_finite += int(wrong.sum())
    if parameters[0] == 1:
        column.refuse(wrong, place)
    column.set_numbers(torch.where(wrong, number(parameters[1]), numbers) if parameters[0] == 2 else numbers)


def order_key(value: float) -> int:
    """Return an integer in the order of numbers; NaN comes last, and an integer is its own."""
    if isinstance(value, int):
        return value
    if math.isnan(value):
        return 2**63 - 1
    bits = struct.unpack("<q", struct.pack("<d", value + 0.0))[0]
    return bits if bits >= 0 else bits ^ (2**63 - 1)


def bucketize(column: Column, place: int, parameters: Parameters, tables: Tables) -> None:
    table = tables[parameters[0]].tolist()
    count, num_cells = table[:2]
    boundaries = table[6 + num_cells :][:count]
    values = column.ids() if column.values.dtype == torch.int64 else column.numbers().tolist()
    column.set_ids([sum(boundary <= order_key(value) for boundary in boundaries) for value in values])


def hash_bytes(column: Column, place: int, parameters: Parameters, tables: Tables) -> None:
    column.set_ids([HASHES[parameters[0]](string) for string in column.strings])


def hash_ints(column: Column, place: int, parameters: Parameters, tables: Tables) -> None:
    column.set_ids([HASHES[parameters[0]](id.to_bytes(8, "little", signed=True)) for id in column.ids()])


def non_negative(column: Column, place: int, parameters: Parameters, tables: Tables) -> None:
    column.set_ids([id & (2**63 - 1) for id in column.ids()])


def mod(column: Column, place: int, parameters: Parameters, tables: Tables) -> None:
    column.set_ids([(id & _MASK) % parameters[0] for id in column.ids()])


def quotient(column: Column, place: int, parameters: Parameters, tables: Tables) -> None:
    column.set_ids([signed((id & _MASK) // parameters[0]) for id in column.ids()])


def multi_hash(column: Column, place: int, parameters: Parameters, tables: Tables) -> None:
    multiplier, prime, num_buckets = parameters
    # Python's % of a positive divisor is what (x % prime + prime) % prime is in C.
    column.set_ids([signed(id * multiplier & _MASK) % prime % num_buckets for id in column.ids()])


def vocabulary_of_bytes(column: Column, place: int, parameters: Parameters, tables: Tables) -> None:
    table = tables[parameters[0]].tolist()
    num_slots, first_word = table[1], table[2]
    data = b"".join(word.to_bytes(8, "little", signed=True) for word in table[first_word:])
    slots = [table[4 + 4 * slot :][:4] for slot in range(num_slots)]
    known = {data[begin : begin + size]: index for _, index, begin, size in slots if index >= 0}
    _look_up(column, place, parameters, column.strings, known, fingerprint)


def vocabulary_of_ints(column: Column, place: int, parameters: Parameters, tables: Tables) -> None:
    table = tables[parameters[0]].tolist()
    known = {table[4 + 2 * slot]: table[5 + 2 * slot] for slot in range(table[1]) if table[5 + 2 * slot] >= 0}
    _look_up(column, place, parameters, column.ids(), known, lambda id: fingerprint(id.to_bytes(8, "little", signed=True)))


def _look_up(
    column: Column, place: int, parameters: Parameters, keys: list[Any], known: dict[Any, int], hash_of: Callable[[Any], int]
) -> None:
    _, policy, value = parameters
    missing = torch.tensor([key not in known for key in keys], dtype=torch.bool)
    if policy == 1:
        indices = [known[key] if key in known else len(known) + (hash_of(key) & _MASK) % value for key in keys]
    else:
        indices = [known.get(key, value) for key in keys]
    if policy == 2:
        column.refuse(missing, place)
    column.set_ids(indices)


STEPS = (
    fill, cast, log1p, log, z_score, min_max, clip, finite, bucketize, hash_bytes, vocabulary_of_bytes, hash_ints, non_negative, mod,
    quotient, multi_hash, vocabulary_of_ints,
)  # fmt: skip
