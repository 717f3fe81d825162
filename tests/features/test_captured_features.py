"""Features inside captured steps: those of eager steps on the CPU, bit for bit. `captured_features.py` says what is done."""

import pytest
import torch

from device_support import run_on_device
from features.running import same_column
from sparrow.features import Feature, FeatureEngine
from sparrow.ops.recorded import RecordedStep
from sparrow.types import Batch, Ragged


@pytest.mark.gpu
@pytest.mark.parametrize("num_steps", [24, pytest.param(48, marks=pytest.mark.long_without_gpu)])
def test_replays_make_the_features_of_eager_steps_and_train_the_same_rows(num_steps: int) -> None:
    run_on_device(f"from features import captured_features; captured_features.features_are_replayed({num_steps})")


@pytest.mark.gpu
def test_memory_behind_lists_is_not_looked_at() -> None:
    run_on_device("from features import captured_features; captured_features.memory_behind_lists_is_not_looked_at(6)")


@pytest.mark.gpu
def test_a_capture_refuses_what_has_no_bound_and_names_the_feature() -> None:
    run_on_device("from features import captured_features; captured_features.what_a_capture_refuses()")


@pytest.mark.gpu
def test_what_replays_refuse_is_told_by_a_later_call() -> None:
    run_on_device("from features import captured_features; captured_features.what_replays_refuse()")


@pytest.mark.gpu
def test_counters_hold_what_replays_counted() -> None:
    run_on_device("from features import captured_features; captured_features.counters_and_memory_of_several_captures()")


def test_columns_on_the_cpu_are_what_they_are() -> None:
    """A step on a device may have features on the CPU beside it, of another engine."""
    lists = Ragged(torch.tensor([5, 6, 5]), (torch.tensor([0, 2, 3]),))
    x = Feature("x").select("x")
    engine = FeatureEngine([Feature("pairs").select("l").cross("l"), Feature("cut").select("l").truncate(1), x.finite("count").log1p()])
    batch = Batch.of({"l": lists, "x": torch.tensor([1.0, float("nan")])})
    wanted = engine(batch)
    with RecordedStep().active(capturing=False):
        found = engine(batch)
    assert all(same_column(found[name], wanted[name]) for name in wanted)
    assert engine.counters == {"x": 2}
