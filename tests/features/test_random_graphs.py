"""Random graphs of features over random columns: fused, unfused, and read from a file they agree in every bit."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from features.columns import NESTED, column_of, strings_of, tensors_of
from features.running import equal_bits, same_column
from sparrow.errors import ConfigError, DataError
from sparrow.features import Feature, FeatureEngine
from sparrow.features.plan_file import from_json, to_json
from sparrow.types import Batch, Column, Group

numbers = st.floats(width=32)
ids = st.sampled_from([0, 1, 2, 3, -1, 7, 2**63 - 1, -(2**63)])
words = st.sampled_from([b"", b"a", b"b", b"word", b"a longer word than any register holds: 0123456789"])

# A column may grow by crossing it with itself again and again: larger ones are not built upon.
MOST_VALUES = 200

# Builds a feature upon one, with two others; `pick` chooses arguments.
Build = Callable[[Callable[[Sequence[Any]], Any], Feature, Feature, Feature], Feature]

BUILDS: dict[str, Build] = {
    "fill": lambda pick, f, a, b: f.fill(pick([0, 1.5, -3])),
    "cast": lambda pick, f, a, b: f.cast(pick(["float32", "float64", "int64"])),
    "log1p": lambda pick, f, a, b: f.log1p(),
    "log": lambda pick, f, a, b: f.log(),
    "zscore": lambda pick, f, a, b: f.zscore(0.3, 1.7),
    "min_max": lambda pick, f, a, b: f.min_max(-1, 3),
    "clip": lambda pick, f, a, b: f.clip(pick([-2, -0.5]), 2),
    "finite": lambda pick, f, a, b: f.finite(pick(["count", "error"])),
    "replace": lambda pick, f, a, b: f.finite("replace", 0.5),
    "bucketize": lambda pick, f, a, b: f.bucketize(pick([[0.0], [-1.0, 2.0], [-1.0, 0.0, 0.1, 2.0]])),
    "hash": lambda pick, f, a, b: f.hash(
        pick(["farm", "murmur", "xxh64"]),
        buckets=pick([0, 1, 1000]),
        non_negative=pick([False, True]),
    ),
    "mod": lambda pick, f, a, b: f.mod(pick([1, 3, 1000, 2**63 - 1])),
    "quotient": lambda pick, f, a, b: f.quotient(pick([1, 3, 1000])),
    "multi_hash": lambda pick, f, a, b: f.multi_hash([10, 20])[pick([0, 1])],
    "vocabulary": lambda pick, f, a, b: f.vocabulary([0, 1, 2, -(2**63)], missing=pick([9, "error"])),
    "vocabulary of strings": lambda pick, f, a, b: f.vocabulary(["a", "", "word"], oov_buckets=pick([0, 5])),
    "truncate": lambda pick, f, a, b: f.truncate(pick(range(4)), keep=pick(["head", "tail"]), level=pick([0, 1])),
    "pad": lambda pick, f, a, b: f.pad(pick([0, 2, (2, 3), (2, None)]), value=-1, keep=pick(["head", "tail"])),
    "mask": lambda pick, f, a, b: f.mask(pick([2, (2, 3)]), side=pick(["left", "right"])),
    "top": lambda pick, f, a, b: f.top(pick(range(4))),
    "unique": lambda pick, f, a, b: f.unique(weights=pick(["first", "sum"])),
    "length": lambda pick, f, a, b: f.length(),
    "weights": lambda pick, f, a, b: f.weights(),
    "cross": lambda pick, f, a, b: f.cross(a),
    "cross of three": lambda pick, f, a, b: f.cross(a, b),
    "concat": lambda pick, f, a, b: f.concat(a),
    "lookup": lambda pick, f, a, b: f.lookup(a, b, default=-1),
    "lookup of weights": lambda pick, f, a, b: f.lookup(a),
    "match": lambda pick, f, a, b: f.match(a),
    "overlap": lambda pick, f, a, b: f.overlap(a, pick(["count", "ratio", "jaccard", "contains", "equal", "any"])),
    "time_difference": lambda pick, f, a, b: f.time_difference(a),
}


def columns_of(data: st.DataObject, rows: int) -> dict[str, Column]:
    """Draw a column of every layout, of `rows` rows."""

    def drawn(layout: str, values: st.SearchStrategy[Any]) -> list[Any]:
        one = {"dense": values, "ragged": st.lists(values, max_size=3), NESTED: st.lists(st.lists(values, max_size=2), max_size=2)}
        of_layout = one.get(layout, st.lists(values, min_size=2, max_size=2))
        return data.draw(st.lists(of_layout, min_size=rows, max_size=rows))

    return {
        "number": column_of("dense", drawn("dense", numbers), torch.float32),
        "double": column_of("wide", drawn("wide", st.floats()), torch.float64),
        "half": column_of("ragged", drawn("ragged", st.floats(width=16)), torch.float16),
        "id": column_of("dense", drawn("dense", ids), torch.int64),
        "small": column_of("dense", drawn("dense", st.integers(-128, 127)), torch.int8),
        "list": column_of("ragged", drawn("ragged", ids), torch.int64, weights=True),
        "plain": column_of("ragged", drawn("ragged", ids), torch.int64),
        "nested": column_of(NESTED, drawn(NESTED, ids), torch.int64, weights=data.draw(st.booleans())),
        "word": strings_of("dense", drawn("dense", words)),
        "words": strings_of("ragged", drawn("ragged", words)),
    }


def batch_of(data: st.DataObject) -> Batch:
    """Draw samples, and users whom they share."""
    rows, users = data.draw(st.integers(0, 4)), data.draw(st.integers(1, 3))
    sample_to_row = data.draw(st.lists(st.integers(0, users - 1), min_size=rows, max_size=rows))
    shared = {f"user_{name}": column for name, column in columns_of(data, users).items() if name in ("id", "list", "number", "word")}
    return Batch({
        "sample": Group(columns_of(data, rows), rows),
        "user": Group(shared, users, torch.tensor(sample_to_row, dtype=torch.int64)),
    })  # fmt: skip


def size_of(column: Column) -> int:
    return column.numel() if isinstance(column, torch.Tensor) else column.values.numel()


def random_features(seed: int, batch: Batch) -> list[Feature]:
    """Return features that can be declared and computed, each built upon a column or an earlier one; part of those built are wanted."""
    pick = random.Random(seed).choice
    columns = [Feature(name).select(name) for name in batch]
    built: list[Feature] = []
    wanted = columns[:1]
    for number in range(60):
        base, a, b = (pick(built[-4:] if built and pick([True, True, False]) else columns) for _ in range(3))
        try:
            made = BUILDS[pick(sorted(BUILDS))](pick, base, a, b)
        except ConfigError:
            continue
        feature = Feature(f"f{number}", made.expression)
        out, alone = (result_of(feature, batch, fuse) for fuse in (True, False))
        assert (out is None) == (alone is None), "what is refused must not depend on fusion"
        if out is not None and size_of(out) <= MOST_VALUES:
            built.append(feature)
            wanted += [feature] if pick([True, False, False]) else []
    return wanted


def result_of(feature: Feature, batch: Batch, fuse: bool) -> Column | None:
    try:
        return FeatureEngine([feature], fuse=fuse)(batch)[feature.name]
    except DataError as error:
        said = str(error)
    assert said.startswith(f"feature {feature.name!r}, column ")
    assert "\n" not in said
    return None


@settings(max_examples=100)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_fused_unfused_and_loaded_features_agree(data: st.DataObject, seed: int) -> None:
    batch = batch_of(data)
    features = random_features(seed, batch)
    before = [tensor.clone() for tensor in tensors_of(batch)]
    engine = FeatureEngine(features)
    out = engine(batch)
    counters = engine.counters
    assert all(map(equal_bits, tensors_of(batch), before)), "the input was changed"
    loaded = from_json(json.loads(json.dumps(to_json(features))))
    assert loaded == features
    others = {
        "unfused": FeatureEngine(features, fuse=False),
        "loaded": FeatureEngine(loaded),
        "pickled": pickle.loads(pickle.dumps(engine)),
        "again": engine,
        "reversed": FeatureEngine(features[::-1]),
    }
    assert others["loaded"].plan == engine.plan
    for how, other in others.items():
        result = other(batch)
        assert set(result) == set(out)
        for feature in features:
            assert same_column(result[feature.name], out[feature.name]), (how, feature)
            assert result.group_of(feature.name).num_rows == out.group_of(feature.name).num_rows
    # An engine of many features makes of each what an engine of its own makes.
    for feature in features:
        alone = result_of(feature, batch, fuse=True)
        assert alone is not None
        assert same_column(alone, out[feature.name]), feature
    assert others["unfused"].counters == others["loaded"].counters == counters
