"""What `test_features_on_a_device.py` runs in a process of its own: an engine's features on a device beside those of the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import device_scenarios
from features.test_plan import batch_of
from features.test_plan_file import everything
from launches import counted
from sparrow.features import Feature, FeatureEngine, registry
from sparrow.types import Batch, Column, Ragged


def moved(column: Column, device: torch.device | str) -> Column:
    return column.to(device)


def every_transform() -> list[Feature]:
    """Features with every transform that a file may hold, those of weights and of dense columns too."""
    weighted, wide = Feature("w").select("w0"), Feature("wide").select("d0")
    return [
        *everything(),
        Feature("top").select("w0").top(2),
        Feature("summed").select("w0").unique(weights="sum"),
        Feature("heavy").select("w0").weights().clip(0, 0.5),
        Feature("nested").select("t0").pad((2, None)),
        Feature("squares").select("t0").pad((2, 3)),
        Feature("short").select("t0").truncate(1, level=1),
        Feature("side").select("d0").concat("n0", wide),
        Feature("both").select("w0").concat("l0"),
        Feature("pairs").select("w0").cross("l0", weighted.truncate(2)),
        Feature("worth").select("l0").lookup(weighted),
    ]


def batch_with_weights(rows: int) -> Batch:
    """What `every_transform` reads."""
    batch, generator = batch_of(2, rows=rows), torch.Generator().manual_seed(rows)
    columns = {name: batch[name] for name in batch}
    lists = torch.cat([torch.zeros(1, dtype=torch.int64), torch.randint(0, 5, (rows,), generator=generator).cumsum(0)])
    inner = torch.cat([torch.zeros(1, dtype=torch.int64), torch.randint(0, 4, (int(lists[-1]),), generator=generator).cumsum(0)])
    ids = torch.randint(0, 9, (int(inner[-1]),), generator=generator)
    columns["w0"] = Ragged(ids[: int(lists[-1])], (lists,), torch.rand(int(lists[-1]), generator=generator))
    columns["t0"] = Ragged(ids, (lists, inner))
    columns["d0"] = torch.randn(rows, 3, generator=generator)
    return Batch.of(columns)


def features_equal_those_of_the_cpu() -> None:
    """Every feature that a file may hold, bit for bit; print how many planner nodes there are, and what they launched by node."""
    with device_scenarios.device():
        engine, batch = FeatureEngine(every_transform()), batch_with_weights(40)
        used = {unit.kind for node in engine.plan.nodes for unit in node.units if unit.kind != "map"}
        used |= {one.kind for node in engine.plan.nodes for unit in node.units for one in getattr(unit, "transforms", ())}
        ours = {kind for kind, transform in registry._KNOWN.items() if transform.__module__.startswith("sparrow.features.transforms")}
        unused = ours - used
        assert not unused, f"every_transform has no {sorted(unused)}"
        expected = engine(batch)
        there = Batch.of({name: moved(batch[name], device_scenarios.DEVICE) for name in batch})
        out = engine(there)
        for name in expected:
            mine, theirs = moved(out[name], "cpu"), expected[name]
            if isinstance(theirs, Tensor):
                assert isinstance(mine, Tensor)
                assert device_scenarios.same_bits(mine, theirs), name
            else:
                assert all(device_scenarios.same_bits(a, b) for a, b in zip(mine.offsets, theirs.offsets, strict=True)), name
                assert device_scenarios.same_bits(mine.values, theirs.values), name
        print(len(engine.plan.nodes))


def launches_of_each_node() -> None:
    """Print, for each planner node of an engine with every transform, its kind and the kernels of ours that it launched."""
    assert not device_scenarios.ON_GPU, "kernels are counted where there is no GPU"
    with device_scenarios.device(), counted() as launched:
        engine, batch = FeatureEngine(every_transform()), batch_with_weights(40)
        there = Batch.of({name: moved(batch[name], device_scenarios.DEVICE) for name in batch})
        engine(there)  # packs what depends on the layouts
        for calls in engine._calls:
            run = calls.run

            def noted(known: Any, run: Any = run, kind: str = calls.node.kind) -> None:
                launched.clear()
                run(known)
                print(kind, *launched)

            calls.run = noted  # type: ignore[method-assign]
        engine(there)
