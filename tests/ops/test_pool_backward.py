"""pool_backward: C++ and Triton against the reference bit for bit, and against index_add; the order in which occurrences add."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.library import opcheck

from sparrow.ops.pool_backward import reference
from sparrow.ops.pool_backward.op import pool_backward
from triton_support import check_compiled, compile_triton, run_triton, same_bits, triton_body

SUM = torch.zeros(1, dtype=torch.int64)


def one_id_a_sample(num_positions: int, unique: int, dim: int = 3, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return (grad, rows, inverse, offsets) of a single feature of one id a sample."""
    generator = torch.Generator().manual_seed(seed)
    inverse = torch.randint(unique, (num_positions,), generator=generator, dtype=torch.int32)
    return (
        torch.randn(num_positions, 1, dim, generator=generator),
        torch.arange(unique, dtype=torch.int32),
        inverse,
        torch.arange(num_positions + 1),
    )


@given(lengths=st.lists(st.integers(0, 4), max_size=12), weighted=st.booleans(), mean=st.booleans(), seed=st.integers(0, 1000))
def test_compiled_equals_reference(lengths: list[int], weighted: bool, mean: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    inverse = torch.randint(4, (sum(lengths),), generator=generator, dtype=torch.int32)
    rows = torch.tensor([5, -1, 2, 0], dtype=torch.int32)
    weights = torch.randint(-2, 4, (sum(lengths),), generator=generator).float() if weighted else None
    grad = torch.randn(len(lengths), 1, 3, generator=generator)
    arguments = (grad, rows, inverse, offsets, weights, torch.tensor([int(mean)]))
    assert torch.equal(pool_backward(*arguments), reference.pool_backward(*arguments))


@pytest.mark.parametrize("num_positions", [0, 1, 63, 5000])
def test_sums_of_one_id_a_sample_are_those_of_index_add(num_positions: int) -> None:
    grad, rows, inverse, offsets = one_id_a_sample(num_positions, 7)
    expected = torch.zeros(7, 3, dtype=torch.float64).index_add_(0, inverse.long(), grad[:, 0].double())
    assert torch.allclose(pool_backward(grad, rows, inverse, offsets, None, SUM).double(), expected, atol=1e-3)


def test_occurrences_add_in_position_order_in_chunks_of_256() -> None:
    grad, rows, inverse, offsets = one_id_a_sample(600, 1)
    total = torch.zeros(3)
    for first in range(0, 600, 256):
        chunk = torch.zeros(3)
        for row in grad[first : first + 256, 0]:
            chunk += row
        total += chunk
    assert torch.equal(pool_backward(grad, rows, inverse, offsets, None, SUM)[0], total)


def test_result_does_not_depend_on_the_number_of_threads() -> None:
    arguments = one_id_a_sample(20_000, 3000, dim=8)
    results = []
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        results.append(pool_backward(*arguments, None, SUM))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_rows_that_do_not_exist_and_expanded_gradients() -> None:
    inverse, offsets = torch.tensor([0, 1, 0], dtype=torch.int32), torch.arange(4)
    grad = torch.ones(()).expand(3, 1, 2)
    summed = pool_backward(grad, torch.tensor([-1, 4], dtype=torch.int32), inverse, offsets, None, SUM)
    assert summed.tolist() == [[0.0, 0.0], [1.0, 1.0]]


def test_one_popular_id_among_many() -> None:
    # Work is shared out by occurrences: whatever the split, every row is summed once.
    grad, rows, _, offsets = one_id_a_sample(40_000, 20_001, dim=4)
    inverse = torch.where(torch.arange(40_000) % 2 == 0, 0, torch.arange(40_000) // 2 + 1).int()
    results = []
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        results.append(pool_backward(grad, rows, inverse, offsets, None, SUM))
    assert torch.equal(results[0][1:], grad[1::2, 0])
    assert torch.allclose(results[0][0], grad[::2, 0].double().sum(0).float(), atol=1e-2)
    assert torch.equal(results[1], results[0])
    assert torch.equal(results[2], results[0])


@pytest.mark.parametrize(("num_positions", "num_unique"), [(0, 0), (0, 3)])
def test_no_occurrences_give_zeros(num_positions: int, num_unique: int) -> None:
    empty = torch.zeros(num_positions, dtype=torch.int32)
    summed = pool_backward(torch.ones(2, 1, 3), torch.arange(num_unique).int(), empty, torch.zeros(3, dtype=torch.int64), None, SUM)
    assert summed.tolist() == [[0.0] * 3] * num_unique


def test_float64_gradients() -> None:
    grad, rows, inverse, offsets = one_id_a_sample(500, 7)
    expected = torch.zeros(7, 3, dtype=torch.float64).index_add_(0, inverse.long(), grad[:, 0].double())
    assert torch.allclose(pool_backward(grad.double(), rows, inverse, offsets, None, SUM), expected, atol=1e-12)


def test_opcheck() -> None:
    opcheck(torch.ops.sparrow.pool_backward.default, (*one_id_a_sample(6, 3), None, SUM))


def test_wrong_arguments_are_named() -> None:
    grad, rows, inverse, offsets = one_id_a_sample(3, 2)
    with pytest.raises(RuntimeError, match="inverse"):
        pool_backward(grad, rows, inverse + 2, offsets, None, SUM)
    with pytest.raises(RuntimeError, match="offsets"):
        pool_backward(grad, rows, inverse, offsets[:-1], None, SUM)
    with pytest.raises(RuntimeError, match="combiners"):
        pool_backward(grad, rows, inverse, offsets, None, SUM + 3)
    with pytest.raises(RuntimeError, match="position_weights"):
        pool_backward(grad, rows, inverse, offsets, torch.ones(2), SUM)


Call = tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor]


def call(lengths: list[int], *, dim: int, unique: int, dtype: torch.dtype = torch.float32, weighted: bool = False, seed: int = 0) -> Call:
    """Arguments for 3 features of every combiner; some rows are absent, values are -0 or below the normal numbers too."""
    generator = torch.Generator().manual_seed(seed)
    grad = torch.randn(len(lengths) // 3, 3, dim, generator=generator, dtype=dtype)
    grad[grad.abs() < 0.1] = -0.0
    grad[0::5] *= torch.finfo(dtype).smallest_normal
    rows = torch.randperm(2 * unique, generator=generator)[:unique].int()
    rows[1::4] = -1
    inverse = torch.randint(max(unique, 1), (sum(lengths),), generator=generator, dtype=torch.int32)
    weights = torch.randint(-2, 4, (sum(lengths),), generator=generator) * 0.7 if weighted else None
    return grad, rows, inverse, torch.tensor([0, *lengths]).cumsum(0), weights, torch.arange(3)


def triton_calls() -> list[Call]:
    calls = []
    for seed, dim in enumerate([1, 3, 16, 64, 100]):
        for dtype in (torch.float32, torch.float64):
            lengths = torch.randint(0, 5, (12,), generator=torch.Generator().manual_seed(seed)).tolist()
            calls.append(call(lengths, dim=dim, unique=9, dtype=dtype, weighted=(seed + len(calls)) % 2 == 0, seed=seed))
    # Features of one id a sample, of three, of none here and there: where a segment is, programs guess, and some guess wrong.
    for lengths in (
        [1] * 300 + [3] * 300 + [0, 2] * 150,
        [1] * 900,
        [0] * 300 + [2] * 300 + [1] * 300,
        [5] * 20 + [0] * 20 + [1] * 19 + [9],
    ):
        calls.append(call(lengths, dim=4, unique=50, weighted=len(lengths) == 60))
    for weighted in (False, True):
        # Rows of 255 to 257 and of 600 occurrences, first among segments that are short, then among long ones.
        for lengths in ([3, 0, 7, 2, 9, 5] * 60, [600, 255, 256, 257, 1, 140]):
            grad, rows, inverse, *others = call(lengths, dim=3, unique=6, weighted=weighted, seed=6)
            shuffled = torch.randperm(inverse.numel(), generator=torch.Generator().manual_seed(1))
            counts = torch.tensor([255, 256, 600, 1, 257])
            own = torch.arange(6).repeat_interleave(torch.cat([counts, inverse.numel() - counts.sum(0, keepdim=True)]))
            inverse = own.int()[shuffled]
            calls.append((grad, rows, inverse, *others))
    calls.append(call([300, 1, 1], dim=16, unique=1, dtype=torch.float64, weighted=True))
    calls.append(call([0, 0, 0], dim=3, unique=5))
    calls.append(call([0, 0, 0], dim=3, unique=0))
    calls.append(call([], dim=3, unique=5))
    return calls


def test_triton_equals_reference() -> None:
    calls = triton_calls()
    for given_call, (summed, _) in zip(calls, run_triton("pool_backward", [list(one) for one in calls]), strict=True):
        assert same_bits(summed, reference.pool_backward(*given_call)), given_call


def test_triton_kernels_compile_for_real_targets() -> None:
    weighted, plain = call([300, 1, 1], dim=64, unique=3, weighted=True), call([3, 1, 1], dim=3, unique=3, dtype=torch.float64)
    compiled = compile_triton("pool_backward", [list(weighted), list(plain)])
    check_compiled(compiled[0], ["weights_kernel", "combine_weights_kernel", "sources_kernel", "sum_kernel", "combine_kernel"])
    check_compiled(compiled[1], ["sources_kernel", "sum_kernel"])
    assert all("ld.global.v4.b32" in c.assembly for c in compiled[0] if c.arch == "90" and c.kernel in ("sum_kernel", "combine_kernel"))


@pytest.mark.parametrize(
    ("argument", "value", "named"),
    [
        (0, torch.zeros(1, 2, 3), "grad must be"),
        (0, torch.zeros(1, 3, 3, dtype=torch.bfloat16), "grad must be torch.float32"),
        (1, torch.zeros(3, dtype=torch.int64), "rows must be"),
        (2, torch.zeros(5), "inverse must be"),
        (3, torch.tensor([0, 3, 5]), "offsets must be"),
        (4, torch.ones(2), "position_weights must be"),
        (5, torch.zeros(3), "combiners must be"),
    ],
)
def test_wrong_argument_of_triton_is_named(argument: int, value: Tensor, named: str) -> None:
    arguments = list(call([3, 1, 1], dim=3, unique=3))
    arguments[argument] = value
    with pytest.raises(RuntimeError, match=named):
        triton_body("pool_backward")(*arguments)
