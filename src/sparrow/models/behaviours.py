"""Behaviour sequences: columns of equal lists, such as the items of a history, their categories and how long ago they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sparrow.errors import DataError
from sparrow.types import Batch, Column, Group, Ragged


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """The behaviours of every sample, end to end; a behaviour of a row that several samples read is in several pairs.

    behaviour: int64 [P], its row among all behaviours of the sequence.
    sample:    int64 [P], never decreasing.
    starts:    int64 [samples], where a sample's pairs begin.
    lengths:   int64 [samples], how many there are.
    is_shared: whether `behaviour` may be anything but 0, 1, 2, ...
    """

    behaviour: Tensor
    sample: Tensor
    starts: Tensor
    lengths: Tensor
    is_shared: bool

    @staticmethod
    def of(offsets: Tensor, sample_to_row: Tensor | None) -> Pairs:
        """Return the pairs of rows cut by `offsets`, int64 [rows + 1]. Cost: one pass over the pairs."""
        begins, lengths = offsets[:-1], offsets.diff()
        if sample_to_row is not None:
            begins, lengths = begins[sample_to_row], lengths[sample_to_row]
        starts = lengths.cumsum(0) - lengths
        sample = torch.arange(lengths.numel(), device=offsets.device).repeat_interleave(lengths)
        behaviour = torch.arange(sample.numel(), device=offsets.device)
        if sample_to_row is None:
            return Pairs(behaviour, sample, starts, lengths, is_shared=False)
        return Pairs(behaviour + (begins - starts)[sample], sample, starts, lengths, is_shared=True)

    def to(self, device: torch.device) -> Pairs:
        """Return these pairs on a device; no copy where they are there."""
        moved = {name: getattr(self, name).to(device) for name in ("behaviour", "sample", "starts", "lengths")}
        return replace(self, **moved)

    def spread(self, of_behaviours: Tensor) -> Tensor:
        """Return what each pair has of [N, width], a row a behaviour: [P, width]; no copy where no row is shared."""
        return of_behaviours.index_select(0, self.behaviour) if self.is_shared else of_behaviours


def split_behaviours(batch: Batch, sequences: Sequence[Sequence[str]]) -> tuple[Batch, list[Pairs]]:
    """Return the batch with a group of its own for each sequence, a row a behaviour, and the pairs of each sequence.

    So a column of lists becomes ids, one a row, and one of lists of lists (the categories of each item) becomes lists; both are looked
    up and pooled like any other column, once where samples share the row they are in. No behaviour is copied, and none is padded.

    Raises `DataError` naming feature, file and row where features of one sequence differ in their lengths.
    """
    taken = {name for names in sequences for name in names}
    groups = {
        key: Group({name: column for name, column in group.columns.items() if name not in taken}, group.num_rows, group.sample_to_row)
        for key, group in batch.groups.items()
    }
    pairs = []
    for index, names in enumerate(sequences):
        group = batch.group_of(names[0])
        offsets, _ = _behaviours_of(batch, names[0])
        columns: dict[str, Column] = {}
        for name in names:
            if batch.group_of(name) is not group:
                raise DataError(f"features {names[0]!r} and {name!r} are of one sequence, but come in different batch groups")
            own_offsets, columns[name] = _behaviours_of(batch, name)
            if own_offsets is not offsets and not torch.equal(own_offsets, offsets):
                raise _unequal(batch, (names[0], offsets), (name, own_offsets))
        groups[f"behaviours of sequence {index}"] = Group(columns, int(offsets[-1]))
        pairs.append(Pairs.of(offsets, group.sample_to_row))
    return Batch(groups, batch.origin, batch.num_padding), pairs


def _behaviours_of(batch: Batch, name: str) -> tuple[Tensor, Column]:
    """Return (offsets of the rows in behaviours, the column with a row a behaviour)."""
    column = batch[name]
    if isinstance(column, Ragged):
        offsets, inner = column.offsets[0], column.offsets[1:]
        if inner or column.weights is not None:
            levels = inner or (torch.arange(column.values.numel() + 1, device=offsets.device),)
            return offsets, Ragged(column.values, levels, column.weights)
        return offsets, column.values
    if column.dim() != 2:
        raise DataError(f"feature {name!r}: a sequence needs a list of behaviours a row, got {list(column.shape)}, one value a row")
    return torch.arange(column.shape[0] + 1, device=column.device) * column.shape[1], column.reshape(-1)


def _unequal(batch: Batch, first: tuple[str, Tensor], other: tuple[str, Tensor]) -> DataError:
    (name, offsets), (other_name, other_offsets) = first, other
    lengths, other_lengths = offsets.diff(), other_offsets.diff()
    row = int((lengths != other_lengths).to(torch.uint8).argmax())
    sample_to_row = batch.group_of(name).sample_to_row
    readers = torch.tensor([row]) if sample_to_row is None else (sample_to_row == row).nonzero()[:, 0]
    where = batch.locate(int(readers[0])) if readers.numel() else f"row {row} of their batch group"
    return DataError(
        f"{where}: features {name!r} and {other_name!r} are of one sequence, but have {int(lengths[row])} and {int(other_lengths[row])} "
        f"behaviours; write them with equal lists, and give both the same transforms that change lengths"
    )
