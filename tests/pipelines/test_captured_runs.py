"""Trainers whose captured steps hold transforms. `captured_runs.py` says what is done."""

import pytest

from device_support import run_on_device

PACKAGES = ("pyarrow", "pydantic", "safetensors", "yaml")


def run(scenario: str) -> None:
    run_on_device(f"from pipelines import captured_runs; captured_runs.{scenario}()", *PACKAGES)


@pytest.mark.gpu
def test_steps_with_transforms_and_strings_are_those_of_the_cpu() -> None:
    run("transforms_are_captured")


@pytest.mark.gpu
def test_histories_are_those_of_the_cpu_but_for_rounding() -> None:
    run("behaviours_are_captured")


@pytest.mark.gpu
@pytest.mark.long_without_gpu
def test_what_replays_refuse_is_told_before_anything_is_written() -> None:
    run("refusals_are_told_before_anything_is_written")


@pytest.mark.gpu
@pytest.mark.long_without_gpu
def test_what_replays_refuse_is_no_misfit() -> None:
    run("refusals_are_no_misfits")


@pytest.mark.gpu
@pytest.mark.long_without_gpu
def test_the_configuration_of_the_page_is_captured() -> None:
    run("the_configuration_of_the_page_is_captured")
