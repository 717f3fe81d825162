"""farm_hash: published vectors, and C++ against a reference on Python's integers over every branch of length."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.library import opcheck

from sparrow.ops.farm_hash import reference
from sparrow.ops.farm_hash.op import farm_hash, farm_hash_ints
from tests_support import ids as any_id

# What tf.fingerprint(..., "farmhash64") gives, for s_n = bytes((7 i + 3) % 256 for i < n): every branch of the length and its edges.
PUBLISHED = {
    0: -7286425919675154353,
    1: -4701585644151464565,
    4: -880473496457938030,
    8: 907454142650066470,
    9: -1937406006033793025,
    16: 9140634717936656744,
    17: -3940209979914493657,
    32: -6539366919091055384,
    33: -4445161147390955287,
    64: 389040666157116578,
    65: 8638051931306504420,
    128: 7379187116787024497,
    129: -7484864359672536957,
    200: 7886090686657605591,
}
THREE_BYTES = {
    (0, 1, 2): -7736835464683084646,
    (1, 2, 3): -5546720800891377920,
    (0, 5, 5): -4442022684725028445,
    (5, 6, 7): -909183002746659612,
}
BODIES = {"reference": reference.farm_hash, "cpu": farm_hash}


def packed(strings: list[bytes]) -> tuple[Tensor, Tensor]:
    offsets = torch.tensor([0, *[len(s) for s in strings]]).cumsum(0)
    return torch.tensor(list(b"".join(strings)), dtype=torch.uint8), offsets


@pytest.mark.parametrize("body", BODIES)
def test_published_vectors(body: str) -> None:
    strings = [bytes((7 * i + 3) % 256 for i in range(n)) for n in PUBLISHED] + [bytes(three) for three in THREE_BYTES]
    assert BODIES[body](*packed(strings)).tolist() == [*PUBLISHED.values(), *THREE_BYTES.values()]


@given(st.lists(st.one_of(st.binary(max_size=70), st.binary(min_size=120, max_size=300)), max_size=20))
def test_compiled_equals_reference(strings: list[bytes]) -> None:
    assert torch.equal(farm_hash(*packed(strings)), reference.farm_hash(*packed(strings)))


@given(st.lists(any_id, max_size=30))
def test_an_integer_hashes_as_its_eight_bytes(ids: list[int]) -> None:
    tensor = torch.tensor(ids, dtype=torch.int64)
    as_bytes = packed([id.to_bytes(8, "little", signed=True) for id in ids])
    assert torch.equal(farm_hash_ints(tensor), farm_hash(*as_bytes))
    assert torch.equal(farm_hash_ints(tensor), reference.farm_hash_ints(tensor))


def test_every_length_of_every_branch() -> None:
    strings = [bytes((11 * i + n) % 256 for i in range(n)) for n in range(260)]
    assert torch.equal(farm_hash(*packed(strings)), reference.farm_hash(*packed(strings)))


@pytest.mark.parametrize("size", [0, 1, 63, 1000, 100_000])
def test_threads_agree(size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), torch.randint(0, 40, (size,), generator=generator).cumsum(0)])
    values = torch.randint(0, 256, (int(offsets[-1]),), generator=generator, dtype=torch.uint8)
    torch.set_num_threads(1)
    strings, integers = farm_hash(values, offsets), farm_hash_ints(offsets)
    torch.set_num_threads(2)
    assert torch.equal(strings, farm_hash(values, offsets))
    assert torch.equal(integers, farm_hash_ints(offsets))
    if size <= 1000:
        assert torch.equal(strings, reference.farm_hash(values, offsets))


def test_opcheck() -> None:
    opcheck(torch.ops.sparrow.farm_hash.default, packed([b"a", b"", b"longer than eight"]))
    opcheck(torch.ops.sparrow.farm_hash_ints.default, (torch.arange(5),))


def test_wrong_arguments_are_named() -> None:
    values, offsets = packed([b"ab", b"c"])
    with pytest.raises(RuntimeError, match="values"):
        farm_hash(values.int(), offsets)
    with pytest.raises(RuntimeError, match="offsets"):
        farm_hash(values, offsets + 1)
    with pytest.raises(RuntimeError, match="offsets"):
        farm_hash(values, torch.tensor([0, 3, 2, 3]))
    with pytest.raises(RuntimeError, match="offsets"):
        farm_hash(values, offsets[:0])
    with pytest.raises(RuntimeError, match="ids"):
        farm_hash_ints(offsets.int())
