"""Features inside captured steps: those of eager steps on the CPU, bit for bit. `captured_features.py` says what is done."""

import pytest

from device_support import run_on_device


@pytest.mark.gpu
def test_replays_make_the_features_of_eager_steps_and_train_the_same_rows() -> None:
    run_on_device("from features import captured_features; captured_features.features_are_replayed(48)", "hypothesis")


@pytest.mark.gpu
def test_a_capture_refuses_what_has_no_bound_and_names_the_feature() -> None:
    run_on_device("from features import captured_features; captured_features.what_a_capture_refuses()", "hypothesis")


@pytest.mark.gpu
def test_what_replays_refuse_is_told_by_a_later_call() -> None:
    run_on_device("from features import captured_features; captured_features.what_replays_refuse()", "hypothesis")


@pytest.mark.gpu
def test_counters_hold_what_replays_counted() -> None:
    run_on_device("from features import captured_features; captured_features.counters_and_memory_of_several_captures()", "hypothesis")
