"""What is still to be read of a folder that is looked at again and again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from sparrow.io.streams.landing import Unit
from sparrow.io.streams.ledger import Key, Ledger, Look

# How far the file system's clock may be off this machine's.
CLOCK_SLACK_NS = 10 * 10**9
# Of JSON for the names of young files, of all ranks together. Those beyond wait for a later look, when they are no longer young: the state
# cannot overflow, nor that of one rank that goes on for many.
YOUNG_BYTES = 60_000


@dataclass(frozen=True, slots=True)
class Found:
    """What a look found to be read: `units` in order, and `doubtful` ones. look: to begin before them, None where they end the one before.
    num_postponed: young files that wait for a later look, there being many."""

    look: Look | None
    units: list[Unit]
    doubtful: list[Unit]
    num_postponed: int = 0


@final
class Backlog:
    """What is still to be read. It knows what it saw, so that a process that watches is never in doubt, whatever lands when.

    Memory: the names of all files of this rank that are there, or were since it was made.
    """

    def __init__(self, ledger: Ledger, late_seconds: float, world_size: int = 1) -> None:
        self._ledger = ledger.copy()
        self._late_ns = late_seconds * 1e9
        self._young_bytes = YOUNG_BYTES // world_size
        self._young = self._ledger.names
        self._known: set[Key] = set(self._young)
        self._until_ns = ledger.own.look.until_ns

    def first(self, units: Iterable[Unit]) -> Found:
        """Return the files that end the ledger's look, those read in part first; call it once, with what is there now.

        Doubtful are files that landed since by the file system's clock, but were written more than `late_seconds` before: they may be new,
        or consumed ones whose permissions or links were changed since.
        """
        ledger = self._ledger
        begun: list[Unit] = []
        rest: list[Unit] = []
        doubtful: list[Unit] = []
        for unit in units:
            if unit.key in ledger.parts:
                begun.append(unit)
                self._note_young(unit, ledger.own.look)
            elif ledger.is_consumed(unit):
                pass
            elif unit.landed_ns <= ledger.own.look.until_ns:
                rest.append(unit)
            elif self._is_doubtful(unit):
                doubtful.append(unit)
            else:
                continue  # the next look's
            self._known.add(unit.key)
        return Found(None, begun + rest, doubtful)

    def _is_doubtful(self, unit: Unit) -> bool:
        until_ns = self._ledger.seen_until_ns(unit.key)
        return bool(until_ns) and unit.landed_ns > until_ns and unit.landed_ns - unit.written_ns > self._late_ns

    def next(self, units: Iterable[Unit], began_ns: int) -> Found:
        """Return the files that were not there at any look before. began_ns: when the look that found `units` began."""
        look = Look(self._until_ns, max(self._until_ns, began_ns - CLOCK_SLACK_NS))
        self._until_ns = look.until_ns
        self._young = {key: landed for key, landed in self._young.items() if landed > look.since_ns}
        num_bytes = sum(map(_bytes_of, self._young))
        fresh: list[Unit] = []
        num_postponed = 0
        for unit in units:
            if unit.key in self._known:
                continue
            if unit.landed_ns > look.until_ns:
                num_bytes += _bytes_of(unit.key)
                if num_bytes > self._young_bytes:
                    num_postponed += 1
                    continue
            self._known.add(unit.key)
            self._note_young(unit, look)
            fresh.append(unit)
        return Found(look, fresh, [], num_postponed)

    def _note_young(self, unit: Unit, look: Look) -> None:
        if unit.landed_ns > look.until_ns:
            self._young[unit.key] = unit.landed_ns


def _bytes_of(key: Key) -> int:
    # An upper bound: as if every name brought its folder, and 20 digits of time.
    return len(json.dumps(key)) + 30
