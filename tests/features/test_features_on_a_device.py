"""Features of a batch on a device: the bits of the CPU. `device_features.py` says what is done."""

import importlib.util
from pathlib import Path

import pytest
import torch

from sparrow import knobs
from tests_support import run_python


def run(function: str) -> str:
    if importlib.util.find_spec("triton") is None:
        message = "triton is not installed: features on a device were not tested"
        pytest.fail(message) if knobs.require_cuda() else pytest.skip(message)
    environment = {} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"}
    code = f"from features import device_features; device_features.{function}()"
    return run_python(code, PYTHONPATH=str(Path(__file__).parents[1]), **environment)


def test_features_on_a_device_are_those_of_the_cpu() -> None:
    assert int(run("features_equal_those_of_the_cpu")) > 8


@pytest.mark.skipif(torch.cuda.is_available(), reason="kernels are counted in the interpreter")
def test_a_planner_node_is_one_launch() -> None:
    nodes = [line.split() for line in run("launches_of_each_node").splitlines()]
    assert len({kind for kind, *_ in nodes}) > 12
    for kind, *launched in nodes:
        # Weights are memory that the column has already.
        assert len(launched) == (0 if kind == "weights" else 1), (kind, launched)
