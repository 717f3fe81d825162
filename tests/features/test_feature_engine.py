"""FeatureEngine: what is computed once, what is kept, and every mistake with the names needed to mend it."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from features.columns import NESTED, column_of, strings_of, two_groups
from features.running import same_column
from sparrow.errors import ConfigError, DataError
from sparrow.features import Context, Feature, FeatureEngine, FeatureType
from sparrow.types import Batch, Column, Group, Ragged, RowSpan
from tests_support import run_python

X = Feature("f").select("x")


@dataclass(frozen=True)
class Times:
    """A custom transform that counts its calls."""

    factor: int = 2
    kind: ClassVar[str] = "times"
    calls: ClassVar[list[tuple[str, int]]] = []

    def output_type(self, given: FeatureType) -> FeatureType:
        if given.values == "number":
            raise ConfigError("times cannot follow a transform that makes numbers")
        return FeatureType("id")

    def apply(self, column: Column, context: Context) -> Column:
        self.calls.append((context.feature, self.factor))
        return column * self.factor if isinstance(column, Tensor) else column.with_values(column.values * self.factor)


@dataclass(frozen=True)
class FirstRows:
    """A wrong transform: it loses a row."""

    kind: ClassVar[str] = "first_rows"

    def output_type(self, given: FeatureType) -> FeatureType:
        return given

    def apply(self, column: Column, context: Context) -> Column:
        assert isinstance(column, Tensor)
        return column[:-1]


@dataclass(frozen=True)
class ByList(Times):
    """Frozen, and yet not hashable."""

    factors: list[int] = field(default_factory=list)


class NoTransform:
    kind = "nothing"


@dataclass(frozen=True)
class NoType(FirstRows):
    """A wrong transform: it does not say what it makes."""

    kind: ClassVar[str] = "no_type"

    def output_type(self, given: FeatureType) -> FeatureType:
        return None  # type: ignore[return-value]


@dataclass(frozen=True)
class Nothing(FirstRows):
    """A wrong transform: it makes no column."""

    kind: ClassVar[str] = "nothing"

    def apply(self, column: Column, context: Context) -> Column:
        return None  # type: ignore[return-value]


@dataclass(frozen=True)
class Lost(FirstRows):
    """A wrong transform of many columns: it makes one too few."""

    kind: ClassVar[str] = "lost"

    @classmethod
    def apply_all(cls, calls: list[Any]) -> list[Column]:
        return [call.column for call in calls[:-1]]


def test_equal_sub_expressions_are_computed_once_a_batch() -> None:
    Times.calls.clear()
    engine = FeatureEngine(
        [
            Feature("a").select("x").then(Times()).mod(5),
            Feature("b").select("x").then(Times()).mod(7),
            Feature("c").select("y").then(Times()),
            Feature("d").select("x").mod(100).then(Times()),
            Feature("e").select("x").then(Times(3)),
            Feature("g").select("x").then(Times()).mod(7),
        ]
    )
    batch = Batch.of({"x": torch.tensor([4]), "y": torch.tensor([1])})
    out = engine(batch)
    assert sorted(Times.calls) == [("a", 2), ("c", 2), ("d", 2), ("e", 3)]
    assert {name: out[name].tolist() for name in out} == {"a": [3], "b": [1], "c": [2], "d": [8], "e": [12], "g": [1]}  # type: ignore[union-attr]
    assert out["g"] is out["b"]
    engine(Batch.of({"x": torch.tensor([5]), "y": torch.tensor([1])}))
    assert len(Times.calls) == 8, "nothing is remembered from one batch to the next"


def test_a_custom_transform_takes_part_in_the_checks_at_declaration() -> None:
    assert X.then(Times()).output == FeatureType("id")
    with pytest.raises(ConfigError, match="feature 'f': times cannot follow"):
        X.log1p().then(Times())
    with pytest.raises(ConfigError, match="feature 'f': log1p cannot follow"):
        X.then(Times()).log1p()


def test_a_transform_keeps_the_number_of_rows() -> None:
    with pytest.raises(DataError, match=r"feature 'f', column 'x', sample 0 of the batch: first_rows made 1 rows of 2"):
        FeatureEngine([X.then(FirstRows())])(Batch.of({"x": torch.tensor([1, 2])}))


@pytest.mark.parametrize(
    ("transform", "named"),
    [
        (Nothing(), "'f', column 'x'.*: nothing made None, expected a tensor"),
        (Lost(), "'f', column 'x'.*: lost: apply_all made 0 columns of 1"),
    ],
)
def test_a_wrong_result_of_a_custom_transform_is_named(transform: Any, named: str) -> None:
    with pytest.raises(DataError, match=named):
        FeatureEngine([X.then(transform)])(Batch.of({"x": torch.tensor([1, 2])}))


def test_groups_and_origin_are_kept_and_unused_columns_dropped() -> None:
    origin = (RowSpan("part-0.orc", 10, 3),)
    join = torch.tensor([0, 1, 1])
    batch = Batch(
        {
            "sample": Group({"x": torch.arange(3), "z": torch.arange(3)}, 3),
            "user": Group({"y": torch.arange(2)}, 2, join),
            "unused": Group({"u": torch.arange(1)}, 1, torch.zeros(3, dtype=torch.int64)),
        },
        origin,
    )
    engine = FeatureEngine([Feature("a").select("x"), Feature("b").select("y").mod(1), Feature("c").select("x")])
    out = engine(batch)
    assert out.origin == origin
    assert list(out.groups) == ["sample", "user"]
    assert set(out.groups["sample"].columns) == {"a", "c"}
    assert out.groups["user"].sample_to_row is join
    assert (out.groups["user"].num_rows, out.num_samples) == (2, 3)
    assert out["b"].tolist() == [0, 0]  # type: ignore[union-attr]
    assert [spec.name for spec in engine.columns] == ["x", "y"]
    assert "    a <- x" in engine.explain().splitlines()
    assert list(engine.parameters()) == []


def test_a_name_held_by_two_groups_is_the_first_groups() -> None:
    batch = Batch({"sample": Group({"x": torch.arange(3)}, 3), "user": Group({"x": torch.arange(2)}, 2, torch.tensor([0, 0, 1]))})
    out = FeatureEngine([X.mod(10)])(batch)
    assert list(out.groups) == ["sample"]
    assert out["f"].tolist() == batch["x"].tolist() == [0, 1, 2]  # type: ignore[union-attr]


def test_features_may_come_from_a_generator() -> None:
    engine = FeatureEngine(Feature(name).select(name) for name in "ab")  # type: ignore[arg-type]
    assert [spec.name for spec in engine.columns] == ["a", "b"]


@pytest.mark.parametrize(
    ("declare", "named"),
    [
        (lambda: Feature("f").log1p(), r"'f'.*log1p comes before select"),
        (lambda: X.select("y"), r"'f'.*comes after the column is chosen"),
        (lambda: X.hash("farm").log1p(), r"'f'.*log1p cannot follow"),
        (lambda: X.hash("farm").cast("float32"), r"'f'.*cast cannot follow"),
        (lambda: X.mod(5).bucketize([1.0]), r"'f'.*bucketize cannot follow"),
        (lambda: X.bucketize([1.0]).log1p(), r"'f'.*log1p cannot follow"),
        (lambda: X.log1p().hash("farm"), r"'f'.*hash cannot follow"),
        (lambda: X.log1p().mod(3), r"'f'.*mod cannot follow"),
        (lambda: X.cast("float32").mod(3), r"'f'.*mod cannot follow"),
        (lambda: X.hash("farm").fill(0.5), r"'f'.*fill\(0.5\) does not fit integers"),
        (lambda: X.hash("fram"), r"'f'.*did you mean 'farm'"),
        (lambda: X.hash(3), r"'f'.*unknown hash 3"),
        (lambda: X.mod(0), r"'f'.*at least 1"),
        (lambda: X.mod(2**63), r"'f'.*below 2\^63"),
        (lambda: X.mod(2.5), r"'f'.*mod\(2.5\).*integer"),
        (lambda: X.mod(True), r"'f'.*mod\(True\).*integer"),
        (lambda: X.mod("10"), r"'f'.*mod\('10'\).*integer"),
        (lambda: X.bucketize([1.0, 1.0]), r"'f'.*strictly increasing"),
        (lambda: X.bucketize([math.nan]), r"'f'.*strictly increasing"),
        (lambda: X.bucketize([]), r"'f'.*list of numbers"),
        (lambda: X.bucketize("123"), r"'f'.*list of numbers"),
        (lambda: X.bucketize(["1", "2"]), r"'f'.*list of numbers"),
        (lambda: X.bucketize(3), r"'f'.*list of numbers"),
        (lambda: X.bucketize([False, True]), r"'f'.*list of numbers"),
        (lambda: X.bucketize([0, 10**400]), r"'f'.*beyond float64"),
        (lambda: X.bucketize([2**53, 2**53 + 1]), r"'f'.*9007199254740993 is no float64; the nearest is 9007199254740992"),
        (lambda: X.fill(math.inf), r"'f'.*finite"),
        (lambda: X.fill(10**400), r"'f'.*finite"),
        (lambda: X.fill("0"), r"'f'.*fill\('0'\).*finite number"),
        (lambda: X.fill(None), r"'f'.*fill\(None\).*finite number"),
        (lambda: X.cast("float23"), r"'f'.*did you mean 'float32'"),
        (lambda: X.cast(["float32"]), r"'f'.*unknown dtype"),
        (lambda: X.then(NoTransform()), r"'f'.*is no transform: it has no output_type"),
        (lambda: X.then(ByList()), r"'f'.*times must be hashable.*frozen=True"),
        (lambda: Feature(3), r"feature 3: the name must be a string"),  # type: ignore[arg-type]
        (lambda: Feature(""), r"feature '': the name must be a string of at least one"),
        (lambda: Feature("f").select(3), r"'f'.*select\(3\): the column must be a string"),  # type: ignore[arg-type]
        (lambda: Feature("f").select(None), r"'f'.*select\(None\): the column must be a string"),  # type: ignore[arg-type]
        (lambda: FeatureEngine(X), r"takes a list of features; write FeatureEngine\(\[Feature\('f'\)"),  # type: ignore[arg-type]
        (lambda: FeatureEngine(["a"]), "takes a list of features, found 'a'"),  # type: ignore[list-item]
        (lambda: FeatureEngine(None), "takes a list of features, found None"),  # type: ignore[arg-type]
        (lambda: FeatureEngine([X, X]), "'f' is declared twice"),
        (lambda: X.hash(non_negative="no"), r"'f'.*non_negative is 'no', expected True or False"),  # type: ignore[arg-type]
        (lambda: X.finite("replce"), r"'f'.*did you mean 'replace'"),
        (lambda: X.finite("count", 3.0), r"'f'.*only 'replace' puts a value"),
        (lambda: X.finite("replace", math.nan), r"'f'.*value is nan, it must be a finite number"),
        (lambda: X.then(NoType()), r"'f'.*no_type.output_type returned None, expected a FeatureType"),  # type: ignore[arg-type]
        (lambda: FeatureEngine([Feature("f")]), "'f' selects no column"),
    ],
)
def test_mistakes_show_at_declaration(declare: Callable[[], Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named) as raised:
        declare()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("feature", "column", "named"),
    [
        (X.log1p(), strings_of("dense", [b"a"]), r"row 20: log1p takes numbers.*strings"),
        (X.mod(5), torch.tensor([0.5]), r"row 20: mod takes integer ids.*numbers"),
        (X.fill(0.0), column_of("ragged", [[1.0], [1.0, 2.0]], torch.float32), r"row 21: fill needs at most one value a row, found 2"),
        (X.fill(0.0), column_of(NESTED, [[[1.0]]], torch.float32), r"row 20: fill needs rows of one level"),
        (X.cast("float32"), column_of("ragged", [[], [1.0], [2.0, -1e39]], torch.float64), r"row 22: -1e\+39 is too large"),
    ],
)
def test_mistakes_in_the_data_name_feature_column_file_and_row(feature: Feature, column: Column, named: str) -> None:
    rows = column.num_rows if isinstance(column, Ragged) else column.shape[0]
    batch = Batch.of({"x": column}, origin=(RowSpan("part-3.orc", 20, rows),))
    with pytest.raises(DataError, match=rf"^feature 'f', column 'x', part-3\.orc, {named}"):
        FeatureEngine([feature])(batch)


def test_the_row_of_a_user_is_named_by_its_first_sample() -> None:
    engine = FeatureEngine([Feature("years").select("age").fill(0)])
    with pytest.raises(DataError, match=r"'years', column 'age', b\.orc, row 1: fill needs at most one value a row, found 2"):
        engine(two_groups(torch.arange(5), column_of("ragged", [[1], [2, 3], []], torch.int64)))
    unused = Batch({"user": Group({"age": column_of("ragged", [[1], [2, 3]], torch.int64)}, 2, torch.tensor([0, 0]))})
    with pytest.raises(DataError, match="row 1 of group 'user': fill needs at most one"):
        engine(unused)


@pytest.mark.parametrize("feature", [Feature("f").select("color"), Feature("f").select("colour").cross("color")])
def test_an_absent_column_is_named(feature: Feature) -> None:
    with pytest.raises(DataError, match="feature 'f': the batch has no column 'color'; did you mean 'colour'"):
        FeatureEngine([Feature("ok").select("x").mod(3), feature])(
            Batch.of({"x": torch.zeros(1, dtype=torch.int64), "colour": torch.zeros(1)})
        )


def test_what_is_no_batch_is_named() -> None:
    with pytest.raises(DataError, match=r"takes a Batch, found dict; Batch\.of"):
        FeatureEngine([X])({"x": torch.zeros(1)})


@pytest.mark.parametrize("fuse", [True, False])
def test_not_finite_numbers_are_counted_for_every_feature_that_counts_them(fuse: bool) -> None:
    counted = Feature("a").select("x").finite("count")
    features = [counted, Feature("b", counted.expression), Feature("c", counted.expression).log1p(), Feature("d").select("x").log1p()]
    features += [Feature("e").select("x").finite("count").log().finite("replace", 7.0), Feature("n").select("i").finite()]
    engine = FeatureEngine(features, fuse=fuse)
    batch = Batch.of({"x": torch.tensor([1.0, math.nan, math.inf, 0.0]), "i": torch.tensor([1, 2, 3, 4])})
    out = engine(batch)
    assert same_column(out["a"], batch["x"])
    assert out["e"].tolist() == [0.0, 7.0, 7.0, 7.0]  # type: ignore[union-attr]
    # e counts NaN and infinity twice, and the logarithm of 0.
    assert engine.counters == {"a": 2, "b": 2, "c": 2, "e": 5, "n": 0}
    engine(batch)
    assert engine.counters == {"a": 4, "b": 4, "c": 4, "e": 10, "n": 0}


@pytest.mark.parametrize(
    ("feature", "values", "named"),
    [
        (X.finite(), [1.0, math.nan], r"row 21: nan is not finite"),
        (X.finite().log().finite(), [1.0, 0.0], r"row 21: -inf is not finite"),
        (X.finite("replace", 0.0).log().finite("error"), [1.0, math.inf], r"row 21: -inf is not finite"),
        (X.cast("int64").hash(buckets=1, non_negative=True).vocabulary([7]), [1.0, 2.0], r"row 20: 0 is not in.* \(and 1 more\)"),
    ],
)
def test_a_refused_value_is_shown_as_it_reached_the_transform(feature: Feature, values: list[float], named: str) -> None:
    batch = Batch.of({"x": torch.tensor(values)}, origin=(RowSpan("p.orc", 20, 2),))
    with pytest.raises(DataError, match=rf"^feature 'f', column 'x', p\.orc, {named}"):
        FeatureEngine([feature])(batch)


@pytest.mark.parametrize("transform", ["truncate", "pad", "unique", "length", "cross", "concat", "lookup", "match", "overlap", "fill"])
def test_a_damaged_column_is_named_among_many(transform: str) -> None:
    declared = {
        "truncate": lambda f: f.truncate(1), "pad": lambda f: f.pad(2), "unique": lambda f: f.unique(), "length": lambda f: f.length(),
        "cross": lambda f: f.cross("y"), "concat": lambda f: f.concat("y"), "lookup": lambda f: f.lookup("y", "y"),
        "match": lambda f: f.match("y"), "overlap": lambda f: f.overlap("y"), "fill": lambda f: f.fill(0),
    }[transform]  # fmt: skip
    good = Ragged(torch.tensor([1, 2]), (torch.tensor([0, 1, 2]),))
    columns: dict[str, Column] = {"x": good, "y": good, "z": Ragged(torch.tensor([1, 2]), (torch.tensor([0, 1, 2], dtype=torch.int32),))}
    features = [declared(Feature("fine").select("x")), declared(Feature("damaged").select("z"))]
    with pytest.raises(DataError, match=r"^feature 'damaged', column 'z.*', sample 0 of the batch: .*offsets") as raised:
        FeatureEngine(features)(Batch.of(columns))
    assert "\n" not in str(raised.value)
    assert ".h:" not in str(raised.value)


def test_an_engine_is_copied_pickled_and_shared_among_threads() -> None:
    features = [Feature(f"f{k}").select("x").finite("replace", 1.0).log1p().bucketize([0.1 * k, 1.0]) for k in range(4)]
    batches = [Batch.of({"x": torch.rand(100, dtype=dtype)}) for dtype in (torch.float32, torch.float64) * 4]
    expected = [FeatureEngine(features)(batch) for batch in batches]
    engine = FeatureEngine(features)
    for one in (engine, copy.deepcopy(engine), pickle.loads(pickle.dumps(engine))):
        with ThreadPoolExecutor(4) as pool:
            for out, wanted in zip(pool.map(one, batches), expected, strict=True):
                assert all(torch.equal(out[name], wanted[name]) for name in wanted)  # type: ignore[arg-type]
        assert one.plan == engine.plan


def test_a_feature_from_another_process_equals_one_declared_here(tmp_path: Path) -> None:
    code = f"""
import pickle
from sparrow.features import Feature
pickle.dump(Feature("f").select("x").hash("farm").mod(7), open({str(tmp_path / "f.pkl")!r}, "wb"))
"""
    run_python(code, PYTHONHASHSEED="1")
    there = pickle.loads((tmp_path / "f.pkl").read_bytes())
    here = Feature("f").select("x").hash("farm").mod(7)
    assert there == here
    assert hash(there) == hash(here)
    assert len(FeatureEngine([there, Feature("g", here.expression)]).plan.nodes[0].units) == 1


def test_long_chains_and_graphs_of_many_ways() -> None:
    def chain(length: int) -> Feature:
        feature = X
        for k in range(length):
            feature = feature.clip(0, k + 1)
        return feature

    engine = FeatureEngine([chain(2000), Feature("g", chain(2000).expression)])
    assert [len(node.units) for node in engine.plan.nodes] == [1]
    assert engine(Batch.of({"x": torch.tensor([0.5, 7.0])}))["g"].tolist() == [0.5, 1.0]  # type: ignore[union-attr]
    assert engine.explain().count("clip(0, 1) | clip(0, 2) | clip(0, 3)") == 3  # the call and both features
    assert chain(2000) != chain(2001)

    def crossed(times: int) -> Feature:
        feature = X
        for _ in range(times):
            feature = feature.cross(feature)
        return feature

    assert crossed(100) == crossed(100)  # 2^100 ways from end to end
