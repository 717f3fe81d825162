"""Hashes of bytes: published vectors, and the compiled ones against those on Python's integers over every branch of length."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ops.chains import mapped, mapped_strings
from sparrow.ops.hashes import fingerprint, murmur64a, signed, xxh64
from sparrow.ops.map_values.steps import HashBytes, HashInts
from tests_support import id_lists

PLAIN: dict[str, Callable[[bytes], int]] = {"farm": fingerprint, "murmur": murmur64a, "xxh64": xxh64}


def pattern(num_bytes: int) -> bytes:
    return bytes((7 * i + 3) % 256 for i in range(num_bytes))


# What tf.fingerprint(..., "farmhash64") gives for `pattern`, and murmur as RecIS's tests have it: every branch of the length and its edges.
FARM = {
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
MURMUR = {
    0: 0,
    1: -1155391731838903852,
    4: 797023423165283201,
    8: -598841752933865021,
    9: 7472314166289592116,
    16: -5233371690169176150,
    17: 5671951913216353474,
    32: -947084490997036316,
    33: 3683110982978357584,
    64: 4750229339952535459,
    65: 8112595678966857754,
    128: -4597157737740727085,
    129: -343333973814333907,
    200: -782928337558376861,
}


def sanity_bytes(num_bytes: int) -> bytes:
    """Return the buffer of xxHash's own sanity check."""
    out, state = bytearray(), 2654435761
    for _ in range(num_bytes):
        out.append(state >> 56)
        state = state * 11400714785074694797 % 2**64
    return bytes(out)


# Of xxHash's sanity check, its documentation, and that of python-xxhash.
XXH64 = {
    b"": 0xEF46DB3751D8E999,
    sanity_bytes(1): 0xE934A84ADB052768,
    sanity_bytes(4): 0x9136A0DCA57457EE,
    sanity_bytes(14): 0x8282DCC4994E35C8,
    sanity_bytes(222): 0xB641AE8CB691C174,
    b"a": 0xD24EC4F1A98C6E5B,
    b"abc": 0x44BC2CF5AD770999,
    b"xxhash": 0x32DD38952C4BC720,
}
VECTORS = {
    "farm": {
        **{pattern(size): hash for size, hash in FARM.items()},
        bytes([0, 1, 2]): -7736835464683084646,
        bytes([1, 2, 3]): -5546720800891377920,
        bytes([0, 5, 5]): -4442022684725028445,
        bytes([5, 6, 7]): -909183002746659612,
    },
    "murmur": {
        **{pattern(size): hash for size, hash in MURMUR.items()},
        bytes([0, 1, 2]): -4003751876240412087,
        bytes([1, 2, 3]): -1042754718167355375,
        bytes([0, 5, 5]): -5541886947548579749,
        bytes([5, 6, 7]): 4434088491466393040,
    },
    "xxh64": {string: signed(hash) for string, hash in XXH64.items()},
}


@pytest.mark.parametrize("algorithm", PLAIN)
def test_published_vectors(algorithm: str) -> None:
    strings = list(VECTORS[algorithm])
    assert [PLAIN[algorithm](string) for string in strings] == list(VECTORS[algorithm].values())
    assert mapped_strings(strings, HashBytes(algorithm)).tolist() == list(VECTORS[algorithm].values())


@pytest.mark.parametrize("algorithm", PLAIN)
def test_every_length_of_every_branch(algorithm: str) -> None:
    strings = [bytes((11 * i + n) % 256 for i in range(n)) for n in range(260)]
    assert mapped_strings(strings, HashBytes(algorithm)).tolist() == [PLAIN[algorithm](string) for string in strings]


# Runs of alike lengths, as columns have them, and lengths of several branches beside each other.
runs = st.sampled_from([(0, 3), (4, 7), (4, 16), (8, 16), (17, 32), (33, 64), (0, 70)]).flatmap(
    lambda sizes: st.lists(st.binary(min_size=sizes[0], max_size=sizes[1]), min_size=0, max_size=40)
)


@given(
    strings=st.lists(runs, max_size=3).map(lambda lists: [string for one in lists for string in one]), algorithm=st.sampled_from([*PLAIN])
)
def test_strings_hash_as_in_python(strings: list[bytes], algorithm: str) -> None:
    assert mapped_strings(strings, HashBytes(algorithm)).tolist() == [PLAIN[algorithm](string) for string in strings]


@given(ids=id_lists(30), algorithm=st.sampled_from([*PLAIN]))
def test_an_integer_hashes_as_its_eight_bytes(ids: list[int], algorithm: str) -> None:
    expected = [PLAIN[algorithm](id.to_bytes(8, "little", signed=True)) for id in ids]
    assert mapped(torch.tensor(ids, dtype=torch.int64), HashInts(algorithm)).tolist() == expected
