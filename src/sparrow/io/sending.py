"""Pieces go to a device ahead of time, each by one copy out of page-locked memory, which nobody waits for."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from typing import final

import torch
from torch import Tensor

from sparrow.errors import ConfigError, DataError
from sparrow.io.grouping import Requests, Sharing, is_alike, opening_of
from sparrow.io.pieces import Piece
from sparrow.io.request_groups import Opening
from sparrow.io.sent import Sent
from sparrow.io.unpack import Blocks, Layout
from sparrow.types import Batch

# Where columns begin in a buffer, so that any dtype may: bytes.
_ALIGNMENT = 64


@final
class Sender:
    """Sends pieces to a device, on a stream of its own. Reader threads share it.

    sets: names of columns. Those of one set are taken together; those of none stay on the host.
    sharing: what is looked at here, once a piece, so that a batch need not: whether requests can be opened, and rows of one key are alike.
    """

    def __init__(self, device: torch.device, sets: Sequence[Collection[str]], sharing: Sharing = ()) -> None:
        self._device, self._sets, self._sharing = device, tuple(frozenset(names) for names in sets), sharing
        # torch has 32 streams of a priority and hands them out in turn: of another than a graph's, or a copy might be captured.
        self._stream = torch.cuda.Stream(device, priority=-1) if device.type == "cuda" else None

    def send(self, piece: Piece) -> None:
        """Put the columns of a piece that lie in blocks on the device as well: `piece.sent`. The host's remain."""
        if piece.blocks is None:
            return
        chosen = [_choose(piece.blocks, names) for names in self._sets]
        tensors = [tensor for one in chosen for tensor in (*one.dense, one.offsets, *one.values)]
        begins = list(itertools.accumulate((-(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT for tensor in tensors), initial=0))
        # torch keeps page-locked memory, and hands it out again when the copy out of it is done.
        held = torch.empty(begins[-1], dtype=torch.uint8, pin_memory=self._stream is not None)
        for view, tensor in zip(_views(held, begins, tensors), tensors, strict=True):
            view.copy_(tensor)
        copied = None
        with nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
            buffer = held.to(self._device, non_blocking=True)
            if self._stream is not None:
                copied = torch.cuda.Event()
                copied.record(self._stream)
        there = iter(_views(buffer, begins, tensors))
        blocks = tuple(
            Blocks(one.layout, tuple(next(there) for _ in one.dense), next(there), [next(there) for _ in one.values], {}) for one in chosen
        )
        offsets = tuple(one.offsets for one in chosen)
        piece.sent = Sent(blocks, offsets, buffer, copied, _opening_of(piece, self._sharing), _alike(piece, self._sharing))


def _opening_of(piece: Piece, sharing: Sharing) -> Opening | None:
    if not isinstance(sharing, Requests):
        return None
    try:
        return opening_of(Batch.of(piece.columns), sharing)
    except (ConfigError, DataError):
        # The batch that has these rows says what is wrong with which.
        return None


def _alike(piece: Piece, sharing: Sharing) -> frozenset[str]:
    if isinstance(sharing, Requests):
        return frozenset()
    return frozenset(shared.name for shared in sharing if is_alike(piece.columns, shared))


def _views(buffer: Tensor, begins: Sequence[int], tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the places of tensors in a buffer, of their dtypes and shapes."""
    return [
        buffer[begin : begin + tensor.nbytes].view(tensor.dtype).view(tensor.shape) for begin, tensor in zip(begins, tensors, strict=False)
    ]


def _choose(blocks: Blocks, names: frozenset[str]) -> Blocks:
    """Return some columns of blocks, without those that lie by themselves."""
    layout, dense, lists = _layout_of(blocks.layout, names)
    matrices = [
        matrix if len(places) == len(matrix) else matrix[list(places)] for matrix, places in zip(blocks.dense, dense, strict=True) if places
    ]
    offsets = blocks.offsets if len(lists) == len(blocks.values) else blocks.offsets[list(lists)]
    return Blocks(layout, tuple(matrices), offsets, [blocks.values[place] for place in lists], {})


@functools.lru_cache(maxsize=64)
def _layout_of(layout: Layout, names: frozenset[str]) -> tuple[Layout, tuple[tuple[int, ...], ...], tuple[int, ...]]:
    """Return how some columns are laid out without the others, and their places in each matrix and among the lists."""
    dense = tuple(tuple(place for place, name in enumerate(matrix) if name in names) for matrix in layout.dense)
    lists = tuple(place for place, name in enumerate(layout.lists) if name in names)
    groups, begin = [], 0
    for first, last in layout.groups:
        end = begin + sum(first <= place < last for place in lists)
        if begin < end:
            groups.append((begin, end))
        begin = end
    matrices = tuple(tuple(matrix[place] for place in places) for matrix, places in zip(layout.dense, dense, strict=True) if places)
    of_lists = tuple(layout.lists[place] for place in lists)
    known = {*itertools.chain(*matrices), *of_lists}
    return Layout(matrices, of_lists, tuple(groups), (), tuple(name for name in layout.order if name in known)), dense, lists
