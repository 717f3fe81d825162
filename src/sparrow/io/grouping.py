"""Columns that many samples share, once: found again in flat rows, or read from files that store them so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from sparrow.errors import ConfigError, DataError, did_you_mean
from sparrow.io.request_groups import INDICATOR, Opening, indicator_rows, members_of, number_of, open_groups
from sparrow.ops.take_rows import take_rows
from sparrow.types import SAMPLE_GROUP, Batch, Column, ColumnSpec, Group, Ragged


@dataclass(frozen=True, slots=True)
class SharedRows:
    """Columns of flat rows that say the same for all samples of one user (or request): a group of a batch that holds them once.

    name:    of the group. columns: that move into it.
    key:     a column that says whose a row is: numbers, strings, or lists of numbers.
    by:      `"runs"`: neighbours of equal key share a row; `"key"`: all samples of the batch that do.
    check:   raise `DataError` where rows of equal key differ in one of `columns`; else the first of them counts. Cost: a pass over them.
    """

    name: str
    columns: Sequence[str]
    key: str
    by: Literal["runs", "key"] = "runs"
    check: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.columns, str) or not self.columns:
            raise ConfigError(f"SharedRows {self.name!r}: columns is {self.columns!r}; give a list of column names")
        if self.by not in ("runs", "key"):
            raise ConfigError(f'SharedRows {self.name!r}: by is {self.by!r}; expected "runs" or "key"')
        if not self.name or self.name == SAMPLE_GROUP:
            raise ConfigError(f"SharedRows: the group cannot be called {self.name!r}; give another name")


@dataclass(frozen=True, slots=True)
class Requests:
    """Files in which a row is a request: column `c_0` lists its samples, and `c_k` the rows of group k that they share.

    The lists of `_indicator_k` say, for each sample of the row, which row of group k of that row is its; a negative number: none. Columns
    come without their `_k`.

    names:   of the groups, by k; default `group_<k>`.
    missing: what a sample reads that has no row: `"empty"`, an empty list or 0; or `"error"`.
    """

    names: dict[int, str] = field(default_factory=dict)
    missing: Literal["empty", "error"] = "empty"

    def __post_init__(self) -> None:
        if self.missing not in get_args(Literal["empty", "error"]):
            raise ConfigError(f'Requests: missing is {self.missing!r}; expected "empty" or "error"')
        for number, name in self.names.items():
            if not isinstance(number, int) or number < 1 or name == SAMPLE_GROUP:
                raise ConfigError(f"Requests: names holds {number!r}: {name!r}; expected a number from 1 on and a name of its own")

    def indicators(self, columns: Sequence[str]) -> list[str]:
        """Return the indicator columns that `columns` need and do not name. Raises `ConfigError` for a column without a number."""
        needed = [f"{INDICATOR}{number}" for number in sorted({number_of(name) for name in columns}) if number]
        return [name for name in needed if name not in columns]


Sharing = Sequence[SharedRows] | Requests


def specs_to_read(specs: tuple[ColumnSpec, ...], sharing: Sharing | None) -> tuple[ColumnSpec, ...]:
    """Return the columns asked for, and those that say which samples share what. Raises `ConfigError` for groups that cannot be."""
    columns = [spec.name for spec in specs]
    if isinstance(sharing, Requests):
        return (*specs, *map(ColumnSpec, sharing.indicators(columns)))
    if sharing is not None:
        _check_shared(sharing, columns)
    return specs


def _check_shared(sharing: Sequence[SharedRows], columns: Sequence[str]) -> None:
    """Raise `ConfigError` where groups name columns that are not read, or one twice."""
    taken: dict[str, str] = {}
    for shared in sharing:
        if not isinstance(shared, SharedRows):
            raise ConfigError(f"groups holds {shared!r}; expected SharedRows, or Requests in place of the list")
        for name in [shared.key, *shared.columns]:
            if name not in columns:
                raise ConfigError(f"group {shared.name!r} names column {name!r}, which is not read{did_you_mean(name, columns)}")
        for name in shared.columns:
            if name in taken:
                raise ConfigError(f"column {name!r} cannot be in two groups, {taken[name]!r} and {shared.name!r}")
            taken[name] = shared.name
    if len({shared.name for shared in sharing}) < len(sharing):
        raise ConfigError("two groups have one name; give each its own")


def share_rows(batch: Batch, sharing: Sharing) -> Batch:
    """Return a batch of flat columns with those that samples share in groups of their own. Raises `DataError` naming file and row."""
    if isinstance(sharing, Requests):
        return _open_requests(batch, sharing)
    sample = batch.groups[SAMPLE_GROUP]
    left = dict(sample.columns)
    groups: dict[str, Group] = {}
    for shared in sharing:
        first, sample_to_row = rows_of(sample.columns[shared.key], shared.by)
        columns = {name: take_rows(sample.columns[name], first) for name in shared.columns}
        for name, column in columns.items():
            if shared.check:
                _require_equal(batch, shared, name, column, first, sample_to_row)
            del left[name]
        groups[shared.name] = Group(columns, first.numel(), sample_to_row)
    return Batch({SAMPLE_GROUP: Group(left, sample.num_rows), **groups}, batch.origin, batch.num_padding)


def is_alike(columns: Mapping[str, Column], shared: SharedRows) -> bool:
    """Return whether rows that would be given one row of a group have the same columns."""
    flat = Batch.of({name: columns[name] for name in dict.fromkeys([shared.key, *shared.columns])})
    try:
        share_rows(flat, [shared])
    except DataError:
        return False
    return True


def rows_of(key: Column, by: str) -> tuple[Tensor, Tensor]:
    """Return which samples are the first of a row, and the row of each sample."""
    codes = _codes_of(key)
    if by == "runs":
        starts = np.ones(len(codes), dtype=bool)
        starts[1:] = codes[1:] != codes[:-1]
        return torch.from_numpy(np.flatnonzero(starts)), torch.from_numpy(np.cumsum(starts) - 1)
    # Codes count in the order of first appearance.
    first = np.zeros(int(codes.max(initial=-1)) + 1, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    return torch.from_numpy(first), torch.from_numpy(codes)


def _codes_of(key: Column) -> Any:
    """Return numbers, int64, that are equal where the rows of a column are, to the bit."""
    if isinstance(key, Tensor):
        values: Tensor = key.contiguous()
        offsets = torch.arange(key.shape[0] + 1) * (key[:1].numel() * key.itemsize)
    else:
        offsets, values = key.offsets[0], key.values.contiguous()
        if len(key.offsets) > 1:
            if not (key.is_bytes and len(key.offsets) == 2):
                raise ConfigError("a key of lists of lists tells no users apart; name a column of numbers, strings, or lists of numbers")
            # A string a row. That rows hold one each makes their bytes tell them apart.
            if bool((key.lengths() != 1).any()):
                raise ConfigError("a key of lists of strings tells no users apart; name a column of numbers, strings, or lists of numbers")
            offsets = key.offsets[1]
        offsets = offsets * values.itemsize
    num_rows = offsets.numel() - 1
    if num_rows == 0:
        return np.zeros(0, dtype=np.int64)
    data = pa.py_buffer(values.view(-1).view(torch.uint8).numpy()) if values.numel() else pa.py_buffer(b"")
    binary = pa.LargeBinaryArray.from_buffers(pa.large_binary(), num_rows, [None, pa.py_buffer(offsets.contiguous().numpy()), data])
    return binary.dictionary_encode().indices.to_numpy().astype(np.int64)


def _require_equal(batch: Batch, shared: SharedRows, name: str, column: Column, first: Tensor, sample_to_row: Tensor) -> None:
    """Raise `DataError` where a sample has another value than the row it is given."""
    own, given = batch.groups[SAMPLE_GROUP].columns[name], take_rows(column, sample_to_row)
    wrong = _difference(own, given)
    if wrong is not None:
        row = int(first[sample_to_row[wrong]])
        raise DataError(
            f"{batch.locate(wrong)}: column {name!r} differs from that of {batch.locate(row)}, though column {shared.key!r} is the same; "
            f"leave it out of group {shared.name!r}, name a key that tells them apart, or say SharedRows(check=False)"
        )


def _difference(one: Column, other: Column) -> int | None:
    """Return the first row in which two columns of as many rows differ, bit by bit."""
    if all(torch.equal(mine, its) for mine, its in zip(_parts(one), _parts(other), strict=True)):
        return None
    if isinstance(one, Tensor):
        assert isinstance(other, Tensor)
        rows = (_bits(one) != _bits(other)).view(one.shape[0], -1).any(1)
        return int(rows.to(torch.uint8).argmax()) if bool(rows.any()) else None
    assert isinstance(other, Ragged)
    levels = list(zip(one.offsets, other.offsets, strict=True))
    for depth, (mine, its) in enumerate(levels):
        unequal = mine.diff() != its.diff()
        if bool(unequal.any()):
            return _row_above(int(unequal.to(torch.uint8).argmax()), one.offsets[:depth])
    numbers = [(one.values, other.values)]
    if one.weights is not None and other.weights is not None:
        numbers.append((one.weights, other.weights))
    for own, given in numbers:
        unequal = _bits(own) != _bits(given)
        if bool(unequal.any()):
            return _row_above(int(unequal.to(torch.uint8).argmax()), one.offsets)
    return None


def _parts(column: Column) -> list[Tensor]:
    if isinstance(column, Tensor):
        return [column]
    return [*column.offsets, column.values, *([] if column.weights is None else [column.weights])]


def _bits(values: Tensor) -> Tensor:
    # NaN equals itself.
    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return values.contiguous().view(integers[values.itemsize]) if values.is_floating_point() else values


def _row_above(element: int, levels: Sequence[Tensor]) -> int:
    for offsets in reversed(levels):
        element = int(torch.searchsorted(offsets, element, right=True)) - 1
    return element


# Files of requests.


def _open_requests(batch: Batch, requests: Requests) -> Batch:
    opening = opening_of(batch, requests)
    return open_groups(opening, batch.groups[SAMPLE_GROUP].columns, requests.names, batch.origin)


def opening_of(batch: Batch, requests: Requests) -> Opening:
    """Return how lists of requests become rows of groups. Raises `DataError` where the lists do not fit together."""
    columns: dict[str, Ragged] = {}
    for name, column in batch.groups[SAMPLE_GROUP].columns.items():
        if not isinstance(column, Ragged) or (column.is_bytes and len(column.offsets) == 1):
            raise DataError(f"{batch.locate(0)}: column {name!r} is no list; with groups=Requests() a row lists what its samples have")
        columns[name] = column
    members = members_of(columns)
    bounds = {number: _bounds_of(batch, {name: columns[name] for name in names}) for number, names in members.items() if names}
    samples = bounds.get(0)
    missing: dict[int, Tensor] = {}
    for number in (number for number in members if number):
        name = f"{INDICATOR}{number}"
        if samples is None:
            samples = columns[name].offsets[0]
        _require_lengths(batch, name, columns[name].offsets[0], samples)
        missing[number] = _missing_rows(batch, requests, name, columns[name], bounds[number])
    assert samples is not None
    return Opening(members, samples, bounds, missing, batch.num_padding)


def _bounds_of(batch: Batch, members: dict[str, Ragged]) -> Tensor:
    """Return the offsets that all columns of a group have: its rows in each row of the file."""
    (first, column), *others = members.items()
    for name, other in others:
        _require_lengths(batch, name, other.offsets[0], column.offsets[0], f" as column {first!r}")
    return column.offsets[0]


def _require_lengths(batch: Batch, name: str, offsets: Tensor, expected: Tensor, like: str = " as there are samples") -> None:
    unequal = offsets.diff() != expected.diff()
    if bool(unequal.any()):
        row = int(unequal.to(torch.uint8).argmax())
        found, wanted = int(offsets.diff()[row]), int(expected.diff()[row])
        raise DataError(f"{batch.locate(row)}: column {name!r} lists {found} values, expected {wanted}{like}; write the file again")


def _missing_rows(batch: Batch, requests: Requests, name: str, indicator: Ragged, bounds: Tensor) -> Tensor:
    """Return which requests have samples that read no row of the group, bool. Raises `DataError` for a sample that reads none there is."""
    if indicator.values.dtype.is_floating_point or len(indicator.offsets) != 1:
        raise DataError(f"{batch.locate(0)}: column {name!r} must list whole numbers, one a sample")
    within, row_of_sample = indicator_rows(indicator)
    limit = bounds.diff()[row_of_sample]
    missing = within < 0
    wrong = (within >= limit) | (missing if requests.missing == "error" else torch.zeros_like(missing))
    if bool(wrong.any()):
        sample = int(wrong.to(torch.uint8).argmax())
        place = batch.locate(int(row_of_sample[sample]))
        fix = "" if int(within[sample]) >= 0 else ', or read with Requests(missing="empty")'
        raise DataError(
            f"{place}: column {name!r} says row {int(within[sample])}, but there are {int(limit[sample])}; write the file again{fix}"
        )
    found = torch.zeros(indicator.num_rows, dtype=torch.bool)
    found[row_of_sample[missing]] = True
    return found
