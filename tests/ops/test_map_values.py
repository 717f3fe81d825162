"""map_values: both bodies equal to the bit on chains of any steps, every step against plain Python, counts, threads, wrong arguments."""

import bisect
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.library import opcheck

from ops.chains import mapped, mapped_strings, run, same_bits, strings_of
from sparrow.ops.map_values.op import FIRST_REFUSED, NOT_FINITE, REFUSED, REFUSED_BY, map_values
from sparrow.ops.map_values.packed import VALUE_DTYPES
from sparrow.ops.map_values.steps import (
    Bucketize,
    Cast,
    Chain,
    Clip,
    Fill,
    Finite,
    HashBytes,
    HashInts,
    Log,
    Log1p,
    MinMax,
    Mod,
    MultiHash,
    NonNegative,
    Quotient,
    Source,
    Step,
    VocabularyOfBytes,
    VocabularyOfInts,
    ZScore,
    pack,
)
from tests_support import id_lists
from tests_support import ids as any_id

FLOATS = {torch.float32: st.floats(width=32), torch.float64: st.floats()}
small = st.integers(-1000, 1000)


def tensor_of(dtype: torch.dtype, data: st.DataObject, max_size: int = 20) -> Tensor:
    if dtype.is_floating_point:
        values = st.one_of(st.floats(width=64 if dtype == torch.float64 else 32), small.map(float), st.sampled_from([0.5, -0.0, 1e38]))
    elif dtype == torch.bool:
        return torch.tensor(data.draw(st.lists(st.booleans(), max_size=max_size)), dtype=torch.bool)
    else:
        info = torch.iinfo(dtype)
        values = st.one_of(st.integers(info.min, info.max), st.sampled_from([info.min, info.max, 0, 1, 7]))
    return torch.tensor(data.draw(st.lists(values, max_size=max_size)), dtype=torch.float64 if dtype.is_floating_point else dtype).to(dtype)


numbers = st.floats(-1e6, 1e6)
bounds = st.tuples(small, small).filter(lambda pair: pair[0] < pair[1])
boundary_lists = st.lists(st.one_of(st.floats(allow_nan=False), small.map(float)), max_size=12, unique=True).map(
    lambda known: tuple(sorted(known))
)
divisors = st.one_of(st.integers(1, 100), st.integers(1, 2**63 - 1))
keys = st.lists(st.one_of(any_id, small), max_size=12, unique=True).map(tuple)
oov = st.sampled_from([{}, {"oov_index": -7}, {"num_oov_buckets": 5}])
NUMBER_STEPS = st.one_of(
    small.map(Fill),
    st.sampled_from(["float32", "float64", "int64"]).map(Cast),
    st.just(Log1p()),
    st.just(Log()),
    st.builds(ZScore, numbers, st.floats(0.1, 1e3)),
    bounds.map(lambda pair: MinMax(*pair)),
    bounds.map(lambda pair: Clip(*pair)),
    st.sampled_from([Finite(), Finite("error"), Finite("replace", 2.5)]),
    boundary_lists.map(Bucketize),
)
ID_STEPS = st.one_of(
    st.sampled_from(["farm", "murmur", "xxh64"]).map(HashInts),
    st.just(NonNegative()),
    divisors.map(Mod),
    divisors.map(Quotient),
    st.builds(MultiHash, any_id, st.integers(1, 2**62), divisors),
    st.builds(lambda known, how: VocabularyOfInts(known, **how), keys, oov),
)
BYTE_STEPS = st.one_of(
    st.sampled_from(["farm", "murmur", "xxh64"]).map(HashBytes),
    st.builds(lambda known, how: VocabularyOfBytes(known, **how), st.lists(st.binary(max_size=9), max_size=8, unique=True).map(tuple), oov),
)


def draw_steps(data: st.DataObject, state: str, most: int = 5) -> list[Step]:
    """Return steps that may follow each other; `state` is numbers or ids."""
    steps: list[Step] = []
    for _ in range(data.draw(st.integers(0, most))):
        step = data.draw(NUMBER_STEPS if state == "numbers" else st.one_of(NUMBER_STEPS, ID_STEPS))
        steps.append(step)
        keeps = isinstance(step, (Fill, Clip))
        if step.gives == "ids" or (isinstance(step, Cast) and step.dtype == "int64"):
            state = "ids"
        elif not keeps:
            state = "numbers"
    return steps


@given(st.data())
def test_chains_of_any_steps_are_equal_to_the_bit(data: st.DataObject) -> None:
    """Columns of all dtypes, some read by several chains, in one call; `run` compares with the reference."""
    values, offsets, chains = [], [], []
    for number in range(data.draw(st.integers(1, 4))):
        dtype = data.draw(st.sampled_from(VALUE_DTYPES))
        values.append(tensor_of(dtype, data))
        state = "numbers" if dtype.is_floating_point else "ids"
        cuts = [0, *sorted(data.draw(st.lists(st.integers(0, values[-1].numel()), max_size=8))), values[-1].numel()]
        offsets.append(torch.tensor(cuts))
        for _ in range(data.draw(st.integers(1, 2))):
            source = data.draw(st.sampled_from([Source.VALUES, Source.ROWS] + [Source.BYTES] * 2 * (dtype == torch.uint8)))
            if source == Source.VALUES:
                chains.append(Chain(number, steps=tuple(draw_steps(data, state))))
            elif source == Source.ROWS:
                chains.append(Chain(number, number, source, (Fill(data.draw(small)), *draw_steps(data, state))))
            else:
                chains.append(Chain(number, number, source, (data.draw(BYTE_STEPS), *draw_steps(data, "ids"))))
    run(chains, values, offsets)


@given(st.data())
def test_a_chain_is_its_steps_one_by_one(data: st.DataObject) -> None:
    """Fused and unfused give the same bits: what is between two steps is rounded as an output would be."""
    values = tensor_of(data.draw(st.sampled_from([torch.float32, torch.float64, torch.int64, torch.float16])), data)
    steps = draw_steps(data, "numbers" if values.is_floating_point() else "ids")
    one_by_one = values.float() if values.dtype == torch.float16 else values
    for step in steps:
        one_by_one = mapped(one_by_one, step)
    assert same_bits(mapped(values, *steps), one_by_one)


@given(st.data(), st.sampled_from([torch.float32, torch.float64]), numbers, st.floats(0.01, 1e3))
def test_arithmetic_is_that_of_float64_rounded_once(data: st.DataObject, dtype: torch.dtype, mean: float, std: float) -> None:
    values = tensor_of(dtype, data)
    plain = values.double().numpy()
    with np.errstate(all="ignore"):
        assert same_bits(mapped(values, ZScore(mean, std)), torch.from_numpy((plain - mean) / std).to(dtype))
        expected = torch.from_numpy((plain - mean) / ((mean + std) - mean)).to(dtype)
        assert same_bits(mapped(values, MinMax(mean, mean + std)), expected)
    clipped = [value if math.isnan(value) else min(max(value, -2.5), 1e3) for value in values.tolist()]
    assert same_bits(mapped(values, Clip(-2.5, 1e3)), torch.tensor(clipped, dtype=dtype))
    filled = [7.5 if math.isnan(value) else value for value in values.tolist()]
    assert same_bits(mapped(values, Fill(7.5)), torch.tensor(filled, dtype=dtype))


@given(id_lists(20), any_id, any_id)
def test_steps_on_ids_keep_every_bit(ids: list[int], low: int, high: int) -> None:
    tensor = torch.tensor(ids, dtype=torch.int64)
    low, high = min(low, high), max(low, high)
    assert mapped(tensor, Clip(low, high)).tolist() == [min(max(id, low), high) for id in ids]
    assert mapped(tensor, Clip(-math.inf, math.inf), Fill(3), Cast("int64")).tolist() == ids
    assert mapped(tensor, NonNegative()).tolist() == [id % 2**63 for id in ids]
    assert mapped(tensor, Cast("float32")).tolist() == [float(np.int64(id).astype(np.float32)) for id in ids]


@given(id_lists(40), divisors)
def test_mod_and_quotient_are_unsigned(ids: list[int], divisor: int) -> None:
    tensor = torch.tensor(ids, dtype=torch.int64)
    assert mapped(tensor, Mod(divisor)).tolist() == [id % 2**64 % divisor for id in ids]
    quotients = [id % 2**64 // divisor for id in ids]
    assert mapped(tensor, Quotient(divisor)).tolist() == [quotient - 2**64 if quotient >= 2**63 else quotient for quotient in quotients]


DIVISOR_EDGES = sorted(
    {1, 2, 3, 5, 7, 1000, 1_000_003, 2**63 - 1, *(2**k + d for k in (31, 32, 33, 51, 52, 53, 61, 62) for d in (-1, 0, 1))}
)


@pytest.mark.parametrize("divisor", DIVISOR_EDGES)
def test_division_beside_multiples_of_the_divisor(divisor: int) -> None:
    multiples = [m * divisor for k in range(64) for m in (2**k - 1, 2**k, 2**k + 1)] + [2**64 // divisor * divisor]
    ids = [number for multiple in multiples for number in (multiple - 1, multiple, multiple + 1) if 0 <= number < 2**64]
    tensor = torch.tensor([id - 2**64 if id >= 2**63 else id for id in ids])
    assert mapped(tensor, Mod(divisor)).tolist() == [id % divisor for id in ids]
    assert [quotient % 2**64 for quotient in mapped(tensor, Quotient(divisor)).tolist()] == [id // divisor for id in ids]


@given(id_lists(20), any_id, st.integers(1, 2**62), divisors)
def test_multi_hash_truncates_as_c_does(ids: list[int], multiplier: int, prime: int, num_buckets: int) -> None:
    expected = []
    for id in ids:
        product = (id * multiplier + 2**63) % 2**64 - 2**63
        remainder = abs(product) % prime * (1 if product >= 0 else -1)  # the sign of the dividend
        expected.append((remainder + prime) % prime % num_buckets)
    assert mapped(torch.tensor(ids, dtype=torch.int64), MultiHash(multiplier, prime, num_buckets)).tolist() == expected


def test_multi_hash_vectors_of_recis() -> None:
    """Four hashes into 1,000 buckets: multipliers 1, 3, 5, 7 and primes below 29, 47, 67, 83 times the buckets."""

    def prime_up_to(most: int) -> int:
        return next(n for n in range(most, 1, -1) if all(n % d for d in range(2, math.isqrt(n) + 1)))

    ids = torch.tensor([1001, 1002, 1003])
    got = [mapped(ids, MultiHash(m, prime_up_to(f * 1000), 1000)).tolist() for m, f in zip((1, 3, 5, 7), (29, 47, 67, 83), strict=True)]
    assert got == [[1, 2, 3], [3, 6, 9], [5, 10, 15], [7, 14, 21]]


@given(st.data(), st.sampled_from([torch.float32, torch.float64]), boundary_lists)
def test_buckets_count_the_boundaries_reached(data: st.DataObject, dtype: torch.dtype, known: tuple[float, ...]) -> None:
    near = torch.tensor(known, dtype=torch.float64).to(dtype)
    values = torch.cat([tensor_of(dtype, data), near, near.nextafter(torch.full_like(near, math.inf)), near.nextafter(-near - 1)])
    expected = [len(known) if math.isnan(value) else bisect.bisect_right(known, value) for value in values.tolist()]
    assert mapped(values, Bucketize(known)).tolist() == expected


# Around the ends of the range, and where a float64 stops telling neighbours apart.
EDGES = [-math.inf, -(2.0**63) - 2048, -(2.0**63), -0.5, 0.0, 0.5, 2.0**53, 2.0**53 + 2, 2.0**63 - 1024, 2.0**63, math.inf]


@given(id_lists(30), st.sets(st.one_of(st.sampled_from(EDGES), st.floats(allow_nan=False)), max_size=12))
def test_buckets_of_integers_are_exact(ids: list[int], boundaries: set[float]) -> None:
    inside = [int(b) for b in boundaries if -(2**63) < b < 2**63]
    values = [*ids, *(v for b in inside for v in (b - 1, b, b + 1) if -(2**63) <= v < 2**63), 2**53 + 1, 2**63 - 1, -(2**63)]
    expected = [sum(b <= v for b in boundaries) for v in values]  # Python compares an int with a float exactly
    assert mapped(torch.tensor(values, dtype=torch.int64), Bucketize(tuple(sorted(boundaries)))).tolist() == expected


SHAPES = {
    "linear": lambda n: np.linspace(-3, 3, n),
    "exponential": lambda n: np.exp(np.linspace(-6, 6, n)),
    "crowded": lambda n: np.sort(np.concatenate([[-1e30], 1 + np.arange(n - 2) * 2.0**-50, [1e30]])) if n > 2 else np.arange(float(n)),
    "open": lambda n: np.array([-math.inf, *np.linspace(-1, 1, max(0, n - 2)), math.inf])[:n],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("num_boundaries", [1, 2, 3, 64, 100, 3000])
def test_buckets_of_any_shape(num_boundaries: int, shape: str, dtype: torch.dtype) -> None:
    known = SHAPES[shape](num_boundaries)
    generator = torch.Generator().manual_seed(num_boundaries)
    spread = torch.randn(4000, generator=generator, dtype=torch.float64)
    exactly = torch.from_numpy(known)
    if dtype == torch.int64:
        exactly = exactly.clamp(-(2.0**62), 2.0**62)
    values = torch.cat([spread, spread * 1e3, spread.exp(), exactly, 1 + spread * 2.0**-45]).to(dtype)
    got = map_values([values], [], pack([Chain(0, steps=(Bucketize(tuple(known.tolist())),))], [dtype]))[0][0]
    assert got.tolist() == [bisect.bisect_right(known.tolist(), value) for value in values.tolist()]


@given(st.data(), keys, oov)
def test_a_vocabulary_of_integers_is_a_dict(data: st.DataObject, known: tuple[int, ...], how: dict[str, int]) -> None:
    ids = data.draw(st.lists(st.one_of(st.sampled_from(known), any_id) if known else any_id, max_size=30))
    check_vocabulary(VocabularyOfInts(known, **how), ids, torch.tensor(ids, dtype=torch.int64), None, HashInts())


@given(st.data(), st.lists(st.binary(max_size=20), max_size=12, unique=True).map(tuple), oov)
def test_a_vocabulary_of_strings_is_a_dict(data: st.DataObject, known: tuple[bytes, ...], how: dict[str, int]) -> None:
    strings = data.draw(
        st.lists(st.one_of(st.sampled_from(known), st.binary(max_size=20)) if known else st.binary(max_size=20), max_size=30)
    )
    check_vocabulary(VocabularyOfBytes(known, **how), strings, *strings_of(strings), HashBytes())


def check_vocabulary(step: Any, given_keys: list[Any], values: Tensor, offsets: Tensor | None, hashing: Step) -> None:
    source = Source.VALUES if offsets is None else Source.BYTES
    cuts, number = ([], None) if offsets is None else ([offsets], 0)
    (got, hashes), counts = run([Chain(0, number, source, (step,)), Chain(0, number, source, (hashing,))], [values], cuts)
    place = {key: index for index, key in enumerate(step.keys)}
    missing = [position for position, key in enumerate(given_keys) if key not in place]
    for position, key in enumerate(given_keys):
        if key in place:
            expected = place[key]
        elif step.num_oov_buckets:
            expected = len(place) + int(hashes[position]) % 2**64 % step.num_oov_buckets
        else:
            expected = -1 if step.oov_index is None else step.oov_index
        assert got[position] == expected
    refused = missing if step.oov_index is None and not step.num_oov_buckets else []
    assert counts[0].tolist() == [0, len(refused), refused[0] if refused else -1, 0 if refused else -1]


def test_a_large_vocabulary_finds_all_its_keys_and_no_other() -> None:
    ids = torch.arange(50_000) * 7919
    table = pack([Chain(0, steps=(VocabularyOfInts(tuple(ids[::2].tolist())),))], [torch.int64])
    (places,), counts = map_values([ids], [], table)
    assert torch.equal(places[::2], torch.arange(25_000))
    assert counts.tolist() == [[0, 25_000, 1, 0]]
    strings = [f"key{id}".encode() for id in ids.tolist()]
    values, offsets = strings_of(strings)
    table = pack([Chain(0, 0, Source.BYTES, (VocabularyOfBytes(tuple(strings[1::2])),))], [torch.uint8])
    (places,), counts = map_values([values], [offsets], table)
    assert torch.equal(places[1::2], torch.arange(25_000))
    assert counts.tolist() == [[0, 25_000, 0, 0]]


def test_counts_name_the_first_value_refused_and_the_step() -> None:
    values = torch.tensor([1.0, math.nan, 1e300, -math.inf, 0.5, 2.0], dtype=torch.float64)
    chains = [
        Chain(0, steps=(Finite(), Finite("replace", 0.0), Finite())),
        Chain(0, steps=(Finite("error"), Cast("float32"), Cast("int64"))),
        Chain(0, steps=(Fill(7.0), Cast("float32"), Finite("error"))),
        Chain(0, steps=(Fill(7.0), Clip(0, 10), Cast("int64"))),
    ]
    outputs, counts = run(chains, [values], [])
    assert outputs[0].tolist() == [1.0, 0.0, 1e300, 0.0, 0.5, 2.0]
    assert counts[:, [NOT_FINITE, REFUSED, FIRST_REFUSED, REFUSED_BY]].tolist() == [
        [4, 0, -1, -1],
        [2, 4, 1, 0],  # NaN and -inf by the first step, 1e300 by the second, 0.5 by the third
        [2, 2, 2, 1],
        [0, 1, 4, 2],
    ]
    assert outputs[3].tolist() == [1, 7, 10, 0, 0, 2]


def test_rows_of_at_most_one_value() -> None:
    values = torch.tensor([4, 5, 6, 7], dtype=torch.int16)
    offsets = torch.tensor([0, 1, 1, 3, 4])
    outputs, counts = run([Chain(0, 0, Source.ROWS, (Fill(9), Mod(8))), Chain(0, 0, Source.ROWS, (Fill(2**62 + 1),))], [values], [offsets])
    assert [output[[0, 1, 3]].tolist() for output in outputs] == [[4, 1, 7], [4, 2**62 + 1, 7]]
    assert counts.tolist() == [[0, 1, 2, 0]] * 2
    (numbers,), _ = run([Chain(0, 0, Source.ROWS, (Fill(0.1),))], [torch.tensor([math.nan, 2.0])], [torch.tensor([0, 0, 1, 2])])
    assert numbers.tolist() == torch.tensor([0.1, 0.1, 2.0]).tolist()


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 8192, 8193, 100_000])
def test_sizes_and_threads(size: int) -> None:
    """Pieces are dealt to threads as they come: neither outputs nor counts may show it."""
    generator = torch.Generator().manual_seed(size)
    values = torch.randn(size, generator=generator) * 3
    ids = torch.randint(-(2**63), 2**63 - 1, (size,), generator=generator)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), torch.randint(0, 40, (size,), generator=generator).cumsum(0)])
    text = torch.randint(97, 100, (int(offsets[-1]),), generator=generator, dtype=torch.uint8)
    chains = [
        Chain(0, steps=(Log1p(), ZScore(0.5, 2.0), Bucketize(tuple(np.linspace(-1, 1, 50))), Mod(7))),
        Chain(0, steps=(Log(), Finite("error"), Fill(0.0))),
        Chain(1, steps=(HashInts("xxh64"), Mod(1_000_003))),
        Chain(2, 0, Source.BYTES, (HashBytes(), NonNegative(), Mod(1000))),
        Chain(2, 0, Source.BYTES, (VocabularyOfBytes((b"", b"a", b"ab")),)),
    ]
    packed = pack(chains, [values.dtype, ids.dtype, text.dtype])
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(map_values([values, ids, text], [offsets], packed))
    for outputs, counts in results[1:]:
        assert all(map(same_bits, outputs, results[0][0]))
        assert torch.equal(counts, results[0][1])
    outputs, counts = results[0]
    not_positive = (values <= 0).nonzero().flatten().tolist()
    assert counts[1].tolist() == [len(not_positive), len(not_positive), *([not_positive[0], 1] if not_positive else [-1, -1])]
    assert torch.equal(outputs[2][:50], mapped(ids[:50], HashInts("xxh64"), Mod(1_000_003)))
    assert torch.equal(outputs[2][-50:], mapped(ids[-50:], HashInts("xxh64"), Mod(1_000_003)))


def test_opcheck() -> None:
    text, offsets = strings_of([b"a", b"", b"longer than eight"])
    packed = pack([Chain(0, 0, Source.BYTES, (HashBytes(),)), Chain(1, steps=(Log1p(),))], [torch.uint8, torch.float32])
    arguments = ([text, torch.rand(5)], [offsets], packed.chains, packed.steps, list(packed.tables))
    # The others trace it, and which outputs there are is read from `chains`.
    opcheck(torch.ops.sparrow.map_values.default, arguments, test_utils=("test_schema", "test_autograd_registration"))


GOOD = {
    "values": [torch.arange(4.0), torch.tensor(list(b"abc"), dtype=torch.uint8)],
    "offsets": [torch.tensor([0, 1, 3])],
    "chains": torch.tensor([[0, -1, 0, 0, 1, 1], [1, 0, 1, 1, 2, 0]]),
    "steps": torch.tensor([[2, 0, 0, 0], [9, 0, 0, 0], [13, 5, 0, 0]]),
    "tables": [torch.zeros(3, dtype=torch.int64)],
}


def changed(name: str, row: int, column: int, value: int) -> dict[str, Tensor]:
    tensor = GOOD[name].clone()  # type: ignore[attr-defined]
    tensor[row, column] = value
    return {name: tensor}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed("chains", 0, 0, 2), "names values 2 of 2"),
        (changed("chains", 1, 1, 1), "names offsets 1 of 1"),
        (changed("chains", 1, 1, -1), "names offsets -1 of 1"),
        (changed("chains", 0, 2, 3), "unknown source 3"),
        (changed("chains", 0, 3, 3), "steps beyond the 3"),
        (changed("chains", 0, 4, -1), "steps beyond the 3"),
        (changed("chains", 0, 5, 2), "has the output dtype 2, its steps give 1"),
        (changed("chains", 0, 3, 1), "step of strings first"),
        (changed("chains", 0, 3, 2), "takes ids, gets numbers"),
        (changed("chains", 1, 0, 0), "must start at 0 and end at 4"),
        (changed("chains", 1, 2, 2), "step of strings first"),
        (changed("steps", 0, 0, 17), "row 0 has the unknown code 17"),
        (changed("steps", 0, 0, -1), "row 0 has the unknown code -1"),
        (changed("steps", 1, 1, 3), "row 1 has the unknown parameter 3"),
        (changed("steps", 2, 1, 0), "row 2 divides by 0"),
        (changed("steps", 0, 0, 8), "table 0 is not what row 0 of steps looks up"),
        (changed("steps", 2, 0, 16), "names table 5 of 1"),
        ({"offsets": [torch.tensor([0, 3, 2, 3])]}, "tensor 0 must never decrease"),
        ({"offsets": [torch.tensor([0, 5, 3])]}, "tensor 0 must never decrease"),
        ({"offsets": [torch.tensor([1, 3])]}, "must start at 0 and end at 3"),
        ({"offsets": [torch.empty(0, dtype=torch.int64)]}, "must start at 0 and end at 3"),
        ({"offsets": [torch.tensor([0, 1, 3], dtype=torch.int32)]}, "offsets has the wrong dtype"),
        ({"values": [torch.arange(8.0)[::2], GOOD["values"][1]]}, "values: tensor 0 must be a contiguous"),
        ({"values": [torch.ones(2, 2), GOOD["values"][1]]}, "values: tensor 0 must be a contiguous"),
        ({"values": [torch.ones(4, dtype=torch.complex64), GOOD["values"][1]]}, "dtype that columns do not have"),
        ({"chains": torch.zeros(2, 5, dtype=torch.int64)}, r"chains must be \[C, 6\]"),
        ({"steps": torch.zeros(2, 5, dtype=torch.int64)}, r"steps \[S, 4\]"),
        ({"chains": torch.zeros(2, 6)}, "chains has the wrong dtype"),
    ],
)
def test_wrong_arguments_are_named(change: dict[str, Any], message: str) -> None:
    torch.ops.sparrow.map_values.default(*GOOD.values())
    with pytest.raises(RuntimeError, match=message):
        torch.ops.sparrow.map_values.default(*{**GOOD, **change}.values())


def test_no_chain_and_no_value() -> None:
    outputs, counts = run([], [], [])
    assert outputs == []
    assert counts.shape == (0, 4)
    assert mapped(torch.empty(0), Log1p()).shape == (0,)
    assert mapped_strings([], HashBytes()).shape == (0,)
    assert list(itertools.chain(mapped_strings([b""], HashBytes()).tolist())) == [-7286425919675154353]
