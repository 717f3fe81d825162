"""Features of a batch on a device: the bits of the CPU. `device_features.py` says what is done."""

import pytest

from device_support import ON_GPU, run_on_device


@pytest.mark.gpu
def test_features_on_a_device_are_those_of_the_cpu() -> None:
    code = "from features import device_features; device_features.features_equal_those_of_the_cpu()"
    assert int(run_on_device(code, "hypothesis")) > 8


@pytest.mark.skipif(ON_GPU, reason="kernels are counted in the interpreter")
def test_a_planner_node_is_one_launch() -> None:
    code = "from features import device_features; device_features.launches_of_each_node()"
    nodes = [line.split() for line in run_on_device(code, "hypothesis").splitlines()]
    assert len({kind for kind, *_ in nodes}) > 12
    for kind, *launched in nodes:
        # Weights are memory that the column has already.
        assert len(launched) == (0 if kind == "weights" else 1), (kind, launched)
