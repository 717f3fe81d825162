"""lookup_rows against a search of plain lists."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.library import opcheck

from row_lists_support import NO_OFFSETS, assert_same, column_of, flat, given_offsets, random_column
from sparrow.ops.lookup_rows import reference
from sparrow.ops.lookup_rows.answers import ITEM, MATCH, PLACE
from sparrow.ops.lookup_rows.op import lookup_rows
from sparrow.ops.value_bits import value_bits
from tests_support import ids
from triton_support import compile_kernels, for_every_target, interpreted

DTYPES = [torch.int64, torch.float32, torch.uint8, torch.int16, torch.float16, torch.bfloat16, torch.float64, torch.int32]
NO_ITEMS = torch.zeros(0, dtype=torch.int64)
# Few enough that queries find keys.
IDS = st.one_of(st.integers(0, 9), ids)


@st.composite
def _lookups(draw):
    """(queries, are dense, keys, are dense, answer, dtype, default) a result; items are 1, 2, ... so that each tells its place."""
    results = []
    for _ in range(draw(st.integers(0, 3))):
        num_rows = draw(st.integers(0, 5))
        answer, dtype = draw(st.sampled_from([ITEM, PLACE, MATCH])), draw(st.sampled_from(DTYPES))
        results.append((*draw(column_of(num_rows, 20, IDS)), *draw(column_of(num_rows, 20, IDS)), answer, dtype, draw(st.integers(0, 100))))
    return results


def _arguments(results):
    columns = [[answer, value_bits(default, dtype)] for *_, answer, dtype, default in results]
    return (
        [flat(queries) for queries, *_ in results],
        [given_offsets(queries, is_dense) for queries, is_dense, *_ in results],
        [flat(keys) for _, _, keys, *_ in results],
        [given_offsets(keys, is_dense) for _, _, keys, is_dense, *_ in results],
        [torch.arange(1, 1 + sum(map(len, keys))).to(dtype) if answer == ITEM else NO_ITEMS for _, _, keys, _, answer, dtype, _ in results],
        torch.tensor(columns, dtype=torch.int64).view(-1, 2),
    )


def _expected(queries, keys, answer, default):
    out, begin = [], 0
    for asked, known in zip(queries, keys, strict=True):
        for query in asked:
            if answer == MATCH:
                out.append(int(query in known))
            elif answer == PLACE:
                out.append(known.index(query) + 1 if query in known else 0)
            else:
                out.append(begin + known.index(query) + 1 if query in known else default)
        begin += len(known)
    return out


@settings(max_examples=150, deadline=None)
@given(_lookups())
def test_first_equal_key_of_the_row(results):
    arguments = _arguments(results)
    before = [[one.clone() for one in part] for part in arguments[:5]]
    got = lookup_rows(*arguments)
    for part, kept in zip(arguments[:5], before, strict=True):
        assert_same(part, kept)
    assert_same(got, reference.lookup_rows(*arguments))
    for (queries, _, keys, _, answer, dtype, default), one in zip(results, got, strict=True):
        expected = _expected(queries, keys, answer, default)
        assert_same([one], [torch.tensor(expected, dtype=dtype if answer == ITEM else torch.int64)])


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("longest", [3, 40, 2000])
def test_threads_and_long_rows(longest, threads):
    """Rows around the length from which a table is filled, and far beyond it, with keys that repeat."""
    generator = torch.Generator().manual_seed(longest)
    num_rows = 60_000 // longest
    queries, query_offsets = random_column(num_rows, longest, generator, num_ids=longest)
    keys, key_offsets = random_column(num_rows, longest, generator, num_ids=longest)
    items = torch.rand(keys.numel(), generator=generator)
    columns = torch.tensor([[ITEM, value_bits(-1.5, torch.float32)], [PLACE, 0], [MATCH, 0]])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found, places, matches = lookup_rows(
            [queries] * 3, [query_offsets] * 3, [keys] * 3, [key_offsets] * 3, [items, NO_ITEMS, NO_ITEMS], columns
        )
    finally:
        torch.set_num_threads(before)
    expected = []
    for row in range(num_rows):
        begin, end = key_offsets[row : row + 2].tolist()
        first = {id: place for place, id in reversed(list(enumerate(keys[begin:end].tolist())))}
        expected += [first.get(query, -1) + 1 for query in queries[query_offsets[row] : query_offsets[row + 1]].tolist()]
    assert places.tolist() == expected
    assert torch.equal(matches, (places > 0).long())
    row_of = torch.repeat_interleave(torch.arange(num_rows), query_offsets.diff())
    at = (key_offsets[row_of] + places - 1).clamp(0)
    assert torch.equal(found, torch.where(places > 0, items[at], torch.tensor(-1.5)))


def test_very_long_rows_are_not_quadratic():
    """40,000 x 40,000 pairs would take half a minute of vector comparisons under the slowest instruction set."""
    keys = torch.arange(400_000) * 7
    (places,) = lookup_rows(
        [keys.flip(0)], [torch.tensor([0, 400_000])], [keys], [torch.tensor([0, 400_000])], [NO_ITEMS], torch.tensor([[PLACE, 0]])
    )
    assert torch.equal(places, torch.arange(400_000, 0, -1))


def test_no_results():
    assert lookup_rows([], [], [], [], [], torch.zeros(0, 2, dtype=torch.int64)) == []


def test_value_bits():
    assert value_bits(1.0, torch.float32) == 0x3F800000
    assert value_bits(-1, torch.int64) == -1
    assert value_bits(-1, torch.int8) == 0xFF


def _one(**changes):
    arguments = {
        "queries": [torch.arange(3)],
        "query_offsets": [torch.tensor([0, 2, 3])],
        "keys": [torch.arange(2)],
        "key_offsets": [NO_OFFSETS],
        "items": [torch.tensor([0.5, 2.0])],
        "columns": torch.tensor([[ITEM, 0]]),
    }
    return {**arguments, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"queries": [torch.arange(3).int()]}, "queries of result 0 has the wrong dtype"),
        ({"queries": []}, "as many results, are 0, 1, 1, 1 and 1"),
        ({"keys": [torch.arange(4)[::2]]}, "keys of result 0 must be a contiguous"),
        ({"query_offsets": [torch.tensor([0, 2, 4])]}, "query_offsets of result 0 go from 0 to 4, must go from 0 to 3"),
        ({"query_offsets": [torch.tensor([0, 4, 3])]}, "query_offsets of result 0 must never decrease, do at row 1"),
        ({"key_offsets": [torch.tensor([0, 3, 2])]}, "key_offsets of result 0 must never decrease, do at row 1"),
        ({"key_offsets": [torch.tensor([0, 1, 1, 2])]}, "result 0: queries have 2 rows, keys 3"),
        ({"items": [torch.ones(3)]}, "items of result 0 are 3, its keys 2"),
        ({"items": [torch.ones(2, dtype=torch.complex64)]}, "items of result 0 have a dtype"),
        ({"columns": torch.tensor([[3, 0]])}, "columns: result 0 asks for answer 3"),
        ({"columns": torch.tensor([[PLACE, 0]])}, "items of result 0 has the wrong dtype"),
        ({"columns": torch.tensor([[MATCH, 0]]), "items": [torch.arange(2)]}, "items of result 0 are 2, must be none"),
        ({"columns": torch.tensor([0])}, r"columns must be \[1, 2\]"),
        ({"columns": torch.tensor([[0.0, 0.0]])}, "columns has the wrong dtype"),
    ],
)
def test_wrong_arguments_are_named(changes, message):
    with pytest.raises(RuntimeError, match=message):
        lookup_rows(**_one(**changes))


def test_opcheck():
    opcheck(torch.ops.sparrow.lookup_rows.default, tuple(_one().values()))
    opcheck(torch.ops.sparrow.lookup_rows.default, tuple(_one(items=[NO_ITEMS], columns=torch.tensor([[MATCH, 0]])).values()))
    opcheck(torch.ops.sparrow.lookup_rows.default, ([], [], [], [], [], torch.zeros(0, 2, dtype=torch.int64)))


def test_triton_body_in_the_interpreter():
    """Several blocks of queries, every answer, every size of item, empty columns."""
    generator = torch.Generator().manual_seed(8)
    (x, x_offsets), (y, y_offsets) = random_column(1100, 3, generator, num_ids=3), random_column(1100, 5, generator, num_ids=3)
    dense, item = torch.randint(-3, 3, (1100,), generator=generator), torch.randint(0, 100, (y.numel(),), generator=generator)
    empty = torch.zeros(3, dtype=torch.int64)
    results = [
        *((x, x_offsets, y, y_offsets, item.to(dtype), [ITEM, value_bits(-7, dtype)]) for dtype in DTYPES if dtype != torch.uint8),
        (dense, NO_OFFSETS, y, y_offsets, NO_ITEMS, [PLACE, 0]),
        (x, x_offsets, dense, NO_OFFSETS, NO_ITEMS, [MATCH, 0]),
        (empty[:0], NO_OFFSETS, empty[:0], empty[:1], NO_ITEMS, [MATCH, 0]),
        (empty[:2], torch.tensor([0, 0, 2]), empty[:0], empty, torch.zeros(0), [ITEM, value_bits(2.5, torch.float32)]),
    ]
    *lists, columns = map(list, zip(*results, strict=True))
    calls = [
        (*lists, torch.tensor(columns)),
        ([], [], [], [], [], torch.zeros(0, 2, dtype=torch.int64)),
        tuple(_one(items=[torch.ones(3)]).values()),
    ]
    *answers, refused = interpreted("lookup_rows", calls)
    for got, call in zip(answers, calls, strict=False):
        assert_same(got, reference.lookup_rows(*call))
    assert refused == "items of result 0 are 3, must be 2"


def test_triton_kernel_compiles_for_real_targets():
    compiled = compile_kernels("lookup_rows.triton", "lookup_kernel", types={"num_steps": "i32"}, constants={"BLOCK_N": 1024})
    assert sorted(compiled) == for_every_target("lookup_kernel")
