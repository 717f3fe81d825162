"""Batches made on a device are those of the CPU, bit for bit, and nobody waits. `device_reading.py` says what is read."""

import importlib.util
from pathlib import Path

import pytest
import torch

from sparrow import knobs
from tests_support import run_python

pytestmark = pytest.mark.gpu
ON_GPU = torch.cuda.is_available()


def run(scenario: str) -> None:
    """Run a scenario on the GPU where there is one, else in the interpreter, which is chosen before triton is imported."""
    if importlib.util.find_spec("pyarrow") is None:
        pytest.skip("pyarrow is not installed: files cannot be read")
    if importlib.util.find_spec("triton") is None:
        message = "triton is not installed: batches on a device were not tested"
        pytest.fail(message) if knobs.require_cuda() else pytest.skip(message)
    environment = {} if ON_GPU else {"TRITON_INTERPRET": "1"}
    run_python(f"import device_reading; device_reading.run({scenario!r})", PYTHONPATH=str(Path(__file__).parents[1]), **environment)


@pytest.mark.parametrize(
    "scenario",
    ["in_order", "in_any_order", "tails", "chosen_rows", "shared_rows", "requests", "unlike_pieces", "resumed", "kept_and_written"],
)
def test_batches_are_those_of_the_cpu(scenario: str) -> None:
    run(scenario)


@pytest.mark.skipif(ON_GPU, reason="kernels are counted in the interpreter")
def test_a_batch_launches_few_kernels() -> None:
    run("launches")
