"""Cutting, filling up, choosing and counting against Python's lists."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from features.columns import NESTED, column_of, rows_of, strings_of
from features.running import computed, equal_bits, start
from sparrow.errors import ConfigError, DataError
from sparrow.features import Feature
from sparrow.types import Column, Ragged
from tests_support import ids as any_id

ends = st.sampled_from(["head", "tail"])
sides = st.sampled_from(["right", "left"])
lengths = st.integers(0, 4)
lists = st.lists(st.lists(any_id, max_size=7), max_size=6)
nested_lists = st.lists(st.lists(st.lists(any_id, max_size=4), max_size=4), max_size=5)
DTYPES = [torch.int8, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64]


def kept(row: list[object], length: int, keep: str) -> list[object]:
    return row[:length] if keep == "head" else row[max(0, len(row) - length) :]


def weights_in_rows(column: Column) -> list[object]:
    assert isinstance(column, Ragged)
    assert column.weights is not None
    return rows_of(Ragged(column.weights, column.offsets))


@given(rows=lists, length=lengths, keep=ends, weights=st.booleans())
def test_truncate(rows: list[list[int]], length: int, keep: str, weights: bool) -> None:
    column = column_of("ragged", rows, torch.int64, weights)
    out = computed(start().truncate(length, keep=keep), column)
    assert isinstance(out, Ragged)
    assert rows_of(out.check("out")) == [kept(row, length, keep) for row in rows]
    if weights:
        assert weights_in_rows(out) == [kept(row, length, keep) for row in weights_in_rows(column)]


@given(rows=nested_lists, length=lengths, keep=ends, level=st.sampled_from([0, 1]), weights=st.booleans())
def test_truncate_a_level_of_nested_lists(rows: list[list[list[int]]], length: int, keep: str, level: int, weights: bool) -> None:
    column = column_of(NESTED, rows, torch.int64, weights)
    out = computed(start().truncate(length, keep=keep, level=level), column)
    assert isinstance(out, Ragged)

    def cut(given_rows: list[list[object]]) -> list[object]:
        if level == 0:
            return [kept(row, length, keep) for row in given_rows]
        return [[kept(inner, length, keep) for inner in row] for row in given_rows]  # type: ignore[arg-type]

    assert rows_of(out.check("out")) == cut(rows)  # type: ignore[arg-type]
    if weights:
        assert weights_in_rows(out) == cut(weights_in_rows(column))  # type: ignore[arg-type]


@given(rows=st.lists(st.lists(st.binary(max_size=5), max_size=4), max_size=4), length=lengths, keep=ends)
def test_truncate_lists_of_strings_before_they_are_hashed(rows: list[list[bytes]], length: int, keep: str) -> None:
    out = computed(start().truncate(length, keep=keep).hash(), strings_of("ragged", rows))
    later = computed(start().hash().truncate(length, keep=keep), strings_of("ragged", rows))
    assert rows_of(out) == rows_of(later)
    assert [len(row) for row in rows_of(out)] == [min(len(row), length) for row in rows]


@given(
    rows=st.lists(st.lists(st.integers(-100, 100), max_size=6), max_size=5),
    length=lengths,
    side=sides,
    keep=ends,
    dtype=st.sampled_from(DTYPES),
)
def test_pad_and_mask(rows: list[list[int]], length: int, side: str, keep: str, dtype: torch.dtype) -> None:
    column = column_of("ragged", rows, dtype)
    out = computed(start().pad(length, value=-7, side=side, keep=keep), column)
    mask = computed(start().mask(length, side=side, keep=keep), column)
    assert isinstance(out, torch.Tensor)
    assert isinstance(mask, torch.Tensor)
    assert (out.dtype, out.shape, mask.dtype, mask.shape) == (dtype, (len(rows), length), torch.float32, (len(rows), length))
    expected, present = [], []
    for row in rows:
        values = kept(row, length, keep)  # type: ignore[arg-type]
        missing = length - len(values)
        expected.append([*values, *[-7] * missing] if side == "right" else [*[-7] * missing, *values])
        present.append([1.0] * len(values) + [0.0] * missing if side == "right" else [0.0] * missing + [1.0] * len(values))
    assert out.tolist() == expected
    assert mask.tolist() == present


@given(rows=nested_lists, outer=lengths, inner=lengths, side=sides)
def test_pad_two_levels(rows: list[list[list[int]]], outer: int, inner: int, side: str) -> None:
    out = computed(start().pad((outer, inner), side=side), column_of(NESTED, rows, torch.int64))

    def filled(values: list[object], length: int, filler: object) -> list[object]:
        values = values[:length]
        fill = [filler] * (length - len(values))
        return [*values, *fill] if side == "right" else [*fill, *values]

    assert isinstance(out, torch.Tensor)
    assert out.shape == (len(rows), outer, inner)
    assert out.tolist() == [filled([filled(one, inner, 0) for one in row], outer, [0] * inner) for row in rows]  # type: ignore[arg-type]


@given(rows=nested_lists, outer=lengths, side=sides, keep=ends)
def test_pad_the_outer_level_alone(rows: list[list[list[int]]], outer: int, side: str, keep: str) -> None:
    out = computed(start().pad((outer, None), side=side, keep=keep), column_of(NESTED, rows, torch.int64, True))
    expected = []
    for row in rows:
        values = kept(row, outer, keep)  # type: ignore[arg-type]
        fill: list[object] = [[] for _ in range(outer - len(values))]
        expected.append([*values, *fill] if side == "right" else [*fill, *values])
    assert isinstance(out, Ragged)
    assert rows_of(out.check("out")) == expected


@given(rows=st.lists(st.lists(st.tuples(any_id, st.floats(width=32)), max_size=7), max_size=5), count=lengths)
def test_top_by_weight(rows: list[list[tuple[int, float]]], count: int) -> None:
    column = column_of("ragged", [[id for id, _ in row] for row in rows], torch.int64)
    assert isinstance(column, Ragged)
    weighted = Ragged(column.values, column.offsets, torch.tensor([weight for row in rows for _, weight in row], dtype=torch.float32))
    out = computed(start().top(count), weighted)
    expected = []
    for row in rows:
        # Greatest first, ties by position, NaN last; then back in order of position.
        order = sorted(
            range(len(row)), key=lambda place: (math.isnan(row[place][1]), -row[place][1] if row[place][1] == row[place][1] else 0)
        )
        expected.append([row[place][0] for place in sorted(order[:count])])
    assert rows_of(out) == expected


@given(rows=st.lists(st.lists(st.integers(-2, 3), max_size=9), max_size=5), policy=st.sampled_from(["first", "sum"]))
def test_unique(rows: list[list[int]], policy: str) -> None:
    column = column_of("ragged", rows, torch.int64, True)
    out = computed(start().unique(weights=policy), column)
    assert rows_of(out) == [list(dict.fromkeys(row)) for row in rows]
    expected = []
    for row, weights in zip(rows, weights_in_rows(column), strict=True):
        sums: dict[int, float] = {}
        for id, weight in zip(row, weights, strict=True):  # type: ignore[call-overload]
            sums[id] = sums.get(id, 0.0) + weight if policy == "sum" else sums.get(id, weight)
        expected.append(list(sums.values()))
    assert weights_in_rows(out) == expected  # quarters: sums are exact


@given(rows=nested_lists)
def test_length_is_that_of_rows(rows: list[list[list[int]]]) -> None:
    assert rows_of(computed(start().length(), column_of(NESTED, rows, torch.int64))) == [len(row) for row in rows]
    assert rows_of(computed(start().length().bucketize([1, 3]), column_of(NESTED, rows, torch.int64))) == [
        sum(len(row) >= boundary for boundary in (1, 3)) for row in rows
    ]


def test_weights_become_values() -> None:
    column = column_of("ragged", [[5, 6], [], [7]], torch.int64, True)
    assert rows_of(computed(start().weights().clip(0, 0.25), column)) == [[0.0, 0.25], [], [0.25]]


def test_transforms_of_lists_leave_other_values_bits_alone() -> None:
    """Values move by their size: NaN payloads and negative zeros too."""
    values = torch.tensor([-0.0, math.nan, math.inf, 1e-45])
    out = computed(start().truncate(2, keep="tail"), Ragged(values, (torch.tensor([0, 3, 4]),)))
    assert isinstance(out, Ragged)
    assert equal_bits(out.values, values[1:])


@pytest.mark.parametrize(
    ("feature", "column", "named"),
    [
        (start().truncate(2), torch.arange(3), "truncate takes lists, the column holds one value a row"),
        (start().truncate(2), strings_of("dense", [b"a"]), "one string a row; hash it first"),
        (start().truncate(2, level=1), column_of("ragged", [[1]], torch.int64), "level 1 of a column of 1 levels"),
        (start().pad(2), column_of(NESTED, [[[1]]], torch.int64), "1 lengths, the column has 2 levels"),
        (start().pad(2, value=0.5), column_of("ragged", [[1]], torch.int64), "value 0.5 does not fit torch.int64"),
        (start().pad(2, value=1000), column_of("ragged", [[1]], torch.int8), "value 1000 does not fit torch.int8"),
        (start().pad(2, value=math.nan), column_of("ragged", [[1]], torch.int64), "value nan does not fit torch.int64"),
        (start().pad(2, value=2), column_of("ragged", [[True]], torch.bool), "value 2 does not fit torch.bool"),
        (start().pad(2, value=1e39), column_of("ragged", [[1.0]], torch.float32), r"value 1e\+39 does not fit torch.float32"),
        (start().pad(2), strings_of("ragged", [[b"a"]]), "the column holds strings; hash it first"),
        (start().top(2), column_of("ragged", [[1]], torch.int64), "the column has no weights"),
        (start().weights(), column_of("ragged", [[1]], torch.int64), "the column has no weights"),
        (start().unique(), column_of("ragged", [[1.0]], torch.float32), "bucketize it first"),
    ],
)
def test_a_column_that_does_not_fit_is_named(feature: Feature, column: Column, named: str) -> None:
    with pytest.raises(DataError, match=f"feature 'out', column 'column', sample 0 of the batch: .*{named}"):
        computed(feature, column)


@pytest.mark.parametrize(
    ("declare", "named"),
    [
        (lambda: start().truncate(-1), "the length is -1"),
        (lambda: start().truncate(2.5), "the length is 2.5"),
        (lambda: start().truncate(2, keep="tial"), "did you mean 'tail'"),
        (lambda: start().truncate(2, level=3), "level is 3"),
        (lambda: start().pad(None), "the only length is None"),
        (lambda: start().pad((1, 2, 3, 4)), "one to three"),
        (lambda: start().pad(2, side="up"), "side is 'up'"),
        (lambda: start().hash().pad(2, value=0.5), "does not fit ids"),
        (lambda: start().hash().pad(2, value=math.inf), "does not fit ids"),
        (lambda: start().pad(2, value="0"), "the value is '0', expected a number"),
        (lambda: start().pad(2, value=10**400), "the value is beyond float64"),
        (lambda: start().truncate(2, keep=["head"]), r"keep is \['head'\]"),
        (lambda: start().mask(-2), "the length is -2"),
        (lambda: start().top(True), "the length is True"),
        (lambda: start().unique(weights="mean"), "weights is 'mean'"),
        (lambda: start().fill(0).truncate(2), "truncate takes lists"),
        (lambda: start().pad(3).truncate(2), "truncate takes lists"),
    ],
)
def test_mistakes_show_at_declaration(declare: object, named: str) -> None:
    with pytest.raises(ConfigError, match=f"'out'.*{named}"):
        declare()  # type: ignore[operator]
