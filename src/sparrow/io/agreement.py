"""How ranks that cannot compute it learn where all of them end, without a step ever waiting for an exchange."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sparrow.errors import ConfigError, DataError
from sparrow.io.batches import Taken
from sparrow.io.chunks import Handed
from sparrow.io.cutting import Cutting, extra_batch

# Batches a rank looks ahead, so that what the others need to know lies in the store before they ask.
_AHEAD = 4
# Marks of a rank that stay in the store: no rank is this many behind another that it steps with.
_KEPT = 256


@dataclass(slots=True)
class Agreement:
    """A `torch.distributed` store by which the ranks of one dataset tell each other how many batches they have.

    store:     a `TCPStore`, `FileStore` or the like, that all ranks see.
    name:      tells this dataset from others that use the same store; the same on all ranks, another for another dataset.
    timeout_s: how long to wait for a rank that says nothing, in seconds.

    All ranks must begin an epoch equally often. A step reads what others wrote some steps before; it waits only for a rank that is behind.
    """

    store: Any
    name: str
    timeout_s: float = 300.0
    _num_begun: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError("Agreement: name is empty; give one that tells this dataset from others")

    def begin(self, rank: int, world_size: int) -> _Exchange:
        self._num_begun += 1
        return _Exchange(self, f"sparrow/{self.name}/{self._num_begun}", rank, world_size)


class _Exchange:
    """What one epoch's ranks know of each other: how many batches each has, and whether that is all."""

    def __init__(self, agreement: Agreement, prefix: str, rank: int, world_size: int) -> None:
        self._agreement, self._prefix, self._rank = agreement, prefix, rank
        self._others = {other: (0, False) for other in range(world_size) if other != rank}
        self._said = (-1, False)

    def say(self, num_batches: int, is_all: bool) -> None:
        """Tell that this rank has so many batches at least."""
        # In strides, so that the store is not asked at every step; a rank that waits for a mark knows where marks lie.
        mark = (num_batches, True) if is_all else (num_batches // _AHEAD * _AHEAD, False)
        if mark != self._said and (mark[0] or is_all):
            first, self._said = max(self._said[0], 0) // _AHEAD + 1, mark
            for stride in range(first, mark[0] // _AHEAD + 1):
                self._set(stride, (stride * _AHEAD, False))
                if stride > _KEPT:
                    self._agreement.store.delete_key(self._key(self._rank, stride - _KEPT))
            if is_all:
                self._set(mark[0] // _AHEAD + 1, mark)

    def _set(self, stride: int, mark: tuple[int, bool]) -> None:
        self._agreement.store.set(self._key(self._rank, stride), json.dumps(mark))

    def _key(self, rank: int, stride: int) -> str:
        return f"{self._prefix}/{rank}/{stride}"

    def has(self, other: int, step: int) -> bool:
        """Return whether another rank has a batch at `step`. Waits until that is known."""
        num_batches, is_all = self._others[other]
        while num_batches <= step and not is_all:
            # Its next mark says either that it has a stride more, or that this is all.
            num_batches, is_all = self._others[other] = self._get(other, num_batches // _AHEAD + 1)
        return num_batches > step

    def _get(self, other: int, stride: int) -> tuple[int, bool]:
        key, seconds = self._key(other, stride), self._agreement.timeout_s
        try:
            self._agreement.store.wait([key], timedelta(seconds=seconds))
        except Exception as error:
            raise DataError(
                f"rank {other} has said nothing about its batches for {seconds:g} s ({type(error).__name__}); it is slow or gone: "
                "look at its log, or raise Agreement(timeout_s=)"
            ) from error
        num_batches, is_all = json.loads(self._agreement.store.get(key))
        return num_batches, is_all

    @property
    def others(self) -> list[int]:
        return list(self._others)


def agreed(batches: Iterator[tuple[Taken, Handed]], agreement: Agreement, how: Cutting, end: Handed) -> Iterator[tuple[Taken, Handed]]:
    """Yield the batches of a rank, ended where all end: before a rank has none left (`tail="drop"`), or after all have none."""
    exchange = agreement.begin(how.rank, how.world_size)
    ahead: deque[tuple[Taken, Handed]] = deque()
    is_over, step = False, 0
    while True:
        while len(ahead) < 2 * _AHEAD and not is_over:
            following = next(batches, None)
            is_over = following is None
            if following is not None:
                ahead.append(following)
        exchange.say(step + len(ahead), is_over)
        # Asked at every step, so that no mark is needed long after it was written.
        others = [exchange.has(other, step) for other in exchange.others]
        if not (bool(ahead) and all(others) if how.tail == "drop" else bool(ahead) or any(others)):
            return
        yield ahead.popleft() if ahead else (extra_batch(how), end)
        step += 1
