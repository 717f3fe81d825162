"""Which files of a folder are consumed, in bounded space although their number is not, whoever consumed them.

A look at the folder that begins at time s sees all that landed up to s less the clock's error, its `until`. What it finds is read in the
order of names before the next look. So everything that landed up to the `until` of the look before is consumed; of what landed between
the two, everything up to one name, `low`; and of what landed later, as young as the look itself, the few names in `done`.

Each file is one rank's, by a hash of its name. After a change of the number of ranks, what those of before had consumed are claims, each of
the files that were one rank's; looks that follow find what no claim covers, and make the claims superfluous one after the other.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sparrow.errors import CheckpointError
from sparrow.io.streams.landing import Unit

Key = tuple[str, str]


def owner(key: Key, world_size: int) -> int:
    """Return the rank that reads a file: a function of its folder and name."""
    path = "/".join(key).encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(path, digest_size=8).digest(), "little") % world_size


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """since_ns: what landed up to here was consumed before. until_ns: what landed up to here has been seen."""

    since_ns: int
    until_ns: int


class PartRead(NamedTuple):
    """A file that is consumed in part: `row` is the next. num_bytes: its size."""

    key: Key
    num_bytes: int
    row: int


@dataclass(slots=True)
class Progress:
    """What a reader consumed: files that landed up to `look.since_ns`; those up to `look.until_ns` whose key is at most `low`; those of
    `done`, key -> when it landed."""

    look: Look = Look(0, 0)
    low: Key | None = None
    done: dict[Key, int] = field(default_factory=dict)

    def covers(self, unit: Unit) -> bool:
        """Return whether a file was consumed, to the best of what is known without having watched."""
        if unit.key in self.done or unit.landed_ns <= self.look.since_ns:
            return True
        return unit.landed_ns <= self.look.until_ns and self.low is not None and unit.key <= self.low

    def copy(self) -> Progress:
        return Progress(self.look, self.low, dict(self.done))

    def forget(self, since_ns: int) -> None:
        """Drop the names of files that landed up to `since_ns`."""
        self.done = {key: landed for key, landed in self.done.items() if landed > since_ns}

    def to_json(self) -> dict[str, Any]:
        by_folder: dict[str, dict[str, int]] = {}
        for (folder, name), landed in sorted(self.done.items()):
            by_folder.setdefault(folder, {})[name] = landed
        low = None if self.low is None else list(self.low)
        return {"since_ns": self.look.since_ns, "until_ns": self.look.until_ns, "low": low, "done": by_folder}

    @staticmethod
    def of_json(state: Mapping[str, Any]) -> Progress:
        """Return what `to_json` was made of. Raises `CheckpointError` for anything else."""
        since_ns: Any = state.get("since_ns")
        until_ns: Any = state.get("until_ns")
        low, by_folder = state.get("low"), state.get("done")
        if not are([since_ns, until_ns], int, int) or not 0 <= since_ns <= until_ns:
            raise unknown(f"has since_ns={since_ns!r}, until_ns={until_ns!r}, expected whole numbers, the second no less than the first")
        if low is not None and not are(low, str, str):
            raise unknown(f"has low={low!r}, expected [folder, name] or null")
        if not isinstance(by_folder, dict) or not all(isinstance(names, dict) for names in by_folder.values()):
            raise unknown("has no names by folder")
        done = {(folder, name): landed for folder, names in by_folder.items() for name, landed in names.items()}
        if not all(are([*key, landed], str, str, int) for key, landed in done.items()):
            raise unknown("has something else than times of names by folder")
        return Progress(Look(since_ns, until_ns), None if low is None else (low[0], low[1]), done)


@dataclass(frozen=True, slots=True)
class Claim:
    """What rank `rank` of `world_size` consumed of the files that were its."""

    rank: int
    world_size: int
    progress: Progress

    def owns(self, key: Key) -> bool:
        return owner(key, self.world_size) == self.rank

    def covers(self, unit: Unit) -> bool:
        return self.owns(unit.key) and self.progress.covers(unit)

    def meets(self, rank: int, world_size: int) -> bool:
        """Whether a file can be this rank's and that of `rank` of `world_size`."""
        return (self.rank - rank) % math.gcd(self.world_size, world_size) == 0


@dataclass(slots=True)
class Ledger:
    """What is consumed of the files of one rank: by it (`own`), by ranks of before (`claims`), and in part (`parts`, by key)."""

    own: Progress = field(default_factory=Progress)
    parts: dict[Key, PartRead] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()

    def copy(self) -> Ledger:
        claims = tuple(Claim(claim.rank, claim.world_size, claim.progress.copy()) for claim in self.claims)
        return Ledger(self.own.copy(), dict(self.parts), claims)

    def begin(self, look: Look) -> None:
        """Note that a new look's files follow: those of the look before are consumed."""
        self.own.look, self.own.low = look, None
        self.own.forget(look.since_ns)
        for claim in self.claims:
            claim.progress.forget(look.since_ns)
        self.claims = tuple(claim for claim in self.claims if claim.progress.done or claim.progress.look.until_ns > look.since_ns)

    def read(self, unit: Unit, row: int) -> None:
        """Note that `row` of a file is the next."""
        self.parts[unit.key] = PartRead(unit.key, unit.identity.num_bytes, row)

    def finish(self, unit: Unit) -> None:
        """Note that a file is consumed, the next in order."""
        if unit.landed_ns > self.own.look.until_ns:
            self.own.done[unit.key] = unit.landed_ns
        else:
            self.own.low = unit.key
        self.parts.pop(unit.key, None)

    def give_up(self, part: PartRead) -> None:
        """Note that the rest of a file consumed in part will not be read."""
        self.own.done[part.key] = self.own.look.until_ns + 1
        self.parts.pop(part.key, None)

    def is_consumed(self, unit: Unit) -> bool:
        return self.own.covers(unit) or any(claim.covers(unit) for claim in self.claims)

    def seen_until_ns(self, key: Key) -> int:
        """Return up to when what landed under such a name has been seen; 0 where nobody has looked."""
        return max([self.own.look.until_ns, *(claim.progress.look.until_ns for claim in self.claims if claim.owns(key))])

    @property
    def names(self) -> dict[Key, int]:
        """The consumed files that are kept by name -> when they landed."""
        return {key: landed for one in (self.own, *(claim.progress for claim in self.claims)) for key, landed in one.done.items()}


def merge(ledgers: Mapping[int, Ledger], of_world: int, rank: int, world_size: int) -> Ledger:
    """Return the ledger with which `rank` of `world_size` goes on, those of all ranks of a run with `of_world` being given."""
    claims: dict[tuple[Any, ...], Claim] = {}
    parts: dict[Key, PartRead] = {}
    for old, ledger in ledgers.items():
        parts.update({key: part for key, part in ledger.parts.items() if owner(key, world_size) == rank})
        for claim in (*ledger.claims, Claim(old, of_world, ledger.own)):
            if claim.meets(rank, world_size):
                progress = claim.progress
                # Each rank keeps, of what a rank of before claimed, the names that are its own.
                same = (claim.rank, claim.world_size, progress.look.since_ns, progress.look.until_ns, progress.low)
                kept = claims.setdefault(same, Claim(claim.rank, claim.world_size, Progress(progress.look, progress.low)))
                kept.progress.done.update({key: at for key, at in progress.done.items() if owner(key, world_size) == rank})
    began = [claim for claim in claims.values() if claim.progress.done or claim.progress.look.until_ns]
    return Ledger(Progress(), parts, tuple(began))


def unknown(what: str) -> CheckpointError:
    return CheckpointError(f"the stream's state {what}; load what WatchedFolder.state_dict returned, or a list of these")


def are(values: Any, *kinds: type) -> bool:
    """Whether `values` is a list of values of exactly these types."""
    return (
        isinstance(values, list) and len(values) == len(kinds) and all(type(one) is kind for one, kind in zip(values, kinds, strict=True))
    )
