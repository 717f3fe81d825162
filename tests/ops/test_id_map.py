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


@given(sample=st.lists(any_id, min_size=2, max_size=50), num_lines=st.integers(1, 2**31 - 1), range_bits=st.integers(0, 16))
def test_canonical_order_is_unsigned_and_ranges_and_home_lines_follow_it(sample: list[int], num_lines: int, range_bits: int) -> None:
    ids = torch.tensor(sample)
    ordered = ids[id_map.canonical_order(ids, 5)]
    mixed = [unsigned_mix(int(id), 5) for id in ordered]
    assert mixed == sorted(mixed)
    fraction = id_map.fraction_of(id_map.mix(ordered, 5), id_map.make_headers([5], [range_bits])[0])
    assert fraction.tolist() == [value >> 32 for value in mixed]
    ranges = id_map.range_of(fraction, range_bits).tolist()
    homes = id_map.home_line(fraction, range_bits, num_lines).tolist()
    assert list(zip(ranges, homes, strict=True)) == sorted(zip(ranges, homes, strict=True))
    assert all(0 <= index < 2**range_bits for index in ranges)
    assert all(0 <= home < num_lines for home in homes)
    assert id_map.slice_of(ordered, 5).tolist() == [value >> 48 for value in mixed]


@given(id=any_id, first=st.integers(0, 65535), num_slices=st.integers(1, 65536))
def test_fraction_divides_the_slices_of_a_map(id: int, first: int, num_slices: int) -> None:
    num_slices = min(num_slices, 65536 - first)
    header = id_map.make_headers([3], [0])[0]
    header[id_map.HEADER_FIRST_SLICE], header[id_map.HEADER_SLICE_SCALE] = first, id_map.slice_scale(num_slices)
    distance = (unsigned_mix(id, 3) >> 32) - (first << 16)
    if not 0 <= distance < num_slices << 16:
        return
    fraction = int(id_map.fraction_of(id_map.mix(torch.tensor(id), 3), header))
    assert 0 <= fraction < 2**32
    # Rounding the scale down loses less than a slice.
    exact = distance * 2**16 / num_slices
    assert exact - 2**16 <= fraction <= exact
