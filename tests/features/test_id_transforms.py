"""Hashes, quotients, multiple hashes and vocabularies against Python's integers and dicts."""

import itertools
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from features.columns import LAYOUTS, NESTED, column_of, mapped, rows_in, rows_of, strings_of
from features.running import check_levels, computed, start
from sparrow.errors import ConfigError, DataError
from sparrow.features import Feature, FeatureEngine
from sparrow.ops.hashes import fingerprint, murmur64a, xxh64
from sparrow.types import Batch, Column
from tests_support import ids as any_id

HASHES = {"farm": fingerprint, "murmur": murmur64a, "xxh64": xxh64}
algorithms = st.sampled_from(list(HASHES))
layouts = st.sampled_from(LAYOUTS)
of_strings = st.sampled_from(["dense", "ragged", NESTED])


@given(layout=layouts, algorithm=algorithms, data=st.data())
def test_hashes_of_integers(layout: str, algorithm: str, data: st.DataObject) -> None:
    rows = data.draw(rows_in(layout, any_id))
    column = column_of(layout, rows, torch.int64)
    out = computed(start().hash(algorithm), column)
    check_levels(out, column)
    assert rows_of(out) == mapped(lambda id: HASHES[algorithm](id.to_bytes(8, "little", signed=True)), rows)


@given(layout=of_strings, algorithm=algorithms, buckets=st.sampled_from([0, 1, 1000, 2**63 - 1]), positive=st.booleans(), data=st.data())
def test_hashes_of_strings_into_ids_or_buckets(layout: str, algorithm: str, buckets: int, positive: bool, data: st.DataObject) -> None:
    rows = data.draw(rows_in(layout, st.binary(max_size=150)))
    out = computed(start().hash(algorithm, buckets=buckets, non_negative=positive), strings_of(layout, rows))

    def expected(text: bytes) -> int:
        hashed = HASHES[algorithm](text)
        hashed = hashed % 2**63 if positive else hashed
        return hashed % 2**64 % buckets if buckets else hashed

    assert rows_of(out) == mapped(expected, rows)


# bytes(7 * i + 3) of a length: FarmHash as TensorFlow computes it, and MurmurHash64A, as RecIS's tests have them.
PUBLISHED = {
    0: (-7286425919675154353, 0),
    1: (-4701585644151464565, -1155391731838903852),
    4: (-880473496457938030, 797023423165283201),
    8: (907454142650066470, -598841752933865021),
    9: (-1937406006033793025, 7472314166289592116),
    16: (9140634717936656744, -5233371690169176150),
    17: (-3940209979914493657, 5671951913216353474),
    32: (-6539366919091055384, -947084490997036316),
    33: (-4445161147390955287, 3683110982978357584),
    64: (389040666157116578, 4750229339952535459),
    65: (8638051931306504420, 8112595678966857754),
    128: (7379187116787024497, -4597157737740727085),
    129: (-7484864359672536957, -343333973814333907),
    200: (7886090686657605591, -782928337558376861),
}


def test_published_hashes() -> None:
    texts = [bytes((7 * i + 3) % 256 for i in range(size)) for size in PUBLISHED]
    for place, algorithm in enumerate(["farm", "murmur"]):
        out = computed(start().hash(algorithm), strings_of("dense", texts))
        assert rows_of(out) == [vectors[place] for vectors in PUBLISHED.values()]
    # Of the specification of XXH64, seed 0.
    out = computed(start().hash("xxh64"), strings_of("dense", [b"", b"a", b"abc"]))
    assert [value % 2**64 for value in rows_of(out)] == [0xEF46DB3751D8E999, 0xD24EC4F1A98C6E5B, 0x44BC2CF5AD770999]


@given(layout=layouts, divisor=st.one_of(st.integers(1, 50), st.integers(1, 2**63 - 1)), data=st.data())
def test_quotient_and_remainder_give_the_id_back(layout: str, divisor: int, data: st.DataObject) -> None:
    rows = data.draw(rows_in(layout, any_id))
    column = column_of(layout, rows, torch.int64)
    batch = Batch.of({"x": column})
    features = Feature("f").select("x").quotient_remainder(divisor)
    assert [feature.name for feature in features] == ["f_quotient", "f_remainder"]
    out = FeatureEngine(features)(batch)
    assert rows_of(out["f_remainder"]) == mapped(lambda id: id % 2**64 % divisor, rows)
    # A quotient of 2^63 and more reads as negative.
    assert rows_of(out["f_quotient"]) == mapped(lambda id: signed(id % 2**64 // divisor), rows)


def signed(word: int) -> int:
    return word - 2**64 if word >= 2**63 else word


def is_prime(number: int) -> bool:
    return number > 1 and all(number % factor for factor in range(2, math.isqrt(number) + 1))


@given(rows=st.lists(any_id, max_size=8), buckets=st.lists(st.integers(1, 5000), min_size=1, max_size=4))
def test_multi_hash(rows: list[int], buckets: list[int]) -> None:
    features = Feature("f").select("x").multi_hash(buckets)
    out = FeatureEngine(features)(Batch.of({"x": torch.tensor(rows, dtype=torch.int64)}))
    for place, (feature, count) in enumerate(zip(features, buckets, strict=True)):
        assert feature.name == f"f_{place}"
        limit = [29, 47, 67, 83][place] * count
        prime = next(number for number in range(limit, 1, -1) if is_prime(number))
        expected = []
        for id in rows:
            product = signed(id * [1, 3, 5, 7][place] % 2**64)
            remainder = abs(product) % prime * (1 if product >= 0 else -1)  # as C: towards zero
            expected.append((remainder + prime) % prime % count)
        assert rows_of(out[feature.name]) == expected


def test_published_multi_hash() -> None:
    features = Feature("f").select("x").multi_hash([1000] * 4)
    out = FeatureEngine(features)(Batch.of({"x": torch.tensor([1001, 1002, 1003])}))
    assert [rows_of(out[f.name]) for f in features] == [[1, 2, 3], [3, 6, 9], [5, 10, 15], [7, 14, 21]]


words = st.text(max_size=6)


@given(keys=st.lists(words, min_size=1, max_size=8, unique=True), layout=of_strings, buckets=st.sampled_from([0, 3]), data=st.data())
def test_vocabulary_of_strings(keys: list[str], layout: str, buckets: int, data: st.DataObject) -> None:
    rows = data.draw(rows_in(layout, st.one_of(st.sampled_from(keys), words).map(str.encode)))
    place = {key.encode(): index for index, key in enumerate(keys)}
    feature = start().vocabulary(keys, oov_buckets=buckets) if buckets else start().vocabulary(keys, missing=-7)
    out = computed(feature, strings_of(layout, rows))
    other = (lambda text: len(keys) + fingerprint(text) % 2**64 % buckets) if buckets else (lambda text: -7)
    assert rows_of(out) == mapped(lambda text: place[text] if text in place else other(text), rows)


@given(keys=st.lists(any_id, min_size=1, max_size=8, unique=True), layout=layouts, buckets=st.sampled_from([0, 3]), data=st.data())
def test_vocabulary_of_integers(keys: list[int], layout: str, buckets: int, data: st.DataObject) -> None:
    rows = data.draw(rows_in(layout, st.one_of(st.sampled_from(keys), any_id)))
    feature = start().vocabulary(keys, oov_buckets=buckets) if buckets else start().vocabulary(keys, missing=99)
    out = computed(feature, column_of(layout, rows, torch.int64))

    def expected(id: int) -> int:
        if id in keys:
            return keys.index(id)
        return len(keys) + fingerprint(id.to_bytes(8, "little", signed=True)) % 2**64 % buckets if buckets else 99

    assert rows_of(out) == mapped(expected, rows)


def test_a_large_vocabulary() -> None:
    keys = [f"word {number}" for number in range(30_000)]
    out = computed(start().vocabulary(keys, missing=-1), strings_of("dense", [key.encode() for key in keys[::7]] + [b"word 30000", b""]))
    assert rows_of(out) == [*range(0, 30_000, 7), -1, -1]


def test_vocabulary_file(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes("rot\r\nblau\ngr\N{LATIN SMALL LETTER U WITH DIAERESIS}n\n".encode())
    out = computed(start().vocabulary(path), strings_of("dense", ["gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n".encode(), b"rot"]))
    assert rows_of(out) == [2, 0]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, "words.txt: cannot be read: No such file"),
        (b"", "words.txt is empty"),
        (b"a\n\xff\n", "words.txt, line 2: no UTF-8"),
        (b"a\nb\na\n", "words.txt, line 3: the key 'a' comes twice, first in line 1"),
    ],
)
def test_bad_vocabulary_files(tmp_path: Path, content: bytes | None, named: str) -> None:
    path = tmp_path / "words.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"'out'.*{named}"):
        start().vocabulary(path)


@given(st.lists(any_id, min_size=1, unique=True), st.sampled_from([b"\n", b"\r\n"]), st.booleans())
def test_vocabulary_file_of_ids(tmp_path: Path, keys: list[int], end: bytes, closed: bool) -> None:
    path = tmp_path / "ids.txt"
    path.write_bytes(end.join(str(key).encode() for key in keys) + (end if closed else b""))
    assert start().vocabulary(path, ids=True) == start().vocabulary(keys)
    assert rows_of(computed(start().vocabulary(path, ids=True), torch.tensor(keys[::-1]))) == [*range(len(keys))][::-1]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "ids.txt is empty"),
        (b"1\n2\n9223372036854775808\n", "ids.txt, line 3: '9223372036854775808' is no integer of 64 bits"),
        (b"1\n\n2\n", "ids.txt, line 2: '' is no integer of 64 bits"),
        (b"1\n1_0\n", "ids.txt, line 2: '1_0' is no integer"),
        (b" 1\n", "ids.txt, line 1: ' 1' is no integer"),
        (b"1\ntwo\n", "ids.txt, line 2: 'two' is no integer of 64 bits, as ids=True wants them; without it lines are strings"),
        (b"\xff\n", "ids.txt, line 1: .* is no integer"),
        (b"7\n8\n07\n", "ids.txt, line 3: the key 7 comes twice, first in line 1"),
    ],
)
def test_bad_vocabulary_files_of_ids(tmp_path: Path, content: bytes, named: str) -> None:
    path = tmp_path / "ids.txt"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"'out'.*{named}"):
        start().vocabulary(path, ids=True)


def test_ids_say_what_a_file_holds_alone() -> None:
    for arguments in ({"keys": [1, 2]}, {"min_count": 2}):
        with pytest.raises(ConfigError, match=r"'out'.*ids=True says what the lines of a file are"):
            start().vocabulary(**arguments, ids=True)
    with pytest.raises(ConfigError, match=r"'out'.*ids is 1, expected True"):
        start().vocabulary("ids.txt", ids=1)


@pytest.mark.parametrize(
    ("feature", "column", "named"),
    [
        (
            start().vocabulary(["a"]),
            strings_of("ragged", [[b"a"], [b"a", b"zz"]]),
            "sample 1 of the batch: 'zz' is not in the vocabulary of 1 keys",
        ),
        (start().vocabulary([5]), torch.tensor([5, 6, 7]), r"sample 1 of the batch: 6 is not in the vocabulary.*\(and 1 more\)"),
        (start().vocabulary(["a"]), strings_of("dense", [b"z" * 1000]), r"'z{80}'\.\.\. is not in"),
        (start().mod(5), torch.tensor([1], dtype=torch.uint16), "values of torch.uint16, expected one of"),
        (start().clip(-(2**70), 0), torch.tensor([1]), "does not fit integers"),
        (start().vocabulary([5]), strings_of("dense", [b"a"]), "keys of integers, the column holds strings"),
        (start().vocabulary(["a"]), torch.tensor([5]), "keys of strings, the column holds integers"),
        (start().vocabulary(["a"]), torch.tensor([5.0]), "the column holds numbers; bucketize"),
        (start().quotient(3), torch.tensor([0.5]), "quotient takes integer ids, the column holds numbers"),
        (start().quotient(3), strings_of("dense", [b"a"]), "quotient takes integer ids, the column holds strings"),
    ],
)
def test_values_that_do_not_fit(feature: Feature, column: Column, named: str) -> None:
    with pytest.raises(DataError, match=f"feature 'out', column 'column', .*{named}"):
        computed(feature, column)


@pytest.mark.parametrize(
    ("declare", "named"),
    [
        (lambda: start().hash("murmurr"), "did you mean 'murmur'"),
        (lambda: start().hash(buckets=-1), "buckets must be an integer of at least 1"),
        (lambda: start().quotient(0), "at least 1"),
        (lambda: start().multi_hash([]), "one to four"),
        (lambda: start().multi_hash([1] * 5), "one to four"),
        (lambda: start().vocabulary([]), "no keys"),
        (lambda: start().vocabulary([1, "a"]), "all strings or all integers"),
        (lambda: start().vocabulary([2**63]), "no integer of 64 bits"),
        (lambda: start().vocabulary(["a"], missing="zero"), "missing is 'zero'"),
        (lambda: start().vocabulary(["a"], missing=True), "missing is True"),
        (lambda: start().vocabulary(["a"], missing=2**63), "missing is 9223372036854775808, expected a number of 64 bits"),
        (lambda: start().vocabulary(["a"], missing=3, oov_buckets=2), "missing and oov_buckets exclude each other"),
        (lambda: start().vocabulary(["a"], missing="error", oov_buckets=2), "missing='error' and oov_buckets exclude each other"),
        (lambda: start().vocabulary(["a"], oov_buckets=2**62), "oov_buckets must be an integer of at least 1 and below"),
        (lambda: start().vocabulary(["\ud800"]), "half a surrogate pair"),
        (lambda: start().vocabulary(b"ab"), "keys are b'ab', expected a list"),
        (lambda: start().vocabulary(3), "keys are 3, expected a list"),
        (lambda: start().vocabulary(min_count=1, missing="zero"), "missing is 'zero'"),
        (lambda: start().vocabulary(min_count=1, missing=3, oov_buckets=2), "exclude each other"),
        (lambda: start().vocabulary(["a"], min_count=2), "choose among learned keys"),
        (lambda: start().vocabulary(["a"]).log1p(), "log1p cannot follow"),
        (lambda: start().log1p().vocabulary(["a"]), "cannot follow"),
    ],
)
def test_mistakes_show_at_declaration(declare: object, named: str) -> None:
    with pytest.raises(ConfigError, match=f"'out'.*{named}"):
        declare()  # type: ignore[operator]


def test_all_combinations_of_id_steps_chain() -> None:
    """Whatever order they come in, a chain is what its steps are one by one."""
    rows = [0, -1, 12345, -(2**63), 2**63 - 1, 77]
    steps = {
        "hash": (lambda f: f.hash("murmur"), lambda id: murmur64a(id.to_bytes(8, "little", signed=True))),
        "mod": (lambda f: f.mod(1_000_003), lambda id: id % 2**64 % 1_000_003),
        "quotient": (lambda f: f.quotient(7), lambda id: signed(id % 2**64 // 7)),
        "positive": (lambda f: f.hash("farm", non_negative=True), lambda id: fingerprint(id.to_bytes(8, "little", signed=True)) % 2**63),
    }
    for names in itertools.permutations(steps, 3):
        feature, expected = start(), list(rows)
        for name in names:
            feature = steps[name][0](feature)
            expected = [steps[name][1](id) for id in expected]
        assert rows_of(computed(feature, torch.tensor(rows))) == expected
