"""Batches that are made on a device, of pieces that are there already; what cannot be goes from the host by one copy a batch."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from sparrow.io.batches import Taken
from sparrow.io.grouping import Requests, SharedRows, Sharing, is_alike, rows_of, share_rows
from sparrow.io.request_groups import Opening, open_groups
from sparrow.io.sending import Sender
from sparrow.io.sent import Sent, join
from sparrow.ops.devices import send
from sparrow.ops.take_rows import take_rows
from sparrow.types import SAMPLE_GROUP, Batch, Column, Group


@final
class DeviceBatches:
    """Makes batches on a device, the same as on the CPU.

    columns: the names that are read. sharing: groups of them, or None. is_shuffled: whether rows come in another order than they lie.

    On the device: columns that lie in blocks, those of groups included. On the host, and sent with the batch: columns that lie by
    themselves, groups whose rows must be compared where that was not done piece by piece, and everything in a batch of pieces that are not
    laid out alike.
    """

    def __init__(self, device: torch.device, columns: Sequence[str], sharing: Sharing | None, is_shuffled: bool) -> None:
        self._device, self._sharing = device, sharing
        self._shared: Sequence[SharedRows] = () if sharing is None or isinstance(sharing, Requests) else sharing
        moved = {name for shared in self._shared for name in shared.columns}
        self._own = [name for name in columns if name not in moved]
        # The sets of a piece that are taken apart: what samples have, then each group that may be taken on the device.
        self._taken_there = [shared for shared in self._shared if not (shared.check and is_shuffled)]
        sets = [self._own, *(shared.columns for shared in self._taken_there)]
        compared = [shared for shared in self._taken_there if shared.check]
        self.sender = Sender(device, sets, sharing if isinstance(sharing, Requests) else compared)

    def batch(self, taken: Taken) -> Batch:
        """Return a batch on the device; the host waits for nothing. Raises what `share_rows` raises."""
        openings = _openings(taken)
        if not _is_there(taken) or (isinstance(self._sharing, Requests) and openings is None):
            batch = taken.batch()
            return self._sent(batch if self._sharing is None else share_rows(batch, self._sharing))
        selection = _Selection(taken, self._device)
        # By the name of the group: what is on the device, and what the host has for it.
        there = {SAMPLE_GROUP: selection.columns(0)}
        beside = taken.columns([name for name in self._own if name not in there[SAMPLE_GROUP]])
        here = {SAMPLE_GROUP: Group(beside, taken.num_rows)}
        for shared in self._shared:
            there[shared.name], here[shared.name] = self._group(shared, taken, selection)
        sent = self._sent(Batch(here, taken.origin, taken.num_padding))
        order = {SAMPLE_GROUP: self._own, **{shared.name: shared.columns for shared in self._shared}}
        groups = {}
        for name, group in sent.groups.items():
            both = {**there[name], **group.columns}
            groups[name] = Group({column: both[column] for column in order[name]}, group.num_rows, group.sample_to_row)
        if isinstance(self._sharing, Requests) and openings is not None:
            opening = Opening.joined(openings, taken.of_rows, taken.num_padding)
            return open_groups(opening, groups[SAMPLE_GROUP].columns, self._sharing.names, taken.origin)
        return Batch(groups, sent.origin, sent.num_padding)

    def _group(self, shared: SharedRows, taken: Taken, selection: _Selection) -> tuple[dict[str, Column], Group]:
        """Return what of a group is joined on the device, and on the host."""
        if shared.check and not _are_alike(taken, shared):
            flat = Batch.of(taken.columns(list({shared.key: None, **dict.fromkeys(shared.columns)})), origin=taken.origin)
            return {}, share_rows(flat, [shared]).groups[shared.name]
        first, sample_to_row = rows_of(taken.columns([shared.key])[shared.key], shared.by)
        there = selection.some(1 + self._taken_there.index(shared), first)
        beside = taken.columns([name for name in shared.columns if name not in there])
        return there, Group({name: take_rows(column, first) for name, column in beside.items()}, first.numel(), sample_to_row)

    def _sent(self, batch: Batch) -> Batch:
        return batch.packed(pin_memory=self._device.type == "cuda").to(self._device, non_blocking=True)


def _is_there(taken: Taken) -> bool:
    return taken.empty is None and taken.rows.sent is not None


def _are_alike(taken: Taken, shared: SharedRows) -> bool:
    """Return whether rows of one key are known to have the same columns: inside pieces they were compared, where two meet two rows are."""
    if taken.index is not None or not all(piece.sent is not None and shared.name in piece.sent.alike for piece, _, _ in taken.runs):
        return False
    if shared.by == "key" and len(taken.runs) > 1:
        return False
    meeting = [((one, end - 1, end), (two, begin, begin + 1)) for (one, _, end), (two, begin, _) in itertools.pairwise(taken.runs)]
    names = [shared.key, *shared.columns]
    return all(is_alike(replace(taken, runs=pair).columns(names), shared) for pair in meeting)


def _openings(taken: Taken) -> list[Opening] | None:
    """Return how the pieces' requests are opened; None where some do not fit together."""
    found = [piece.sent.opening for piece in taken.rows if piece.sent is not None and piece.sent.opening is not None]
    return found if len(found) == len(taken.rows) else None


class _Selection:
    """The rows of a batch among pieces that are on the device."""

    def __init__(self, taken: Taken, device: torch.device) -> None:
        assert taken.rows.sent is not None
        self._taken, self._device, self._sent = taken, device, taken.rows.sent
        for piece in self._sent.pieces:
            piece.arrive()
        self._index_there = None if taken.index is None else send(taken.index, device)

    def columns(self, number: int) -> dict[str, Column]:
        """Return the columns of set `number`."""
        if self._taken.index is None:
            return join([(_of(piece.sent), begin, end) for piece, begin, end in self._taken.runs], number)
        assert self._index_there is not None
        return self._sent.take(number, self._taken.index, self._index_there)

    def some(self, number: int, samples: Tensor) -> dict[str, Column]:
        """Return the columns of set `number`, of some samples alone (int64, on the host)."""
        index = self._taken.numbers()[samples]
        return self._sent.take(number, index, send(index, self._device))


def _of(sent: Sent | None) -> Sent:
    assert sent is not None
    return sent
