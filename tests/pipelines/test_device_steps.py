"""A trainer whose steps wait for no device, and one whose steps are captured. `device_steps.py` says what is done."""

import pytest

from device_support import run_on_device

PACKAGES = ("pyarrow", "pydantic", "safetensors", "yaml")


def run(scenario: str) -> None:
    run_on_device(f"from pipelines import device_steps; device_steps.{scenario}()", *PACKAGES)


@pytest.mark.gpu
def test_steps_wait_for_nothing() -> None:
    run("steps_wait_for_nothing")


@pytest.mark.gpu
def test_wrong_steps_are_named_and_nothing_is_written_of_them() -> None:
    run("wrong_steps_are_named_and_nothing_is_written_of_them")


@pytest.mark.gpu
def test_hooks_read_what_is_true() -> None:
    run("hooks_read_what_is_true")


@pytest.mark.gpu
def test_a_norm_is_clipped_without_waiting() -> None:
    run("a_norm_is_clipped_without_waiting")


@pytest.mark.gpu
def test_captured_steps_are_eager_ones() -> None:
    run("captured_steps_are_eager_ones")


@pytest.mark.gpu
@pytest.mark.long_without_gpu
def test_replays_wait_for_nothing_and_name_what_is_wrong() -> None:
    run("replays_wait_for_nothing_and_name_what_is_wrong")


@pytest.mark.gpu
@pytest.mark.long_without_gpu
def test_a_graph_that_is_of_no_use_is_told_of() -> None:
    run("a_graph_that_is_of_no_use_is_told_of")


@pytest.mark.gpu
def test_what_cannot_be_captured_is_refused() -> None:
    run("what_cannot_be_captured_is_refused")


@pytest.mark.gpu
@pytest.mark.long_without_gpu
def test_configured_runs_are_captured() -> None:
    run("configured_runs_are_captured")
