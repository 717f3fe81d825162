"""Python in a process of its own, on the GPU where there is one, else beside the device of `strict_device`."""

import importlib.util
from pathlib import Path

import pytest

from sparrow import knobs
from tests_support import run_python
from triton_support import EMULATES, ON_GPU


def run_on_device(code: str, *needed: str) -> str:
    """Return what `code` prints. Without a GPU Triton interprets, which is chosen before triton is imported.

    needed: packages beside torch and triton; where one is absent the test is skipped.
    """
    missing = [name for name in ("triton", *needed) if importlib.util.find_spec(name) is None]
    if missing:
        message = f"not installed: {', '.join(missing)}; what runs on a device was not tested"
        pytest.fail(message) if knobs.require_cuda() and "triton" in missing else pytest.skip(message)
    environment = {} if ON_GPU or EMULATES else {"TRITON_INTERPRET": "1"}
    return run_python(code, PYTHONPATH=str(Path(__file__).parent), **environment)
