"""gather_pool: reference against arithmetic, C++ and Triton against it bit for bit, gradients against torch's own autograd."""

from typing import NamedTuple

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.library import opcheck

from sparrow.ops.gather_pool import reference
from sparrow.ops.gather_pool.op import gather_pool
from triton_support import check_compiled, compile_triton, run_triton, same_bits, triton_body

ROWS_PER_BLOCK = 4


class Case(NamedTuple):
    """Arguments of the operator after the sink."""

    weights: list[Tensor]
    default_row: Tensor
    rows: Tensor
    inverse: Tensor
    offsets: Tensor
    position_weights: Tensor | None
    combiners: Tensor
    num_samples: int

    @property
    def sink(self) -> Tensor:
        dtype = torch.float64 if self.default_row.dtype == torch.float64 else torch.float32
        return torch.zeros((), dtype=dtype).expand(self.rows.numel(), self.default_row.numel()).requires_grad_()


def case(
    lengths: list[int],
    *,
    features: int = 1,
    dim: int = 3,
    unique: int = 5,
    weighted: bool = False,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Case:
    """Segments of the given lengths, positions drawn over `unique` rows of which the second is absent."""
    generator = torch.Generator().manual_seed(seed)
    num_positions = sum(lengths)
    blocks = [torch.randn(ROWS_PER_BLOCK, dim, generator=generator, dtype=dtype) for _ in range(3)]
    rows = torch.randperm(3 * ROWS_PER_BLOCK, generator=generator)[:unique].int()
    rows[1:2] = -1
    inverse = torch.randint(unique, (num_positions,), generator=generator, dtype=torch.int32)
    weights = torch.randint(-2, 4, (num_positions,), generator=generator).float() if weighted else None
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    default = torch.randn(dim, generator=generator, dtype=dtype)
    return Case(blocks, default, rows, inverse, offsets, weights, torch.arange(features) % 2, len(lengths) // features)


def dense(given: Case, table: Tensor) -> Tensor:
    """Pool by torch's differentiable operations. table: [U, D], one row a distinct id."""
    values = table[given.inverse.long()]
    factors = torch.ones(values.shape[0], dtype=values.dtype) if given.position_weights is None else given.position_weights.to(values.dtype)
    out = []
    for segment in range(given.offsets.numel() - 1):
        begin, end = given.offsets[segment : segment + 2].tolist()
        pooled = (values[begin:end] * factors[begin:end, None]).sum(0)
        if int(given.combiners[segment // given.num_samples]) == 1 and end > begin:
            total = factors[begin:end].sum()
            pooled = pooled / total if total != 0 else torch.zeros_like(pooled)
        out.append(pooled)
    stacked = torch.stack(out) if out else table.new_zeros(0, table.shape[1])
    return stacked.reshape(given.combiners.numel(), given.num_samples, -1).transpose(0, 1)


def table_of(given: Case) -> Tensor:
    flat = torch.cat(given.weights)
    return torch.stack([given.default_row if row < 0 else flat[row] for row in given.rows.tolist()])


LENGTHS = st.lists(st.integers(0, 4), min_size=2, max_size=12).map(lambda values: values[: len(values) // 2 * 2])


@given(lengths=LENGTHS, weighted=st.booleans(), seed=st.integers(0, 1000), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_pools_and_gradients(lengths: list[int], weighted: bool, seed: int, dtype: torch.dtype) -> None:
    given_case = case(lengths, features=2, weighted=weighted, seed=seed, dtype=dtype)
    sink = given_case.sink
    out = gather_pool(sink, *given_case)
    assert torch.equal(out, reference.gather_pool(sink, *given_case))
    table = table_of(given_case).requires_grad_()
    expected = dense(given_case, table)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    assert torch.allclose(out, expected, atol=tolerance, rtol=tolerance)
    scale = torch.arange(1.0, out.numel() + 1, dtype=dtype).reshape(out.shape)
    (out * scale).sum().backward()
    (expected * scale).sum().backward()
    assert table.grad is not None
    assert sink.grad is not None
    wanted = table.grad.clone()
    wanted[given_case.rows < 0] = 0
    assert torch.allclose(sink.grad, wanted, atol=tolerance * 100, rtol=tolerance)


@pytest.mark.parametrize("length", [255, 256, 257, 10_000])
def test_long_segments_add_in_chunks_of_256(length: int) -> None:
    given_case = case([length], dim=2, unique=5, seed=length)
    values = table_of(given_case)[given_case.inverse.long()]
    total = torch.zeros(2)
    for first in range(0, length, 256):
        chunk = torch.zeros(2)
        for row in values[first : first + 256]:
            chunk += row
        total += chunk
    assert torch.equal(gather_pool(given_case.sink, *given_case)[0, 0], total)


@pytest.mark.parametrize("mean", [False, True])
def test_long_weighted_segments_add_in_chunks_of_256(mean: bool) -> None:
    given_case = case([600], dim=2, unique=5, weighted=True, seed=9)._replace(combiners=torch.tensor([int(mean)]))
    factors = torch.rand(600, generator=torch.Generator().manual_seed(2))
    values = (factors[:, None] * table_of(given_case)[given_case.inverse.long()]).numpy()
    total, divisor = numpy.zeros(2, numpy.float32), numpy.float32(0)
    for first in range(0, 600, 256):
        chunk, chunk_divisor = numpy.zeros(2, numpy.float32), numpy.float32(0)
        for row, factor in zip(values[first : first + 256], factors.numpy()[first : first + 256], strict=True):
            chunk += row
            chunk_divisor += factor
        total += chunk
        divisor += chunk_divisor
    out = gather_pool(given_case.sink, *given_case._replace(position_weights=factors))
    assert numpy.array_equal(out[0, 0].detach().numpy(), total / divisor if mean else total)


def test_mean_of_weights_that_sum_to_zero_is_zero_and_gives_no_gradient() -> None:
    given_case = case([2, 1])._replace(combiners=torch.tensor([1]), position_weights=torch.tensor([1.5, -1.5, 0.0]))
    sink = given_case.sink
    out = gather_pool(sink, *given_case)
    out.sum().backward()
    assert not out.any()
    assert sink.grad is not None
    assert not sink.grad.any()


@pytest.mark.parametrize("weighted", [False, True])
def test_outputs_larger_than_the_caches(weighted: bool) -> None:
    # 16 float32 are a cache line, and these are 8.4 MB of them: written past the caches.
    given_case = case([1] * 131_072, features=2, dim=16, unique=12, weighted=weighted, seed=3)
    values = table_of(given_case)[given_case.inverse.long()].reshape(2, -1, 16)
    if given_case.position_weights is not None:
        factors = given_case.position_weights.reshape(2, -1, 1)
        # The second feature takes the mean, of one id: its weight goes, but for zero.
        values = torch.stack([values[0] * factors[0], torch.where(factors[1] == 0, 0.0, values[1] * factors[1] / factors[1])])
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(gather_pool(given_case.sink, *given_case))
    assert torch.equal(results[0], values.transpose(0, 1))
    assert torch.equal(results[1], results[0])


def test_gradients_by_finite_differences() -> None:
    given_case = case([2, 0, 1, 3, 1, 4], features=2, weighted=True, dtype=torch.float64)._replace(
        rows=torch.tensor([3, 8, 0, 5, 11], dtype=torch.int32), position_weights=torch.arange(1.0, 12.0)
    )
    sink = given_case.sink
    gather_pool(sink, *given_case).square().sum().backward()
    assert sink.grad is not None
    step = 1e-6
    for index, row in enumerate(given_case.rows.tolist()):
        block, place = given_case.weights[row // ROWS_PER_BLOCK], row % ROWS_PER_BLOCK
        for column in range(block.shape[1]):
            ends = []
            for sign in (1, -2):
                block[place, column] += sign * step
                ends.append(float(gather_pool(given_case.sink, *given_case).detach().square().sum()))
            block[place, column] += step
            assert float(sink.grad[index, column]) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4, abs=1e-4)


def test_rows_that_do_not_exist_read_the_default_row() -> None:
    given_case = case([1, 2])._replace(rows=torch.full((5,), -1, dtype=torch.int32))
    sink = given_case.sink
    out = gather_pool(sink, *given_case)
    out.sum().backward()
    assert torch.equal(out[:, 0], torch.stack([given_case.default_row, given_case.default_row + given_case.default_row]))
    assert sink.grad is not None
    assert not sink.grad.any()


def test_result_does_not_depend_on_the_number_of_threads() -> None:
    given_case = case([3, 0, 1, 7] * 1000, features=2, dim=8, unique=9, seed=4)
    results = []
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        results.append(gather_pool(given_case.sink, *given_case))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("lengths", [[], [0, 0, 0]])
def test_nothing_to_pool_gives_zeros(lengths: list[int]) -> None:
    given_case = case(lengths)
    out = gather_pool(given_case.sink, *given_case)
    assert out.shape == (len(lengths), 1, 3)
    assert not out.any()


def test_opcheck() -> None:
    given_case = case([2, 0, 1, 3], features=2, weighted=True)
    opcheck(torch.ops.sparrow.gather_pool.default, (given_case.sink.detach().clone().requires_grad_(), *given_case))


def test_compiles_whole_with_dynamic_shapes() -> None:
    compiled = torch.compile(
        lambda given_case, sink: gather_pool(sink, *given_case).sum(), fullgraph=True, dynamic=True, backend="aot_eager"
    )
    for lengths in ([1, 2], [0, 3, 4, 1]):
        given_case = case(lengths)
        mine, theirs = given_case.sink, given_case.sink
        compiled(given_case, mine).backward()
        gather_pool(theirs, *given_case).sum().backward()
        assert torch.equal(mine.grad, theirs.grad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("rows", torch.tensor([0, 1, 2, 3, 99], dtype=torch.int32), "rows"),
        ("inverse", torch.full((3,), 5, dtype=torch.int32), "inverse"),
        ("offsets", torch.tensor([0, 2]), "offsets"),
        ("default_row", torch.zeros(4), "sink|default_row"),
        ("position_weights", torch.zeros(2), "position_weights"),
        ("combiners", torch.tensor([3]), "combiners"),
        ("num_samples", -1, "num_samples|offsets"),
    ],
)
def test_wrong_argument_is_named(field: str, value: Tensor | int, named: str) -> None:
    given_case = case([2, 1])
    with pytest.raises(RuntimeError, match=named):
        gather_pool(given_case.sink, *given_case._replace(**{field: value}))


def test_sink_of_another_dtype_is_named() -> None:
    given_case = case([2, 1])
    with pytest.raises(RuntimeError, match="sink"):
        gather_pool(given_case.sink.double(), *given_case)


def test_a_large_output_is_nobody_elses_memory() -> None:
    """Large outputs come from memory that is kept and used again: only once every tensor that shares it is gone."""
    given = case([1] * 70_000, features=1, dim=16, unique=11)
    first = gather_pool(given.sink, *given)
    view, expected = first.detach()[5:9], first.detach()[5:9].clone()
    address = first.data_ptr()
    del first
    changed = given._replace(weights=[block + 1 for block in given.weights])
    second = gather_pool(given.sink, *changed)
    assert torch.equal(view, expected)
    assert second.data_ptr() != address


DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


def triton_cases() -> list[Case]:
    """Every dtype, combiner and kind of width, with and without weights; segments that are empty, short, and about a chunk long."""
    cases = []
    for seed, dim in enumerate([1, 3, 16, 64, 100]):
        for dtype in DTYPES:
            lengths = torch.randint(0, 5, (18,), generator=torch.Generator().manual_seed(seed)).tolist()
            cases.append(case(lengths, features=3, dim=dim, dtype=dtype, weighted=(seed + len(cases)) % 2 == 0, seed=seed))
    for weighted in (False, True):
        cases.append(case([255, 256, 257, 0, 600, 1, 512, 300, 2], features=3, dim=3, weighted=weighted, seed=7))
        # Chunks that begin and end within a few positions of each other, whose sums must not share a slot.
        cases.append(case([257, 257, 1, 258, 511, 0, 513, 259, 3, 255, 769, 256], features=3, dim=1, weighted=weighted, seed=11))
        cases.append(case([513, 1, 0], features=3, dim=16, dtype=torch.bfloat16, weighted=weighted, seed=8))
        cases.append(case([0, 300, 1], features=3, dim=1, dtype=torch.float64, weighted=weighted, seed=9))
    cases.append(case([1] * 90, features=3, dim=16, seed=10))
    cases.append(case([0, 0, 0], features=3))
    cases.append(case([], features=3))
    cases.append(case([2, 1, 3], features=3)._replace(weights=[], rows=torch.full((5,), -1, dtype=torch.int32)))
    return [hard(given_case._replace(combiners=torch.arange(3))) for given_case in cases]


def hard(given_case: Case) -> Case:
    """With values that a careless sum gets wrong: -0, numbers below the normal ones, and weights that are no round numbers."""
    for block in given_case.weights:
        block[0], block[1] = -0.0, block[1] * torch.finfo(block.dtype).smallest_normal
    weights = given_case.position_weights
    return given_case._replace(position_weights=None if weights is None else weights * 0.7)


def test_triton_equals_reference() -> None:
    cases = triton_cases()
    answers = run_triton("gather_pool", [[given_case.sink, *given_case] for given_case in cases])
    for given_case, (pooled, after) in zip(cases, answers, strict=True):
        assert same_bits(pooled, reference.gather_pool(given_case.sink, *given_case)), given_case
        assert all(same_bits(one, two) for one, two in zip(after[1], given_case.weights, strict=True))


def test_triton_kernels_compile_for_real_targets() -> None:
    cases = [case([1, 300, 3], features=3, dim=16), case([1, 300, 3], features=3, dim=100, dtype=torch.bfloat16, weighted=True)]
    cases.append(case([1], features=1, dim=3, dtype=torch.float64, unique=1))  # Triton takes arguments of 1 for constants
    compiled = compile_triton("gather_pool", [[given_case.sink, *given_case] for given_case in cases])
    for one in compiled[:2]:
        check_compiled(one, ["pool_kernel", "combine_kernel"])
    check_compiled(compiled[2], ["pool_kernel"])  # no segment can be long: one launch
    # Rows are read 16 bytes a thread; those of 200 bytes 8.
    for one, access in zip(compiled, ["v4.b32", "v2.b32"], strict=False):
        assert all(f"ld.global.{access}" in c.assembly for c in one if c.arch == "90" and c.kernel == "pool_kernel")


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("weights", [torch.zeros(3, 3)], "weights: rows per block must be a power of two"),
        ("weights", [torch.zeros(4, 3), torch.zeros(4, 2)], "weights: blocks must be"),
        ("weights", [torch.zeros(3, 4).T], "weights: blocks must be .* got not contiguous"),
        ("weights", [torch.zeros(4, 2)], "default_row must hold as many values as a row of weights: 2, holds 3"),
        ("default_row", torch.zeros(3, dtype=torch.int32), "weights must be float32"),
        ("default_row", torch.zeros(4), "sink must be"),
        ("rows", torch.zeros(5, dtype=torch.int64), "rows must be torch.int32"),
        ("inverse", torch.zeros(3, dtype=torch.int64), "inverse must be torch.int32"),
        ("offsets", torch.tensor([0, 2]), r"offsets must be torch.int64 \[3\]"),
        ("position_weights", torch.zeros(2), "position_weights"),
        ("combiners", torch.tensor([1.0]), "combiners"),
        ("num_samples", -1, "num_samples"),
    ],
)
def test_wrong_argument_of_triton_is_named(field: str, value: Tensor | int, named: str) -> None:
    given_case = case([2, 1])
    with pytest.raises(RuntimeError, match=named):
        triton_body("gather_pool")(given_case.sink, *given_case._replace(**{field: value}))
