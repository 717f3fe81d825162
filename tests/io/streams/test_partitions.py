"""Whatever ranks there were and are: every partition goes on where it stood, once."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparrow.errors import CheckpointError, ConfigError
from sparrow.io.streams.partitions import Partition, Position, SavedRank, continue_from, merge, owned

counts = st.dictionaries(st.sampled_from(["a", "b", "clicks"]), st.integers(1, 9), min_size=1)


def all_partitions(num_partitions: dict[str, int]) -> set[Partition]:
    return {Partition(topic, number) for topic, count in num_partitions.items() for number in range(count)}


@given(counts, st.integers(1, 12))
def test_each_partition_belongs_to_one_rank(num_partitions: dict[str, int], world_size: int) -> None:
    ranks = [owned(num_partitions, rank, world_size) for rank in range(world_size)]
    everything = [partition for mine in ranks for partition in mine]
    assert len(everything) == len(set(everything))
    assert set(everything) == all_partitions(num_partitions)
    assert max(map(len, ranks)) - min(map(len, ranks)) <= 1


def saved_run(num_partitions: dict[str, int], world_size: int, positions: dict[Partition, Position]) -> list[SavedRank]:
    """The states of all ranks of a run that stands at `positions`, through JSON."""
    states = []
    for rank in range(world_size):
        mine = {partition: positions[partition] for partition in owned(num_partitions, rank, world_size) if partition in positions}
        state = SavedRank(rank, world_size, 0, ("x",), num_partitions, mine, {"x": "dense"})
        states.append(SavedRank.of_json(json.loads(json.dumps(state.to_json()))))
    return states


@given(counts, st.integers(1, 6), st.integers(1, 6), st.dictionaries(st.sampled_from(["a", "b", "clicks"]), st.integers(0, 3)), st.data())
def test_any_change_of_ranks_and_added_partitions(
    num_partitions: dict[str, int], before: int, after: int, added: dict[str, int], data: st.DataObject
) -> None:
    begun = data.draw(st.sets(st.sampled_from(sorted(all_partitions(num_partitions)))))
    positions = {partition: Position(data.draw(st.integers(0, 2**62)), data.draw(st.integers(0, 99))) for partition in sorted(begun)}
    states = data.draw(st.permutations(saved_run(num_partitions, before, positions)))
    now = {topic: num_partitions.get(topic, 0) + added.get(topic, 0) for topic in {**num_partitions, **added}}
    continued: dict[Partition, Position] = {}
    for rank in range(after):
        mine = continue_from(states, owned(now, rank, after))
        assert not continued.keys() & mine.keys()
        continued.update(mine)
    # What is not there begins at `start`: partitions nobody had begun, and those added since.
    assert continued == positions


@given(counts, st.integers(2, 5), st.data())
def test_a_missing_rank_is_noticed_where_its_partitions_are_read_now(
    num_partitions: dict[str, int], before: int, data: st.DataObject
) -> None:
    positions = {partition: Position(5, 0) for partition in all_partitions(num_partitions)}
    missing = data.draw(st.integers(0, before - 1))
    states = [state for state in saved_run(num_partitions, before, positions) if state.rank != missing]
    after = data.draw(st.integers(1, 5))
    for rank in range(after):
        mine = owned(num_partitions, rank, after)
        if set(mine) & set(owned(num_partitions, missing, before)):
            with pytest.raises(ConfigError, match=f"was read by rank {missing} of {before}"):
                continue_from(states, mine)
        else:
            assert set(continue_from(states, mine)) == set(mine)


def test_one_state_is_enough_for_the_rank_that_saved_it() -> None:
    states = saved_run({"a": 5}, 2, {partition: Position(partition.number, 1) for partition in all_partitions({"a": 5})})
    assert continue_from(states[1:], owned({"a": 5}, 1, 2)) == {Partition("a", 1): Position(1, 1), Partition("a", 3): Position(3, 1)}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"rank": 0}, "two of the states are of rank 0"),
        ({"world_size": 3}, "differ in world_size: 2 and 3"),
        ({"columns": ("y",), "shapes": {}}, "differ in columns"),
        ({"num_partitions": {"b": 2}, "positions": {}}, r"are of other topics: \['a'\] and \['b'\]"),
        ({"positions": {Partition("a", 0): Position(0, 0)}}, r"two of the states hold a position of a\[0\]"),
        ({"shapes": {"x": "ragged"}}, "column 'x' is dense in one state and ragged in that of rank 1"),
    ],
)
def test_states_of_different_runs_are_refused(changes: dict[str, Any], message: str) -> None:
    first, second = saved_run({"a": 2}, 2, {Partition("a", 0): Position(1, 0), Partition("a", 1): Position(1, 0)})
    fields = {name: getattr(second, name) for name in SavedRank.__dataclass_fields__}
    with pytest.raises(ConfigError, match=message):
        merge([first, SavedRank(**{**fields, **changes})])


GOOD: dict[str, Any] = {
    "version": 1, "rank": 0, "world_size": 2, "epoch": 0, "columns": ["x"], "num_partitions": {"a": 2}, "positions": {"a": [[0, 5, 1]]},
    "shapes": {"dense": [0]},
}  # fmt: skip


@pytest.mark.parametrize(
    "state",
    [
        None, 5, [], {}, {**GOOD, "version": 2}, {**GOOD, "rank": 2}, {**GOOD, "rank": -1}, {**GOOD, "rank": True}, {**GOOD, "epoch": "0"},
        {**GOOD, "columns": "x"}, {**GOOD, "columns": [1]}, {**GOOD, "num_partitions": {"a": -1}}, {**GOOD, "num_partitions": []},
        {**GOOD, "positions": []}, {**GOOD, "positions": {"a": [[0, 5]]}}, {**GOOD, "positions": {"a": [[2, 5, 0]]}},
        {**GOOD, "positions": {"b": [[0, 5, 0]]}}, {**GOOD, "positions": {"a": [[0, 5, 0], [0, 6, 0]]}}, {**GOOD, "positions": {"a": 3}},
        {**GOOD, "positions": {"a": [[0, -1, 0]]}}, {**GOOD, "shapes": {"dense": [1]}}, {**GOOD, "shapes": {"dense": 0}},
        {**GOOD, "shapes": None},
    ],
)  # fmt: skip
def test_what_is_no_state_is_refused(state: Any) -> None:
    SavedRank.of_json(GOOD)
    with pytest.raises(CheckpointError, match=r"the stream's state .*load what KafkaDataset.state_dict returned"):
        SavedRank.of_json(state)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*GOOD, "a"]), inner, max_size=5),
    max_leaves=8,
)


@given(st.sampled_from(sorted(GOOD)), json_values)
def test_fuzzed_states_are_taken_or_refused(key: str, value: Any) -> None:
    try:
        state = SavedRank.of_json({**GOOD, key: value})
    except CheckpointError:
        return
    assert SavedRank.of_json(state.to_json()) == state


def test_the_state_has_a_limit() -> None:
    positions = {Partition("clicks", number): Position(123_456_789_012, 1234) for number in range(3000)}
    state = SavedRank(0, 1, 0, ("x",), {"clicks": 3000}, positions, {})
    assert len(json.dumps(state.to_json())) < 100_000
    more = {Partition("clicks", number): Position(123_456_789_012, 1234) for number in range(5000)}
    with pytest.raises(ConfigError, match=r"5000 partitions .* read with more ranks"):
        SavedRank(0, 1, 0, ("x",), {"clicks": 5000}, more, {}).to_json()
