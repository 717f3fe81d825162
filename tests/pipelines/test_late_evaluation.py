"""Evaluations that wait for no batch. `late_evaluation.py` says what is done."""

import pytest

from device_support import run_on_device

PACKAGES = ("pyarrow", "pydantic", "safetensors", "yaml")


@pytest.mark.gpu
@pytest.mark.parametrize(
    "scenario",
    [
        "batches_are_not_waited_for",
        pytest.param("wrong_rows_are_named", marks=pytest.mark.long_without_gpu),
        "a_stop_leaves_the_data_set_where_it_was",
    ],
)
def test_evaluation_on_a_device(scenario: str) -> None:
    run_on_device(f"from pipelines import late_evaluation; late_evaluation.{scenario}()", *PACKAGES)
