"""Which units of a folder are consumed, in bounded space although their number is not.

A look at the folder that begins at time s sees all that landed up to s less the clock's error, its `until`. What it finds is read in the
order of names before the next look. So everything that landed up to the `until` of the look before is consumed; of what landed between
the two, everything up to one name, `low`; and of what landed later, as young as the look itself, the few names in `done`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sparrow.errors import CheckpointError
from sparrow.io.streams.landing import Unit

STATE_VERSION = 1
# How far the file system's clock may be off this machine's.
CLOCK_SLACK_NS = 10 * 10**9
# Of JSON for the names of young units. Those beyond wait for a later look, when they are no longer young: the state cannot overflow.
YOUNG_BYTES = 60_000

Key = tuple[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """since_ns: what landed up to here was consumed before. until_ns: what landed up to here has been seen."""

    since_ns: int
    until_ns: int


class PartRead(NamedTuple):
    """The unit that is consumed in part: the next row is `row` of `file`. digest: of the unit, as `Unit.digest`."""

    key: Key
    digest: str
    file: str
    row: int


@dataclass(slots=True)
class Ledger:
    """What is consumed: units that landed up to `look.since_ns`; those up to `look.until_ns` whose key is at most `low`; those of `done`.

    done: key -> when it landed.
    """

    look: Look = Look(0, 0)
    low: Key | None = None
    done: dict[Key, int] = field(default_factory=dict)
    part: PartRead | None = None

    def begin(self, look: Look) -> None:
        """Note that a new look's units follow: those of the look before are consumed."""
        self.look, self.low = look, None
        self.done = {key: landed for key, landed in self.done.items() if landed > look.since_ns}

    def finish(self, unit: Unit) -> None:
        """Note that a unit is consumed, the next in order."""
        if unit.landed_ns > self.look.until_ns:
            self.done[unit.key] = unit.landed_ns
        else:
            self.low = unit.key
        if self.part is not None and self.part.key == unit.key:
            self.part = None

    def give_up_part(self) -> None:
        """Note that the rest of the unit consumed in part will not be read."""
        if self.part is not None:
            self.done[self.part.key] = self.look.until_ns + 1
            self.part = None

    def is_consumed(self, unit: Unit) -> bool:
        """Return whether a unit was consumed, to the best of what is known without having watched."""
        if unit.key in self.done or unit.landed_ns <= self.look.since_ns:
            return True
        return unit.landed_ns <= self.look.until_ns and self.low is not None and unit.key <= self.low

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, under 100 kB."""
        by_folder: dict[str, dict[str, int]] = {}
        for (folder, name), landed in sorted(self.done.items()):
            by_folder.setdefault(folder, {})[name] = landed
        return {
            "since_ns": self.look.since_ns,
            "until_ns": self.look.until_ns,
            "low": None if self.low is None else list(self.low),
            "done": by_folder,
            "part": None if self.part is None else [*self.part.key, self.part.digest, self.part.file, self.part.row],
        }

    @staticmethod
    def of_json(state: Mapping[str, Any]) -> Ledger:
        """Return a ledger that `to_json` made. Raises `CheckpointError` for anything else."""
        since_ns: Any = state.get("since_ns")
        until_ns: Any = state.get("until_ns")
        low, by_folder, part = state.get("low"), state.get("done"), state.get("part")
        if not _are([since_ns, until_ns], int, int) or not 0 <= since_ns <= until_ns:
            raise unknown(f"has since_ns={since_ns!r}, until_ns={until_ns!r}, expected whole numbers, the second no less than the first")
        if low is not None and not _are(low, str, str):
            raise unknown(f"has low={low!r}, expected [folder, name] or null")
        if not isinstance(by_folder, dict) or not all(isinstance(names, dict) for names in by_folder.values()):
            raise unknown("has no names by folder")
        done = {(folder, name): landed for folder, names in by_folder.items() for name, landed in names.items()}
        if not all(_are([*key, landed], str, str, int) for key, landed in done.items()):
            raise unknown("has something else than times of names by folder")
        if part is not None and (not _are(part, str, str, str, str, int) or part[4] < 0):
            raise unknown(f"has part={part!r}, expected [folder, name, digest, file, row] or null")
        part_read = None if part is None else PartRead((part[0], part[1]), part[2], part[3], part[4])
        return Ledger(Look(since_ns, until_ns), None if low is None else (low[0], low[1]), done, part_read)


def unknown(what: str) -> CheckpointError:
    return CheckpointError(f"the stream's state {what}; load what WatchedFolder.state_dict returned")


def _are(values: Any, *kinds: type) -> bool:
    return (
        isinstance(values, list) and len(values) == len(kinds) and all(type(one) is kind for one, kind in zip(values, kinds, strict=True))
    )


@dataclass(frozen=True, slots=True)
class Found:
    """What a look found to be read: `units` in order, and `doubtful` ones. look: to begin before them, None where they end the one before.
    num_postponed: young units that wait for a later look, there being many."""

    look: Look | None
    units: list[Unit]
    doubtful: list[Unit]
    num_postponed: int = 0


class Backlog:
    """What is still to be read. It knows what it saw, so that a process that watches is never in doubt, whatever lands when.

    Memory: the names of all units that are there, or were since it was made.
    """

    def __init__(self, ledger: Ledger, late_seconds: float) -> None:
        self._ledger = Ledger(ledger.look, ledger.low, dict(ledger.done), ledger.part)
        self._late_ns = late_seconds * 1e9
        self._known: set[Key] = set(ledger.done)
        self._young = dict(ledger.done)
        self._until_ns = ledger.look.until_ns
        self._is_first = True

    def first(self, units: Iterable[Unit]) -> Found:
        """Return the units that end the ledger's look, its part-read one first; call it once, with what `find_units` returns now.

        Doubtful are units that landed since by the file system's clock, but were written more than `late_seconds` before: they may be new,
        or consumed ones whose permissions or links were changed since.
        """
        ledger, rest, doubtful = self._ledger, [], []
        part = None if ledger.part is None else ledger.part.key
        first: list[Unit] = []
        for unit in units:
            if unit.key == part:
                first.append(unit)
            elif ledger.is_consumed(unit):
                pass
            elif unit.landed_ns <= ledger.look.until_ns:
                rest.append(unit)
            elif ledger.look.until_ns and unit.landed_ns - unit.written_ns > self._late_ns:
                doubtful.append(unit)
            else:
                continue  # the next look's
            self._known.add(unit.key)
        for unit in first:
            self._note_young(unit, ledger.look)
        return Found(None, first + rest, doubtful)

    def next(self, units: Iterable[Unit], began_ns: int) -> Found:
        """Return the units that were not there at any look before. began_ns: when the look that found `units` began."""
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
                if num_bytes > YOUNG_BYTES:
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
