"""Conversions lose nothing in silence: every pair of dtypes against Python's exact arithmetic."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparrow.io.cast import BadValueError, cast

_INTS = [torch.int8, torch.int16, torch.int32, torch.int64]
_TARGETS = [torch.bool, torch.uint8, *_INTS, torch.float16, torch.bfloat16, torch.float32, torch.float64]
# Bits of the significand, the leading one included.
_SIGNIFICANDS = {torch.float16: 11, torch.bfloat16: 8, torch.float32: 24, torch.float64: 53}


def _int_range(dtype):
    return (0, 1) if dtype == torch.bool else (torch.iinfo(dtype).min, torch.iinfo(dtype).max)


def _fits(value, dtype):
    """Whether `value` may become `dtype` by the rules of the docstring of `cast`."""
    if dtype.is_floating_point:
        if isinstance(value, int):
            return abs(value) <= 2 ** _SIGNIFICANDS[dtype]
        return not math.isfinite(value) or math.isfinite(torch.tensor(value, dtype=torch.float64).to(dtype).item())
    low, high = _int_range(dtype)
    return isinstance(value, int) or (math.isfinite(value) and value == math.floor(value)) if low <= value <= high else False


# Around every bound, where mistakes are.
_EDGES = [sign * 2**bits + delta for bits in (0, 7, 8, 11, 15, 24, 31, 53, 62, 63) for sign in (-1, 1) for delta in (-1, 0, 1)]


@given(source=st.sampled_from([*_INTS, torch.float32, torch.float64]), target=st.sampled_from(_TARGETS), values=st.data())
def test_cast_is_exact_or_names_the_first_value_that_does_not_fit(source, target, values):
    if source.is_floating_point:
        width = 32 if source == torch.float32 else 64
        one = st.floats(width=width) | st.sampled_from([torch.tensor(float(edge), dtype=source).item() for edge in _EDGES])
    else:
        low, high = _int_range(source)
        one = st.integers(low, high) | st.sampled_from([edge for edge in _EDGES if low <= edge <= high])
    given_values = values.draw(st.lists(one, max_size=4))
    tensor = torch.tensor(given_values, dtype=source)
    bad = [index for index, value in enumerate(given_values) if not _fits(value, target)]
    if bad and source != target:
        with pytest.raises(BadValueError) as caught:
            cast(tensor, target)
        assert caught.value.index == bad[0]
        assert str(given_values[bad[0]]) in caught.value.why
        return
    out = cast(tensor, target)
    assert out.dtype == target
    for value, got in zip(given_values, out.tolist(), strict=True):
        if target.is_floating_point and isinstance(value, float):
            assert repr(got) == repr(torch.tensor(value, dtype=torch.float64).to(target).item())
        else:
            assert got == value


def test_the_same_dtype_is_the_same_tensor():
    values = torch.arange(3)
    assert cast(values, torch.int64) is values
