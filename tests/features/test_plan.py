"""What the planner fuses, how often the dispatcher is called, and what the plan looks like."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from features.columns import column_of, strings_of
from features.running import same_column
from sparrow.features import Feature, FeatureEngine
from sparrow.features.plan import Plan
from sparrow.types import Batch, Ragged


def wide(num_columns: int) -> list[Feature]:
    """Features of every kind of node, over many columns."""
    features = []
    for k in range(num_columns):
        features.append(Feature(f"number{k}").select(f"n{k}").fill(0.0).clip(-3, 3).log1p().zscore(0.5, 2.0).bucketize([-0.1 * k, 0.2]))
        features.append(Feature(f"text{k}").select(f"s{k}").hash("farm").mod(1000 + k))
        features.append(Feature(f"list{k}").select(f"l{k}").truncate(2 + k % 3, keep="tail").hash("murmur", buckets=100))
        features.append(
            Feature(f"crossed{k}").select(f"s{k}").hash("farm").cross(Feature("x").select(f"l{k}").truncate(2 + k % 3, keep="tail"))
        )
    return features


def batch_of(num_columns: int, rows: int = 6) -> Batch:
    generator = torch.Generator().manual_seed(num_columns)
    columns: dict[str, Any] = {}
    for k in range(num_columns):
        lists = [torch.randint(0, 50, (size,), generator=generator).tolist() for size in torch.randint(0, 6, (rows,), generator=generator)]
        columns[f"n{k}"] = torch.randn(rows, generator=generator)
        columns[f"s{k}"] = strings_of("dense", [f"word {k} {row}".encode() for row in range(rows)])
        columns[f"l{k}"] = column_of("ragged", lists, torch.int64)
    return Batch.of(columns)


class Calls(TorchDispatchMode):
    """Counts the operators that the dispatcher runs."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names[str(func)] += 1
        return func(*args, **(kwargs or {}))


def test_a_call_of_ours_a_node_whatever_the_number_of_columns_and_no_cat() -> None:
    for num_columns in (1, 7):
        engine, batch = FeatureEngine(wide(num_columns)), batch_of(num_columns)
        engine(batch)  # packs what depends on the layouts
        with Calls() as calls:
            engine(batch)
        ours = {name: count for name, count in calls.names.items() if name.startswith("sparrow")}
        assert sum(ours.values()) == len(engine.plan.nodes) == 4
        assert not {"aten.cat.default", "aten.stack.default"} & set(calls.names)


def test_concat_and_pad_are_a_call_a_node_of_dense_columns_and_lists_too() -> None:
    columns = {f"d{k}": torch.arange(12.0).reshape(4, 3) + k for k in range(3)}
    columns["n"] = torch.tensor([7.0, 8.0, 9.0, 10.0])
    batch = Batch.of({**columns, "t": column_of("ragged", [[1.0], [2.0, 3.0], [], [4.0]], torch.float32)})
    dense = [Feature("two").select("d0").concat("d1"), Feature("three").select("n").concat("d2", "n")]
    engine = FeatureEngine([*dense, Feature("lists").select("t").concat("n")])
    out = engine(batch)
    assert torch.equal(out["two"], torch.cat([columns["d0"], columns["d1"]], 1))
    assert torch.equal(out["three"], torch.cat([columns["n"][:, None], columns["d2"], columns["n"][:, None]], 1))
    with Calls() as calls:
        engine(batch)
    assert [name for name in calls.names if "view" not in name and "reshape" not in name] == ["sparrow.concat_rows.default"]
    assert calls.names["sparrow.concat_rows.default"] == len(engine.plan.nodes) == 1

    nested = {
        "a": column_of("ragged", [[1], [2, 3]], torch.int64),
        "b": Ragged(torch.arange(3), (torch.tensor([0, 1, 2]), torch.tensor([0, 1, 3]))),
    }
    engine = FeatureEngine([Feature("a").select("a").pad(2), Feature("b").select("b").pad((2, None))])
    batch = Batch.of(nested)
    engine(batch)
    with Calls() as calls:
        engine(batch)
    assert sum(count for name, count in calls.names.items() if name.startswith("sparrow")) == len(engine.plan.nodes) == 2


def test_chains_are_one_pass_and_kinds_of_one_depth_one_node() -> None:
    plan = Plan.of(wide(3))
    assert [(node.depth, node.kind, len(node.units)) for node in plan.nodes] == [
        (1, "map", 6),  # numbers, and hashes, which two features use
        (1, "truncate", 3),  # used twice, computed once
        (2, "cross", 3),
        (2, "map", 6),  # mod of the hashes, hash of the lists
    ]


def test_fused_and_unfused_agree_in_every_bit() -> None:
    features, batch = wide(5), batch_of(5)
    fused, alone = FeatureEngine(features)(batch), FeatureEngine(features, fuse=False)(batch)
    assert len(FeatureEngine(features, fuse=False).plan.nodes) > len(FeatureEngine(features).plan.nodes)
    for name in fused:
        assert same_column(fused[name], alone[name]), name


def test_a_value_that_two_features_use_is_computed_once() -> None:
    hashed = Feature("a").select("s").hash()
    plan = Plan.of([hashed, Feature("b").select("s").hash().mod(7), Feature("c").select("s").hash().mod(9)])
    assert [(node.kind, len(node.units)) for node in plan.nodes] == [("map", 1), ("map", 2)]


def test_the_same_engine_takes_columns_of_other_dtypes_and_layouts() -> None:
    engine = FeatureEngine([Feature("f").select("x").mod(10), Feature("g").select("y").fill(1).log1p()])
    for x, y in [
        (torch.tensor([11]), torch.tensor([1.0])),
        (torch.tensor([12], dtype=torch.int32), torch.tensor([1.0], dtype=torch.float64)),
        (column_of("ragged", [[13, 14]], torch.int64), column_of("ragged", [[]], torch.float32)),
        (torch.tensor([11]), torch.tensor([1.0])),
    ]:
        out = engine(Batch.of({"x": x, "y": y}))
        assert out["g"].dtype == (torch.float32 if not isinstance(y, torch.Tensor) else y.dtype)  # type: ignore[union-attr]


def test_explain_names_calls_columns_bytes_and_features() -> None:
    engine = FeatureEngine(wide(2))
    text = engine.explain()
    assert text.startswith(f"8 features of 6 columns: 20 transforms in {len(engine.plan.nodes)} operator calls")
    assert "n0 | fill(0.0) | clip(-3, 3) | log1p | zscore(0.5, 2.0) | bucketize" in text
    assert "number1 <- n1 | fill(0.0)" in text
    assert "cross[s0 | hash('farm'), l0 | truncate(2, 'tail')]" in text
    batch = batch_of(2)
    shown = engine.explain(batch)
    assert " read, " in shown
    truncated = next(line for line in shown.splitlines() if "truncate: 2 columns" in line)
    read = sum(batch[f"l{k}"].values.nbytes + batch[f"l{k}"].offsets[0].nbytes for k in range(2))  # type: ignore[union-attr]
    assert f"{read} B read" in truncated


def test_explain_shows_arguments_that_are_zero_and_leaves_out_defaults() -> None:
    x = Feature("f").select("x")
    declared = {
        "clip(0, 1)": x.clip(0, 1),
        "zscore(0, 2)": x.zscore(0, 2),
        "hash('farm')": x.hash(),
        "hash('farm', 0, True)": x.hash(non_negative=True),
        "hash('murmur', 10)": x.hash("murmur", buckets=10),
        "truncate(0)": x.truncate(0),
        "truncate(5, 'head', 1)": x.truncate(5, level=1),
        "finite('replace', 2.0)": x.finite("replace", 2.0),
        "vocabulary(['a', 'b'], 0)": x.vocabulary(["a", "b"], missing=0),
        "length": x.length(),
    }
    for text, feature in declared.items():
        assert f"    f <- x | {text}" in FeatureEngine([feature]).explain().splitlines()


def test_the_drawing_is_well_formed_and_holds_every_name() -> None:
    engine = FeatureEngine([*wide(2), Feature("a<b").select("x & y")])
    root = ET.fromstring(engine.draw())
    texts = {"".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {*engine.plan.columns, *(feature.name for feature in engine.features)} <= texts
    edges = list(root.iter("{http://www.w3.org/2000/svg}path"))
    wanted = sum(len(set(unit.result.inputs)) if not hasattr(unit, "source") else 1 for node in engine.plan.nodes for unit in node.units)
    assert len(edges) == wanted + len(engine.features)
