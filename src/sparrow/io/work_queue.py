"""Pieces leased from a store, so that ranks that do not step together take what they can, and what a dead one had comes back."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, NamedTuple

from sparrow.errors import ConfigError
from sparrow.io.deals import Deals, Mark, Run, Task
from sparrow.io.readers import Readers


@dataclass(frozen=True, slots=True)
class WorkQueue:
    """Ranks lease pieces of files one after the other instead of being dealt rows: a slow rank takes fewer.

    store:   a `torch.distributed` store that all ranks see, such as `TCPStore`. A `FileStore` may hang where a rank is killed as it writes.
    name:    tells this dataset from others that use the same store; the same on all ranks.
    lease_s: a rank that gave no sign of life for so long, in seconds, is dead, and its leases are others'.

    A piece (or, shuffled, a buffer of them) is acknowledged when the batch after its last row is asked for. What a dead rank handed out of
    a piece it had not finished is handed out again: at least once, never lost. Ranks end when everything is acknowledged; the last batches
    may be short. They must not wait for each other at every step, as collective training does: the number of batches is each rank's own.
    Acknowledgements live in the store: a rank that starts again with the same store goes on with what is left of the epoch.
    """

    store: Any
    name: str
    lease_s: float = 60.0

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError("WorkQueue: name is empty; give one that tells this dataset from others")
        if not self.lease_s > 0:
            raise ConfigError(f"WorkQueue: lease_s is {self.lease_s!r}; expected seconds above 0")


class Unit(NamedTuple):
    """What is leased: a buffer of a deal, by its number in the deal's order."""

    deal: int
    number: int


class Leases:
    """One rank's part in an epoch of a queue: what it leased and has not acknowledged yet, and its sign of life."""

    def __init__(self, queue: WorkQueue, deals: Deals, epoch: int) -> None:
        self._queue, self._deals, self._epoch = queue, deals, epoch
        self._prefix = f"sparrow/{queue.name}/{epoch}"
        # Ranks that start again under the same number are others: their old leases must be given up.
        self._me = f"{deals.rank}.{queue.store.add(f'{self._prefix}/starts/{deals.rank}', 1)}"
        self._lock = threading.Lock()
        self._held: deque[tuple[Unit, int]] = deque()
        self._seen: dict[str, tuple[int, float]] = {}
        self._over = threading.Event()
        self._beating = threading.Thread(target=_beat, args=(queue, f"{self._prefix}/beat/{self._me}", self._over), daemon=True)
        self._beating.name = "sparrow-lease"
        self._beating.start()

    def tasks(self, readers: Readers) -> Generator[Task | Mark, None, None]:
        """Yield the tasks of what this rank leases, until all of the epoch is acknowledged; marks while others are at work."""
        sizes: list[int] = []
        for deal in range(self._deals.num_deals):
            buffers = self._deals.buffers_of(deal, self._epoch, readers)
            sizes.append(len(buffers))
            while (number := self._queue.store.add(self._key(deal, "next"), 1) - 1) < len(buffers):
                unit = Unit(deal, number)
                if not self._is_done(unit) and self._take(unit, ""):
                    yield from self._tasks_of(unit, buffers[number], readers)
        undone = dict(enumerate(sizes))
        while True:
            # What waits to fill a batch is handed out now: others may wait for its acknowledgement.
            yield Mark(0, flushed=self._acknowledgement())
            left = []
            for deal, size in list(undone.items()):
                if self._queue.store.add(self._key(deal, "acknowledged"), 0) == size:
                    del undone[deal]
                else:
                    units = (Unit(deal, number) for number in range(size))
                    left += [unit for unit in units if not self._is_done(unit) and not self._is_mine(unit)]
            if not left:
                return
            for unit in left:
                owner = self._owner(unit)
                if self._is_dead(owner) and self._take(unit, owner):
                    buffer = self._deals.buffers_of(unit.deal, self._epoch, readers)[unit.number]
                    yield from self._tasks_of(unit, buffer, readers)
            self._over.wait(min(0.5, self._queue.lease_s / 10))

    def _tasks_of(self, unit: Unit, buffer: Any, readers: Readers) -> Generator[Task, None, None]:
        with self._lock:
            self._held.append((unit, buffer.num_rows))
        yield from self._deals.whole_buffer(buffer, Run(unit.deal, unit.number, 0, None, None), readers)

    def handed_out(self, deal: int, number: int, rows: int) -> None:
        """Acknowledge what lies before row `rows` of a unit: it and all leased before it where that is its end."""
        with self._lock:
            units = [unit for unit, _ in self._held]
            if Unit(deal, number) not in units:
                return
            position = units.index(Unit(deal, number))
            done = [self._held.popleft()[0] for _ in range(position)]
            if rows >= self._held[0][1]:
                done.append(self._held.popleft()[0])
        self._acknowledge(done)

    def _acknowledgement(self) -> Callable[[], None]:
        """Return what acknowledges all leased so far, for when nothing of it waits any more: units may have lost their last rows."""
        with self._lock:
            leased = [unit for unit, _ in self._held]

        def acknowledge() -> None:
            with self._lock:
                done = [unit for unit, _ in self._held if unit in leased]
                self._held = deque(held for held in self._held if held[0] not in leased)
            self._acknowledge(done)

        return acknowledge

    def _acknowledge(self, units: list[Unit]) -> None:
        for unit in units:
            # Who was taken for dead and was not may come second.
            if self._queue.store.add(self._key(unit.deal, unit.number, "done"), 1) == 1:
                self._queue.store.add(self._key(unit.deal, "acknowledged"), 1)

    def close(self) -> None:
        """Give no more sign of life: leases that are not acknowledged go to others."""
        self._over.set()
        if threading.current_thread() is not self._beating:
            self._beating.join()

    # The store. Values are bytes; a missing key is asked for by `check`, since `get` would wait for it.

    def _key(self, deal: int, *parts: object) -> str:
        return "/".join(map(str, (self._prefix, deal, *parts)))

    def _get(self, key: str) -> str:
        return self._queue.store.get(key).decode() if self._queue.store.check([key]) else ""

    def _is_done(self, unit: Unit) -> bool:
        return bool(self._queue.store.check([self._key(unit.deal, unit.number, "done")]))

    def _owner(self, unit: Unit) -> str:
        return self._get(self._key(unit.deal, unit.number))

    def _is_mine(self, unit: Unit) -> bool:
        with self._lock:
            return any(held == unit for held, _ in self._held)

    def _take(self, unit: Unit, owner: str) -> bool:
        """Make a unit this rank's, unless another was quicker than the `owner` we saw."""
        return bool(self._queue.store.compare_set(self._key(unit.deal, unit.number), owner, self._me).decode() == self._me)

    def _is_dead(self, owner: str) -> bool:
        """Whether a rank's sign of life has not changed for a lease, by this clock. "" is one that died before it wrote its name."""
        beat = int(self._get(f"{self._prefix}/beat/{owner}") or 0)
        now = time.monotonic()
        last, since = self._seen.get(owner, (-1, now))
        self._seen[owner] = (beat, now if beat != last else since)
        return now - self._seen[owner][1] > self._queue.lease_s


def _beat(queue: WorkQueue, key: str, over: threading.Event) -> None:
    while True:
        try:
            queue.store.add(key, 1)
        except Exception:
            return  # the store is gone, and with it everybody who could read this: the next lease says so
        if over.wait(queue.lease_s / 5):
            return


def acknowledging(batches: Any, leases: Leases) -> Generator[Any, None, None]:
    """Yield batches with their positions; acknowledge each once the next is asked for."""
    for batch, after in batches:
        yield batch, after
        del batch
        leases.handed_out(after.deal, after.dealt, after.taken)
