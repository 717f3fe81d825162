"""Features from plain data equal features from the builder; mistakes name the key."""

import pytest

from sparrow.errors import ConfigError
from sparrow.features import Feature, expand_names, features_from_config


def test_equals_the_builder() -> None:
    entry = {"name": "i{1..2}", "select": "n{1..2}", "transforms": [{"fill": 0.0}, "log1p", {"bucketize": [1, 2]}]}
    assert features_from_config(entry) == [Feature(f"i{k}").select(f"n{k}").fill(0.0).log1p().bucketize([1.0, 2.0]) for k in (1, 2)]
    assert features_from_config({"name": "s", "transforms": [{"hash": "farm"}, {"mod": 10}]}) == [
        Feature("s").select("s").hash("farm").mod(10)
    ]


X = Feature("f").select("x")
OTHER = Feature("o").select("y").mod(24)


@pytest.mark.parametrize(
    ("transforms", "features"),
    [
        ([{"truncate": {"length": 5, "keep": "tail"}}], [X.truncate(5, keep="tail")]),
        ([{"truncate": 5}, "unique", "length"], [X.truncate(5).unique().length()]),
        ([{"pad": [3, 4]}], [X.pad((3, 4))]),
        ([{"pad": {"length": [3, None], "side": "left"}}], [X.pad((3, None), side="left")]),
        ([{"mask": 3}], [X.mask(3)]),
        (["weights", {"clip": {"low": 0, "high": 1}}], [X.weights().clip(0, 1)]),
        ([{"top": 3}], [X.top(3)]),
        ([{"hash": {"algorithm": "murmur", "buckets": 10, "non_negative": True}}], [X.hash("murmur", buckets=10, non_negative=True)]),
        (["log", {"zscore": {"mean": 1, "std": 2}}, {"min_max": {"low": 0, "high": 2}}], [X.log().zscore(1, 2).min_max(0, 2)]),
        (["zscore", {"finite": "error"}], [X.zscore().finite("error")]),
        (["min_max", {"bucketize": {"quantiles": 4}}], [X.min_max().bucketize(quantiles=4)]),
        ([{"multi_hash": [10, 20]}], X.multi_hash([10, 20])),
        ([{"quotient_remainder": 7}, {"mod": 3}], [feature.mod(3) for feature in X.quotient_remainder(7)]),
        ([{"vocabulary": ["a", "b"]}], [X.vocabulary(["a", "b"])]),
        ([{"vocabulary": {"keys": [1, 2], "missing": 5}}], [X.vocabulary([1, 2], missing=5)]),
        ([{"vocabulary": {"min_count": 3, "oov_buckets": 2}}], [X.vocabulary(min_count=3, oov_buckets=2)]),
        ([{"cross": "y"}], [X.cross("y")]),
        ([{"cross": ["y", {"select": "y", "transforms": [{"mod": 24}]}]}], [X.cross("y", OTHER)]),
        ([{"concat": [{"select": "y", "transforms": [{"mod": 24}]}]}], [X.concat(OTHER)]),
        (
            [{"lookup": {"keys": "k", "items": {"select": "y", "transforms": [{"mod": 24}]}, "default": -1}}],
            [X.lookup("k", OTHER, default=-1)],
        ),
        ([{"lookup": "k"}], [X.lookup("k")]),
        ([{"match": {"select": "y", "transforms": [{"mod": 24}]}}], [X.match(OTHER)]),
        ([{"overlap": {"other": "y", "kind": "jaccard"}}], [X.overlap("y", "jaccard")]),
        ([{"time_difference": "y"}, {"bucketize": [60, 3600]}], [X.time_difference("y").bucketize([60, 3600])]),
    ],
)
def test_every_transform_equals_the_builder(transforms: list[object], features: list[Feature]) -> None:
    assert features_from_config({"name": "f", "select": "x", "transforms": transforms}) == features


def test_a_transform_without_argument_may_be_written_as_a_key() -> None:
    entry = {"name": "s", "transforms": [{"hash": None}, {"mod": 10}]}  # what YAML reads in "- hash:"
    assert features_from_config(entry) == [Feature("s").select("s").hash().mod(10)]
    assert features_from_config({"name": "s", "transforms": None}) == [Feature("s").select("s")]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("plain", ["plain"]),
        ("i{1..3}", ["i1", "i2", "i3"]),
        ("{a, b}_id", ["a_id", "b_id"]),
        ("{x,y}{1..2}", ["x1", "x2", "y1", "y2"]),
        ("i{08..11}", ["i08", "i09", "i10", "i11"]),
        ("i{3..3}", ["i3"]),
    ],
)
def test_patterns(pattern: str, names: list[str]) -> None:
    assert expand_names(pattern) == names


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"nam": "a"}, r"feature\.nam.*'name'"),
        ({}, r"feature\.name"),
        ({"name": 3}, r"feature\.name.*3"),
        ({"name": ""}, r"feature\.name: expected a name"),
        ({"name": "a", "select": ""}, r"feature\.select: expected the name of a column"),
        ({"name": "i{3..1}"}, r"feature: .*\{3\.\.1\}.*the smaller first"),
        ({"name": "i{1...3}"}, r"feature: .*\{1\.\.\.3\} is no range"),
        ({"name": "i{1..3"}, r"feature: .*brace has no partner"),
        ({"name": "i{a,}"}, r"feature: .*empty name"),
        ({"name": "a", "select": 3}, r"feature\.select.*3"),
        ({"name": "a", "select": None}, r"feature\.select.*None"),
        ({"name": "a", 3: 4}, r"feature\.3: unknown key"),
        (["a"], r"feature: expected keys name, select, transforms"),
        ({"name": "i{1..3}", "select": "n{1..2}"}, "2 columns for 3 names"),
        ({"name": "a", "transforms": "log1p"}, "expected a list"),
        ({"name": "a", "transforms": False}, "expected a list, got False"),
        ({"name": "a", "transforms": {}}, "expected a list"),
        ({"name": "a", "transforms": [{"bucketize": [10**400]}]}, r"transforms\[0\]\.bucketize: feature 'a'.*beyond float64"),
        ({"name": "a", "transforms": [{"log1p": 1, "fill": 2}]}, r"transforms\[0\]"),
        ({"name": "a", "transforms": [3]}, r"transforms\[0\]"),
        ({"name": "a", "transforms": ["logp1"]}, r"transforms\[0\].*'log1p'"),
        ({"name": "a", "transforms": [{"hash": "farm"}, "log1p"]}, r"transforms\[1\]\.log1p: feature 'a': log1p cannot follow"),
        ({"name": "a", "transforms": [{"mod": 2.5}]}, r"transforms\[0\]\.mod: feature 'a': mod\(2\.5\)"),
        ({"name": "a", "transforms": [{"bucketize": "123"}]}, r"transforms\[0\]\.bucketize: feature 'a'"),
        ({"name": "a", "transforms": ["fill"]}, r"transforms\[0\]\.fill"),
        ({"name": "a", "transforms": [{"mod": "many"}]}, r"transforms\[0\]\.mod"),
        ({"name": "a", "transforms": [{"bucketize": 3}]}, r"transforms\[0\]\.bucketize"),
        ({"name": "a", "transforms": [{"fill": "zero"}]}, r"transforms\[0\]\.fill"),
        (
            {"name": "a", "transforms": [{"truncate": {"lenght": 3}}]},
            r"transforms\[0\]\.truncate\.lenght: unknown argument; did you mean 'length'",
        ),
        ({"name": "a", "transforms": [{"truncate": {"keep": "tail"}}]}, r"transforms\[0\]\.truncate: .*length"),
        (
            {"name": "a", "transforms": [{"cross": [{"select": "b", "transforms": ["hsah"]}]}]},
            r"transforms\[0\]\.cross\[0\]\.transforms\[0\].*'hash'",
        ),
        (
            {"name": "a", "transforms": [{"cross": [{"select": "b", "transform": []}]}]},
            r"transforms\[0\]\.cross\[0\]\.transform: unknown key",
        ),
        ({"name": "a", "transforms": [{"cross": 3}]}, r"transforms\[0\]\.cross: .*found 3"),
        ({"name": "a", "transforms": ["cross"]}, r"transforms\[0\]\.cross: .*another column"),
        ({"name": "a", "transforms": [{"match": {"select": "b{1..2}"}}]}, r"transforms\[0\]\.match\.other"),
    ],
)
def test_mistakes_name_the_key(entry: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        features_from_config(entry)
