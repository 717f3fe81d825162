"""A trainer whose steps wait for no device, and one whose steps are captured. `device_steps.py` says what is done."""

import pytest

from device_support import run_on_device

PACKAGES = ("pyarrow", "pydantic", "safetensors", "yaml")


def run(scenario: str) -> None:
    run_on_device(f"from pipelines import device_steps; device_steps.{scenario}()", *PACKAGES)


@pytest.mark.gpu
def test_steps_wait_for_nothing() -> None:
    run("steps_wait_for_nothing")
