"""How ranks that cannot compute it learn where all of them end, without a step ever waiting for an exchange."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from sparrow.errors import ConfigError, DataError
from sparrow.io.cutting import Tail

T = TypeVar("T")

# Batches a rank looks ahead, so that what the others need to know lies in the store before they ask.
_AHEAD = 4
# Marks of a rank that stay in the store: no rank is this many behind another that it steps with.
_KEPT = 256
# Between looks for a mark, of one who may be told to end meanwhile.
_LOOK_SECONDS = 0.02


class StoppedError(Exception):
    """Told to end while waiting for another rank."""


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

    def begin(self, rank: int, world_size: int, pause: Callable[[float], bool] | None = None) -> Exchange:
        """Begin an epoch. pause: waits for so many seconds at most, and returns whether to end; None: a wait for a rank cannot be ended."""
        self._num_begun += 1
        return Exchange(self, f"sparrow/{self.name}/{self._num_begun}", rank, world_size, pause)

    def tell_columns(self, rank: int, columns: str) -> None:
        """Say what columns the batches of a rank have, before it says that it has any."""
        self.store.set(f"sparrow/{self.name}/columns/{rank}", columns)

    def columns_of(self, rank: int) -> str | None:
        """Return what a rank told, None where it told nothing yet."""
        key = f"sparrow/{self.name}/columns/{rank}"
        return self.store.get(key).decode() if self.store.check([key]) else None


class Exchange:
    """What one epoch's ranks know of each other: how many batches each has, and whether that is all."""

    def __init__(self, agreement: Agreement, prefix: str, rank: int, world_size: int, pause: Callable[[float], bool] | None) -> None:
        self._agreement, self._prefix, self._rank, self._pause = agreement, prefix, rank, pause
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
            self._wait_for(key, seconds)
        except StoppedError:
            raise
        except Exception as error:
            raise DataError(
                f"rank {other} has said nothing about its batches for {seconds:g} s ({type(error).__name__}); it is slow or gone: "
                "look at its log, or raise Agreement(timeout_s=)"
            ) from error
        num_batches, is_all = json.loads(self._agreement.store.get(key))
        return num_batches, is_all

    def _wait_for(self, key: str, seconds: float) -> None:
        if self._pause is None:
            self._agreement.store.wait([key], timedelta(seconds=seconds))
            return
        deadline = time.monotonic() + seconds
        while not self._agreement.store.check([key]):
            if self._pause(_LOOK_SECONDS):
                raise StoppedError
            if time.monotonic() > deadline:
                raise TimeoutError

    @property
    def others(self) -> list[int]:
        return list(self._others)


def agreed(batches: Iterator[T], exchange: Exchange, tail: Tail, extra: Callable[[], T]) -> Iterator[T]:
    """Yield the batches of a rank, ended where all end: before a rank has none left (`tail="drop"`), or after all have none.

    extra: makes a batch for a rank that has none left while others have.
    """
    ahead: deque[T] = deque()
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
        if not (bool(ahead) and all(others) if tail == "drop" else bool(ahead) or any(others)):
            return
        yield ahead.popleft() if ahead else extra()
        step += 1
