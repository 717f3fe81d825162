"""Behaviour sequences: columns of equal lists, such as the items of a history, their categories and how long ago they were."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sparrow.errors import BackendError, DataError
from sparrow.features import Feature
from sparrow.features.expression import Expression
from sparrow.features.transforms.element_wise import ElementWise
from sparrow.features.transforms.sequences import Pad, Top, Truncate, Unique, Weights
from sparrow.ops import recorded
from sparrow.ops.recorded import RecordedStep
from sparrow.types import Batch, Column, Group, Ragged


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """The behaviours of every sample, end to end; a behaviour of a row that several samples read is in several pairs.

    behaviour: int64 [P], its row among all behaviours of the sequence.
    sample:    int64 [P], never decreasing.
    starts:    int64 [samples], where a sample's pairs begin.
    lengths:   int64 [samples], how many there are.
    is_shared: whether `behaviour` may be anything but 0, 1, 2, ...
    is_there:  bool [P], False for a pair that only fills memory, whose `behaviour` and `sample` are any; None where all pairs are there.
    """

    behaviour: Tensor
    sample: Tensor
    starts: Tensor
    lengths: Tensor
    is_shared: bool
    is_there: Tensor | None = None

    @staticmethod
    def of(offsets: Tensor, sample_to_row: Tensor | None, num_behaviours: int, most: int | None) -> Pairs:
        """Return the pairs of rows cut by `offsets`, int64 [rows + 1]. Cost: one pass over the pairs.

        num_behaviours: of all rows, or what there is memory for. most: behaviours a row may have, None where nobody knows. A device is
        waited for only where samples share rows and nobody knows.
        """
        if offsets.device.type != "cpu" and (sample_to_row is None or most is not None):
            return Pairs._on_device(offsets, sample_to_row, num_behaviours, most)
        begins, lengths = offsets[:-1], offsets.diff()
        if sample_to_row is not None:
            begins, lengths = begins[sample_to_row], lengths[sample_to_row]
        starts = lengths.cumsum(0) - lengths
        sample = torch.arange(lengths.numel(), device=offsets.device).repeat_interleave(lengths)
        behaviour = torch.arange(sample.numel(), device=offsets.device)
        if sample_to_row is None:
            return Pairs(behaviour, sample, starts, lengths, is_shared=False)
        return Pairs(behaviour + (begins - starts)[sample], sample, starts, lengths, is_shared=True)

    @staticmethod
    def _on_device(offsets: Tensor, sample_to_row: Tensor | None, num_behaviours: int, most: int | None) -> Pairs:
        """Return pairs of which the host knows how many there may be: where rows are shared, the most for each sample."""
        begins, lengths = offsets[:-1], offsets.diff()
        if sample_to_row is None:
            behaviour = torch.arange(num_behaviours, device=offsets.device)
            sample = torch.searchsorted(offsets[1:], behaviour, right=True)
            if recorded.current_on(offsets.device) is None:
                return Pairs(behaviour, sample, begins, lengths, is_shared=False)
            return Pairs(behaviour, sample.clamp_max(lengths.numel() - 1), begins, lengths, False, behaviour < offsets[-1:])
        assert most is not None
        begins, lengths = begins[sample_to_row], lengths[sample_to_row]
        width, num_samples = min(most, num_behaviours), lengths.numel()
        place = torch.arange(num_samples * width, device=offsets.device)
        sample = place // max(width, 1)
        within = place - sample * width
        is_there = within < lengths[sample]
        # Held inside, whatever offsets say.
        behaviour = torch.where(is_there, begins[sample] + within, 0).clamp_max(max(num_behaviours - 1, 0))
        return Pairs(behaviour, sample, torch.arange(num_samples, device=offsets.device) * width, lengths, True, is_there)

    def to(self, device: torch.device) -> Pairs:
        """Return these pairs on a device; no copy where they are there."""
        names = ("behaviour", "sample", "starts", "lengths", *(["is_there"] if self.is_there is not None else []))
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def only_there(self, weights: Tensor) -> Tensor:
        """Return [P] with zeros for pairs that are not there."""
        return weights if self.is_there is None else weights.masked_fill(~self.is_there, 0)

    def spread(self, of_behaviours: Tensor) -> Tensor:
        """Return what each pair has of [N, width], a row a behaviour: [P, width]; no copy where no row is shared."""
        return of_behaviours.index_select(0, self.behaviour) if self.is_shared else of_behaviours


def most_behaviours(features: Iterable[Feature]) -> int | None:
    """Return how many behaviours a row of a sequence has at most, as its features say: one that truncates or pads. None where none does."""
    known = [most for feature in features if feature.expression is not None and (most := _most_of(feature.expression)) is not None]
    return min(known, default=None)


def _most_of(expression: Expression) -> int | None:
    transform = expression.transform
    if isinstance(transform, Pad):
        return transform.lengths[0]
    # What leaves the outer lists as they are, or makes them shorter.
    if not isinstance(transform, ElementWise | Truncate | Top | Unique | Weights):
        return None
    before = _most_of(expression.inputs[0])
    if not isinstance(transform, Truncate) or transform.level != 0:
        return before
    return transform.length if before is None else min(before, transform.length)


def split_behaviours(batch: Batch, sequences: Sequence[Sequence[str]], most: Sequence[int | None]) -> tuple[Batch, list[Pairs]]:
    """Return the batch with a group of its own for each sequence, a row a behaviour, and the pairs of each sequence.

    So a column of lists becomes ids, one a row, and one of lists of lists (the categories of each item) becomes lists; both are looked
    up and pooled like any other column, once where samples share the row they are in. No behaviour is copied, and none is padded, but in
    a step that a graph repeats: there are rows behind the last behaviour, without ids. most: of each sequence, see `Pairs.of`.

    Raises `DataError` naming feature, file and row where features of one sequence differ in their lengths (on a device, where the host
    would have to wait, only where they do in all; replays of a captured step tell it later), and `BackendError` for shared rows of a
    captured step where nobody knows the most.
    """
    taken = {name for names in sequences for name in names}
    groups = {
        key: Group({name: column for name, column in group.columns.items() if name not in taken}, group.num_rows, group.sample_to_row)
        for key, group in batch.groups.items()
    }
    pairs = []
    for index, names in enumerate(sequences):
        group = batch.group_of(names[0])
        for name in names:
            if batch.group_of(name) is not group:
                raise DataError(f"features {names[0]!r} and {name!r} are of one sequence, but come in different batch groups")
        found = {name: _behaviours_of(batch, name) for name in names}
        (offsets, _, num_behaviours), *_ = found.values()
        columns = {name: column for name, (_, column, _) in found.items()}
        if (step := recorded.current_on(offsets.device)) is not None:
            if group.sample_to_row is not None and most[index] is None:
                raise _unbounded(names)
            num_behaviours = min(count for _, _, count in found.values())
            for name, (own_offsets, *_) in found.items():
                _flag_unequal(step, batch, (names[0], offsets), (name, own_offsets))
            columns = {name: _without_others(column, offsets, num_behaviours) for name, column in columns.items()}
        else:
            for name, (own_offsets, _, count) in found.items():
                on_host = offsets.device.type == "cpu"
                if own_offsets is not offsets and (not torch.equal(own_offsets, offsets) if on_host else count != num_behaviours):
                    raise _unequal(batch, (names[0], offsets), (name, own_offsets))
        groups[f"behaviours of sequence {index}"] = Group(columns, num_behaviours)
        pairs.append(Pairs.of(offsets, group.sample_to_row, num_behaviours, most[index]))
    return Batch(groups, batch.origin, batch.num_padding), pairs


def _without_others(column: Column, offsets: Tensor, num_behaviours: int) -> Column:
    """Return `num_behaviours` rows of a column of behaviours, without ids behind the last behaviour, of which a lookup would make rows."""
    end = offsets[-1:].clamp_max(num_behaviours)
    if isinstance(column, Tensor):
        return Ragged(column, (torch.arange(num_behaviours + 1, device=offsets.device).minimum(end),))
    first, *deeper = column.offsets
    return Ragged(column.values, (first[: num_behaviours + 1].minimum(first[end]), *deeper), column.weights)


def _flag_unequal(step: RecordedStep, batch: Batch, first: tuple[str, Tensor], other: tuple[str, Tensor]) -> None:
    """Raise `DataError` where lists are not equal; what is captured flags it, to be told later."""
    (name, offsets), (other_name, other_offsets) = first, other
    if other_offsets is offsets:
        return

    def look(flags: list[int]) -> Exception:
        return DataError(
            f"features {name!r} and {other_name!r} are of one sequence, but had different lists in {flags[0]} steps that a graph repeated, "
            f"which were taken all the same; a model on the CPU names the row of such a batch"
        )

    flag = step.flags(1, 0, offsets.device, look)
    if flag is not None:
        flag.add_((other_offsets != offsets).any())
    elif not torch.equal(other_offsets, offsets):
        raise _unequal(batch, first, other)


def _unbounded(names: Sequence[str]) -> BackendError:
    return BackendError(
        f"feature {names[0]!r}: samples share its rows, and how many behaviours they have in all only the data decides, which a captured "
        f"step cannot know; add .truncate(length) to it"
    )


def _behaviours_of(batch: Batch, name: str) -> tuple[Tensor, Column, int]:
    """Return (offsets of the rows in behaviours, the column with a row a behaviour, how many rows)."""
    column = batch[name]
    if isinstance(column, Ragged):
        offsets, inner = column.offsets[0], column.offsets[1:]
        if inner or column.weights is not None:
            levels = inner or (torch.arange(column.values.numel() + 1, device=offsets.device),)
            return offsets, Ragged(column.values, levels, column.weights), levels[0].numel() - 1
        return offsets, column.values, column.values.numel()
    if column.dim() != 2:
        raise DataError(f"feature {name!r}: a sequence needs a list of behaviours a row, got {list(column.shape)}, one value a row")
    return torch.arange(column.shape[0] + 1, device=column.device) * column.shape[1], column.reshape(-1), column.numel()


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
