"""Features of a batch on a device: the bits of the CPU. `device_features.py` says what is done."""

import pytest

from device_support import run_on_device


@pytest.mark.gpu
def test_features_on_a_device_are_those_of_the_cpu() -> None:
    code = "from features import device_features; device_features.features_equal_those_of_the_cpu()"
    assert int(run_on_device(code, "hypothesis")) > 8
