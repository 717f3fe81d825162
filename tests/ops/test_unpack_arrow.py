"""unpack_arrow against the columns read value by value, and against offsets of damaged files."""

import gc
import itertools

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparrow.ops.unpack_arrow import reference
from sparrow.ops.unpack_arrow.op import BYTES, DENSE, DENSE_LIST, LIST, TYPES, unpack_arrow

_ARROW = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64()]
_WANTED = [TYPES.index(dtype) for dtype in (torch.int32, torch.int64, torch.float32, torch.float64)]


def exported(batch):
    array = torch.empty(10, dtype=torch.int64)
    batch._export_to_c(array.data_ptr())
    return array


def _bits(default, wanted):
    word = torch.zeros(8, dtype=torch.uint8)
    value = torch.tensor([default], dtype=TYPES[wanted])
    word[: value.itemsize] = value.view(torch.uint8)
    return int(word.view(torch.int64))


def _values(source, odd):
    if TYPES[source].is_floating_point:
        width = 32 if TYPES[source] == torch.float32 else 64
        return st.floats(width=width, allow_nan=False) if odd else st.integers(-1000, 1000).map(float)
    low, high = torch.iinfo(TYPES[source]).min, torch.iinfo(TYPES[source]).max
    return st.integers(low, high) if odd else st.integers(-100, 100)


@st.composite
def _columns(draw):
    num_rows = draw(st.integers(0, 12))
    arrays, rows, defaults = [], [], []
    for _ in range(draw(st.integers(1, 5))):
        kind, source, wanted = draw(st.integers(0, 3)), draw(st.integers(0, 5)), draw(st.sampled_from(_WANTED))
        value, has_default, large = _values(source, draw(st.booleans())), draw(st.booleans()), draw(st.booleans())
        null = st.none() if draw(st.booleans()) else st.nothing()
        if kind == DENSE:
            strategy, file_type = value | null, _ARROW[source]
        elif kind in (DENSE_LIST, LIST):
            strategy = st.lists(value, max_size=1 if kind == DENSE_LIST and draw(st.booleans()) else 3) | null
            file_type = pa.large_list(_ARROW[source]) if large else pa.list_(_ARROW[source])
        else:
            strategy, file_type = st.binary(max_size=5) | null, pa.large_binary() if large else pa.binary()
        arrays.append(pa.array(draw(st.lists(strategy, min_size=num_rows, max_size=num_rows)), file_type))
        wanted = source if kind == LIST else TYPES.index(torch.uint8) if kind == BYTES else wanted
        rows.append(
            [len(arrays) - 1, kind, 8 if large else 4, source if kind != BYTES else TYPES.index(torch.uint8), wanted, int(has_default)]
        )
        defaults.append(_bits(7, wanted) if kind < LIST else 0)
    batch = pa.RecordBatch.from_arrays(arrays, [str(index) for index in range(len(arrays))])
    begin = draw(st.integers(0, num_rows))
    return batch.slice(begin, draw(st.integers(0, num_rows - begin))), torch.tensor(rows), torch.tensor(defaults)


@settings(max_examples=400, deadline=None)
@given(_columns())
def test_columns_are_those_of_the_reference(columns):
    batch, rows, defaults = columns
    got = unpack_arrow(exported(batch), rows, defaults)
    expected = reference.unpack_arrow([column.to_pylist() for column in batch.columns], rows, defaults)
    assert got[0].tolist() == expected[0].tolist()
    made = expected[0].bool()
    kinds, wanted = rows[:, 1], rows[:, 4]
    is_list = kinds >= LIST
    assert torch.equal(got[1][made[is_list]], expected[1][made[is_list]])
    matrices = sorted({int(one) for one in wanted[~is_list]})
    assert len(got) == len(expected) == 2 + len(matrices) + int(is_list.sum())
    for place, dtype in enumerate(matrices, 2):
        is_good = made[(~is_list) & (wanted == dtype)]
        assert got[place].dtype == expected[place].dtype == TYPES[dtype]
        assert torch.equal(got[place][is_good], expected[place][is_good])
    for one, other, is_good in zip(got[2 + len(matrices) :], expected[2 + len(matrices) :], made[is_list].tolist(), strict=True):
        if is_good:
            assert one.dtype == other.dtype
            assert torch.equal(one, other)


def _batch_of(array):
    return pa.RecordBatch.from_arrays([array], ["x"])


def test_values_outlive_the_batch_and_are_released_with_the_last():
    gc.collect()
    before = pa.total_allocated_bytes()
    array = pa.array([[row] * 1000 for row in range(1000)], pa.list_(pa.int64()))
    batch = _batch_of(array)
    address = np.asarray(array.values).ctypes.data
    *_, values = unpack_arrow(exported(batch), torch.tensor([[0, LIST, 4, 3, 3, 0]]), torch.zeros(1, dtype=torch.int64))
    assert values.data_ptr() == address, "no copy"
    del array, batch
    gc.collect()
    assert pa.total_allocated_bytes() > before + 7_000_000
    tail = values[-5:]
    del values
    assert tail.tolist() == [999] * 5
    del tail
    gc.collect()
    assert pa.total_allocated_bytes() == before


def test_an_array_is_taken_over_once():
    array = exported(_batch_of(pa.array([1.0])))
    columns, defaults = torch.tensor([[0, DENSE, 0, 5, 5, 0]]), torch.zeros(1, dtype=torch.int64)
    assert unpack_arrow(array, columns, defaults)[2].tolist() == [[1.0]]
    with pytest.raises(RuntimeError, match="released already"):
        unpack_arrow(array, columns, defaults)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(-(2**31), 2**31 - 1) | st.integers(-2, 12), min_size=2, max_size=8), st.sampled_from([DENSE_LIST, LIST, BYTES]))
def test_any_offsets_are_checked_before_they_are_used(offsets, kind):
    """As in a damaged file: only offsets that never decrease and stay inside are used."""
    values = pa.array(range(10), pa.int64())
    if kind == BYTES:
        # How long the bytes are pyarrow checks, by the last offset; the operator cannot know.
        offsets = [min(offset, 80) for offset in offsets]
    # Written after pyarrow has looked at them.
    raw = np.zeros(len(offsets), dtype=np.int32)
    if kind == BYTES:
        array = pa.Array.from_buffers(pa.binary(), len(offsets) - 1, [None, pa.py_buffer(raw), values.buffers()[1]])
    else:
        array = pa.Array.from_buffers(pa.list_(pa.int64()), len(offsets) - 1, [None, pa.py_buffer(raw)], children=[values])
    batch = _batch_of(array)
    raw[:] = offsets
    columns = torch.tensor([[0, kind, 4, 6 if kind == BYTES else 3, 6 if kind == BYTES else 3, 1]])
    made, bounds, *rest = unpack_arrow(exported(batch), columns, torch.zeros(1, dtype=torch.int64))
    is_good = offsets == sorted(offsets) and offsets[0] >= 0 and offsets[-1] <= (80 if kind == BYTES else 10)
    if kind == DENSE_LIST:
        is_good = is_good and all(b - a <= 1 for a, b in itertools.pairwise(offsets))
    assert bool(made) == is_good
    if is_good and kind != DENSE_LIST:
        assert bounds[0].tolist() == [offset - offsets[0] for offset in offsets]
        assert rest[0].numel() == offsets[-1] - offsets[0]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([[1, DENSE, 0, 5, 5, 0]], "row 0 describes no column"),
        ([[0, 4, 0, 5, 5, 0]], "row 0 describes no column"),
        ([[0, LIST, 2, 5, 5, 0]], "row 0 describes no column"),
        ([[0, DENSE, 0, 7, 5, 0]], "row 0 describes no column"),
        ([[0, DENSE, 0]], r"columns must be \[C, 6\]"),
    ],
)
def test_columns_that_describe_nothing_are_refused_and_the_array_is_released(columns, message):
    gc.collect()
    before = pa.total_allocated_bytes()
    batch = _batch_of(pa.array([1.0] * 1000))
    with pytest.raises(RuntimeError, match=message):
        unpack_arrow(exported(batch), torch.tensor(columns), torch.zeros(1, dtype=torch.int64))
    del batch
    gc.collect()
    assert pa.total_allocated_bytes() == before


@pytest.mark.parametrize(
    ("kind", "file_type"), [(LIST, pa.float64()), (DENSE_LIST, pa.string()), (BYTES, pa.int64()), (DENSE, pa.string())]
)
def test_a_column_of_another_layout_is_left_to_the_caller(kind, file_type):
    batch = _batch_of(pa.array([None, None], file_type))
    type_number = 6 if kind == BYTES else 5
    made = unpack_arrow(exported(batch), torch.tensor([[0, kind, 4, type_number, type_number, 1]]), torch.zeros(1, dtype=torch.int64))[0]
    assert made.tolist() == [0]
