"""Pieces that lie on a device: rows of them are joined, rebased and shuffled there, and the host knows every size without asking."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparrow.io.request_groups import Opening
from sparrow.io.unpack import Blocks, columns_of_matrices
from sparrow.ops.pack_lists.op import pack_lists
from sparrow.types import Column, Ragged


@dataclass(frozen=True, slots=True, eq=False)
class Sent:
    """Columns of a piece on a device, in sets that are taken apart.

    blocks:  of each set, without the columns that lie by themselves.
    offsets: of each set, int64 [lists, rows + 1], the host's: all sizes follow from it.
    buffer:  what all tensors of `blocks` are views of.
    copied:  what happens on the device when the copy is done; None where it is done.
    opening: how lists of requests become rows of groups; None where they do not fit together, or rows are no requests.
    alike:   names of the groups of which rows of one key were compared, and do not differ inside this piece.
    """

    blocks: tuple[Blocks, ...]
    offsets: tuple[Tensor, ...]
    buffer: Tensor
    copied: torch.cuda.Event | None
    opening: Opening | None = None
    alike: frozenset[str] = frozenset()

    def arrive(self) -> None:
        """Make the current stream, not the host, wait for the copy, and keep the memory until that stream has read it."""
        if self.copied is not None:
            stream = torch.cuda.current_stream(self.buffer.device)
            stream.wait_event(self.copied)
            self.buffer.record_stream(stream)


class SentRows:
    """Pieces on a device whose rows are numbered through. What has to be joined before rows can be taken by number is joined once."""

    def __init__(self, pieces: Sequence[Sent]) -> None:
        self.pieces = pieces
        self._dense: dict[int, list[Tensor]] = {}
        self._lengths: dict[int, Tensor] = {}

    def take(self, number: int, index: Tensor, index_there: Tensor) -> dict[str, Column]:
        """Return rows `index` (int64 [rows], in any order, also repeated) of set `number`. index_there: the same, on the device."""
        layout = self.pieces[0].blocks[number].layout
        found = columns_of_matrices(layout, [matrix.index_select(1, index_there) for matrix in self._dense_of(number)])
        if layout.lists:
            sizes = self._lengths_of(number).index_select(0, index).sum(0)
            found.update(_packed([one.blocks[number] for one in self.pieces], index_there, sizes))
        return {name: found[name] for name in layout.order}

    def _dense_of(self, number: int) -> list[Tensor]:
        if number not in self._dense:
            parts = [one.blocks[number].dense for one in self.pieces]
            self._dense[number] = [_joined(list(matrices)) for matrices in zip(*parts, strict=True)]
        return self._dense[number]

    def _lengths_of(self, number: int) -> Tensor:
        """Return the lengths of all lists, int64 [rows, lists], so that those of a row lie together."""
        if number not in self._lengths:
            self._lengths[number] = torch.cat([one.offsets[number].diff().t() for one in self.pieces]).contiguous()
        return self._lengths[number]


def join(parts: Sequence[tuple[Sent, int, int]], number: int) -> dict[str, Column]:
    """Return the rows begin..end of set `number` of pieces, one after the other. A run inside one piece shares its memory."""
    blocks = [one.blocks[number] for one, _, _ in parts]
    layout = blocks[0].layout
    cut = [[matrix[:, begin:end] for matrix in of.dense] for of, (_, begin, end) in zip(blocks, parts, strict=True)]
    found = columns_of_matrices(layout, [_joined(list(matrices)) for matrices in zip(*cut, strict=True)])
    if layout.lists and len(parts) == 1:
        found.update(_cut(blocks[0], *parts[0], number))
    elif layout.lists:
        sizes = torch.stack([one.offsets[number][:, end] - one.offsets[number][:, begin] for one, begin, end in parts]).sum(0)
        rows, first = [], 0
        for one, begin, end in parts:
            rows.append((first + begin, first + end))
            first += one.offsets[number].shape[1] - 1
        found.update(_packed(blocks, torch.tensor(rows), sizes))
    return {name: found[name] for name in layout.order}


def _joined(matrices: list[Tensor]) -> Tensor:
    return matrices[0] if len(matrices) == 1 else torch.cat(matrices, 1)


def _cut(blocks: Blocks, piece: Sent, begin: int, end: int, number: int) -> Iterator[tuple[str, Column]]:
    """Yield the lists of rows of one piece, whose values they share; one operation rebases all offsets."""
    bounds = piece.offsets[number][:, [begin, end]].tolist()
    here = blocks.offsets[:, begin : end + 1]
    for name, of, (first, last), offsets in zip(blocks.layout.lists, blocks.values, bounds, (here - here[:, :1]).unbind(), strict=True):
        yield name, Ragged(of[first:last], (offsets,))


def _packed(blocks: Sequence[Blocks], rows: Tensor, sizes: Tensor) -> Iterator[tuple[str, Column]]:
    """Yield the lists of rows (int64 [R], on the device), or runs of rows ([R, 2], on the host), those of one dtype in one tensor."""
    layout = blocks[0].layout
    for begin, end in layout.groups:
        values = [one for block in blocks for one in block.values[begin:end]]
        offsets, flat, _ = pack_lists([block.offsets[begin:end] for block in blocks], values, rows, sizes[begin:end])
        of_columns = flat.split_with_sizes(sizes[begin:end].tolist())
        for name, of, bounds in zip(layout.lists[begin:end], of_columns, offsets.unbind(), strict=True):
            yield name, Ragged(of, (bounds,))
