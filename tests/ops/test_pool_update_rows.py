"""pool_update_rows_: what pool_backward and update_rows_ give one after the other, to the bit, by reference, C++ and Triton."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.library import opcheck

from sparrow.ops.pool_backward.op import pool_backward
from sparrow.ops.pool_update_rows import reference
from sparrow.ops.pool_update_rows.op import pool_update_rows_
from sparrow.ops.update_rows.op import update_rows_
from sparrow.ops.update_rows.rules import RULES
from triton_support import check_compiled, compile_triton, run_triton, same_bits, triton_body

BODIES = {"reference": reference.pool_update_rows_, "cpu": pool_update_rows_}
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
ROWS_PER_BLOCK = 8


class Case:
    """Two tables; segments of the given lengths over distinct rows of which some are absent."""

    def __init__(
        self,
        lengths: list[int],
        *,
        rule: str = "adam",
        dtype: torch.dtype = torch.float32,
        dim: int = 16,
        features: int = 1,
        unique: int = 7,
        weighted: bool = False,
        seed: int = 0,
    ) -> None:
        self.rule, generator = RULES[rule], torch.Generator().manual_seed(seed)
        compute = torch.float64 if dtype == torch.float64 else torch.float32
        num_blocks = -(-unique // ROWS_PER_BLOCK) + 1
        self.weights = [torch.randn(ROWS_PER_BLOCK, dim, generator=generator, dtype=compute).to(dtype) for _ in range(num_blocks)]
        self.slots, self.row_slots = (
            [torch.rand(ROWS_PER_BLOCK, width, generator=generator, dtype=compute) for _ in range(num_blocks)] if width else []
            for width in (len(self.rule.element_slots) * dim, len(self.rule.row_slots))
        )
        self.meta = torch.zeros(num_blocks * ROWS_PER_BLOCK, 4, dtype=torch.int32)
        self.rows = torch.randperm(num_blocks * ROWS_PER_BLOCK, generator=generator)[:unique].int()
        self.rows[2::5] = -1
        self.table_offsets = torch.tensor([0, unique // 3, unique])
        of_second = self.rows[unique // 3 :]
        self.meta[of_second[of_second >= 0].long(), 3] = 1
        num_ids, self.offsets = sum(lengths), torch.tensor([0, *lengths]).cumsum(0)
        self.inverse = torch.randint(unique, (num_ids,), generator=generator, dtype=torch.int32)
        self.grad = torch.randn(len(lengths) // features, features, dim, generator=generator, dtype=compute)
        self.grad[self.grad.abs() < 0.1] = -0.0
        self.position_weights = torch.randint(-2, 4, (num_ids,), generator=generator).float() if weighted else None
        self.combiners = torch.arange(features) % 3
        self.hyper = torch.tensor([self.rule.hyper_row(step=3, lr=lr) for lr in (0.01, 0.1)], dtype=torch.float64)

    def state(self) -> list[Tensor]:
        return [*self.weights, *self.slots, *self.row_slots, self.meta]

    def segments(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        return self.inverse, self.offsets, self.position_weights, self.combiners

    def arguments(self, stamps: bool = True, clocked: bool = False) -> list[object]:
        """Step 9, beside a clock in its tensor alone."""
        kept = [self.weights, self.slots, self.row_slots, self.meta, self.rows, self.table_offsets]
        return [*kept, self.grad, *self.segments(), self.hyper, self.rule.code, 4 if clocked else 9, stamps, *[torch.tensor([9])] * clocked]

    def one_after_the_other(self) -> None:
        summed = pool_backward(self.grad, self.rows, *self.segments())
        update_rows_(self.weights, self.slots, self.row_slots, self.meta, self.rows, summed, self.hyper, self.rule.code, 9)


@pytest.mark.parametrize("body", BODIES)
@given(
    lengths=st.lists(st.integers(0, 4), max_size=6),
    features=st.sampled_from([1, 3]),
    rule=st.sampled_from(sorted(RULES)),
    dtype=st.sampled_from(DTYPES),
    dim=st.sampled_from([1, 5, 8, 16, 32, 64]),
    weighted=st.booleans(),
    stamps=st.booleans(),
    clocked=st.booleans(),
    seed=st.integers(0, 99),
)
def test_equals_sum_then_update(
    body: str,
    lengths: list[int],
    features: int,
    rule: str,
    dtype: torch.dtype,
    dim: int,
    weighted: bool,
    stamps: bool,
    clocked: bool,
    seed: int,
) -> None:
    fused, apart = (
        Case(lengths * features, rule=rule, dtype=dtype, dim=dim, features=features, weighted=weighted, seed=seed) for _ in range(2)
    )
    BODIES[body](*fused.arguments(stamps, clocked))  # type: ignore[arg-type]
    apart.one_after_the_other()
    if not stamps:
        assert not fused.meta[:, 1].any()
        apart.meta[:, 1] = 0
    for one, two in zip(fused.state(), apart.state(), strict=True):
        assert torch.equal(one.view(torch.uint8), two.view(torch.uint8))


@pytest.mark.parametrize("features", [1, 4])  # every sum, or means too: without and with factors
@pytest.mark.parametrize("most", [1, 700])  # beyond one chunk of 256 occurrences
def test_large_and_by_any_number_of_threads(features: int, most: int) -> None:
    lengths = torch.randint(0 if most > 1 else 1, most + 1, (400 * features,), generator=torch.Generator().manual_seed(1)).tolist()
    apart = Case(lengths, features=features, unique=3000, rule="rowwise_adagrad")
    apart.one_after_the_other()
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        fused = Case(lengths, features=features, unique=3000, rule="rowwise_adagrad")
        pool_update_rows_(*fused.arguments())  # type: ignore[arg-type]
        for one, two in zip(fused.state(), apart.state(), strict=True):
            assert torch.equal(one, two)


@pytest.mark.parametrize("name", RULES)
def test_opcheck(name: str) -> None:
    opcheck(torch.ops.sparrow.pool_update_rows_.default, tuple(Case([2, 1, 3], rule=name).arguments()))


@pytest.mark.parametrize(
    ("position", "value", "named"),
    [
        (0, [torch.ones(8, 5)] * 2, "element_slots must be 10 wide, got 32"),
        (3, torch.zeros(3, 4, dtype=torch.int32), "meta"),
        (4, torch.full((7,), 16, dtype=torch.int32), r"rows\[0\] is 16"),
        (5, torch.tensor([0, 7]), "table_offsets must hold one more than hyper has tables: 3, holds 2"),
        (5, torch.tensor([0, 2, 6]), "table_offsets"),
        (5, torch.tensor([0, 8, 7]), "table_offsets"),
        (6, torch.ones(3, 1, 5), "grad must be 16 wide"),
        (6, torch.ones(3, 2, 16), "grad must be"),
        (6, torch.ones(3, 1, 16, dtype=torch.float64), "grad has the wrong dtype"),
        (7, torch.full((6,), 7, dtype=torch.int32), r"inverse\[0\] is 7"),
        (8, torch.tensor([0, 2, 3, 7]), "offsets"),
        (9, torch.ones(5), "position_weights must hold one value an id: 6, holds 5"),
        (10, torch.tensor([3]), r"combiners\[0\] is 3"),
        (11, torch.zeros(2, 7, dtype=torch.float64), "hyper must be"),
        (12, 99, "unknown update rule"),
        (13, -1, "step must be from 0"),
    ],
)
def test_wrong_argument_is_named_and_nothing_is_written(position: int, value: object, named: str) -> None:
    given, untouched = Case([2, 1, 3]), Case([2, 1, 3])
    arguments = given.arguments()
    arguments[position] = value
    with pytest.raises(RuntimeError, match=named):
        pool_update_rows_(*arguments)  # type: ignore[arg-type]
    for now, then in zip(given.state(), untouched.state(), strict=True):
        assert torch.equal(now, then)


@pytest.mark.parametrize("body", BODIES)
def test_a_group_without_rows_takes_no_update(body: str) -> None:
    given = Case([2, 1, 3])
    given.weights, given.slots, given.rows = [], [], torch.full((7,), -1, dtype=torch.int32)
    BODIES[body](*given.arguments())  # type: ignore[arg-type]
    assert not given.meta[:, :3].any()


def triton_cases() -> list[Case]:
    cases = []
    for k, rule in enumerate(RULES):
        lengths = torch.randint(0, 5, (12,), generator=torch.Generator().manual_seed(k)).tolist()
        for dtype, weighted in ((torch.float32, k % 2 == 0), (DTYPES[1 + k % 3], k % 2 == 1)):
            cases.append(Case(lengths, rule=rule, dtype=dtype, dim=[1, 3, 16, 64, 100][k % 5], features=3, weighted=weighted, seed=k))
    for rule, dtype, weighted in (("adam", torch.float32, False), ("rowwise_adagrad", torch.bfloat16, True)):
        # Rows of 255 to 257 and of 600 occurrences, among them one that is absent.
        given = Case([300, 1, 560, 7, 260, 541], rule=rule, dtype=dtype, dim=3, features=3, weighted=weighted, unique=6)
        own = torch.arange(6).repeat_interleave(torch.tensor([255, 256, 300, 600, 1, 257])).int()
        given.inverse = own[torch.randperm(own.numel(), generator=torch.Generator().manual_seed(1))]
        cases.append(given)
    cases.append(Case([0, 0, 0], features=3, dim=3))
    cases.append(Case([], features=3, dim=3, unique=1))
    return cases


def test_triton_equals_reference() -> None:
    cases = triton_cases()
    calls = [one.arguments(stamps=k % 3 > 0, clocked=k % 4 == 1) for k, one in enumerate(cases)]
    for wanted, call, (_, after) in zip(cases, calls, run_triton("pool_update_rows_", calls), strict=True):
        reference.pool_update_rows_(*call)  # type: ignore[arg-type]
        for one, two in zip([*after[0], *after[1], *after[2], after[3]], wanted.state(), strict=True):
            assert same_bits(one, two), (wanted.rule.name, one, two)


def test_triton_kernels_compile_for_real_targets() -> None:
    large = Case([300, 1, 1], features=3, dim=64, rule="rowwise_adagrad", dtype=torch.bfloat16, weighted=True)
    small = Case([3, 1, 1], features=3, dim=16, rule="adam")
    least = Case([1], dim=1, rule="adagrad_decay", unique=1)  # Triton takes arguments of 1 for constants
    least.table_offsets, least.hyper = least.table_offsets[1:], least.hyper[1:]
    compiled = compile_triton("pool_update_rows_", [large.arguments(clocked=True), small.arguments(), least.arguments()])
    before = ["weights_kernel", "combine_weights_kernel", "sources_kernel"]
    check_compiled(compiled[0], [*before, "constants_kernel", "sum_update_kernel", "combine_update_kernel"])
    for one in compiled[1:]:
        check_compiled(one, ["sources_kernel", "constants_kernel", "sum_update_kernel"])


@pytest.mark.parametrize(
    ("argument", "value", "named"),
    [
        (1, [], "element_slots must be 32 wide, got 0"),
        (3, torch.zeros(2, 4, dtype=torch.int32), "meta must be"),
        (5, torch.tensor([0, 7]), "table_offsets must be"),
        (6, torch.ones(3, 1, 5), "grad must be"),
        (6, torch.ones(3, 1, 16, dtype=torch.float64), "grad must be"),
        (8, torch.tensor([0, 2]), "offsets must be"),
        (12, 99, "unknown update rule"),
    ],
)
def test_wrong_argument_of_triton_is_named(argument: int, value: object, named: str) -> None:
    arguments = Case([2, 1, 3]).arguments()
    arguments[argument] = value
    with pytest.raises(RuntimeError, match=named):
        triton_body("pool_update_rows_")(*arguments)
