"""What `test_features_on_a_device.py` runs in a process of its own: an engine's features on a device beside those of the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

import device_scenarios
from features.test_plan import batch_of
from features.test_plan_file import everything
from sparrow.features import FeatureEngine
from sparrow.types import Batch, Column


def moved(column: Column, device: torch.device | str) -> Column:
    return column.to(device)


def features_equal_those_of_the_cpu() -> None:
    """Every feature that a file may hold, bit for bit; print how many planner nodes there are."""
    with device_scenarios.device():
        engine, batch = FeatureEngine(everything()), batch_of(2, rows=40)
        expected = engine(batch)
        columns = {name: moved(batch[name], device_scenarios.DEVICE) for name in batch}
        out = engine(Batch.of(columns))
        for name in expected:
            mine, theirs = moved(out[name], "cpu"), expected[name]
            if isinstance(theirs, Tensor):
                assert isinstance(mine, Tensor)
                assert device_scenarios.same_bits(mine, theirs), name
            else:
                assert all(device_scenarios.same_bits(a, b) for a, b in zip(mine.offsets, theirs.offsets, strict=True)), name
                assert device_scenarios.same_bits(mine.values, theirs.values), name
        print(len(engine.plan.nodes))
