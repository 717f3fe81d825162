"""The ledger of a watched folder, with folders, clocks, ranks and kills made up: every file once, and the states small."""

import functools
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import fs

from sparrow.errors import CheckpointError, ConfigError
from sparrow.io.filesystems import Place
from sparrow.io.streams.backlog import CLOCK_SLACK_NS, Backlog
from sparrow.io.streams.folder_state import SavedRank, resume
from sparrow.io.streams.landing import Settling, Unit
from sparrow.io.streams.ledger import Ledger, Look, owner
from sparrow.io.streams.listing import Identity

SECOND = 10**9
DAY = 86_400.0
OWNER = functools.cache(owner)  # asked again and again for the same files


def unit(name: str, landed_ns: int, written_ns: int | None = None) -> Unit:
    folder, _, base = name.rpartition("/")
    written_ns = landed_ns if written_ns is None else written_ns
    return Unit(folder, base, landed_ns, written_ns, Place(fs.LocalFileSystem(), name, name), Identity(1, landed_ns, 1))


def saved(ledger: Ledger, rank: int = 0, world_size: int = 1) -> dict[str, Any]:
    return json.loads(json.dumps(SavedRank(Settling("rename"), "*", rank, world_size, 0, ("id",), {}, ledger).to_json()))


def loaded(states: list[dict[str, Any]], rank: int = 0, world_size: int = 1) -> Ledger:
    return resume([SavedRank.of_json(state) for state in states], rank, world_size)


@dataclass
class Reader:
    """One rank: what it knows, and what it has found and not read."""

    rank: int
    world_size: int
    ledger: Ledger = field(default_factory=Ledger)
    backlog: Backlog | None = None
    queue: list[Unit | Look] = field(default_factory=list)

    def look(self, there: list[Unit], now: int) -> None:
        mine = [one for one in there if OWNER(one.key, self.world_size) == self.rank]
        if self.backlog is None:
            self.backlog = Backlog(self.ledger, DAY, self.world_size)
            found = self.backlog.first(mine)
            assert not found.doubtful
            # As the reader does: what is gone of those read in part is given up; here what is consumed in part is never deleted.
            assert {part.key for part in self.ledger.parts.values()} <= {one.key for one in found.units}
            self.queue += found.units
        if not self.queue:  # as the reader does: what a look found is read before the next
            found = self.backlog.next(mine, now)
            assert found.look is not None
            self.queue += [found.look, *found.units] if found.units else []

    def read(self, num_units: int, *, in_part: bool = False) -> list[str]:
        """Consume files, and a part of the next; return the names of those that are consumed to their end."""
        done = []
        while self.queue and (num_units or isinstance(self.queue[0], Look)):
            one = self.queue.pop(0)
            if isinstance(one, Look):
                self.ledger.begin(one)
                continue
            self.ledger.finish(one)
            done.append("/".join(filter(None, one.key)))
            num_units -= 1
        if in_part and self.queue and not isinstance(self.queue[0], Look):
            self.ledger.read(self.queue[0], 3)
        return done


@dataclass
class World:
    """A folder, its clock, and ranks that read it, save, and may be killed and come back in another number."""

    now: int = 1000 * SECOND
    units: dict[str, Unit] = field(default_factory=dict)
    readers: list[Reader] = field(default_factory=lambda: [Reader(0, 1)])
    saved: list[dict[str, Any]] = field(default_factory=lambda: [saved(Ledger())])
    consumed_by_saved: list[str] = field(default_factory=list)
    consumed: list[str] = field(default_factory=list)

    def land(self, name: str) -> None:
        if name not in self.units and name not in self.consumed:
            self.units[name] = unit(name, self.now)

    def look(self, which: int) -> None:
        self.readers[which % len(self.readers)].look(sorted(self.units.values(), key=lambda one: one.key), self.now)

    def read(self, which: int, num_units: int) -> None:
        self.consumed += self.readers[which % len(self.readers)].read(num_units, in_part=True)

    def save(self) -> None:
        self.saved = [saved(one.ledger, one.rank, one.world_size) for one in self.readers]
        self.consumed_by_saved = list(self.consumed)
        assert all(len(json.dumps(state)) < 100_000 for state in self.saved)

    def kill(self, world_size: int) -> None:
        self.readers = [Reader(rank, world_size, loaded(self.saved[::-1], rank, world_size)) for rank in range(world_size)]
        self.consumed = list(self.consumed_by_saved)

    def delete_consumed(self) -> None:
        """Only what the saved state covers: deleting earlier would lose rows at a kill, whoever reads."""
        for name in self.consumed_by_saved:
            self.units.pop(name, None)

    def finish(self) -> None:
        for _ in range(2):
            self.now += CLOCK_SLACK_NS + SECOND
            self.work(10**9)

    def work(self, num_units: int) -> None:
        """What processes do most: look, read some, save."""
        for which in range(len(self.readers)):
            self.look(which)
            self.read(which, num_units)
        self.save()

    def tick(self, seconds: int) -> None:
        self.now += seconds * SECOND


names = st.builds(lambda folder, name: f"ds=1/hour={folder}/{name}", st.integers(0, 1), st.integers(0, 9))
steps = st.one_of(
    st.tuples(st.just("land"), st.lists(names, min_size=1, max_size=4)),
    st.tuples(st.just("tick"), st.sampled_from([1, 11, 30])),
    st.tuples(st.just("work"), st.integers(0, 3)),
    st.tuples(st.sampled_from(["save", "delete_consumed"])),
    st.tuples(st.just("kill"), st.sampled_from([1, 1, 2, 3, 4, 6])),
    st.tuples(st.just("look"), st.integers(0, 5)),
    st.tuples(st.just("read"), st.integers(0, 5), st.integers(0, 3)),
)


def each_unit_once(happenings: list[tuple[Any, ...]]) -> None:
    world = World()
    landed: set[str] = set()
    for what, *arguments in happenings:
        if what == "land":
            # A name is never used again, also where a kill took back that it was consumed.
            for name in set(arguments[0]) - landed:
                world.land(name)
            landed |= set(arguments[0])
        else:
            getattr(world, what)(*arguments)
    world.finish()
    assert sorted(world.consumed) == sorted(landed)


@settings(max_examples=1000)
@given(st.lists(steps, max_size=40))
def test_every_unit_once_whatever_lands_when(happenings: list[tuple[Any, ...]]) -> None:
    each_unit_once(happenings)


@pytest.mark.parametrize("worlds", [(2, 1), (1, 2, 1), (3, 2, 5)])
def test_what_was_consumed_long_ago_stays_so_through_looks_that_are_not_read(worlds: tuple[int, ...]) -> None:
    """No name of it is kept any more, and the look that would make the claim superfluous has only begun when the next kill comes."""
    old = [f"a/{number}" for number in range(6)]
    happenings: list[tuple[Any, ...]] = [("kill", worlds[0]), ("land", old), ("tick", 30), ("work", 10)]
    for number, world_size in enumerate(worlds[1:]):
        happenings += [("kill", world_size), ("land", [f"b/{number}{index}" for index in range(4)]), ("work", 0)]
    each_unit_once([*happenings, ("kill", worlds[0])])


@pytest.mark.nightly
@settings(max_examples=20_000)
@given(st.lists(steps, max_size=120))
def test_every_unit_once_in_many_ways(happenings: list[tuple[Any, ...]]) -> None:
    each_unit_once(happenings)


@pytest.mark.parametrize("worlds", [[1, 1], [8, 1], [12, 5]])
def test_the_state_is_small_however_many_land_and_however_they_are_named(worlds: list[int]) -> None:
    world, total = World(), 0
    world.kill(worlds[0])
    # 3,000 at once, as young as the look: read in portions; then 100 a minute with names that sort anywhere.
    for number in range(3_000):
        world.land(f"hour=00/{number * 7919 % 100_003:06}-{'x' * 40}.orc")
    total += 3_000
    for minute in range(12):
        for number in range(100 if minute else 0):
            world.land(f"hour=00/{(minute * 100 + number) * 104_729 % 999_983:06}-{'y' * 40}.orc")
            total += 1
        for turn in range(3):
            world.work(10**9)
            if minute % 7 == 3 and turn == 0:
                world.kill(worlds[1] if len(world.readers) == worlds[0] else worlds[0])
            world.tick(20)
    world.finish()
    assert len(world.consumed) == len(set(world.consumed)) == total
    assert all(not one.ledger.claims for one in world.readers if one.ledger.own.look.until_ns), "what others consumed is not kept for ever"
    assert sum(len(json.dumps(state)) for state in world.saved) < 70_000 + 300 * len(world.readers)


def test_files_are_shared_evenly() -> None:
    counts = [0] * 4
    for number in range(4000):
        counts[owner((f"hour={number % 24:02}", f"part-{number}.orc"), 4)] += 1
    assert min(counts) > 900


def test_a_unit_that_looks_older_than_it_can_be_is_doubtful_after_a_restart_alone() -> None:
    world = World(now=10**7 * SECOND)
    world.land("a")
    world.work(1)
    world.tick(60)
    for name in "bc":
        world.land(name)
        world.work(1)
        world.tick(60)
    world.tick(60)
    touched = unit("a", world.now, written_ns=world.now - 2 * 86_400 * SECOND)
    reader = world.readers[0]
    assert reader.backlog is not None
    assert reader.backlog.next([touched], world.now).units == []  # the process that read it knows it
    for rank, world_size in ((0, 1), (owner(touched.key, 2), 2)):
        found = Backlog(loaded(world.saved, rank, world_size), DAY).first([touched])
        assert (found.units, found.doubtful) == ([], [touched])
        assert Backlog(loaded(world.saved, rank, world_size), 3 * DAY).first([touched]).doubtful == []


def test_states_that_do_not_belong_together_are_refused() -> None:
    pair = [saved(Ledger(), rank, 2) for rank in range(2)]
    for states, rank, world_size, message in [
        (pair[:1], 0, 1, r"of rank 0 of 2, and this is rank 0 of 1; load a list of the states of all 2 ranks"),
        (pair[:1], 1, 2, r"of rank 0 of 2, and this is rank 1 of 2"),
        ([pair[0], pair[0]], 0, 1, r"are of ranks \[0, 0\], one of them twice"),
        ([pair[0], saved(Ledger())], 0, 3, r"runs with \[1, 2\] ranks"),
    ]:
        with pytest.raises(ConfigError, match=message):
            loaded(states, rank, world_size)
    assert saved(loaded(pair[1:], 1, 2), 1, 2) == saved(loaded(pair, 1, 2), 1, 2) == pair[1]


GOOD: dict[str, Any] = {
    "version": 2,
    "settle": "stable",
    "stable_ns": 60,
    "pattern": "*.orc",
    "rank": 1,
    "world_size": 3,
    "epoch": 0,
    "columns": ["id"],
    "shapes": {},
    "since_ns": 1,
    "until_ns": 2,
    "low": ["ds=1", "a"],
    "done": {"ds=1": {"b": 3}},
    "parts": [["ds=1", "c", 100, 4]],
    "claims": [[0, 2, {"since_ns": 0, "until_ns": 0, "low": None, "done": {"": {"d": 9}}}]],
}


@pytest.mark.parametrize(
    "changes",
    [
        {"since_ns": 3}, {"since_ns": None}, {"until_ns": True}, {"low": "a"}, {"low": ["a"]}, {"done": []}, {"done": {"a": ["b"]}},
        {"done": {"a": {"b": "c"}}}, {"parts": [["a", "b", 1, -1]]}, {"parts": 3}, {"parts": [3]}, {"since_ns": -1}, {"rank": 3},
        {"world_size": 0}, {"claims": None}, {"claims": [[0, 2, {}]]}, {"claims": [[2, 2, GOOD["claims"][0][2]]]}, {"version": 1},
        {"settle": "copy"}, {"stable_ns": -1}, {"pattern": None},
        {"epoch": -1}, {"columns": "id"}, {"shapes": [1]},
    ],
)  # fmt: skip
def test_what_is_no_state_is_refused(changes: dict[str, Any]) -> None:
    assert SavedRank.of_json(GOOD).to_json() == GOOD
    with pytest.raises(CheckpointError, match=r"load what WatchedFolder.state_dict returned"):
        SavedRank.of_json({**GOOD, **changes})


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inside for place in _places(one, (*path, key)))]


_ODD = (
    st.none() | st.booleans() | st.integers(-3, 100) | st.just(2**70) | st.floats() | st.text(max_size=3)
    | st.lists(st.integers(-1, 9) | st.text(max_size=2), max_size=5) | st.dictionaries(st.text(max_size=2), st.integers(-1, 5), max_size=2)
)  # fmt: skip


@settings(max_examples=300)
@given(st.sampled_from(_places(GOOD)[1:]), _ODD)
def test_fuzzed_states_are_taken_or_refused(place: tuple[Any, ...], odd: Any) -> None:
    """Never another exception; and what is taken is what is kept."""
    state = json.loads(json.dumps(GOOD))
    inside = state
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = odd
    try:
        taken = SavedRank.of_json(state)
    except CheckpointError:
        return
    kept = json.loads(json.dumps(taken.to_json()))
    assert SavedRank.of_json(kept).to_json() == kept
