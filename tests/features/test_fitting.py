"""Learned transforms against NumPy and Counter, in one pass or merged, whatever the batches."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from features.columns import column_of, strings_of
from sparrow.errors import ConfigError, DataError
from sparrow.features import Feature, FeatureEngine, Fitting, fit
from sparrow.features.fitting.sketches import Counts, Moments, Quantiles, Range
from sparrow.types import Batch, Group

finite = st.floats(-1e6, 1e6, width=32)
number_lists = st.lists(st.lists(finite, max_size=30), min_size=1, max_size=6)


def batches_of(parts: list[list[float]]) -> list[Batch]:
    return [Batch.of({"x": torch.tensor(part, dtype=torch.float32)}) for part in parts]


@given(parts=number_lists)
def test_moments_are_those_of_numpy(parts: list[list[float]]) -> None:
    whole, left, right = Moments(), Moments(), Moments()
    for index, part in enumerate(parts):
        whole.update(torch.tensor([*part, float("nan"), float("inf")]))
        (left if index % 2 else right).update(torch.tensor(part))
    left.merge(right)
    numbers = np.array([number for part in parts for number in part], dtype=np.float64)
    for sketch in (whole, left):
        assert sketch.count == len(numbers)
        if len(numbers):
            assert np.isclose(sketch.mean, numbers.mean(), rtol=1e-9, atol=1e-9)
            assert np.isclose(sketch.std, numbers.std(), rtol=1e-7, atol=1e-6)


@given(parts=number_lists, fractions=st.lists(st.floats(0.01, 1), min_size=1, max_size=5))
def test_few_quantiles_are_exact(parts: list[list[float]], fractions: list[float]) -> None:
    sketch, other = Quantiles(), Quantiles()
    for index, part in enumerate(parts):
        (sketch if index % 2 else other).update(torch.tensor(part))
    sketch.merge(other)
    numbers = np.sort(np.array([number for part in parts for number in part], dtype=np.float32))
    assert sketch.count == len(numbers)
    if len(numbers):
        expected = [numbers[max(1, int(np.ceil(fraction * len(numbers)))) - 1] for fraction in fractions]
        assert sketch.at(torch.tensor(fractions, dtype=torch.float64)).tolist() == expected


@pytest.mark.parametrize("order", ["random", "sorted", "falling"])
def test_many_quantiles_are_within_their_bound(order: str) -> None:
    size, count = 256, 300_000
    generator = torch.Generator().manual_seed(1)
    numbers = torch.randn(count, generator=generator)
    given_order = numbers if order == "random" else numbers.sort(descending=order == "falling").values
    one, parts = Quantiles(size), [Quantiles(size) for _ in range(3)]
    for index, chunk in enumerate(given_order.split(7919)):
        one.update(chunk)
        parts[index % 3].update(chunk)
    for part in parts[1:]:
        parts[0].merge(part)
    fractions = torch.arange(1, 100, dtype=torch.float64) / 100
    ordered = numbers.sort().values.double()
    for sketch in (one, parts[0]):
        assert sketch.count == count
        ranks = torch.searchsorted(ordered, sketch.at(fractions), right=True) / count
        assert float((ranks - fractions).abs().max()) <= np.log2(count / size) / size


def test_range_ignores_what_is_not_finite() -> None:
    sketch = Range()
    sketch.update(torch.tensor([float("nan"), 3.0, float("-inf"), -2.0]))
    assert (sketch.low, sketch.high) == (-2.0, 3.0)


@given(parts=st.lists(st.lists(st.integers(-3, 3), max_size=20), min_size=1, max_size=5), least=st.integers(1, 4), most=st.integers(1, 5))
def test_vocabulary_of_the_most_frequent(parts: list[list[int]], least: int, most: int) -> None:
    counts = Counter(value for part in parts for value in part)
    kept = sorted((value for value in counts if counts[value] >= least), key=lambda value: (-counts[value], value))[:most]
    feature = Feature("f").select("x").vocabulary(min_count=least, max_size=most)
    batches = [Batch.of({"x": torch.tensor(part, dtype=torch.int64)}) for part in parts]
    if not kept:
        with pytest.raises(ConfigError, match=f"feature 'f', column 'x': vocabulary: none of {len(counts)} distinct values"):
            fit([feature], batches)
        return
    (fitted,) = fit([feature], batches)
    out = FeatureEngine([fitted])(Batch.of({"x": torch.arange(-4, 5)}))["f"]
    assert out.tolist() == [kept.index(value) if value in kept else len(kept) for value in range(-4, 5)]  # type: ignore[union-attr]


def test_vocabulary_of_strings() -> None:
    batches = [Batch.of({"s": strings_of("ragged", [[b"a", b"b"], [b"b", b"c"]])}), Batch.of({"s": strings_of("ragged", [[b"b", b"a"]])})]
    (fitted,) = fit([Feature("f").select("s").vocabulary(min_count=2, oov_buckets=1)], batches)
    out = FeatureEngine([fitted])(Batch.of({"s": strings_of("dense", [b"b", b"a", b"c", b""])}))["f"]
    assert out.tolist() == [0, 1, 2, 2]  # type: ignore[union-attr]


def test_quantile_buckets_are_of_equal_size() -> None:
    numbers = torch.randn(1000, generator=torch.Generator().manual_seed(5))
    (fitted,) = fit([Feature("f").select("x").bucketize(quantiles=10)], [Batch.of({"x": chunk}) for chunk in numbers.split(64)])
    out = FeatureEngine([fitted])(Batch.of({"x": numbers}))["f"]
    sizes = torch.bincount(out)  # type: ignore[arg-type]
    assert len(sizes) == 10
    assert int(sizes.max() - sizes.min()) <= 2


def test_a_learned_transform_may_read_another() -> None:
    feature = Feature("f").select("x").min_max().zscore()
    other = Feature("g").select("x").log1p().zscore().bucketize(quantiles=2)
    batches = batches_of([[1.0, 2.0], [3.0, 5.0]])
    features = fit([feature, other], batches)
    out = FeatureEngine(features)(Batch.of({"x": torch.tensor([1.0, 2.0, 3.0, 5.0], dtype=torch.float64)}))
    scaled = (np.array([1.0, 2, 3, 5]) - 1) / 4
    assert np.allclose(out["f"].numpy(), (scaled - scaled.mean()) / scaled.std(), atol=1e-6)  # type: ignore[union-attr]
    assert out["g"].tolist() == [0, 0, 1, 1] or out["g"].tolist() == [0, 1, 1, 1]  # type: ignore[union-attr]


def test_parts_of_the_data_merge_to_the_same_features() -> None:
    features = [Feature("z").select("x").zscore(), Feature("q").select("x").bucketize(quantiles=3), Feature("m").select("x").min_max()]
    batches = batches_of([[1.0, 5.0, 2.0], [7.0], [3.0, 4.0], []])
    whole, left, right = Fitting(features), Fitting(features), Fitting(features)
    for index, batch in enumerate(batches):
        whole.update(batch)
        (left if index % 2 else right).update(batch)
    left.merge(right)
    assert whole.features()[1:] == left.features()[1:]
    assert [column.name for column in left.columns] == ["x"]
    with pytest.raises(ConfigError, match="only fittings of the same features"):
        left.merge(Fitting(features[:1]))


def test_padding_does_not_count_and_what_samples_share_counts_for_each() -> None:
    padded = Batch.of({"x": torch.tensor([1, 1, 2, 2, 2])}, num_padding=2)
    shared = Batch({"user": Group({"x": torch.tensor([1, 2])}, 2, torch.tensor([0, 0, 1, 1, 1]))}, num_padding=2)
    for batch in (padded, shared):
        (fitted,) = fit([Feature("f").select("x").vocabulary(min_count=2)], [batch])
        assert fitted == Feature("f").select("x").vocabulary([1], missing=1)


def test_fitted_features_change_nothing_else_and_need_no_pass() -> None:
    known = [Feature("a").select("x").log1p(), Feature("b").select("y").cross("x")]
    assert fit(known, []) == known


def test_counting_has_a_limit() -> None:
    counts = Counts(most_distinct=10)
    counts.update(torch.arange(10))
    with pytest.raises(ConfigError, match="more than 10 distinct values; hash the column instead"):
        counts.update(torch.tensor([99]))


def test_what_cannot_be_fitted_is_named() -> None:
    feature = Feature("f").select("x").zscore()
    with pytest.raises(ConfigError, match=r"feature 'f': zscore is not fitted; write features = sparrow.features.fit"):
        FeatureEngine([feature])
    with pytest.raises(ConfigError, match="feature 'f', column 'x': zscore: 2 numbers without spread"):
        fit([feature], batches_of([[3.0, 3.0]]))
    with pytest.raises(ConfigError, match="feature 'f', column 'x': zscore: 0 numbers"):
        fit([feature], [])
    with pytest.raises(DataError, match="feature 'f', column 'x', sample 0 of the batch: zscore takes numbers"):
        fit([feature], [Batch.of({"x": strings_of("dense", [b"a"])})])
    with pytest.raises(DataError, match="takes strings or integers"):
        fit([Feature("f").select("x").vocabulary(min_count=1)], batches_of([[1.0]]))
    with pytest.raises(ConfigError, match="nearly all of 3 numbers are 2"):
        fit([Feature("f").select("x").bucketize(quantiles=4)], batches_of([[2.0, 2.0, 2.0]]))


@pytest.mark.parametrize(
    ("declare", "named"),
    [
        (lambda f: f.bucketize([1], quantiles=3), "give boundaries or quantiles"),
        (lambda f: f.bucketize(quantiles=1), "two buckets are the least"),
        (lambda f: f.zscore(1.0), "give mean and std, or neither"),
        (lambda f: f.min_max(high=1.0), "give low and high, or neither"),
        (lambda f: f.hash().zscore(), "cannot follow a transform that makes ids"),
        (lambda f: f.vocabulary(min_count=0), "min_count must be an integer of at least 1"),
        (lambda f: f.vocabulary(missing="error"), "would refuse every rare value"),
        (lambda f: f.vocabulary(min_count=2).log1p(), "log1p cannot follow"),
    ],
)
def test_mistakes_show_at_declaration(declare: object, named: str) -> None:
    with pytest.raises(ConfigError, match=f"'f'.*{named}"):
        declare(Feature("f").select("x"))  # type: ignore[operator]


def test_lists_are_fitted_value_by_value() -> None:
    batch = Batch.of({"x": column_of("ragged", [[1.0, 3.0], [], [5.0]], torch.float32)})
    (fitted,) = fit([Feature("f").select("x").min_max()], [batch])
    assert fitted == Feature("f").select("x").min_max(1.0, 5.0)


def test_batches_that_come_once_serve_one_pass() -> None:
    once = (batch for batch in batches_of([[1.0, 2.0], [3.0]]))
    (fitted,) = fit([Feature("f").select("x").min_max()], once)
    assert fitted == Feature("f").select("x").min_max(1.0, 3.0)
    deep = Feature("f").select("x").min_max().bucketize(quantiles=2)
    with pytest.raises(ConfigError, match="an iterator gives batches once; pass a list"):
        fit([deep], (batch for batch in batches_of([[1.0, 2.0], [3.0]])))
    assert fit([deep], batches_of([[1.0, 2.0], [3.0]]))[0].output.values == "id"
