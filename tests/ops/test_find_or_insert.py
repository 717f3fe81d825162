"""find_or_insert_: reference, C++ and Triton (its interpreter) against a dict, and against each other."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.library import opcheck

from sparrow.ops import id_map
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


def empty_state(max_keys: list[int]) -> list[Tensor]:
    lines, headers = id_map.empty_id_map(max_keys, [7919 * (table + 1) for table in range(len(max_keys))])
    return [lines, headers, torch.zeros(2, dtype=torch.int64)]


def flat(ids: list[list[int]]) -> tuple[Tensor, Tensor]:
    ends = torch.tensor([0, *[len(table) for table in ids]]).cumsum(0)
    return torch.tensor([id for table in ids for id in table], dtype=torch.int64), ends


@pytest.mark.parametrize("body", BODIES)
@given(batches=st.lists(st.tuples(id_lists(60), id_lists(60)), min_size=1, max_size=4))
def test_rows_are_those_of_a_dict(body: str, batches: list[tuple[list[int], list[int]]]) -> None:
    state, model = empty_state([256, 256]), DictMap(2)
    for batch in batches:
        rows, new_positions, num_new = BODIES[body](*state, *flat(list(batch)))
        expected_rows, expected_new = model.find_or_insert(list(batch))
        assert rows.tolist() == expected_rows
        assert new_positions[: int(num_new)].tolist() == expected_new
        assert state[2].tolist() == [model.num_rows, 0]


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


@pytest.mark.parametrize("body", BODIES)
def test_erased_id_comes_back_with_a_fresh_row(body: str) -> None:
    state = empty_state([64])
    ids, offsets = flat([[11, 12, 13]])
    BODIES[body](*state, ids, offsets)
    lines, headers, _ = state
    line, slot = reference.probe(lines, headers[0], 12)  # type: ignore[misc]
    lines.view(torch.int32)[line, id_map.FIRST_ROW_INT32 + slot] = id_map.NO_ROW
    headers[0, id_map.HEADER_NUM_DEAD] = 1
    rows, new_positions, num_new = BODIES[body](*state, ids, offsets)
    assert rows.tolist() == [0, 3, 2]
    assert new_positions[: int(num_new)].tolist() == [1]
    assert int(headers[0, id_map.HEADER_NUM_DEAD]) == 0


@pytest.mark.parametrize("body", BODIES)
def test_full_segment_reports_every_id_without_room(body: str) -> None:
    state = empty_state([5])
    room = int(state[1][0, id_map.HEADER_NUM_LINES]) * id_map.IDS_PER_LINE
    rows, _, num_new = BODIES[body](*state, *flat([list(range(1, room + 4))]))
    assert int(num_new) == room
    assert rows[:room].tolist() == list(range(room))
    assert rows[room:].tolist() == [id_map.NO_ROW] * 3
    assert state[2].tolist() == [room, 3]


def test_opcheck() -> None:
    opcheck(torch.ops.sparrow.find_or_insert_.default, (*empty_state([64, 64]), *flat([[1, 2, 2], [2, id_map.EMPTY]])))


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        (0, torch.zeros(4, 7, dtype=torch.int64), "lines"),
        (2, torch.zeros(3, dtype=torch.int64), "counters"),
        (3, torch.zeros(3), "ids"),
        (4, torch.tensor([0, 2]), "table_offsets"),
        (4, torch.tensor([0, 3, 2]), "table_offsets"),
        (4, torch.tensor([0, 5, 3]), "table_offsets"),
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
out = []
for _ in range(2):  # the second call finds what the first inserted
    rows, new_positions, num_new = body.find_or_insert_(*state[:5])
    out.append([rows.tolist(), new_positions.tolist(), num_new.tolist(), state[1].tolist(), state[2].tolist()])
print(json.dumps(out))
"""


def test_triton_body_in_the_interpreter() -> None:
    pytest.importorskip("triton", reason="triton is not installed: its body cannot run")
    generator = torch.Generator().manual_seed(3)
    distinct = [*ADVERSARIAL_IDS, *torch.randint(-(2**63), 2**63 - 1, (500,), generator=generator).tolist()]
    ids, offsets = flat([distinct, list(range(100))])
    state = empty_state([700, 150])
    lines, headers, _ = state
    # Two ids were inserted and erased before: they must come back.
    find_or_insert_(*state, torch.tensor([0, 1, 5]), torch.tensor([0, 2, 3]))
    for id in (0, 1):
        line, slot = reference.probe(lines, headers[0], id)  # type: ignore[misc]
        lines.view(torch.int32)[line, id_map.FIRST_ROW_INT32 + slot] = id_map.NO_ROW
    headers[0, id_map.HEADER_NUM_DEAD] = 2
    answer = run_python(_INTERPRETED, stdin=json.dumps([tensor.tolist() for tensor in (*state, ids, offsets)]), TRITON_INTERPRET="1")
    for got in json.loads(answer):
        rows, new_positions, num_new = reference.find_or_insert_(*state, ids, offsets)
        assert got == [rows.tolist(), new_positions.tolist(), num_new.tolist(), headers.tolist(), state[2].tolist()]


_COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from sparrow.ops.find_or_insert import triton as body
INT32 = {"claimed", "new_positions", "rows"}
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
