"""Features of a batch on a device: the bits of the CPU. `device_features.py` says what is done."""

import importlib.util
from pathlib import Path

import pytest
import torch

from sparrow import knobs
from tests_support import run_python


def test_features_on_a_device_are_those_of_the_cpu() -> None:
    if importlib.util.find_spec("triton") is None:
        message = "triton is not installed: features on a device were not tested"
        pytest.fail(message) if knobs.require_cuda() else pytest.skip(message)
    environment = {} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"}
    code = "from features import device_features; device_features.features_equal_those_of_the_cpu()"
    assert int(run_python(code, PYTHONPATH=str(Path(__file__).parents[1]), **environment)) > 8
