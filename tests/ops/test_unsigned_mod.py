"""unsigned_mod against Python's integers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.library import opcheck

from sparrow.ops.unsigned_mod import reference
from sparrow.ops.unsigned_mod.op import unsigned_mod
from tests_support import id_lists

DIVISORS = st.one_of(st.integers(1, 2**63 - 1), st.sampled_from([1, 2, 3, 1000, 2**32, 2**62, 2**63 - 1]))


@given(ids=id_lists(40), divisor=DIVISORS)
def test_equals_pythons_modulo(ids: list[int], divisor: int) -> None:
    tensor = torch.tensor(ids, dtype=torch.int64)
    expected = [(id + 2**64 if id < 0 else id) % divisor for id in ids]
    assert unsigned_mod(tensor, divisor).tolist() == expected
    assert reference.unsigned_mod(tensor, divisor).tolist() == expected


def test_threads_agree() -> None:
    ids = torch.randint(-(2**63), 2**63 - 1, (100_000,), generator=torch.Generator().manual_seed(1))
    torch.set_num_threads(1)
    one = unsigned_mod(ids, 12345)
    torch.set_num_threads(2)
    assert torch.equal(one, unsigned_mod(ids, 12345))


@pytest.mark.parametrize("size", [0, 1, 63, 1000])
@pytest.mark.parametrize("divisor", [1, 7, 2**63 - 1])
def test_sizes(size: int, divisor: int) -> None:
    ids = torch.randint(-(2**63), 2**63 - 1, (size,), generator=torch.Generator().manual_seed(size))
    assert torch.equal(unsigned_mod(ids, divisor), reference.unsigned_mod(ids, divisor))


def test_opcheck() -> None:
    opcheck(torch.ops.sparrow.unsigned_mod.default, (torch.arange(-5, 5), 3))


@pytest.mark.parametrize("divisor", [0, -4])
def test_divisor_below_one_is_refused(divisor: int) -> None:
    with pytest.raises(RuntimeError, match="divisor"):
        unsigned_mod(torch.arange(3), divisor)
