"""Features inside captured steps: those of eager steps on the CPU, bit for bit. `captured_features.py` says what is done."""

import pytest

from device_support import run_on_device


@pytest.mark.gpu
def test_replays_make_the_features_of_eager_steps_and_train_the_same_rows() -> None:
    run_on_device("from features import captured_features; captured_features.features_are_replayed(48)", "hypothesis")
