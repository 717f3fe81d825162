"""The ledger of a watched folder, with folders, clocks and kills made up: every unit once, and the state small."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparrow.errors import CheckpointError
from sparrow.io.streams.landing import Identity, LandedFile, Unit
from sparrow.io.streams.ledger import CLOCK_SLACK_NS, Backlog, Ledger, Look, PartRead

SECOND = 10**9
DAY = 86_400.0


def unit(name: str, landed_ns: int, written_ns: int | None = None) -> Unit:
    folder, _, base = name.rpartition("/")
    file = LandedFile(base, name, Identity(1, landed_ns, 1))
    return Unit(folder, base, landed_ns, landed_ns if written_ns is None else written_ns, (file,))


@dataclass
class World:
    """A folder, its clock, and a process that reads it, saves, and may be killed."""

    now: int = 1000 * SECOND
    units: dict[str, Unit] = field(default_factory=dict)
    saved: str = field(default_factory=lambda: json.dumps(Ledger().to_json()))
    consumed_by_saved: list[str] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    consumed: list[str] = field(default_factory=list)
    backlog: Backlog | None = None
    queue: list[Unit | Look] = field(default_factory=list)

    def land(self, name: str) -> None:
        if name not in self.units and name not in self.consumed:
            self.units[name] = unit(name, self.now)

    def look(self) -> None:
        there = sorted(self.units.values(), key=lambda one: one.key)
        if self.backlog is None:
            self.backlog = Backlog(self.ledger, DAY)
            found = self.backlog.first(there)
            assert not found.doubtful
            self.queue += found.units
        if not self.queue:  # as the reader does: what a look found is read before the next
            found = self.backlog.next(there, self.now)
            assert found.look is not None
            self.queue += [found.look, *found.units] if found.units else []

    def read(self, num_units: int) -> None:
        while num_units and self.queue:
            one = self.queue.pop(0)
            if isinstance(one, Look):
                self.ledger.begin(one)
                continue
            self.ledger.part = PartRead(one.key, one.digest, one.name, 3)
            self.ledger.finish(one)
            self.consumed.append("/".join(filter(None, one.key)))
            num_units -= 1

    def save(self) -> None:
        self.saved, self.consumed_by_saved = json.dumps(self.ledger.to_json()), list(self.consumed)
        assert len(self.saved) < 90_000

    def kill(self) -> None:
        self.ledger, self.consumed = Ledger.of_json(json.loads(self.saved)), list(self.consumed_by_saved)
        self.backlog, self.queue = None, []

    def delete_consumed(self) -> None:
        """Only what the saved state covers: deleting earlier would lose rows at a kill, whoever reads."""
        for name in self.consumed_by_saved:
            self.units.pop(name, None)

    def finish(self) -> None:
        for _ in range(2):
            self.now += CLOCK_SLACK_NS + SECOND
            self.look()
            self.read(10**9)

    def work(self, num_units: int) -> None:
        """What a process does most: look, read some, save."""
        self.look()
        self.read(num_units)
        self.save()

    def tick(self, seconds: int) -> None:
        self.now += seconds * SECOND


names = st.builds(lambda folder, name: f"ds=1/hour={folder}/{name}", st.integers(0, 1), st.integers(0, 9))
steps = st.one_of(
    st.tuples(st.just("land"), st.lists(names, min_size=1, max_size=4)),
    st.tuples(st.just("tick"), st.sampled_from([1, 11, 30])),
    st.tuples(st.just("work"), st.integers(0, 3)),
    st.tuples(st.sampled_from(["look", "save", "kill", "kill", "delete_consumed"]), st.none()),
    st.tuples(st.just("read"), st.integers(1, 3)),
)


@settings(max_examples=1000)
@given(st.lists(steps, max_size=40))
def test_every_unit_once_whatever_lands_when(happenings: list[tuple[str, Any]]) -> None:
    world = World()
    landed: set[str] = set()
    for what, argument in happenings:
        if what == "land":
            # A name is never used again, also where a kill took back that it was consumed.
            for name in set(argument) - landed:
                world.land(name)
            landed |= set(argument)
        elif argument is None:
            getattr(world, what)()
        else:
            getattr(world, what)(argument)
    world.finish()
    assert sorted(world.consumed) == sorted(landed)


@pytest.mark.nightly
@settings(max_examples=20_000)
@given(st.lists(steps, max_size=120))
def test_every_unit_once_in_many_ways(happenings: list[tuple[str, Any]]) -> None:
    test_every_unit_once_whatever_lands_when.hypothesis.inner_test(happenings)  # type: ignore[attr-defined]


def test_the_state_is_small_however_many_land_and_however_they_are_named() -> None:
    world, total = World(), 0
    # 6,000 at once, as young as the look: read in portions; then 500 a minute with names that sort anywhere.
    for number in range(6_000):
        world.land(f"hour=00/{number * 7919 % 100_003:06}-{'x' * 40}.orc")
    total += 6_000
    for minute in range(12):
        for number in range(500 if minute else 0):
            world.land(f"hour=00/{(minute * 500 + number) * 104_729 % 999_983:06}-{'y' * 40}.orc")
            total += 1
        for _ in range(3):
            world.look()
            world.read(10**9)
            world.save()
            world.now += 20 * SECOND
        if minute % 7 == 3:
            world.kill()
    world.finish()
    assert len(world.consumed) == len(set(world.consumed)) == total
    assert len(json.dumps(world.ledger.to_json())) < 70_000


def test_a_unit_that_looks_older_than_it_can_be_is_doubtful_after_a_restart_alone() -> None:
    world = World(now=10**7 * SECOND)
    world.land("a")
    world.look()
    world.read(1)
    world.now += 60 * SECOND
    for name in "bc":
        world.land(name)
        world.look()
        world.read(1)
        world.now += 60 * SECOND
    world.save()
    world.now += 60 * SECOND
    touched = unit("a", world.now, written_ns=world.now - 2 * 86_400 * SECOND)
    assert world.backlog is not None
    assert world.backlog.next([touched], world.now).units == []  # the process that read it knows it
    backlog = Backlog(Ledger.of_json(json.loads(world.saved)), DAY)
    found = backlog.first([touched])
    assert (found.units, found.doubtful) == ([], [touched])
    assert Backlog(Ledger.of_json(json.loads(world.saved)), 3 * DAY).first([touched]).doubtful == []


GOOD: dict[str, Any] = {
    "since_ns": 1,
    "until_ns": 2,
    "low": ["ds=1", "a"],
    "done": {"ds=1": {"b": 3}},
    "part": ["ds=1", "c", "digest", "c", 4],
}


@pytest.mark.parametrize(
    "changes",
    [
        {"since_ns": 3}, {"since_ns": None}, {"until_ns": True}, {"low": "a"}, {"low": ["a"]}, {"done": []}, {"done": {"a": ["b"]}},
        {"done": {"a": {"b": "c"}}}, {"part": ["a", "b", "c", "d", -1]}, {"part": 3}, {"since_ns": -1},
    ],
)  # fmt: skip
def test_what_is_no_state_is_refused(changes: dict[str, Any]) -> None:
    assert Ledger.of_json(GOOD).to_json() == GOOD
    with pytest.raises(CheckpointError, match=r"load what WatchedFolder.state_dict returned"):
        Ledger.of_json({**GOOD, **changes})
