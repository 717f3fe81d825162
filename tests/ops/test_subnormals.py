"""Subnormal numbers count in every operator: a thread that flushes them, as compiled models leave some, has no say in results."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from ragged_columns import same_for_threads, table
from sparrow.ops.gather_pool.op import gather_pool
from sparrow.ops.init_rows.op import init_rows_  # noqa: F401  (the operator is defined)
from sparrow.ops.top_rows.op import top_rows
from sparrow.ops.update_rows.op import update_rows_
from sparrow.ops.update_rows.rules import RULES

# Thousands of subnormal float32, so that several threads have a share.
ROWS, DIM = 4096, 4
SMALL = (torch.arange(1, ROWS * DIM + 1, dtype=torch.int32)).view(torch.float32).view(ROWS, DIM)


@pytest.fixture
def flushing() -> Iterator[None]:
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor does not flush")
    assert float(torch.tensor(1e-40) * 1.0) == 0.0, "the thread does not flush, so nothing is tested"
    yield
    torch.set_flush_denormal(False)


def pooled() -> Tensor:
    rows, positions = torch.arange(ROWS, dtype=torch.int32), torch.arange(ROWS, dtype=torch.int32)
    offsets, combiners = torch.arange(0, ROWS + 1, 2), torch.zeros(1, dtype=torch.int64)
    sink = torch.zeros(()).expand(ROWS, DIM)
    return gather_pool(sink, [SMALL], torch.zeros(DIM), rows, positions, offsets, None, combiners, ROWS // 2)


def updated() -> Tensor:
    weights, meta = SMALL.clone(), torch.zeros(ROWS, 4, dtype=torch.int32)
    hyper = torch.tensor([RULES["sgd"].hyper_row(step=1, lr=0.5)], dtype=torch.float64)
    update_rows_([weights], [], [], meta, torch.arange(ROWS, dtype=torch.int32), SMALL, hyper, RULES["sgd"].code, 1)
    return weights


def greatest() -> Tensor:
    kept, *_ = top_rows([torch.arange(ROWS * DIM)], [SMALL.flatten()], [torch.arange(0, ROWS * DIM + 1, DIM)], table([1], 1))
    return kept[0]


def bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(torch.int32)


@pytest.mark.parametrize("function", [pooled, updated, greatest])
def test_a_thread_that_flushes_has_no_say(function: Callable[[], Tensor], flushing: None) -> None:
    (result,) = same_for_threads(lambda: [function()])
    got = bits(result)
    torch.set_flush_denormal(False)
    assert torch.equal(got, bits(function()))
    assert bool((got != 0).any())


def test_the_sums_are_those_of_exact_arithmetic(flushing: None) -> None:
    # Sums of subnormal numbers are exact: those of the whole numbers their bits are.
    whole = torch.arange(1, ROWS * DIM + 1, dtype=torch.int32).view(ROWS // 2, 2, DIM)
    assert torch.equal(bits(pooled().squeeze(1)), whole.sum(1, dtype=torch.int32))


def test_the_thread_goes_on_flushing(flushing: None) -> None:
    pooled()
    assert float(torch.tensor(1e-40) * 1.0) == 0.0
