"""Tables on a device: the rows of the CPU, bit for bit, and nothing in a step that waits. `device_scenarios.py` says what is done."""

import pytest
import torch

from device_support import ON_GPU, run_on_device
from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.errors import ConfigError, TableError
from sparrow.tables import TableGroup, TableOptions


def run(scenario: str, *needed: str) -> str:
    return run_on_device(f"import device_scenarios; device_scenarios.{scenario}()", *needed)


@pytest.mark.gpu
def test_200_steps_leave_the_rows_of_the_cpu_to_the_bit() -> None:
    run("train_200_steps")


@pytest.mark.gpu
def test_16_bit_rows_and_weights_of_positions() -> None:
    run("train_16_bit_rows_with_weights")


@pytest.mark.gpu
def test_engines_train_alike_save_for_each_other_and_move() -> None:
    run("engines_train_save_and_move", "safetensors")


@pytest.mark.gpu
def test_bounds_are_near_and_errors_come_later() -> None:
    run("what_the_host_knows")


@pytest.mark.skipif(ON_GPU, reason="kernels are counted in the interpreter")
def test_a_step_of_26_features_launches_few_kernels() -> None:
    assert int(run("launches_of_a_step")) <= 20


@pytest.mark.parametrize("device", ["gpu", "meta", "cuda:99"])
def test_a_device_that_is_none_or_not_here_is_named(device: str) -> None:
    with pytest.raises(ConfigError, match=f"table 'a': device is '{device}'"):
        TableOptions(name="a", dim=2, device=device)
    with pytest.raises(ConfigError, match=f"table 'a': device is '{device}'"):
        EmbeddingEngine({"a": EmbeddingOption(dim=2, device=device)})


def test_moving_to_where_it_lives_does_nothing() -> None:
    group = TableGroup("g", [TableOptions(name="a", dim=2)], rows_per_block=8)
    lookup = group.lookup(torch.tensor([5]), torch.tensor([0, 1]), insert=True)
    blocks = group.blocks
    group.move("cpu")
    assert group.blocks is blocks
    assert lookup.rows.tolist() == [0]


def test_ids_and_offsets_elsewhere_are_refused() -> None:
    group = TableGroup("g", [TableOptions(name="a", dim=2)], rows_per_block=8)
    for ids, offsets in ((torch.empty(1, device="meta"), torch.tensor([0, 1])), (torch.tensor([1]), torch.empty(2, device="meta"))):
        with pytest.raises(TableError, match=r"'g'.* meta"):
            group.lookup(ids, offsets, insert=True)
