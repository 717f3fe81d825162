"""Settings of every test: reproducible examples, and outputs of kernels poisoned before they are written."""

import inspect
import re
from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings

# Deterministic: a failure in CI is the failure at home. No deadline: the machines are shared.
settings.register_profile(
    "sparrow",
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("sparrow")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `gpu` what runs on a device: tests named after a Triton body, and those that ask for one or for the GPU.

    Compiling for other targets tells nothing on a GPU that runs them.
    """
    for item in items:
        text = inspect.getsource(item.function) if isinstance(item, pytest.Function) else ""
        if ("triton" in item.name or re.search(r"\b(needs_gpu|interpreted|run_triton|triton_body)\(", text)) and (
            "for_real_targets" not in item.name
        ):
            item.add_marker("gpu")
        if item.get_closest_marker("long_without_gpu") is not None and not torch.cuda.is_available():
            item.add_marker("nightly")


@pytest.fixture(autouse=True)
def _poisoned_empty_tensors() -> Iterator[None]:
    """Fill what `torch.empty` returns with NaN or the largest integer, so that no test passes on memory that happened to be zero."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])


@pytest.fixture(autouse=True)
def _subnormal_numbers_count() -> None:
    """What torch.compile builds with GCC 12 leaves the thread flushing subnormal numbers to zero: the next test must not inherit it."""
    torch.set_flush_denormal(False)


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
