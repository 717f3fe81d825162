"""The Triton body of map_values: every step in the interpreter, equal to the bit with the compiled body, and compiled for real targets."""

import importlib
import json
from pathlib import Path

import pytest

from sparrow.ops.map_values.steps import HashBytes, VocabularyOfBytes
from tests_support import run_python
from triton_support import compile_kernels, for_every_target

# The interpreter runs where TRITON_INTERPRET is set before triton is imported; compilation where it is not: a process each.
_INTERPRETED = """
import json, math, warnings
import quick_interpreter, torch
from sparrow.ops.map_values import op, triton as body
from sparrow.ops.map_values.packed import VALUE_DTYPES
from sparrow.ops.map_values.steps import *
from sparrow.ops.map_values.steps import STEPS

assert body.NUM_STEPS == len(STEPS), "a step was added: give it a branch in triton.py"
warnings.simplefilter("ignore", RuntimeWarning)  # numpy tells of NaN that is meant
generator = torch.Generator().manual_seed(5)
spread = torch.cat([
    torch.randn(200, generator=generator, dtype=torch.float64) * 10 ** torch.linspace(-5, 40, 200, dtype=torch.float64),
    torch.tensor([0.0, -0.0, 1.0, -1.0, 0.5, math.nan, math.inf, -math.inf, 2.0**63, -(2.0**63), 5e-324, 1e-310, 2.0**53, 1.7e308]),
    torch.tensor([math.sqrt(0.5), math.sqrt(2.0), 2.0, 3.0, 7.0, 1e5], dtype=torch.float64) - 1,
])
ids = torch.randint(-(2**63), 2**63 - 1, (300,), generator=generator)
ids[:8] = torch.tensor([0, -1, -(2**63), 2**63 - 1, 5, 7, 2**53 + 1, -3])
values = [
    spread.to(dtype) if dtype.is_floating_point else ids.abs() % 2 == 1 if dtype == torch.bool else ids.to(dtype) for dtype in VALUE_DTYPES
]
lengths = torch.cat([torch.arange(140), torch.randint(0, 20, (60,), generator=generator), torch.tensor([300])])
text_offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
text = torch.randint(0, 256, (int(text_offsets[-1]),), generator=generator, dtype=torch.uint8)
rows = torch.cat([torch.zeros(1, dtype=torch.int64), torch.randint(0, 3, (400,), generator=generator).cumsum(0)])
rows = rows[rows < 220]
rows = torch.cat([rows, torch.tensor([220])])
values.append(text)
known = tuple(bytes(text[a:b].tolist()) for a, b in zip(text_offsets[:-1].tolist(), text_offsets[1:].tolist()) if (a + b) % 3 == 0)
known = tuple(dict.fromkeys(known))
boundaries = tuple(sorted({math.exp(x / 10) for x in range(-60, 60)}))
linear = tuple(x / 7 for x in range(-30, 30))
crowded = tuple(1 + x * 2.0**-50 for x in range(40)) + (1e30,)
numbers = [
    (), (Log1p(),), (Log(),), (Log1p(), ZScore(0.3, 1.7), Clip(-1.5, 1.5)), (MinMax(-3.0, 11.0),),
    (Fill(2.5), Cast("float32"), Cast("int64")), (Finite("error"), Log(), Finite()), (Finite("replace", 0.5), Bucketize(linear), Mod(13)),
    (Cast("float64"), Log1p()), (Bucketize(boundaries),), (Bucketize(crowded),), (Bucketize(()),),
]
integers = [
    *((HashInts(name),) for name in ("farm", "murmur", "xxh64")), (NonNegative(), Mod(1_000_003)), (Mod(2**63 - 1),), (Quotient(3),),
    (Quotient(1),), (MultiHash(3, 46997, 1000),), (MultiHash(-(2**63), 2**62, 2**40),), (Clip(-5, 2**60),), (Cast("float32"),), (Log1p(),),
    (VocabularyOfInts((5, 7, 11)),), (VocabularyOfInts((5, -1), oov_index=-9),), (VocabularyOfInts(tuple(range(50)), num_oov_buckets=17),),
    (Fill(3), Bucketize((-1e18, 0.0, 5.0, 1e18))), (Finite("error"),),
]
strings = [
    *((HashBytes(name),) for name in ("farm", "murmur", "xxh64")), (HashBytes(), Quotient(10), Log1p()), (VocabularyOfBytes(known),),
    (VocabularyOfBytes(known, num_oov_buckets=100),), (VocabularyOfBytes((b"",), oov_index=2**62),),
]
chains = [Chain(place, steps=steps) for place in (8, 9) for steps in numbers]
chains += [Chain(5, steps=steps) for steps in integers]
chains += [Chain(10, 0, Source.BYTES, steps) for steps in strings]
chains += [Chain(place) for place in range(8)]
chains += [Chain(8, 1, Source.ROWS, (Fill(0.25), Log1p())), Chain(3, 1, Source.ROWS, (Fill(7), Mod(5)))]
# The rows of 220 values are those of float32; a column of integers needs its own end.
offsets = [text_offsets, torch.cat([rows[:-1], torch.tensor([220])])]
values[3] = values[3][:220]


def same(one, two):
    if one.dtype.is_floating_point:
        nan = one.isnan()
        whole = torch.int32 if one.dtype == torch.float32 else torch.int64
        return bool((nan == two.isnan()).all() and torch.equal(one[~nan].view(whole), two[~nan].view(whole)))
    return torch.equal(one, two)


def call(chains, values):
    # Returns the size of all outputs, how many chains refuse, and what is wrong.
    packed = pack(chains, [value.dtype for value in values])
    got, counts = body.map_values(values, offsets, packed.chains, packed.steps, list(packed.tables))
    expected, expected_counts = op.map_values(values, offsets, packed)
    wrong = [f"{chains[n]}" for n in range(len(chains)) if got[n].dtype != expected[n].dtype or not same(got[n], expected[n])]
    wrong += [f"counts of {chains[n]}" for n in range(len(chains)) if not torch.equal(counts[n], expected_counts[n])]
    return sum(output.numel() for output in got), int((expected_counts[:, 1] > 0).sum()), wrong


num_outputs, num_refusing, wrong = call(chains, values)
# Without strings and rows, tiles are larger; whole ones are loaded otherwise, and again otherwise where columns are not aligned.
longer = [value.repeat(-(-1500 // max(len(value), 1))) for value in values]
plain = [chain for chain in chains if chain.source == Source.VALUES]
for some in (plain, [chain for chain in plain if chain.value == 5], [chain for chain in plain if chain.value == 8]):
    for given in (longer, [value[1:] for value in longer]):
        assert all(value.data_ptr() % 16 for value in given) == (given is not longer)
        wrong += call(some, given)[2]
print(json.dumps([len(chains), num_outputs, num_refusing, wrong]))
"""


def test_every_step_in_the_interpreter() -> None:
    pytest.importorskip("triton", reason="triton is not installed: its body cannot run")
    num_chains, num_outputs, num_refusing, wrong = json.loads(
        run_python(_INTERPRETED, PYTHONPATH=str(Path(__file__).parents[1]), TRITON_INTERPRET="1")
    )
    assert wrong == []
    assert num_chains > 50
    assert num_outputs > 10_000
    assert num_refusing >= 5


def test_the_kernel_compiles_for_real_targets() -> None:
    """And no product is fused with a sum: the bits would differ."""
    pytest.importorskip("triton", reason="triton is not installed: its kernel cannot be compiled")
    body = importlib.import_module("sparrow.ops.map_values.triton")
    types = {"first_chain": "i32", "first_step": "i32"}
    everything = dict.fromkeys(("CODES", "DTYPES", "SOURCES", "FACTS"), -1)
    whole = (everything | {"BLOCK_N": body.STRING_BLOCK}, body.STRING_WARPS)
    of_strings = 1 << HashBytes.code | 1 << VocabularyOfBytes.code
    without_strings = (everything | {"BLOCK_N": body.BLOCK, "SOURCES": 1, "CODES": ~of_strings}, body.NUM_WARPS)
    for constants, num_warps in (whole, without_strings):
        options = {"num_warps": num_warps, "enable_fp_fusion": False}
        compiled = compile_kernels("map_values.triton", "map_kernel", types=types, constants=constants, **options)
        assert sorted(compiled) == for_every_target("map_kernel")
        assert not any("fma.rn.f" in ptx for ptx in compiled.values())
