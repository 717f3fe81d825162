"""init_rows_: published Philox words, exact agreement of all bodies, purity, and the statistics of what they draw."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.library import opcheck

from sparrow.ops.init_rows import reference
from sparrow.ops.init_rows.normal_table import TABLE
from sparrow.ops.init_rows.op import init_rows_
from tests_support import ADVERSARIAL_IDS
from tests_support import ids as any_id
from triton_support import check_compiled, compile_triton, run_triton, same_bits, triton_body

BODIES = {"reference": reference.init_rows_, "cpu": init_rows_}
CONSTANT, UNIFORM, NORMAL, TRUNCATED_NORMAL = range(4)
ROWS_PER_BLOCK, NUM_BLOCKS = 8, 3
SLOT_VALUES = torch.tensor([[0.0, 0.5, 2.0], [1.0, 1.5, 3.0]], dtype=torch.float64)
PARAMETERS = torch.tensor([[0.5, 2.0], [-1.0, 0.25]], dtype=torch.float64)


class Rows:
    """Blocks of poison, so that a value not written shows."""

    def __init__(
        self,
        dim: int,
        dtype: torch.dtype = torch.float32,
        num_rows: int = ROWS_PER_BLOCK * NUM_BLOCKS,
        rows_per_block: int = ROWS_PER_BLOCK,
    ) -> None:
        blocks = num_rows // rows_per_block
        self.weights = [torch.full((rows_per_block, dim), math.nan, dtype=dtype) for _ in range(blocks)]
        slot_dtype = torch.float64 if dtype == torch.float64 else torch.float32
        self.element_slots = [torch.full((rows_per_block, 2 * dim), math.nan, dtype=slot_dtype) for _ in range(blocks)]
        self.row_slots = [torch.full((rows_per_block, 1), math.nan, dtype=slot_dtype) for _ in range(blocks)]
        self.row_ids = torch.full((num_rows,), -7, dtype=torch.int64)
        self.meta = torch.full((num_rows, 4), -7, dtype=torch.int32)

    def tensors(self) -> list[Tensor]:
        return [*self.weights, *self.element_slots, *self.row_slots, self.row_ids, self.meta]

    def init(
        self, body: str, rows: Tensor, ids: Tensor, offsets: Tensor, positions: Tensor, kind: int, seeds: tuple[int, int] = (3, -4)
    ) -> None:
        BODIES[body](
            self.weights, self.element_slots, self.row_slots, self.row_ids, self.meta, rows, ids, offsets, positions,
            torch.tensor([positions.numel()]), torch.tensor(seeds), kind, PARAMETERS, SLOT_VALUES,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [  # the known answers published with Random123
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        ([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0], [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]),
    ],
)
def test_philox_gives_its_published_words(counter: list[int], key: list[int], words: list[int]) -> None:
    assert reference.philox(counter, key) == words


@given(
    ids=st.lists(any_id, min_size=1, max_size=10),
    kind=st.sampled_from([CONSTANT, UNIFORM, NORMAL, TRUNCATED_NORMAL]),
    dim=st.integers(1, 9),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
    seeds=st.tuples(any_id, any_id),
)
def test_compiled_equals_reference_and_touches_nothing_else(
    ids: list[int], kind: int, dim: int, dtype: torch.dtype, seeds: tuple[int, int]
) -> None:
    rows = torch.randperm(ROWS_PER_BLOCK * NUM_BLOCKS, generator=torch.Generator().manual_seed(len(ids)))[: len(ids)].int()
    positions = torch.arange(0, len(ids), 2, dtype=torch.int32)
    offsets = torch.tensor([0, len(ids) // 2, len(ids)])
    mine, theirs = Rows(dim, dtype), Rows(dim, dtype)
    for state, body in ((mine, "cpu"), (theirs, "reference")):
        state.init(body, rows, torch.tensor(ids), offsets, positions, kind, seeds)
    for one, two in zip(mine.tensors(), theirs.tensors(), strict=True):
        assert torch.equal(one.nan_to_num(-99), two.nan_to_num(-99))
    fresh = set(rows[positions.long()].tolist())
    for row in range(ROWS_PER_BLOCK * NUM_BLOCKS):
        written = not torch.cat(mine.weights)[row].isnan().any()
        assert written == (row in fresh)
        if written:
            position = rows.tolist().index(row)
            assert mine.row_ids[row] == ids[position]
            assert mine.meta[row].tolist() == [0, 0, 0, int(position >= len(ids) // 2)]
            table = int(position >= len(ids) // 2)
            assert torch.cat(mine.element_slots)[row].tolist() == [1.0 * table] * dim + [0.5 + table] * dim
            assert torch.cat(mine.row_slots)[row].tolist() == [2.0 + table]


def test_values_depend_on_seed_id_and_column_alone() -> None:
    ids = torch.tensor([11, 22, 33])
    offsets, positions = torch.tensor([0, 3, 3]), torch.arange(3, dtype=torch.int32)
    here, there = Rows(6), Rows(6)
    here.init("cpu", torch.tensor([0, 1, 2], dtype=torch.int32), ids, offsets, positions, NORMAL)
    there.init("cpu", torch.tensor([20, 3, 9], dtype=torch.int32), ids.flip(0), offsets, positions, NORMAL)
    assert torch.equal(torch.cat(here.weights)[:3], torch.cat(there.weights)[[9, 3, 20]])
    other = Rows(6)
    other.init("cpu", torch.tensor([0, 1, 2], dtype=torch.int32), ids, offsets, positions, NORMAL, seeds=(4, -4))
    assert not torch.equal(torch.cat(here.weights)[:3], torch.cat(other.weights)[:3])


def drawn(kind: int) -> Tensor:
    """Return 262,144 values of table 0, whose (a, b) is (0.5, 2.0)."""
    num_rows, dim = 1 << 14, 16
    state = Rows(dim, torch.float64, num_rows, num_rows)
    positions = torch.arange(num_rows, dtype=torch.int32)
    state.init("cpu", positions, positions.long() * 7919, torch.tensor([0, num_rows, num_rows]), positions, kind)
    return state.weights[0]


def kolmogorov_smirnov(values: Tensor, distribution: object) -> float:
    """Return the largest distance between the sample's distribution and the given one, in units of 1/sqrt(n)."""
    ordered = values.flatten().sort().values.tolist()
    expected = [distribution(value) for value in ordered]  # type: ignore[operator]
    n = len(ordered)
    return max(max(p - k / n, (k + 1) / n - p) for k, p in enumerate(expected)) * math.sqrt(n)


# P(D * sqrt(n) > 1.95) is 0.001 for a sample of the distribution itself.
KS_LIMIT = 1.95


def test_uniform_is_uniform() -> None:
    values = drawn(UNIFORM)
    assert float(values.min()) > 0.5
    assert float(values.max()) < 2.0
    assert kolmogorov_smirnov(values, lambda x: (x - 0.5) / 1.5) < KS_LIMIT
    standard, n = (values - 0.5) / 1.5, values.numel()
    # Five standard errors of mean and variance.
    assert abs(float(standard.mean()) - 1 / 2) < 5 * math.sqrt(1 / 12 / n)
    assert abs(float(standard.var()) - 1 / 12) < 5 * math.sqrt(1 / 180 / n)


def test_normal_is_normal() -> None:
    values = drawn(NORMAL)
    assert kolmogorov_smirnov(values, NormalDist(0.5, 2.0).cdf) < KS_LIMIT
    standard = (values - 0.5) / 2
    n = standard.numel()
    # Five standard errors of mean, variance and kurtosis.
    assert abs(float(standard.mean())) < 5 / math.sqrt(n)
    assert abs(float(standard.var()) - 1) < 5 * math.sqrt(2 / n)
    assert abs(float((standard**4).mean()) - 3) < 5 * math.sqrt(96 / n)
    # Columns of a row, and rows of a column, are independent.
    correlation = torch.corrcoef(standard.T) - torch.eye(16)
    assert float(correlation.abs().max()) < 6 / math.sqrt(standard.shape[0])


def test_truncated_normal_is_a_normal_without_tails() -> None:
    values = drawn(TRUNCATED_NORMAL)
    normal, tail = NormalDist(0.5, 2.0), NormalDist().cdf(-2)
    assert 0.5 - 4.0 <= float(values.min()) < -3.4
    assert 4.4 < float(values.max()) <= 0.5 + 4.0
    assert kolmogorov_smirnov(values, lambda x: (normal.cdf(x) - tail) / (1 - 2 * tail)) < KS_LIMIT


def test_normal_values_are_near_the_exact_inverse() -> None:
    words = [*range(0, 2000), *(2**k + d for k in range(11, 32) for d in (-1, 0, 1)), *range(2**30, 2**31, 10_000_019), 2**31 - 1]
    for word in words:
        exact = -NormalDist().inv_cdf(((word & 0x7FFFFFFF) + 0.5) / 2**32)
        assert abs(reference.normal_value(word & 0x7FFFFFFF) - exact) < 2e-7
        assert reference.normal_value(word | 2**31) == -reference.normal_value(word & 0x7FFFFFFF)


def test_both_tables_hold_the_same_numbers() -> None:
    header = (Path(__file__).parents[2] / "csrc" / "core" / "normal_table.h").read_text()
    numbers = [float.fromhex(text) for text in re.findall(r"-?0x[0-9a-f.]+p[+-]\d+", header)]
    assert numbers == [term for row in TABLE for term in row]


@pytest.mark.parametrize("kind", [CONSTANT, UNIFORM, NORMAL, TRUNCATED_NORMAL])
def test_opcheck(kind: int) -> None:
    state = Rows(3)
    blocks = [[block.nan_to_num() for block in held] for held in (state.weights, state.element_slots, state.row_slots)]
    rows, positions = torch.tensor([3, 9], dtype=torch.int32), torch.tensor([0, 1], dtype=torch.int32)
    placed = (rows, torch.tensor([5, 6]), torch.tensor([0, 1, 2]), positions, torch.tensor([2]), torch.tensor([1, 2]))
    values = torch.zeros(2, 3, dtype=torch.float64)
    opcheck(torch.ops.sparrow.init_rows_.default, (*blocks, state.row_ids, state.meta, *placed, kind, PARAMETERS, values))


def test_result_does_not_depend_on_the_number_of_threads() -> None:
    count, results = 4096, []
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        state = Rows(5, num_rows=count, rows_per_block=1024)
        positions = torch.arange(count, dtype=torch.int32)
        state.init("cpu", positions.flip(0), positions.long() * 31, torch.tensor([0, 1000, count]), positions, NORMAL)
        results.append(state.tensors())
    for other in results[1:]:
        assert all(torch.equal(one, two) for one, two in zip(results[0], other, strict=True))


@pytest.mark.parametrize("body", BODIES)
def test_rows_that_do_not_exist_are_skipped(body: str) -> None:
    state = Rows(2)
    rows, positions = torch.tensor([-1, 4], dtype=torch.int32), torch.tensor([0, 1], dtype=torch.int32)
    state.init(body, rows, torch.tensor([8, 9]), torch.tensor([0, 1, 2]), positions, CONSTANT)
    assert state.row_ids.tolist() == [9 if row == 4 else -7 for row in range(24)]
    assert torch.cat(state.weights).isnan().sum() == 23 * 2


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"element_slots": lambda held: held[:2]}, "element_slots must cover every row"),
        ({"row_slots": lambda held: held[:2]}, "row_slots must cover every row"),
        ({"row_slots": lambda held: [block[:4] for block in held]}, "row_slots must cover every row"),
        ({"element_slots": lambda held: [torch.zeros(8, 5) for _ in held]}, "element_slots must be a multiple of 2 wide"),
        ({"element_slots": lambda held: []}, "slot_values must be"),
        ({"row_ids": lambda held: held[:23]}, "row_ids"),
        ({"meta": lambda held: held.reshape(-1)}, "meta"),
        ({"meta": lambda held: held[:23]}, "meta"),
        ({"meta": lambda held: held.long()}, "meta has the wrong dtype"),
        ({"rows": lambda held: held[:1]}, "rows and ids must be of equal length"),
        ({"rows": lambda held: held.long()}, "rows has the wrong dtype"),
        ({"rows": lambda held: held + 23}, r"rows\[1\] is 24"),
        ({"ids": lambda held: held[::2]}, "ids"),
        ({"table_offsets": lambda held: held + 1}, "table_offsets"),
        ({"positions": lambda held: held + 1}, r"positions\[1\] is 2"),
        ({"positions": lambda held: held.flip(0)}, "positions must increase"),
        ({"num_positions": lambda held: held[:0]}, "num_positions must hold one value"),
        ({"num_positions": lambda held: held + 1}, "num_positions must not exceed"),
        ({"num_positions": lambda held: held - 3}, "num_positions"),
        ({"seeds": lambda held: held[:1]}, "seeds"),
        ({"parameters": lambda held: held[:1]}, "parameters"),
        ({"parameters": lambda held: held.float()}, "parameters has the wrong dtype"),
        ({"slot_values": lambda held: held[:, :2]}, "slot_values must be"),
        ({"initializer": lambda held: 9}, "initializer must be from 0 to 3"),
        ({"weights": lambda held: []}, "weights"),
        ({"weights": lambda held: [held[0], held[1].double(), held[2]]}, "weights has the wrong dtype"),
        ({"weights": lambda held: [block[:6] for block in held]}, "weights: rows per block must be a power of two, got 6"),
        ({"weights": lambda held: [held[0], held[1][:4]]}, "weights: blocks must be 2-D and of equal shape"),
    ],
)
def test_wrong_argument_is_named_and_nothing_is_written(change: dict[str, Callable[[Any], Any]], named: str) -> None:
    state = Rows(2)
    arguments = {
        "weights": state.weights, "element_slots": state.element_slots, "row_slots": state.row_slots, "row_ids": state.row_ids,
        "meta": state.meta, "rows": torch.tensor([0, 1], dtype=torch.int32), "ids": torch.tensor([5, 6]),
        "table_offsets": torch.tensor([0, 1, 2]), "positions": torch.tensor([0, 1], dtype=torch.int32), "num_positions": torch.tensor([2]),
        "seeds": torch.tensor([1, 2]), "initializer": CONSTANT, "parameters": PARAMETERS,
        "slot_values": torch.zeros(2, 3, dtype=torch.float64),
    }  # fmt: skip
    for name, make in change.items():
        arguments[name] = make(arguments[name])
    with pytest.raises(RuntimeError, match=named):
        init_rows_(**arguments)  # type: ignore[arg-type]
    assert (state.row_ids == -7).all()
    assert torch.cat(state.weights).isnan().all()


def triton_calls() -> list[list[Any]]:
    """Every initializer, dtype and kind of width; absent rows, fresh rows that are fewer than the positions given, a table without ids."""
    calls = []
    generator = torch.Generator().manual_seed(1)
    for kind in (CONSTANT, UNIFORM, NORMAL, TRUNCATED_NORMAL):
        for k, dtype in enumerate((torch.float32, torch.float64, torch.bfloat16, torch.float16)):
            state = Rows([1, 3, 16, 64, 100][(kind + k) % 5], dtype)
            rows = torch.randperm(ROWS_PER_BLOCK * NUM_BLOCKS, generator=generator)[:20].int()
            rows[3] = -1
            ids, positions = torch.tensor(ADVERSARIAL_IDS[:20]), torch.arange(0, 20, 2, dtype=torch.int32)
            seeds, parameters = torch.tensor([3, -(2**63), 2**40 + 1]), torch.cat([PARAMETERS, PARAMETERS[:1]])
            placed = (rows, ids, torch.tensor([0, 9, 9, 20]), positions, torch.tensor([8]), seeds, kind, parameters)
            kept = [state.weights, state.element_slots, state.row_slots, state.row_ids, state.meta]
            calls.append([*kept, *placed, torch.cat([SLOT_VALUES, SLOT_VALUES[:1] + 0.1])])
    wide = Rows(5, num_rows=1024, rows_per_block=256)
    rows, positions = torch.randperm(1024, generator=generator).int(), torch.arange(1024, dtype=torch.int32)
    ids = torch.randint(-(2**63), 2**63 - 1, (1024,), generator=generator)
    last = (torch.tensor([0, 500, 1024]), positions, torch.tensor([1024]), torch.tensor([1, 2]), NORMAL, PARAMETERS, SLOT_VALUES[:, 2:])
    calls.append([wide.weights, [], wide.row_slots, wide.row_ids, wide.meta, rows, ids, *last])
    return calls


def test_triton_equals_reference() -> None:
    calls = triton_calls()
    for call, (_, after) in zip(calls, run_triton("init_rows_", calls, PROGRAMS=5), strict=True):
        reference.init_rows_(*call)
        for ones, twos in zip(after[:5], call[:5], strict=True):
            for one, two in zip(*((held if isinstance(held, list) else [held]) for held in (ones, twos)), strict=True):
                assert same_bits(one, two), (call[11], one, two)


def test_triton_kernels_compile_for_real_targets() -> None:
    calls = triton_calls()
    for one in compile_triton("init_rows_", [calls[5], calls[10], calls[15], calls[0]]):
        check_compiled(one, ["init_kernel"])


@pytest.mark.parametrize(
    ("argument", "value", "named"),
    [
        (0, [], "weights must have at least one block"),
        (1, [torch.zeros(8, 6)] * 2, "element_slots must cover every row"),
        (1, [], "element_slots must be 6 wide, got 0"),
        (2, [torch.zeros(4, 1)] * 6, "row_slots must cover every row"),
        (3, torch.zeros(23, dtype=torch.int64), "row_ids must be"),
        (4, torch.zeros(24, 3, dtype=torch.int32), "meta must be"),
        (5, torch.zeros(19, dtype=torch.int32), "rows must be"),
        (6, torch.zeros(20), "ids must be"),
        (7, torch.tensor([0, 20]), "table_offsets must be"),
        (8, torch.arange(20), "positions must be"),
        (9, torch.zeros(2, dtype=torch.int64), "num_positions must be"),
        (11, 4, "initializer"),
        (12, torch.zeros(2, 2, dtype=torch.float64), "parameters must be"),
        (13, torch.zeros(2, 3, dtype=torch.float64), "slot_values must be"),
    ],
)
def test_wrong_argument_of_triton_is_named(argument: int, value: object, named: str) -> None:
    call = next(one for one in triton_calls() if one[0][0].shape[1] == 3 and one[0][0].dtype == torch.float32)
    call[argument] = value
    with pytest.raises(RuntimeError, match=named):
        triton_body("init_rows_")(*call)
