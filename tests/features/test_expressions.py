"""Expressions: equal where they compute the same, to the bit; of any depth. Engines shared by threads."""

from __future__ import annotations

import math
import pickle
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from features.columns import column_of
from sparrow.features import Context, Feature, FeatureEngine, FeatureType
from sparrow.types import Batch, Column

DEEP = 1500


@dataclass(frozen=True)
class Table:
    """A transform whose parameters are tuples of tuples."""

    entries: tuple[tuple[str, float], ...]
    kind: ClassVar[str] = "table_of_test"

    def output_type(self, given: FeatureType) -> FeatureType:
        return given

    def apply(self, column: Column, context: Context) -> Column:
        return column


PARAMETERS: list[Callable[[Feature, float], Feature]] = [
    lambda feature, value: feature.fill(value),
    lambda feature, value: feature.finite("replace", value),
    lambda feature, value: feature.clip(value, 5.0),
    lambda feature, value: feature.then(Table((("a", 1.0), ("b", value)))),
]


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_negative_zero_is_another_parameter(parameter: Callable[[Feature, float], Feature]) -> None:
    x = Feature("f").select("x")
    assert parameter(x, -0.0) != parameter(x, 0.0)
    assert parameter(x, -0.0) == parameter(x, -0.0)
    assert hash(parameter(x, -0.0).expression) == hash(parameter(x, -0.0).expression)
    assert parameter(x, 0) == parameter(x, 0.0)


def test_zeros_of_both_signs_are_both_computed() -> None:
    declared = [Feature("minus").select("x").fill(-0.0), Feature("plus").select("x").fill(0.0)]
    engine = FeatureEngine(declared)
    out = engine(Batch.of({"x": torch.tensor([math.nan, 1.0])}))
    assert out["minus"].signbit().tolist() == [True, False]
    assert out["plus"].signbit().tolist() == [False, False]
    lists = Batch.of({"l": column_of("ragged", [[1.0], []], torch.float32)})
    pads = [Feature("minus").select("l").pad(1, value=-0.0), Feature("plus").select("l").pad(1, value=0.0)]
    out = FeatureEngine(pads)(lists)
    assert [out[name].signbit().tolist() for name in ("minus", "plus")] == [[[False], [True]], [[False], [False]]]
    # A reader told to fill nulls with 0.0 would leave nothing for -0.0.
    assert engine.columns[0].default is None
    only = FeatureEngine(declared[:1]).columns[0].default
    assert only is not None
    assert math.copysign(1.0, only) == -1.0


def test_a_nan_is_itself_by_its_bits() -> None:
    (payload,) = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))
    made = [Feature("f").select("x").pad(2, value=value) for value in (math.nan, float("nan"), payload)]
    assert made[0] == made[1]
    assert made[0] != made[2]
    assert hash(made[0].expression) == hash(made[1].expression)
    engine = FeatureEngine([Feature("a", made[0].expression), Feature("b", made[1].expression)])
    assert [len(node.units) for node in engine.plan.nodes] == [1]


def deep() -> Feature:
    feature = Feature("f").select("x")
    for number in range(DEEP):
        feature = feature.clip(number / 2 - DEEP, DEEP)
    return feature.concat(feature.truncate(1))


def test_features_of_any_depth_are_pickled_shown_and_saved(tmp_path: Path) -> None:
    feature = deep()
    assert pickle.loads(pickle.dumps(feature)) == feature
    text = repr(feature)
    assert f"{DEEP + 2}: Concat() of {DEEP}, {DEEP + 1}" in text
    assert "0: 'x'; 1: Clip(" in text
    engine = FeatureEngine([feature])
    assert pickle.loads(pickle.dumps(engine.plan)).nodes == engine.plan.nodes
    engine.save(tmp_path / "features.json")
    assert FeatureEngine.load(tmp_path / "features.json").plan == engine.plan


def test_counters_of_an_engine_that_threads_share_miss_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every addition reads, lets the other thread read, and writes: what both add to is counted once."""
    engine = FeatureEngine([Feature("f").select("x").finite("count")])
    batch = Batch.of({"x": torch.tensor([math.nan, 1.0, math.inf])})
    both_have_read = threading.Barrier(2)

    def add(total: torch.Tensor, more: torch.Tensor) -> torch.Tensor:
        read = total.clone()
        both_have_read.wait(timeout=60)
        return total.copy_(read + more)

    monkeypatch.setattr(torch.Tensor, "__iadd__", add)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(engine, batch) for _ in range(2)]:
            done.result()
    monkeypatch.undo()
    engine(batch)
    assert engine.counters == {"f": 6}
