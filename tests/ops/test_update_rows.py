"""update_rows_: torch's own dense optimizers are the oracle; C++ and Triton equal the reference bit for bit."""

import re
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.library import opcheck

from sparrow.errors import BackendError, ConfigError
from sparrow.ops.update_rows import reference
from sparrow.ops.update_rows.op import update_rows_
from sparrow.ops.update_rows.rules import RULES, Rule
from triton_support import check_compiled, compile_triton, module_of, run_triton, same_bits, triton_body

BODIES = {"reference": reference.update_rows_, "cpu": update_rows_}
ROWS_PER_BLOCK, NUM_BLOCKS, DIM = 4, 3, 5
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


class State:
    """Blocks of random weights and slots; odd rows belong to table 1."""

    def __init__(self, rule: Rule, dtype: torch.dtype, seed: int = 0, dim: int = DIM) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.compute = torch.float64 if dtype == torch.float64 else torch.float32
        self.weights = [torch.randn(ROWS_PER_BLOCK, dim, generator=generator, dtype=self.compute).to(dtype) for _ in range(NUM_BLOCKS)]
        # Second moments and sums of squares are not negative.
        self.slots, self.row_slots = (
            [torch.rand(ROWS_PER_BLOCK, width, generator=generator, dtype=self.compute) for _ in range(NUM_BLOCKS)] if width else []
            for width in (len(rule.element_slots) * dim, len(rule.row_slots))
        )
        self.meta = torch.zeros(ROWS_PER_BLOCK * NUM_BLOCKS, 4, dtype=torch.int32)
        self.meta[1::2, 3] = 1

    def arguments(self) -> tuple[list[Tensor], list[Tensor], list[Tensor], Tensor]:
        return self.weights, self.slots, self.row_slots, self.meta

    def tensors(self) -> list[Tensor]:
        return [*self.weights, *self.slots, *self.row_slots, self.meta]


def hyper_of(rule: Rule, step: int, **values: float) -> Tensor:
    """Table 1 has ten times the learning rate."""
    return torch.tensor([rule.hyper_row(step=step, lr=lr, **values) for lr in (0.01, 0.1)], dtype=torch.float64)


ROW_LISTS = st.lists(st.integers(0, ROWS_PER_BLOCK * NUM_BLOCKS - 1), unique=True, max_size=8)


@given(
    rows=ROW_LISTS,
    rule=st.sampled_from(sorted(RULES)),
    dtype=st.sampled_from(DTYPES),
    dim=st.sampled_from([1, 5, 8, 16, 32, 35, 64]),
    decay=st.sampled_from([0.0, 0.1]),
    step=st.integers(1, 1000),
    seed=st.integers(0, 99),
)
def test_compiled_equals_reference(rows: list[int], rule: str, dtype: torch.dtype, dim: int, decay: float, step: int, seed: int) -> None:
    mine, theirs = (State(RULES[rule], dtype, seed, dim) for _ in range(2))
    index = torch.tensor([*rows, -1], dtype=torch.int32)
    grads = torch.randn(len(rows) + 1, dim, generator=torch.Generator().manual_seed(seed), dtype=mine.compute)
    settings = {"weight_decay": decay, "nesterov": float(seed % 2), "exact": float(seed % 2), "l1": decay, "l2": decay, "decay_step": 7.0}
    settings |= {"decay_by_lr": float(seed % 2), "lr_decay": decay}
    hyper = hyper_of(RULES[rule], step, **{name: value for name, value in settings.items() if name in RULES[rule].hyper})
    update_rows_(*mine.arguments(), index, grads, hyper, RULES[rule].code, *((0, torch.tensor([step])) if seed % 3 == 1 else (step,)))
    reference.update_rows_(*theirs.arguments(), index, grads, hyper, RULES[rule].code, step)
    for one, two in zip(mine.tensors(), theirs.tensors(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("name", sorted(RULES))
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_weights_are_float32_weights_rounded_once_an_update(name: str, dtype: torch.dtype) -> None:
    rule = RULES[name]
    narrow, wide = State(rule, dtype), State(rule, dtype)
    wide.weights = [block.float() for block in wide.weights]
    rows, grads = torch.tensor([6, 1], dtype=torch.int32), torch.randn(2, DIM, generator=torch.Generator().manual_seed(1))
    for state in (narrow, wide):
        update_rows_(*state.arguments(), rows, grads, hyper_of(rule, 2), rule.code, 2)
    for one, two in zip(narrow.tensors(), wide.tensors(), strict=True):
        assert torch.equal(one, two.to(one.dtype))


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("name", RULES)
def test_other_rows_do_not_move(body: str, name: str) -> None:
    state, untouched = State(RULES[name], torch.float32), State(RULES[name], torch.float32)
    BODIES[body](
        *state.arguments(), torch.tensor([5], dtype=torch.int32), torch.ones(1, DIM), hyper_of(RULES[name], 1), RULES[name].code, 7
    )
    others = torch.tensor([row for row in range(12) if row != 5])
    for now, then in ((state.weights, untouched.weights), (state.slots, untouched.slots), (state.row_slots, untouched.row_slots)):
        if now:
            assert torch.equal(torch.cat(now)[others], torch.cat(then)[others])
    assert not torch.equal(torch.cat(state.weights)[5], torch.cat(untouched.weights)[5])
    assert state.meta[:, 1].tolist() == [7 if row == 5 else 0 for row in range(12)]


def test_result_does_not_depend_on_the_number_of_threads() -> None:
    results = []
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        generator = torch.Generator().manual_seed(5)
        weights, slots = [torch.randn(4096, DIM, generator=generator)], [torch.rand(4096, 2 * DIM, generator=generator)]
        rows = torch.randperm(4096, generator=generator).int()
        grads = torch.randn(4096, DIM, generator=generator)
        update_rows_(
            weights, slots, [], torch.zeros(4096, 4, dtype=torch.int32), rows, grads, hyper_of(RULES["adam"], 3), RULES["adam"].code, 3
        )
        results.append(torch.cat([weights[0], slots[0]], 1))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("name", RULES)
def test_opcheck(name: str) -> None:
    state = State(RULES[name], torch.float32)
    rows = torch.tensor([1, -1, 6], dtype=torch.int32)
    opcheck(
        torch.ops.sparrow.update_rows_.default,
        (*state.arguments(), rows, torch.ones(3, DIM), hyper_of(RULES[name], 2), RULES[name].code, 2),
    )


def test_hyper_rows_name_what_is_unknown() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'beta[12]'"):
        RULES["adam"].hyper_row(step=1, beta=0.9)
    for rule in RULES.values():
        assert next(iter(rule.hyper)) == "lr"
        assert len(rule.hyper_row(step=1)) == 16


@pytest.mark.parametrize(
    ("position", "value", "named"),
    [
        (0, [torch.ones(4, DIM), torch.ones(4, DIM), torch.ones(2, DIM)], "weights: blocks must be 2-D and of equal shape"),
        (0, [torch.ones(3, DIM)] * 4, "weights: rows per block must be a power of two, got 3"),
        (0, [torch.ones(4, DIM, dtype=torch.int32)] * 3, "weights must be float32, float64, bfloat16 or float16"),
        (0, [torch.ones(4, DIM, dtype=torch.float64)] * 3, "element_slots has the wrong dtype"),
        (1, [], "element_slots must be 10 wide, got 0"),
        (1, [torch.ones(4, DIM)] * 3, "element_slots must be 10 wide, got 5"),
        (1, [torch.ones(4, 2 * DIM)] * 2, "element_slots must cover every row"),
        (1, [torch.ones(8, 2 * DIM)] * 3, "element_slots must cover every row of weights, in blocks of as many rows"),
        (2, [torch.ones(4, 1)] * 3, "row_slots must be 0 wide, got 1"),
        (3, torch.zeros(11, 4, dtype=torch.int32), "meta"),
        (3, torch.zeros(16, 3, dtype=torch.int32), "meta"),
        (3, torch.zeros(12, 4), "meta has the wrong dtype"),
        (4, torch.tensor([12], dtype=torch.int32), r"rows\[0\] is 12, the blocks hold 12 rows"),
        (4, torch.tensor([-2], dtype=torch.int32), r"rows\[0\] is -2"),
        (4, torch.tensor([1]), "rows has the wrong dtype"),
        (5, torch.ones(1, DIM + 1), r"grads must be \[1, 5\]"),
        (5, torch.ones(DIM, 1), r"grads must be \[1, 5\]"),
        (5, torch.ones(1, DIM, dtype=torch.float64), "grads has the wrong dtype"),
        (6, torch.zeros(1, 16, dtype=torch.float64), "row 1 is of table 1, hyper has 1 tables"),
        (6, torch.zeros(2, 7, dtype=torch.float64), "hyper must be"),
        (6, torch.zeros(2, 16), "hyper has the wrong dtype"),
        (7, 99, "unknown update rule"),
        (8, 2**31, "step must be from 0 to 2\\^31 - 1, got 2147483648"),
        (8, -1, "step must be from 0"),
    ],
)
def test_wrong_argument_is_named_and_nothing_is_written(position: int, value: object, named: str) -> None:
    rule = RULES["adam"]
    state, untouched = State(rule, torch.float32), State(rule, torch.float32)
    arguments = [
        *state.arguments(),
        torch.tensor([1], dtype=torch.int32),
        torch.ones(1, DIM),
        hyper_of(rule, 1),
        rule.code,
        1,
    ]
    arguments[position] = value
    with pytest.raises(RuntimeError, match=named):
        update_rows_(*arguments)
    for now, then in zip([*state.weights, *state.slots, state.meta], [*untouched.weights, *untouched.slots, untouched.meta], strict=True):
        assert torch.equal(now, then)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", RULES)
def test_a_group_without_rows_takes_no_update(body: str, dtype: torch.dtype, name: str) -> None:
    """Its tables have no blocks, and every row of a lookup is -1."""
    rows, meta = torch.tensor([-1, -1], dtype=torch.int32), torch.empty(0, 4, dtype=torch.int32)
    weights: list[Tensor] = []
    BODIES[body](weights, [], [], meta, rows, torch.ones(2, DIM, dtype=dtype), hyper_of(RULES[name], 1), RULES[name].code, 1)
    assert not weights


def triton_call(name: str, dtype: torch.dtype, dim: int, seed: int) -> list[Any]:
    """Arguments with -0, values below the normal numbers, rows of -1 and of both tables."""
    rule, state = RULES[name], State(RULES[name], dtype, seed, dim)
    for block in state.weights:
        block[0], block[1] = -0.0, block[1] * torch.finfo(dtype).smallest_normal
    if name == "adagrad_decay":
        # Rows that are up to date, one period late, and many.
        state.row_slots = [torch.tensor([0.0, 3.0, 41.0, 42.0], dtype=state.compute)[:, None].clone() for _ in range(NUM_BLOCKS)]
    rows = torch.tensor([4, -1, 7, 0, 11, 1, 10, 5, 2], dtype=torch.int32)
    grads = torch.randn(rows.numel(), dim, generator=torch.Generator().manual_seed(seed), dtype=state.compute)
    grads[3], grads[5] = -0.0, grads[5] * torch.finfo(state.compute).smallest_normal
    odd = float(seed % 2)
    settings = {
        "weight_decay": 0.1 * odd,
        "nesterov": odd,
        "exact": odd,
        "l1": 0.1 * odd,
        "l2": 0.1,
        "decay_step": 7.0,
        "decay_by_lr": odd,
        "lr_decay": 0.1,
    }
    given = {key: value for key, value in settings.items() if key in rule.hyper}
    hyper = torch.tensor([rule.hyper_row(step=3, global_step=300.0, lr=lr, **given) for lr in (0.01, 0.1)], dtype=torch.float64)
    return [*state.arguments(), rows, grads, hyper, rule.code, 9]


def test_triton_equals_reference() -> None:
    kinds = [(name, dtype) for name in RULES for dtype in DTYPES]
    calls = [triton_call(name, dtype, [1, 3, 16, 64, 100][k % 5], k // 2) for k, (name, dtype) in enumerate(kinds)]
    # Every width for the rules that sum over a row, and for Adam.
    calls += [triton_call(name, torch.float32, dim, 5) for name in ("rowwise_adagrad", "adam") for dim in (1, 3, 16, 17, 64, 100)]
    # Rows of several warps, whose slots all of them read before one writes.
    calls += [triton_call(name, torch.float32, 1024, seed) for name in ("rowwise_adagrad", "adagrad_decay") for seed in (6, 7)]
    # By a clock: the step beside it is of no meaning.
    for call in calls[::3]:
        call[-1:] = [2, torch.tensor([9])]
    for call, (_, after) in zip(calls, run_triton("update_rows_", calls), strict=True):
        reference.update_rows_(*call)
        for one, two in zip(flat(after[:4]), flat(call[:4]), strict=True):
            assert same_bits(one, two), call


def flat(values: list[Any]) -> list[Tensor]:
    return [tensor for value in values for tensor in (value if isinstance(value, list) else [value])]


def test_triton_leaves_alone_what_it_must() -> None:
    no_rows, no_blocks, no_table = (triton_call("adam", torch.float32, 3, 0) for _ in range(3))
    no_rows[4:6] = torch.empty(0, dtype=torch.int32), torch.empty(0, 3)
    no_blocks[:5] = [], [], [], torch.empty(0, 4, dtype=torch.int32), torch.full((9,), -1, dtype=torch.int32)
    no_table[3][7, 3], no_table[3][5, 3] = 2, -1  # hyper has tables 0 and 1
    (_, one), (_, two), (_, three) = run_triton("update_rows_", [no_rows, no_blocks, no_table])
    for call, after in ((no_rows, one), (no_blocks, two)):
        assert all(same_bits(now, then) for now, then in zip(flat(after[:4]), flat(call[:4]), strict=True))
    assert torch.equal(torch.cat(three[0])[[5, 7]], torch.cat(no_table[0])[[5, 7]])
    assert three[3][:, 1].tolist() == [9 if row in (4, 0, 11, 1, 10, 2) else 0 for row in range(12)]


def test_triton_kernels_compile_for_real_targets() -> None:
    names = list({rule.code: name for name, rule in RULES.items()}.values())
    calls = [triton_call(name, DTYPES[k % 4], 16 if k % 2 else 100, k) for k, name in enumerate(names)]
    calls[2].append(torch.tensor([9]))
    compiled = compile_triton("update_rows_", calls)
    for one in compiled:
        check_compiled(one, ["constants_kernel", "update_kernel"])
    # Assemblers contract too. SGD neither divides nor takes roots, which are made of fused operations.
    assert names[0] == "sgd"
    for c in compiled[0]:
        assert c.kernel == "constants_kernel" or not re.search("[FD]FMA|v_(pk_)?fma", c.machine_code()), c.arch


@pytest.mark.parametrize(
    ("argument", "value", "named"),
    [
        (0, [torch.ones(4, 3), torch.ones(2, 3)], "weights: blocks must be"),
        (0, [torch.ones(4, 3, dtype=torch.int32)] * 3, "weights must be float32, float64, bfloat16 or float16"),
        (0, [torch.ones(4, 3, dtype=torch.float64)] * 3, "element_slots: blocks must be torch.float64"),
        (1, [], "element_slots must be 6 wide, got 0"),
        (1, [torch.ones(4, 6)] * 2, "element_slots must cover every row"),
        (1, [torch.ones(8, 6)] * 3, "element_slots must cover every row"),
        (2, [torch.ones(4, 1)] * 3, "row_slots must be 0 wide, got 1"),
        (3, torch.zeros(11, 4, dtype=torch.int32), "meta must be"),
        (4, torch.tensor([1]), "rows must be"),
        (5, torch.ones(9, 4), "grads must be"),
        (5, torch.ones(3, 9).T, "grads must be .* got not contiguous"),
        (6, torch.zeros(2, 16), "hyper must be"),
        (7, 99, "unknown update rule 99"),
        (8, 2**31, "step must be from 0"),
    ],
)
def test_wrong_argument_of_triton_is_named(argument: int, value: object, named: str) -> None:
    call = triton_call("adam", torch.float32, 3, 0)
    call[argument] = value
    with pytest.raises(RuntimeError, match=named):
        triton_body("update_rows_")(*call)


def test_a_rule_without_triton_functions_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "other", Rule("other", len(reference.RULE_FUNCTIONS), {"lr": 0.1}))
    call = triton_call("sgd", torch.float32, 3, 0)
    call[7] = RULES["other"].code
    with pytest.raises(BackendError, match=r"rule 'other' has no Triton functions; add them to .*triton_rules.py"):
        module_of("update_rows_").update_rows_(*call)
