"""Lists of requests -> rows of groups, on any device: what the host must know of them, and the join of samples to rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor

from sparrow.errors import ConfigError
from sparrow.types import SAMPLE_GROUP, Batch, Column, Group, Ragged, RowSpan

INDICATOR = "_indicator_"


def number_of(name: str) -> int:
    """Return the number of a column's group. Raises `ConfigError` for a name without one."""
    stem, _, number = name.rpartition("_")
    if not stem or not number.isdecimal():
        raise ConfigError(
            f"column {name!r}: with groups=Requests() the names of columns end in the number of their group, such as {name}_0"
        )
    return int(number)


def members_of(names: Iterable[str]) -> dict[int, list[str]]:
    """Return the columns of each group by its number, in order of numbers; 0, the samples, is always there. Indicators are in none."""
    members: dict[int, list[str]] = {0: []}
    for name in names:
        if not name.startswith(INDICATOR):
            members.setdefault(number_of(name), []).append(name)
    return {number: members[number] for number in sorted(members)}


@dataclass(frozen=True, slots=True)
class Opening:
    """What the host knows of the lists of some requests, which fit together.

    members: columns of each group, by number.
    samples: int64 [requests + 1], the first sample of each request. bounds: of each group that has columns, the first row of each.
    missing: of each group but the samples', bool [requests]: whether a sample of the request reads no row.
    num_padding: requests at the end that do not count.
    """

    members: dict[int, list[str]]
    samples: Tensor
    bounds: dict[int, Tensor]
    missing: dict[int, Tensor]
    num_padding: int = 0

    @staticmethod
    def joined(parts: Sequence[Opening], take: Callable[[list[Tensor]], Tensor], num_padding: int) -> Opening:
        """Return what is known of some requests of `parts`. take: makes one tensor, a value a request, of those of the parts."""

        def ends(of_parts: list[Tensor]) -> Tensor:
            lengths = take([bounds.diff() for bounds in of_parts])
            return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])

        first = parts[0]
        return Opening(
            first.members,
            ends([part.samples for part in parts]),
            {number: ends([part.bounds[number] for part in parts]) for number in first.bounds},
            {number: take([part.missing[number] for part in parts]) for number in first.missing},
            num_padding,
        )


def open_groups(opening: Opening, columns: Mapping[str, Column], names: Mapping[int, str], origin: Sequence[RowSpan]) -> Batch:
    """Return the batch of samples of requests whose `columns` are lists, on any device, which is not waited for."""
    num_samples = int(opening.samples[-1])
    lists = {name: column for name, column in columns.items() if isinstance(column, Ragged)}
    groups: dict[str, Group] = {}
    for number, members in opening.members.items():
        if number:
            bounds = lists[members[0]].offsets[0]
            within, row_of_sample = indicator_rows(lists[f"{INDICATOR}{number}"], num_samples)
            sample_to_row = torch.where(within < 0, bounds[-1], bounds[:-1][row_of_sample] + within)
            opened, num_rows = {name: _opened(lists[name]) for name in members}, int(opening.bounds[number][-1])
            if bool(opening.missing[number].any()):
                opened, num_rows = {name: _with_empty_row(column) for name, column in opened.items()}, num_rows + 1
            stems = {name.rpartition("_")[0]: column for name, column in opened.items()}
            groups[names.get(number, f"group_{number}")] = Group(stems, num_rows, sample_to_row)
    own = {name.rpartition("_")[0]: _opened(lists[name]) for name in opening.members[0]}
    _require_distinct([own, *(group.columns for group in groups.values())])
    num_padding = num_samples - int(opening.samples[opening.samples.numel() - 1 - opening.num_padding])
    return Batch({SAMPLE_GROUP: Group(own, num_samples), **groups}, _SampleOrigin(origin, opening.samples), num_padding)


def indicator_rows(indicator: Ragged, num_samples: int | None = None) -> tuple[Tensor, Tensor]:
    """Return which row of its request each sample reads, int64, and of which request it is. num_samples: where the host knows it."""
    offsets, values = indicator.offsets[0], indicator.values.to(torch.int64)
    if offsets.device.type == "cpu":
        return values, torch.repeat_interleave(torch.arange(indicator.num_rows), indicator.lengths())
    # A search, since a device would be asked how many there are.
    numbers = torch.arange(values.numel() if num_samples is None else num_samples, device=offsets.device)
    return values, torch.searchsorted(offsets[1:], numbers, right=True)


class _SampleOrigin(Sequence[RowSpan]):
    """Where samples came from that were listed in rows: the row of each."""

    def __init__(self, rows: Sequence[RowSpan], samples: Tensor) -> None:
        self._rows, self._samples = Batch({}, rows), samples

    def __len__(self) -> int:
        return int(self._samples[-1])

    @overload
    def __getitem__(self, at: int) -> RowSpan: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[RowSpan]: ...
    def __getitem__(self, at: int | slice) -> RowSpan | Sequence[RowSpan]:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(len(self)))]
        if not -len(self) <= at < len(self):
            raise IndexError(at)
        row = int(torch.searchsorted(self._samples, at % len(self), right=True)) - 1
        path, _, row_of_file = self._rows.locate(row).rpartition(", row ")
        return RowSpan(path, int(row_of_file), 1)


def _require_distinct(groups: Sequence[dict[str, Column]]) -> None:
    names = [name for columns in groups for name in columns]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"column {name!r} is in two groups once their numbers are taken off; read one of them, or rename it in the file"
            )


def _opened(column: Ragged) -> Column:
    """Return what lists hold, without the lists."""
    if len(column.offsets) == 1:
        return column.values
    return Ragged(column.values, column.offsets[1:], column.weights)


def _with_empty_row(column: Column) -> Column:
    if isinstance(column, Tensor):
        return torch.cat([column, column.new_zeros(1, *column.shape[1:])])
    outer = column.offsets[0]
    return Ragged(column.values, (torch.cat([outer, outer[-1:]]), *column.offsets[1:]), column.weights)
