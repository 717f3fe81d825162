"""find_or_insert_: reference, C++ and Triton (its interpreter) against a dict, and against each other."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.library import opcheck

from sparrow.ops import id_map
from sparrow.ops.erase.op import erase_
from sparrow.ops.find.op import find
from sparrow.ops.find_or_insert import reference
from sparrow.ops.find_or_insert.op import find_or_insert_
from tests_support import ADVERSARIAL_IDS, id_lists, run_python

BODIES = {"reference": reference.find_or_insert_, "cpu": find_or_insert_}


class DictMap:
    """The obvious map: one dict a table, rows numbered in order of arrival."""

    def __init__(self, num_tables: int) -> None:
        self.rows: list[dict[int, int]] = [{} for _ in range(num_tables)]
        self.num_rows = 0

    def find_or_insert(self, ids: list[list[int]]) -> tuple[list[int], list[int]]:
        rows, new_positions = [], []
        for known, table_ids in zip(self.rows, ids, strict=True):
            for id in table_ids:
                if id not in known:
                    known[id] = self.num_rows
                    self.num_rows += 1
                    new_positions.append(len(rows))
                rows.append(known[id])
        return rows, new_positions


def empty_state(max_keys: list[int], range_bits: int = 0) -> list[Tensor]:
    """Return lines, headers, ranges, counters and free rows of an empty map."""
    lines, headers, ranges = id_map.empty_id_map(max_keys, [7919 * (table + 1) for table in range(len(max_keys))], range_bits=range_bits)
    return [lines, headers, ranges, *id_map.empty_rows()]


def flat(ids: list[list[int]]) -> tuple[Tensor, Tensor]:
    ends = torch.tensor([0, *[len(table) for table in ids]]).cumsum(0)
    return torch.tensor([id for table in ids for id in table], dtype=torch.int64), ends


@pytest.mark.parametrize("body", BODIES)
@given(batches=st.lists(st.tuples(id_lists(60), id_lists(60)), min_size=1, max_size=4), range_bits=st.sampled_from([0, 1, 5]))
def test_rows_are_those_of_a_dict(body: str, batches: list[tuple[list[int], list[int]]], range_bits: int) -> None:
    # Adversarial ids may share one range: every range has room for all.
    state, model = empty_state([256 << range_bits] * 2, range_bits), DictMap(2)
    for batch in batches:
        rows, new_positions, num_new = BODIES[body](*state, *flat(list(batch)))
        expected_rows, expected_new = model.find_or_insert(list(batch))
        assert rows.tolist() == expected_rows
        assert new_positions[: int(num_new)].tolist() == expected_new
        assert state[3].tolist() == [model.num_rows, 0, 0, 0]


@pytest.mark.parametrize("num_ids", [0, 1, 63, 1000])
def test_compiled_state_is_the_reference_state(num_ids: int) -> None:
    generator = torch.Generator().manual_seed(num_ids)
    ids = torch.cat([torch.randint(-(2**63), 2**63 - 1, (num_ids,), generator=generator), torch.tensor(ADVERSARIAL_IDS)])
    offsets = torch.tensor([0, ids.numel() // 2, ids.numel()])
    mine, theirs = empty_state([1200, 1200]), empty_state([1200, 1200])
    for got, expected in zip(find_or_insert_(*mine, ids, offsets), reference.find_or_insert_(*theirs, ids, offsets), strict=True):
        assert torch.equal(got, expected)
    for got, expected in zip(mine, theirs, strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("num_threads", [1, 2, 4])
@pytest.mark.parametrize("range_bits", [0, 5])
def test_rows_do_not_depend_on_the_number_of_threads(num_threads: int, range_bits: int) -> None:
    torch.set_num_threads(num_threads)
    generator = torch.Generator().manual_seed(range_bits)
    # Repeats within and across batches, the side slot, several tables; enough ids to be divided among threads.
    some = torch.randint(-(2**63), 2**63 - 1, (40_000,), generator=generator)
    batches = [
        [[*some[torch.randint(0, 40_000, (size,), generator=generator)].tolist(), id_map.EMPTY, 0] for size in (30_000, 500, 30_000)]
    ]
    batches += [[[*table[::-1], 1, 2, 3] for table in batches[0]]]
    state, model = empty_state([60_000] * 3, range_bits), DictMap(3)
    state[4], state[3][id_map.COUNTER_FREE] = torch.arange(100_000, 100_050, dtype=torch.int32), 50
    rows_of_freed = {row: 100_049 - row if row < 50 else row - 50 for row in range(len(some) * 3)}
    for batch in batches:
        rows, new_positions, num_new = find_or_insert_(*state, *flat(batch))
        expected_rows, expected_new = model.find_or_insert(batch)
        assert rows.tolist() == [rows_of_freed[row] for row in expected_rows]
        assert new_positions[: int(num_new)].tolist() == expected_new
    assert state[3].tolist() == [model.num_rows - 50, 0, 0, 0]
    assert torch.equal(find(*state[:3], *flat(batches[0]))[0], find_or_insert_(*state, *flat(batches[0]))[0])


@pytest.mark.parametrize("body", BODIES)
def test_erased_id_comes_back_with_a_fresh_row(body: str) -> None:
    state = empty_state([64])
    ids, offsets = flat([[11, 12, 13]])
    BODIES[body](*state, ids, offsets)
    erase_(*state[:3], torch.tensor([12]), torch.tensor([0, 1]))
    rows, new_positions, num_new = BODIES[body](*state, ids, offsets)
    assert rows.tolist() == [0, 3, 2]
    assert new_positions[: int(num_new)].tolist() == [1]
    assert int(state[2][0, id_map.RANGE_NUM_DEAD]) == 0


@pytest.mark.parametrize("body", BODIES)
def test_free_rows_are_handed_out_first_from_the_end(body: str) -> None:
    state = empty_state([64])
    state[3] = torch.tensor([100, 0, 3, 0])
    state[4] = torch.tensor([7, 5, 9, 77], dtype=torch.int32)  # the fourth is beyond the three that are free
    rows, _, _ = BODIES[body](*state, *flat([[1, 2]]))
    assert rows.tolist() == [9, 5]
    rows, _, _ = BODIES[body](*state, *flat([[3, 4, 5]]))
    assert rows.tolist() == [7, 100, 101]
    assert state[3].tolist() == [102, 0, 0, 0]


@pytest.mark.parametrize("body", BODIES)
def test_full_range_reports_every_id_without_room(body: str) -> None:
    state = empty_state([5])
    room = int(state[2][0, id_map.RANGE_NUM_LINES]) * id_map.IDS_PER_LINE
    rows, _, num_new = BODIES[body](*state, *flat([list(range(1, room + 4))]))
    assert int(num_new) == room
    assert rows[:room].tolist() == list(range(room))
    assert rows[room:].tolist() == [id_map.NO_ROW] * 3
    assert state[3].tolist() == [room, 3, 0, 0]


@pytest.mark.parametrize("body", BODIES)
def test_a_map_of_some_slices_spreads_their_ids_over_all_its_lines(body: str) -> None:
    """One rank of four holds a quarter of the slices: its ranges and lines divide that quarter, not the whole."""
    lines, headers, ranges = id_map.empty_id_map([3000], [5], range_bits=2)
    headers[0, id_map.HEADER_FIRST_SLICE], headers[0, id_map.HEADER_SLICE_SCALE] = 16384, id_map.slice_scale(16384)
    ids = torch.arange(8000)
    own = ids[(id_map.slice_of(ids, 5) >= 16384) & (id_map.slice_of(ids, 5) < 32768)]
    rows, _, _ = BODIES[body](lines, headers, ranges, *id_map.empty_rows(), own, torch.tensor([0, own.numel()]))
    assert rows.tolist() == list(range(own.numel()))
    assert (ranges[:, id_map.RANGE_NUM_KEYS] - own.numel() / 4).abs().max() < 120  # 5 standard deviations
    in_order = own[id_map.canonical_order(own, 5)].tolist()
    laid = [id for line in lines[:, : id_map.IDS_PER_LINE].tolist() for id in line if id != id_map.EMPTY]
    displaced = sum(abs(place - in_order.index(id)) > 60 for place, id in enumerate(laid))
    assert displaced < len(laid) / 20, "map order is mix order but for few"


def test_opcheck() -> None:
    opcheck(torch.ops.sparrow.find_or_insert_.default, (*empty_state([64, 64]), *flat([[1, 2, 2], [2, id_map.EMPTY]])))


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        (0, torch.zeros(4, 7, dtype=torch.int64), "lines"),
        (1, torch.tensor([[0, 5, 1, -1, 0, 2**32, 0, 0]] * 2), "headers"),
        (2, torch.tensor([[0, 1000, 0, 0], [0, 1, 0, 0]]), "ranges: range 0"),
        (2, torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0]]), "ranges: range 0"),
        (3, torch.zeros(3, dtype=torch.int64), "counters"),
        (3, torch.tensor([0, 0, 1, 0]), "free_rows"),
        (5, torch.zeros(3), "ids"),
        (6, torch.tensor([0, 2]), "table_offsets"),
        (6, torch.tensor([0, 3, 2]), "table_offsets"),
        (6, torch.tensor([0, 5, 3]), "table_offsets"),
    ],
)
def test_wrong_argument_is_named(argument: int, value: Tensor, message: str) -> None:
    arguments = [*empty_state([64, 64]), *flat([[1], [2, 3]])]
    arguments[argument] = value
    with pytest.raises(RuntimeError, match=message):
        find_or_insert_(*arguments)


# The interpreter runs where TRITON_INTERPRET is set before triton is imported; compilation where it is not: a process each.
_INTERPRETED = """
import json, sys, torch
from sparrow.ops import id_map
from sparrow.ops.find_or_insert import triton as body
state = [torch.tensor(value, dtype=torch.int64) for value in json.load(sys.stdin)]
state[4] = state[4].int()
out = []
for _ in range(2):  # the second call finds what the first inserted
    rows, new_positions, num_new = body.find_or_insert_(*state)
    out.append([rows.tolist(), new_positions.tolist(), num_new.tolist(), [tensor.tolist() for tensor in state[1:4]]])
print(json.dumps(out))
"""


def test_triton_body_in_the_interpreter() -> None:
    pytest.importorskip("triton", reason="triton is not installed: its body cannot run")
    generator = torch.Generator().manual_seed(3)
    distinct = [*ADVERSARIAL_IDS, *torch.randint(-(2**63), 2**63 - 1, (500,), generator=generator).tolist()]
    ids, offsets = flat([distinct, list(range(100))])
    state = empty_state([1400, 300], range_bits=1)
    # Two ids were inserted and erased before: they must come back, with rows that are free.
    find_or_insert_(*state, torch.tensor([0, 1, 5]), torch.tensor([0, 2, 3]))
    state[4] = erase_(*state[:3], torch.tensor([0, 1]), torch.tensor([0, 2, 2]))
    state[3][id_map.COUNTER_FREE] = 2
    answer = run_python(_INTERPRETED, stdin=json.dumps([tensor.tolist() for tensor in (*state, ids, offsets)]), TRITON_INTERPRET="1")
    for got in json.loads(answer):
        rows, new_positions, num_new = reference.find_or_insert_(*state, ids, offsets)
        assert got == [rows.tolist(), new_positions.tolist(), num_new.tolist(), [tensor.tolist() for tensor in state[1:4]]]


_COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from sparrow.ops.find_or_insert import triton as body
INT32 = {"claimed", "free_rows", "new_positions", "rows"}
KERNELS = (body.claim_kernel, body.publish_kernel, body.read_kernel)
TARGETS = ((GPUTarget("cuda", 80, 32), "cubin"), (GPUTarget("cuda", 90, 32), "cubin"), (GPUTarget("hip", "gfx942", 64), "hsaco"))
for target, artefact in TARGETS:
    for kernel in KERNELS:
        signature = {name: "*i32" if name in INT32 else "*i64" for name in kernel.arg_names}
        signature.update(num_ids="i32", BLOCK_N="constexpr")
        compiled = triton.compile(ASTSource(fn=kernel, signature=signature, constexprs={"BLOCK_N": body.BLOCK}), target=target)
        print(target.arch, kernel.__name__, len(compiled.asm[artefact]) > 0)
"""


def test_triton_kernels_compile_for_real_targets() -> None:
    pytest.importorskip("triton", reason="triton is not installed: its kernels cannot be compiled")
    lines = run_python(_COMPILED).split("\n")
    expected = [f"{arch} {kernel} True" for arch in ("80", "90", "gfx942") for kernel in ("claim_kernel", "publish_kernel", "read_kernel")]
    assert [line for line in lines if line] == expected
