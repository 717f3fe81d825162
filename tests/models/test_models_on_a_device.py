"""Models on a device: those of the CPU, and nobody waits. `device_models.py` says what is done."""

import pytest

from device_support import run_on_device


@pytest.mark.gpu
@pytest.mark.parametrize(
    "scenario",
    [
        "nothing_waits",
        "pairs_of_shared_rows_wait_for_nothing",
        pytest.param("models_are_replayed", marks=pytest.mark.long_without_gpu),
        "shared_rows_without_a_bound_are_refused",
        "unequal_lists_of_a_sequence_are_told_later",
    ],
)
def test_models_on_a_device(scenario: str) -> None:
    run_on_device(f"from models import device_models; device_models.{scenario}()")


def test_dice_counts_rows_that_are_there() -> None:
    run_on_device("from models import device_models; device_models.dice_counts_rows_that_are_there()")
