"""Batches made on a device are those of the CPU, bit for bit, and nobody waits. `device_reading.py` says what is read."""

import pytest

from device_support import ON_GPU, run_on_device
from sparrow.errors import ConfigError

pytestmark = pytest.mark.gpu


def run(*scenarios: str) -> None:
    run_on_device(f"import device_reading; device_reading.run(*{scenarios})", "pyarrow")


def test_rows_in_order_and_shuffled_are_those_of_the_cpu() -> None:
    run("in_order", "in_any_order", "unlike_pieces")


def test_tails_and_chosen_rows_are_those_of_the_cpu() -> None:
    run("tails", "chosen_rows")


def test_groups_are_those_of_the_cpu() -> None:
    run("shared_rows", "shared_rows_that_differ", "requests")


def test_states_are_those_of_the_cpu_and_batches_stay() -> None:
    run("resumed", "kept_and_written", "pieces_are_dropped")


def test_a_step_takes_batches_as_they_come() -> None:
    run("trained_on")


@pytest.mark.skipif(ON_GPU, reason="kernels are counted in the interpreter")
def test_a_batch_launches_few_kernels() -> None:
    run("launches")


@pytest.mark.parametrize("device", ["gpu", "meta", "cuda:99"])
def test_a_device_that_is_none_or_not_here_is_named(device: str) -> None:
    pytest.importorskip("pyarrow")
    from sparrow.io import Dataset

    with pytest.raises(ConfigError, match=f"Dataset: device is '{device}'"):
        Dataset("absent", ["x"], batch_size=1, device=device)


def test_what_is_sent_need_not_be_pinned() -> None:
    pytest.importorskip("pyarrow")
    from sparrow.io import Dataset

    with pytest.raises(ConfigError, match=r"pin_memory=True .* device='cuda' says where they are: leave one out"):
        Dataset("absent", ["x"], batch_size=1, device="cuda", pin_memory=True)
