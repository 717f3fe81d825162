"""Every transform against a loop over Python values, on every layout of column."""

import bisect
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from features.columns import LAYOUTS, NESTED, column_of, mapped, rows_in, rows_of, same, strings_of
from features.running import check_levels, computed, start
from sparrow.errors import DataError
from sparrow.features import Feature
from sparrow.ops.hashes import fingerprint
from sparrow.types import Column, Ragged
from tests_support import ids as any_id

layouts = st.sampled_from(LAYOUTS)
floats = {torch.float32: st.floats(width=32), torch.float64: st.floats()}
float_dtypes = st.sampled_from([torch.float32, torch.float64])
small = st.integers(-(2**31), 2**31 - 1)


@given(layout=layouts, weights=st.booleans(), data=st.data())
def test_select_gives_the_column_itself(layout: str, weights: bool, data: st.DataObject) -> None:
    column = column_of(layout, data.draw(rows_in(layout, small)), torch.int32, weights)
    assert computed(start(), column) is column


@given(layout=layouts, dtype=float_dtypes, weights=st.booleans(), data=st.data())
def test_log1p(layout: str, dtype: torch.dtype, weights: bool, data: st.DataObject) -> None:
    rows = data.draw(rows_in(layout, floats[dtype]))
    column = column_of(layout, rows, dtype, weights)
    out = computed(start().log1p(), column)
    check_levels(out, column)
    assert (out.values if isinstance(out, Ragged) else out).dtype == dtype
    expected = mapped(lambda x: math.nan if math.isnan(x) else math.log1p(max(x, 0.0)), rows)
    assert same(rows_of(out), expected, relative=2 * torch.finfo(dtype).eps)


@given(layout=layouts, dtype=st.sampled_from([torch.int32, torch.int64, torch.bool]), data=st.data())
def test_log1p_of_integers_is_float64(layout: str, dtype: torch.dtype, data: st.DataObject) -> None:
    rows = data.draw(rows_in(layout, st.booleans() if dtype == torch.bool else small))
    out = computed(start().log1p(), column_of(layout, rows, dtype))
    assert (out.values if isinstance(out, Ragged) else out).dtype == torch.float64
    assert same(rows_of(out), mapped(lambda x: math.log1p(max(x, 0)), rows), relative=2**-51)


@given(layout=layouts, weights=st.booleans(), data=st.data())
def test_hash_of_integers(layout: str, weights: bool, data: st.DataObject) -> None:
    rows = data.draw(rows_in(layout, any_id))
    column = column_of(layout, rows, torch.int64, weights)
    out = computed(start().hash("farm"), column)
    check_levels(out, column)
    assert rows_of(out) == mapped(lambda id: fingerprint(id.to_bytes(8, "little", signed=True)), rows)


@given(layout=st.sampled_from(["dense", "ragged", NESTED]), data=st.data())
def test_hash_of_strings_takes_the_byte_level_away(layout: str, data: st.DataObject) -> None:
    rows = data.draw(rows_in(layout, st.binary(max_size=20)))
    out = computed(start().hash(), strings_of(layout, rows))
    assert isinstance(out, Ragged) == (layout != "dense")
    assert rows_of(out) == mapped(fingerprint, rows)


@given(layout=layouts, weights=st.booleans(), divisor=st.one_of(st.integers(1, 50), st.integers(1, 2**63 - 1)), data=st.data())
def test_mod(layout: str, weights: bool, divisor: int, data: st.DataObject) -> None:
    rows = data.draw(rows_in(layout, any_id))
    column = column_of(layout, rows, torch.int64, weights)
    out = computed(start().mod(divisor), column)
    check_levels(out, column)
    assert rows_of(out) == mapped(lambda id: id % 2**64 % divisor, rows)


boundaries = st.lists(st.floats(allow_nan=False), min_size=1, max_size=6, unique=True).map(sorted)


@given(layout=layouts, dtype=float_dtypes, weights=st.booleans(), known=boundaries, data=st.data())
def test_bucketize(layout: str, dtype: torch.dtype, weights: bool, known: list[float], data: st.DataObject) -> None:
    exactly = st.sampled_from(torch.tensor(known, dtype=dtype).tolist())
    rows = data.draw(rows_in(layout, st.one_of(floats[dtype], exactly)))
    column = column_of(layout, rows, dtype, weights)
    out = computed(start().bucketize(known), column)
    check_levels(out, column)
    assert rows_of(out) == mapped(lambda x: len(known) if math.isnan(x) else bisect.bisect_right(known, x), rows)


@given(layout=layouts, known=st.lists(small, min_size=1, max_size=6, unique=True).map(sorted), data=st.data())
def test_bucketize_of_integers(layout: str, known: list[int], data: st.DataObject) -> None:
    rows = data.draw(rows_in(layout, st.one_of(small, st.sampled_from(known))))
    out = computed(start().bucketize(known), column_of(layout, rows, torch.int32))
    assert rows_of(out) == mapped(lambda x: bisect.bisect_right(known, x), rows)


@given(known=boundaries, data=st.data())
def test_bucketize_of_large_integers_is_exact(known: list[float], data: st.DataObject) -> None:
    near = st.sampled_from(known).filter(lambda x: abs(x) < 2**62).flatmap(lambda x: st.integers(-2, 2).map(lambda by: int(x) + by))
    rows = data.draw(st.lists(st.one_of(any_id, near) if any(abs(x) < 2**62 for x in known) else any_id, max_size=8))
    out = computed(start().bucketize(known), column_of("dense", rows, torch.int64))
    assert rows_of(out) == [sum(boundary <= x for boundary in known) for x in rows]


@given(layout=layouts, dtype=float_dtypes, to=st.sampled_from(["float32", "float64"]), weights=st.booleans(), data=st.data())
def test_cast(layout: str, dtype: torch.dtype, to: str, weights: bool, data: st.DataObject) -> None:
    rows = data.draw(rows_in(layout, st.one_of(st.floats(width=32), st.floats(-1e30, 1e30))))
    column = column_of(layout, rows, dtype, weights)
    out = computed(start().cast(to), column)
    check_levels(out, column)
    rounded = {torch.float32: np.float32, torch.float64: np.float64}[dtype]
    assert (out.values if isinstance(out, Ragged) else out).dtype == getattr(torch, to)
    assert same(rows_of(out), mapped(lambda x: float(getattr(np, to)(rounded(x))), rows))


@given(layout=layouts, to=st.sampled_from(["float32", "float64"]), data=st.data())
def test_cast_of_integers_rounds_to_nearest(layout: str, to: str, data: st.DataObject) -> None:
    rows = data.draw(rows_in(layout, any_id))
    out = computed(start().cast(to), column_of(layout, rows, torch.int64))
    assert rows_of(out) == mapped(lambda x: float(np.int64(x).astype(to)), rows)


@pytest.mark.parametrize("layout", ["dense", "wide", "ragged", NESTED])
def test_cast_names_the_row_of_a_number_too_large(layout: str) -> None:
    rows = {
        "dense": [1, 1e39, 2],
        "wide": [[1, 2], [3, 1e39], [2, 2]],
        "ragged": [[1, 2], [1, 1e39], []],
        NESTED: [[[1], []], [[], [1e39]]],
    }
    column = column_of(layout, rows[layout], torch.float64)
    with pytest.raises(DataError, match=r"'out', column 'column', sample 1 of the batch: 1e\+39 is too large for float32"):
        computed(start().cast("float32"), column)
    infinite = column_of(layout, mapped(lambda x: math.inf if x > 1e38 else x, rows[layout]), torch.float64)
    assert same(rows_of(computed(start().cast("float32"), infinite)), rows_of(infinite))


fill_values = {dtype: strategy.filter(math.isfinite) for dtype, strategy in floats.items()}


@given(dtype=float_dtypes, data=st.data())
def test_fill_of_floats(dtype: torch.dtype, data: st.DataObject) -> None:
    value = data.draw(fill_values[dtype])
    rows = data.draw(st.lists(st.lists(floats[dtype], max_size=1), max_size=8))
    out = computed(start().fill(value), column_of("ragged", rows, dtype))
    assert isinstance(out, torch.Tensor)
    assert out.dtype == dtype
    assert same(rows_of(out), [value if not row or math.isnan(row[0]) else row[0] for row in rows])


@given(rows=st.lists(st.lists(any_id, max_size=1), max_size=8), value=st.integers(-(2**63), 2**63 - 1))
def test_fill_of_integers_keeps_every_bit(rows: list[list[int]], value: int) -> None:
    out = computed(start().fill(value), column_of("ragged", rows, torch.int64))
    assert rows_of(out) == [row[0] if row else value for row in rows]


@given(layout=st.sampled_from(["dense", "wide"]), dtype=float_dtypes, data=st.data())
def test_fill_of_a_dense_column_replaces_nan(layout: str, dtype: torch.dtype, data: st.DataObject) -> None:
    value, rows = data.draw(fill_values[dtype]), data.draw(rows_in(layout, floats[dtype]))
    out = computed(start().fill(value), column_of(layout, rows, dtype))
    assert same(rows_of(out), mapped(lambda x: value if math.isnan(x) else x, rows))


@given(rows=st.lists(st.lists(st.floats(width=32), max_size=1), max_size=8))
def test_a_chain_is_its_steps_in_order(rows: list[list[float]]) -> None:
    feature = start().fill(2.5).log1p().bucketize([0.5, 1.0, 2.0]).mod(3)
    filled = [2.5 if not row or math.isnan(row[0]) else row[0] for row in rows]
    # The boundaries lie far from the rounding of log1p for what float32 can hold near them.
    expected = [bisect.bisect_right([0.5, 1.0, 2.0], float(np.float32(math.log1p(max(x, 0.0))))) % 3 for x in filled]
    assert rows_of(computed(feature, column_of("ragged", rows, torch.float32))) == expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    column = torch.tensor([0.0, 1.5, math.nan, -2.0], dtype=dtype)
    assert computed(start().fill(1.0), column).dtype == torch.float32
    assert torch.equal(computed(start().fill(1.0).log1p(), column), torch.tensor([0.0, 1.5, 1.0, 0.0]).log1p())
    assert rows_of(computed(start().bucketize([0, 1]), column)) == [1, 2, 2, 0]


def test_columns_may_be_views_with_strides() -> None:
    ids = torch.arange(12).reshape(4, 3)
    for feature in (start().hash(), start().mod(5)):
        assert torch.equal(computed(feature, ids[:, 1]), computed(feature, ids[:, 1].clone()))
        assert torch.equal(computed(feature, ids[:, 1:]), computed(feature, ids[:, 1:].clone()))
    numbers = ids.double()[:, 2]
    assert rows_of(computed(start().bucketize([3.0]), numbers)) == [0, 1, 1, 1]
    every_other = Ragged(ids.reshape(-1)[::2], (torch.tensor([0, 4, 6]),))
    assert rows_of(computed(start().mod(5), every_other)) == [[0, 2, 4, 1], [3, 0]]


@pytest.mark.parametrize(
    ("feature", "column", "problem"),
    [
        (start().fill(0.5), torch.tensor([1]), r"fill\(0.5\) does not fit integers"),
        (start().fill(1e300), torch.tensor([1]), r"fill\(1e\+300\) does not fit integers"),
        (start().fill(1e300), torch.tensor([1.0]), r"fill\(1e\+300\) is too large for torch.float32"),
        (start().fill(0), column_of(NESTED, [[[1.0]]], torch.float32), "rows of one level, got 2"),
        (start().fill(0), column_of("ragged", [[1.0]], torch.float32, weights=True), "weights"),
        (start().fill(0), strings_of("dense", [b"x"]), "takes numbers, the column holds strings"),
        (start().log1p(), strings_of("ragged", [[b"x"]]), "takes numbers, the column holds strings"),
        (start().bucketize([1]), strings_of("dense", [b"x"]), "takes numbers, the column holds strings"),
        (start().cast("float32"), strings_of("dense", [b"x"]), "takes numbers, the column holds strings"),
        (start().hash(), torch.tensor([1.0]), "takes integer ids, the column holds numbers; bucketize it first"),
        (start().mod(3), torch.tensor([1.0]), "takes integer ids, the column holds numbers; bucketize it first"),
        (start().mod(3), strings_of("dense", [b"x"]), "takes integer ids, the column holds strings; hash it first"),
        (start().hash(), Ragged(torch.tensor([65], dtype=torch.uint8), (torch.tensor([0, 1]),), torch.ones(1)), "cannot carry the weights"),
    ],
)
def test_a_column_that_does_not_fit_is_named(feature: Feature, column: Column, problem: str) -> None:
    with pytest.raises(DataError, match=f"feature 'out', column 'column', sample 0 of the batch: .*{problem}") as raised:
        computed(feature, column)
    assert "\n" not in str(raised.value)
