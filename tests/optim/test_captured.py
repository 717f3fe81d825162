"""Captured steps: the rows of eager ones on the CPU, bit for bit. `capture_scenarios.py` says what is done."""

import pytest
import torch

from device_support import run_on_device
from sparrow.errors import ConfigError, TableError
from sparrow.optim import CapturedStep, SparseOptimizer
from sparrow.tables import TableGroup, TableOptions
from sparrow.tables.recording import Recording, current_recording


@pytest.mark.gpu
@pytest.mark.parametrize(("rule", "num_steps"), [("adam", 100), ("adagrad_decay", 40)])
def test_replays_leave_the_rows_of_eager_steps_to_the_bit_and_refuse_to_grow(rule: str, num_steps: int) -> None:
    run_on_device(f"import capture_scenarios; capture_scenarios.a_group_is_replayed({rule!r}, {num_steps})")


@pytest.mark.gpu
def test_engines_of_several_groups_are_replayed_and_captured_again() -> None:
    run_on_device("import capture_scenarios; capture_scenarios.engines_are_replayed()")


@pytest.mark.gpu
def test_a_model_with_a_dense_half_and_transforms_is_replayed() -> None:
    run_on_device("import capture_scenarios; capture_scenarios.a_model_of_the_zoo_is_replayed()")


@pytest.mark.gpu
def test_refusals_name_what_is_wrong() -> None:
    run_on_device("import capture_scenarios; capture_scenarios.what_is_refused()")


def test_tables_on_the_cpu_are_not_captured() -> None:
    group = TableGroup("g", [TableOptions(name="a", dim=2)], rows_per_block=8)
    with pytest.raises(ConfigError, match=r"table groups live on \{'g': 'cpu'\}, expected one GPU"):
        CapturedStep(print, SparseOptimizer([group]))


def test_a_recording_ends_with_what_is_inside() -> None:
    recording = Recording([], torch.device("cpu"))

    def fail() -> None:
        with recording.active(capturing=False):
            assert current_recording() is recording
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert current_recording() is None
    with recording.active(capturing=False), pytest.raises(TableError, match="inside another"), recording.active(capturing=False):
        pass
