"""The id map's arithmetic: a bijection, monotone home lines, and an order that reads unsigned."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from sparrow.ops import id_map
from tests_support import ids as any_id

MASK = 2**64 - 1


def unsigned_mix(id: int, salt: int) -> int:
    """The same arithmetic on Python's unbounded integers."""
    x = (id ^ salt) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


@given(id=any_id, salt=any_id)
def test_mix_is_the_published_arithmetic(id: int, salt: int) -> None:
    assert int(id_map.mix(torch.tensor(id), salt)) & MASK == unsigned_mix(id, salt)


@given(sample=st.lists(any_id, min_size=2, max_size=50), num_lines=st.integers(1, 2**31 - 1))
def test_canonical_order_is_unsigned_and_home_lines_follow_it(sample: list[int], num_lines: int) -> None:
    ids = torch.tensor(sample)
    ordered = ids[id_map.canonical_order(ids, 5)]
    mixed = [unsigned_mix(int(id), 5) for id in ordered]
    assert mixed == sorted(mixed)
    homes = id_map.home_line(id_map.mix(ordered, 5), num_lines).tolist()
    assert homes == sorted(homes)
    assert all(0 <= home < num_lines for home in homes)
    assert id_map.slice_of(ordered, 5).tolist() == [value >> 48 for value in mixed]
