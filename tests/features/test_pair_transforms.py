"""Steps of several columns against loops over Python's lists."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from features.columns import column_of, rows_of, strings_of
from features.running import computed_of
from sparrow.errors import ConfigError, DataError
from sparrow.features import Feature, FeatureEngine
from sparrow.ops.hashes import murmur64a
from sparrow.types import Batch, Column, Group, Ragged
from tests_support import ids as any_id

few = st.integers(-3, 6)
A = Feature("out").select("a")


def crossed(*ids: int) -> int:
    return murmur64a(b"".join(id.to_bytes(8, "little", signed=True) for id in ids))


def pairs_of_lists(values: st.SearchStrategy[int], number: int = 2) -> st.SearchStrategy[list[tuple[list[int], ...]]]:
    return st.lists(st.tuples(*[st.lists(values, max_size=5)] * number), max_size=5)


def columns_of(rows: list[tuple[list[int], ...]], weights: tuple[bool, ...] = (False, False, False)) -> dict[str, Column]:
    names = "abc"[: len(rows[0])] if rows else "abc"
    return {name: column_of("ragged", [row[place] for row in rows], torch.int64, weights[place]) for place, name in enumerate(names)}


@given(rows=pairs_of_lists(any_id, 3), weights=st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_cross_makes_every_combination(rows: list[tuple[list[int], ...]], weights: tuple[bool, ...]) -> None:
    columns = columns_of(rows, weights)
    out = computed_of(A.cross("b", "c"), columns)
    assert isinstance(out, Ragged)
    assert rows_of(out.check("out")) == [[crossed(*ids) for ids in itertools.product(*row)] for row in rows]
    assert (out.weights is not None) == any(weights)
    if out.weights is not None:
        of_each = [
            rows_of(Ragged(column.weights, column.offsets)) if isinstance(column, Ragged) and column.weights is not None
            else [[1.0] * len(row[place]) for row in rows]
            for place, column in enumerate(columns.values())
        ]  # fmt: skip
        expected = [[float(torch.tensor(x).mul(y).mul(z)) for x, y, z in itertools.product(*row)] for row in zip(*of_each, strict=True)]
        assert rows_of(Ragged(out.weights, out.offsets)) == expected


def test_published_crosses() -> None:
    a, b = torch.tensor([1001, 1002, 1003]), torch.tensor([1, 2, 3])
    out = computed_of(A.cross("b"), {"a": a, "b": b})
    assert isinstance(out, torch.Tensor)
    assert out.tolist() == [-7808879811642834040, -4967483181219983279, 1752425377096056168]
    small = computed_of(A.cross("b").mod(1000), {"a": b, "b": b})
    assert rows_of(small) == [216, 2, 783]


@given(rows=st.lists(st.tuples(any_id, st.lists(any_id, max_size=4)), max_size=5))
def test_cross_of_one_id_a_row_with_a_list(rows: list[tuple[int, list[int]]]) -> None:
    columns = {
        "a": torch.tensor([id for id, _ in rows], dtype=torch.int64),
        "b": column_of("ragged", [ids for _, ids in rows], torch.int64),
    }
    assert rows_of(computed_of(A.cross("b"), columns)) == [[crossed(id, other) for other in ids] for id, ids in rows]


@given(rows=pairs_of_lists(any_id, 3), weights=st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_concat(rows: list[tuple[list[int], ...]], weights: tuple[bool, ...]) -> None:
    columns = columns_of(rows, weights)
    out = computed_of(A.concat("b", Feature("x").select("c")), columns)
    assert rows_of(out) == [[*row[0], *row[1], *row[2]] for row in rows]
    assert isinstance(out, Ragged)
    assert (out.weights is not None) == any(weights)


def test_concat_of_dense_columns_is_dense() -> None:
    out = computed_of(A.concat("b"), {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([[3.0, 4.0], [5.0, 6.0]])})
    assert isinstance(out, torch.Tensor)
    assert out.tolist() == [[1.0, 3.0, 4.0], [2.0, 5.0, 6.0]]
    mixed = computed_of(A.concat("b"), {"a": torch.tensor([1, 2]), "b": column_of("ragged", [[], [7, 8]], torch.int64)})
    assert rows_of(mixed) == [[1], [2, 7, 8]]


@pytest.mark.parametrize("width", [None, 2])
def test_batches_of_no_rows(width: int | None) -> None:
    dense = torch.zeros((0,) if width is None else (0, width), dtype=torch.int64)
    columns: dict[str, Column] = {"a": dense, "b": dense, "c": dense}
    assert computed_of(A.concat("b"), columns).shape == (0, 2 * (width or 1))  # type: ignore[union-attr]
    for feature in (A.lookup("b", "c"), A.match("b"), A.time_difference("b")):
        assert computed_of(feature, columns).shape == dense.shape  # type: ignore[union-attr]
    assert computed_of(A.overlap("b"), columns).shape == (0,)  # type: ignore[union-attr]
    assert computed_of(A.length(), columns).shape == (0,)  # type: ignore[union-attr]


def test_lookup_in_booleans() -> None:
    columns: dict[str, Column] = {"a": torch.tensor([1, 2]), "b": torch.tensor([1, 3]), "c": torch.tensor([False, False])}
    assert computed_of(A.lookup("b", "c", default=1), columns).tolist() == [False, True]  # type: ignore[union-attr]


@given(rows=pairs_of_lists(few), default=st.integers(-5, 5))
def test_lookup(rows: list[tuple[list[int], ...]], default: int) -> None:
    columns = columns_of(rows)
    keys = columns["b"]
    assert isinstance(keys, Ragged)
    items = torch.arange(keys.values.numel(), dtype=torch.float32) + 0.5
    columns["c"] = Ragged(items, keys.offsets)
    out = computed_of(A.lookup("b", "c", default=default), columns)
    beside = rows_of(columns["c"])
    expected = [[beside[place][row[1].index(id)] if id in row[1] else float(default) for id in row[0]] for place, row in enumerate(rows)]
    assert rows_of(out) == expected
    # Weights of a map column are its items.
    weighted = {"a": columns["a"], "b": Ragged(keys.values, keys.offsets, items)}
    assert rows_of(computed_of(A.lookup("b", default=default), weighted)) == expected


@given(rows=pairs_of_lists(few))
def test_match_and_overlap(rows: list[tuple[list[int], ...]]) -> None:
    columns = columns_of(rows)
    assert rows_of(computed_of(A.match("b"), columns)) == [[int(id in row[1]) for id in row[0]] for row in rows]
    expected = {
        "count": lambda a, b: len(a & b),
        "ratio": lambda a, b: len(a & b) / len(a) if a else 0,
        "jaccard": lambda a, b: len(a & b) / len(a | b) if a | b else 0,
        "contains": lambda a, b: b <= a,
        "equal": lambda a, b: a == b,
        "any": lambda a, b: bool(a & b),
    }
    for kind, function in expected.items():
        out = computed_of(A.overlap("b", kind), columns)
        assert isinstance(out, torch.Tensor)
        assert torch.equal(out, torch.tensor([function(set(row[0]), set(row[1])) for row in rows], dtype=torch.float32))


@given(rows=st.lists(st.tuples(st.integers(-(2**40), 2**40), st.lists(st.integers(-(2**40), 2**40), max_size=4)), max_size=5))
def test_time_difference_of_one_time_and_a_history(rows: list[tuple[int, list[int]]]) -> None:
    now = torch.tensor([time for time, _ in rows], dtype=torch.int64)
    history = column_of("ragged", [times for _, times in rows], torch.int64)
    out = computed_of(A.time_difference("b"), {"a": now, "b": history})
    assert rows_of(out) == [[time - past for past in times] for time, times in rows]
    back = computed_of(A.time_difference("b").bucketize([0, 100]), {"a": history, "b": now})
    assert rows_of(back) == [[sum(past - time >= boundary for boundary in (0, 100)) for past in times] for time, times in rows]


def test_time_difference_of_equal_lists_and_of_mixed_numbers() -> None:
    a, b = column_of("ragged", [[5, 7], [9]], torch.int32), column_of("ragged", [[1, 2], [3]], torch.int32)
    assert rows_of(computed_of(A.time_difference("b"), {"a": a, "b": b})) == [[4, 5], [6]]
    out = computed_of(A.time_difference("b"), {"a": torch.tensor([1.5]), "b": torch.tensor([1])})
    assert isinstance(out, torch.Tensor)
    assert (out.dtype, out.tolist()) == (torch.float64, [0.5])


def test_columns_of_different_groups_meet_at_the_samples() -> None:
    user = Group({"hist": column_of("ragged", [[1, 2], [3]], torch.int64)}, 2, torch.tensor([0, 0, 1]))
    batch = Batch({"sample": Group({"item": torch.tensor([2, 9, 3])}, 3), "user": user})
    item = Feature("in_history").select("item").match("hist")
    features = [item, Feature("both").select("hist").cross("item"), Feature("hist").select("hist").truncate(1)]
    out = FeatureEngine(features)(batch)
    assert rows_of(out["in_history"]) == [1, 0, 1]
    assert rows_of(out["both"]) == [[crossed(1, 2), crossed(2, 2)], [crossed(1, 9), crossed(2, 9)], [crossed(3, 3)]]
    assert set(out.groups["sample"].columns) == {"in_history", "both"}
    assert rows_of(out.groups["user"].columns["hist"]) == [[1], [3]]
    only_users = Batch({"user": user, "other": Group({"item": torch.tensor([2, 9, 3])}, 3, torch.tensor([2, 1, 0]))})
    assert rows_of(FeatureEngine([item])(only_users)["in_history"]) == [0, 0, 0]


@pytest.mark.parametrize(
    ("feature", "columns", "named"),
    [
        (A.cross("b"), {"a": torch.tensor([1.0]), "b": torch.tensor([1])}, "column 'a and b'.*cross takes integer ids"),
        (A.concat("b"), {"a": torch.tensor([1.0]), "b": torch.tensor([1])}, "concat of columns of torch.float32, torch.int64"),
        (
            A.lookup("b", "c"),
            {"a": torch.tensor([1]), "b": column_of("ragged", [[1, 2]], torch.int64), "c": column_of("ragged", [[1.0]], torch.float32)},
            "2 keys and 1 items",
        ),
        (
            A.lookup("b", "c"),
            {
                "a": torch.tensor([1, 2]),
                "b": column_of("ragged", [[1, 2], [2]], torch.int64),
                "c": column_of("ragged", [[10], [20, 30]], torch.int64),
            },
            "sample 0 of the batch: lookup: 2 keys and 1 items",
        ),
        (
            A.lookup("b", "c"),
            {"a": torch.tensor([1, 2]), "b": column_of("ragged", [[1, 2], []], torch.int64), "c": torch.tensor([10, 20])},
            "2 keys and 2 items; they must lie beside each other",
        ),
        (A.lookup("b", "c"), {"a": torch.tensor([1]), "b": torch.tensor([1]), "c": strings_of("dense", [b"x"])}, "the items are strings"),
        (
            A.lookup("b", "c", default=math.nan),
            {"a": torch.tensor([1]), "b": torch.tensor([1]), "c": torch.tensor([1])},
            "default nan does not fit torch.int64",
        ),
        (A.match("b"), {"a": torch.tensor([1]), "b": torch.tensor([1j])}, "match takes integer ids"),
        (A.time_difference("b"), {"a": torch.tensor([1]), "b": torch.tensor([1j])}, "the column holds values of torch.complex64"),
        (
            A.time_difference("b"),
            {"a": column_of("ragged", [[1], [1, 2]], torch.int64), "b": column_of("ragged", [[1], [2]], torch.int64)},
            "sample 1 of the batch",
        ),
        (A.time_difference("b"), {"a": torch.tensor([0, -(2**63)]), "b": torch.tensor([0, 1])}, "sample 1 of the batch"),
    ],
)
def test_columns_that_do_not_fit_are_named(feature: Feature, columns: dict[str, Column], named: str) -> None:
    with pytest.raises(DataError, match=f"feature 'out'.*{named}") as raised:
        FeatureEngine([feature])(Batch.of(columns))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("declare", "named"),
    [
        (lambda: A.cross(), "cross needs another column"),
        (lambda: A.cross(3), "names of columns or Features, found 3"),
        (lambda: A.cross(Feature("empty")), "feature 'empty', which selects no column"),
        (lambda: A.log1p().cross("b"), "one of its columns holds numbers"),
        (lambda: A.log1p().concat(Feature("x").select("b").hash()), "numbers and ids"),
        (lambda: A.overlap("b", "jacard"), "did you mean 'jaccard'"),
        (lambda: A.lookup("b", "c", default="0"), "the default is '0'"),
        (lambda: A.lookup("b", "c", default=10**400), "the default is beyond float64"),
        (lambda: A.hash().time_difference("b"), "holds ids"),
        (lambda: Feature("out").cross("a"), "cross comes before select"),
    ],
)
def test_mistakes_show_at_declaration(declare: object, named: str) -> None:
    with pytest.raises(ConfigError, match=f"'out'.*{named}"):
        declare()  # type: ignore[operator]
