"""Every transform against a slow, obvious loop, on dense and ragged columns; nothing mutates its input."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparrow.errors import ConfigError, DataError
from sparrow.features import Feature, FeatureEngine, FeatureType
from sparrow.ops.farm_hash.reference import fingerprint
from sparrow.types import Batch, Column, Group, Ragged, RowSpan
from tests_support import ids as any_id

FLOATS = st.floats(-1e6, 1e6, width=32) | st.sampled_from([math.nan, math.inf, -math.inf, -0.0])


def ragged(rows: list[list[Any]], dtype: torch.dtype, weights: bool = False) -> Ragged:
    flat = [value for row in rows for value in row]
    offsets = torch.tensor([0, *map(len, rows)]).cumsum(0)
    return Ragged(torch.tensor(flat, dtype=dtype), (offsets,), torch.arange(len(flat)).float() if weights else None)


def nested(rows: list[list[list[Any]]], dtype: torch.dtype) -> Ragged:
    inner = ragged([part for row in rows for part in row], dtype)
    outer = torch.tensor([0, *map(len, rows)]).cumsum(0)
    return Ragged(inner.values, (outer, *inner.offsets))


def strings(values: list[bytes]) -> Ragged:
    return Ragged(torch.tensor(list(b"".join(values)), dtype=torch.uint8), (torch.tensor([0, *map(len, values)]).cumsum(0),))


def apply(feature: Feature, column: Column) -> Column:
    """Run one feature over one column and check that the column is as before."""
    tensors = [column] if isinstance(column, Tensor) else [column.values, *column.offsets]
    before = [tensor.clone() for tensor in tensors]
    out = FeatureEngine([feature])(Batch.of({"x": column}))[feature.name]
    assert all(torch.equal(now, then) or now.dtype.is_floating_point for now, then in zip(tensors, before, strict=True))
    assert all(torch.equal(now.nan_to_num(), then.nan_to_num()) for now, then in zip(tensors, before, strict=True))
    return out


def same(got: float, expected: float) -> bool:
    return (math.isnan(got) and math.isnan(expected)) or got == pytest.approx(expected, rel=1e-6, abs=1e-12)


X = Feature("f").select("x")
BOUNDARIES = [-1.0, 0.0, 2.5, 100.0]
# feature, dtype of the column, strategy of a value, the same on one Python value
ELEMENTWISE: dict[str, tuple[Feature, torch.dtype, st.SearchStrategy[Any], Callable[[Any], Any]]] = {
    "log1p": (X.log1p(), torch.float64, st.floats(-1e6, 1e6), lambda v: math.log1p(max(v, 0.0))),
    "hash": (X.hash("farm"), torch.int64, any_id, lambda v: fingerprint(v.to_bytes(8, "little", signed=True))),
    "mod": (X.mod(1000), torch.int64, any_id, lambda v: v % 2**64 % 1000),
    "bucketize": (X.bucketize(BOUNDARIES), torch.float32, FLOATS, lambda v: 4 if math.isnan(v) else sum(b <= v for b in BOUNDARIES)),
    "cast": (X.cast("float32"), torch.float64, st.floats(-100, 100, width=32), lambda v: v),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
@given(data=st.data())
def test_elementwise_transforms_on_every_shape(name: str, data: st.DataObject) -> None:
    feature, dtype, values, expected = ELEMENTWISE[name]
    rows = data.draw(st.lists(st.lists(values, max_size=3), max_size=6))
    flat = [value for row in rows for value in row]
    wanted = [expected(value) for value in torch.tensor(flat, dtype=dtype).tolist()]
    dense = apply(feature, torch.tensor(flat, dtype=dtype))
    assert isinstance(dense, Tensor)
    column = ragged(rows, dtype, weights=True)
    lists = apply(feature, column)
    deep = apply(feature, nested([rows, []], dtype))
    assert isinstance(lists, Ragged)
    assert isinstance(deep, Ragged)
    for got in (dense, lists.values, deep.values):
        assert all(same(one, two) for one, two in zip(got.tolist(), wanted, strict=True))
    assert lists.weights is column.weights
    assert len(deep.offsets) == 2


@given(rows=st.lists(st.lists(FLOATS, max_size=1), max_size=8), value=st.floats(-5, 5, width=32))
def test_fill_makes_lists_of_one_dense(rows: list[list[float]], value: float) -> None:
    out = apply(X.fill(value), ragged(rows, torch.float32))
    assert isinstance(out, Tensor)
    expected = [value if not row or math.isnan(row[0]) else row[0] for row in rows]
    assert out.tolist() == expected
    assert apply(X.fill(value), torch.tensor([row[0] for row in rows if row], dtype=torch.float32)).tolist() == [  # type: ignore[union-attr]
        value if math.isnan(row[0]) else row[0] for row in rows if row
    ]


def test_fill_of_integers_keeps_them_integers() -> None:
    out = apply(X.fill(7), ragged([[1], [], [2**60]], torch.int64))
    assert isinstance(out, Tensor)
    assert out.dtype == torch.int64
    assert out.tolist() == [1, 7, 2**60]
    with pytest.raises(DataError, match=r"'f'.*'x'.*whole number"):
        apply(X.fill(0.5), ragged([[1]], torch.int64))


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_hash_of_strings_drops_the_byte_level(values: list[bytes]) -> None:
    one = apply(X.hash("farm"), strings(values))
    assert isinstance(one, Tensor), "one string a row becomes one id a row"
    assert one.tolist() == [fingerprint(value) for value in values]
    column = strings(values)
    listed = apply(X.hash("farm").mod(97), Ragged(column.values, (torch.tensor([0, len(values)]), *column.offsets)))
    assert isinstance(listed, Ragged)
    assert listed.values.tolist() == [fingerprint(value) % 2**64 % 97 for value in values]
    assert listed.offsets[0].tolist() == [0, len(values)]


def test_a_chain_applies_in_order() -> None:
    column = ragged([[0.0], [], [math.e - 1]], torch.float64)
    assert apply(X.fill(math.e**2 - 1).log1p().bucketize([0.5, 1.5]), column).tolist() == [0, 2, 1]  # type: ignore[union-attr]


@dataclass(frozen=True)
class Doubled:
    """A custom transform that counts its calls."""

    kind: ClassVar[str] = "doubled"
    calls: ClassVar[list[str]] = []

    def output_type(self, given: FeatureType) -> FeatureType:
        return given

    def apply(self, column: Column, context: Any) -> Column:
        self.calls.append(context.feature)
        return column * 2 if isinstance(column, Tensor) else column.with_values(column.values * 2)


def test_equal_sub_expressions_are_computed_once() -> None:
    Doubled.calls.clear()
    engine = FeatureEngine(
        [Feature(name).select("x").then(Doubled()).mod(divisor) for name, divisor in (("a", 5), ("b", 7))]
        + [Feature("c").select("y").then(Doubled())]
    )
    out = engine(Batch.of({"x": torch.tensor([4]), "y": torch.tensor([1])}))
    assert Doubled.calls == ["a", "c"]
    assert [out[name].tolist() for name in "abc"] == [[3], [1], [2]]  # type: ignore[union-attr]


def test_groups_and_origin_are_kept_and_unused_columns_dropped() -> None:
    origin = (RowSpan("part-0.orc", 10, 3),)
    join = torch.tensor([0, 1, 1])
    batch = Batch(
        {"sample": Group({"x": torch.arange(3), "z": torch.arange(3)}, 3), "user": Group({"y": torch.arange(2)}, 2, join)}, origin
    )
    engine = FeatureEngine([Feature("a").select("x"), Feature("b").select("y").mod(1), Feature("c").select("x")])
    out = engine(batch)
    assert out.origin == origin
    assert set(out.groups["sample"].columns) == {"a", "c"}
    assert out.groups["user"].sample_to_row is join
    assert out["b"].tolist() == [0, 0]  # type: ignore[union-attr]
    assert [spec.name for spec in engine.columns] == ["x", "y"]
    assert "a <- x" in engine.explain()


@pytest.mark.parametrize(
    ("declare", "named"),
    [
        (lambda: Feature("f").log1p(), r"'f'.*before select"),
        (lambda: X.select("y"), r"'f'.*reads one column"),
        (lambda: X.hash("farm").log1p(), r"'f'.*log1p cannot follow"),
        (lambda: X.hash("farm").cast("float32"), r"'f'.*cast cannot follow"),
        (lambda: X.mod(5).bucketize([1.0]), r"'f'.*bucketize cannot follow"),
        (lambda: X.log1p().hash("farm"), r"'f'.*hash cannot follow"),
        (lambda: X.log1p().mod(3), r"'f'.*mod cannot follow"),
        (lambda: X.hash("fram"), "did you mean 'farm'"),
        (lambda: X.mod(0), "at least 1"),
        (lambda: X.bucketize([1.0, 1.0]), "strictly increasing"),
        (lambda: X.bucketize([math.nan]), "strictly increasing"),
        (lambda: X.bucketize([]), "at least one"),
        (lambda: X.fill(math.inf), "finite"),
        (lambda: X.cast("float23"), "did you mean 'float32'"),
        (lambda: FeatureEngine([X, X]), "'f' is declared twice"),
        (lambda: FeatureEngine([Feature("f")]), "'f' selects no column"),
    ],
)
def test_mistakes_show_at_declaration(declare: Callable[[], object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        declare()


@pytest.mark.parametrize(
    ("feature", "column", "named"),
    [
        (X.log1p(), strings([b"a"]), "log1p takes numbers.*strings"),
        (X.bucketize([1.0]), strings([b"a"]), "bucketize takes numbers"),
        (X.mod(5), torch.tensor([0.5]), "mod takes integer ids.*numbers"),
        (X.hash("farm"), torch.tensor([0.5]), "hash takes integer ids"),
        (X.mod(5), strings([b"a"]), "mod takes integer ids.*strings"),
        (X.fill(0.0), ragged([[1.0], [1.0, 2.0]], torch.float32), r"part-3\.orc, row 21: .*at most one value a row, found 2"),
        (X.fill(0.0), nested([[[1.0]]], torch.float32), "one level"),
    ],
)
def test_mistakes_in_the_data_name_feature_and_column(feature: Feature, column: Column, named: str) -> None:
    rows = column.shape[0] if isinstance(column, Tensor) else column.num_rows
    batch = Batch.of({"x": column}, origin=(RowSpan("part-3.orc", 20, rows),))
    with pytest.raises(DataError, match=rf"feature 'f', column 'x': .*{named}"):
        FeatureEngine([feature])(batch)


def test_absent_column_is_named() -> None:
    with pytest.raises(DataError, match="did you mean 'colour'"):
        FeatureEngine([Feature("f").select("color")])(Batch.of({"colour": torch.zeros(1)}))
