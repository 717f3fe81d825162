"""Declaring and packing steps of map_values: dtypes that follow, tables shared, what is refused and how it is named."""

import math
from collections.abc import Callable

import pytest
import torch

from sparrow.errors import ConfigError
from sparrow.ops.map_values.steps import (
    STEPS,
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

I64, F32, F64 = torch.int64, torch.float32, torch.float64


def test_every_step_has_a_row_and_a_code_of_its_own() -> None:
    assert [step.code for step in STEPS.values()] == list(range(len(STEPS)))
    assert all(step.name == name == step.__name__ for name, step in STEPS.items())


@pytest.mark.parametrize(
    ("dtype", "steps", "output"),
    [
        (torch.bool, (), I64),
        (torch.int8, (Fill(1), Clip(0, 5), Cast("int64")), I64),
        (torch.int8, (Log1p(),), F64),
        (I64, (Finite(),), F64),
        (I64, (Cast("float32"), ZScore(0.0, 1.0)), F32),
        (I64, (Bucketize((0.5,)), Mod(3), HashInts(), NonNegative(), Quotient(2), VocabularyOfInts((1,))), I64),
        (torch.float16, (), F32),
        (torch.bfloat16, (Log(),), F32),
        (F32, (MinMax(0, 1), Finite("replace", 0.0)), F32),
        (F64, (Fill(0.5), Clip(0.0, math.inf)), F64),
        (F64, (Cast("float32"), Cast("float64"), Cast("int64"), MultiHash(3, 7, 5)), I64),
    ],
)
def test_the_dtype_of_an_output_follows_from_the_steps(dtype: torch.dtype, steps: tuple[Step, ...], output: torch.dtype) -> None:
    assert pack([Chain(0, steps=steps)], [dtype]).dtypes == (output,)


def test_equal_steps_share_a_table_where_columns_are_in_the_same_state() -> None:
    buckets = Bucketize((0.5, 1.5))
    chains = [
        Chain(0, steps=(buckets,)),
        Chain(0, steps=(Bucketize((0.5, 1.5)),)),
        Chain(1, steps=(buckets,)),
        Chain(1, steps=(Bucketize((2.5,)),)),
    ]
    packed = pack(chains, [F32, I64])
    assert packed.steps[:, 1].tolist() == [0, 0, 1, 2]
    assert len(packed.tables) == 3


def test_steps_that_compare_equal_keep_their_own_bits() -> None:
    packed = pack([Chain(0, steps=(Fill(0.0),)), Chain(0, steps=(Fill(-0.0),))], [F64])
    assert packed.steps[:, 1].tolist() == [0, -(2**63)]


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: Fill(math.nan), r"Fill: value is nan, expected a finite number"),
        (lambda: Fill(True), r"Fill: value is True"),
        (lambda: Fill("1"), r"Fill: value is '1'"),  # type: ignore[arg-type]
        (lambda: Cast("int32"), r"Cast: unknown dtype 'int32'; did you mean 'int64'\?"),
        (lambda: ZScore(0.0, 0.0), r"ZScore: std is 0.0, expected a number above 0"),
        (lambda: ZScore(math.inf, 1.0), r"ZScore: mean is inf"),
        (lambda: MinMax(1.0, 1.0), r"MinMax: low is 1.0 and high 1.0"),
        (lambda: MinMax(-1e308, 1e308), r"MinMax: low is -1e\+308 and high 1e\+308"),
        (lambda: Clip(2, 1), r"Clip: low is 2 and high 1"),
        (lambda: Clip(math.nan, 1), r"Clip: low is nan"),
        (lambda: Finite("ignore"), r"Finite: unknown policy 'ignore'"),
        (lambda: Finite("replace"), r"Finite: value is None"),
        (lambda: Finite("count", 1.0), r"Finite: policy 'count' takes no value, got 1.0"),
        (lambda: Bucketize((1.0, 1.0)), r"Bucketize: boundary 1.0 follows 1.0"),
        (lambda: Bucketize((math.nan,)), r"Bucketize: a boundary is nan"),
        (lambda: HashBytes("farmhash"), r"HashBytes: unknown algorithm 'farmhash'; did you mean 'farm'\?"),
        (lambda: HashInts("md5"), r"HashInts: unknown algorithm 'md5'"),
        (lambda: Mod(0), r"Mod: divisor is 0, expected an integer from 1 to"),
        (lambda: Mod(2**63), r"Mod: divisor is 9223372036854775808"),
        (lambda: Quotient(1.5), r"Quotient: divisor is 1.5"),  # type: ignore[arg-type]
        (lambda: MultiHash(1, 0, 5), r"MultiHash: prime is 0"),
        (lambda: MultiHash(1, 2**63 - 1, 5), r"MultiHash: prime is 9223372036854775807"),
        (lambda: MultiHash(1, 7, 0), r"MultiHash: num_buckets is 0"),
        (lambda: VocabularyOfInts((1, 2, 1)), r"VocabularyOfInts: the key 1 comes twice"),
        (lambda: VocabularyOfInts((1.0,)), r"VocabularyOfInts: a key is 1.0"),
        (lambda: VocabularyOfInts((2**63,)), r"VocabularyOfInts: a key is 9223372036854775808"),
        (lambda: VocabularyOfBytes((b"a", b"a")), r"VocabularyOfBytes: the key b'a' comes twice"),
        (lambda: VocabularyOfBytes(("a",)), r"VocabularyOfBytes: the key 'a' is not bytes"),
        (lambda: VocabularyOfInts((1,), oov_index=0, num_oov_buckets=3), r"VocabularyOfInts: oov_index and num_oov_buckets exclude"),
        (lambda: VocabularyOfInts((1,), num_oov_buckets=-1), r"VocabularyOfInts: num_oov_buckets is -1"),
    ],
)
def test_a_step_that_cannot_be_is_refused(declare: Callable[[], Step], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        declare()


@pytest.mark.parametrize(
    ("chain", "dtype", "message"),
    [
        (Chain(1), F32, r"chain 0: values 1 are not among 1"),
        (Chain(0), torch.complex64, r"chain 0: values of torch.complex64, expected one of"),
        (Chain(0, 0), F32, r"chain 0: offsets 0 do not go with VALUES"),
        (Chain(0, None, Source.ROWS, (Fill(0),)), F32, r"chain 0: offsets None do not go with ROWS"),
        (Chain(0, 0, Source.ROWS, (Log(),)), F32, r"chain 0: a chain of rows must begin with Fill"),
        (Chain(0, 0, Source.BYTES, ()), torch.uint8, r"chain 0: strings are uint8, and start with a step that takes bytes"),
        (Chain(0, 0, Source.BYTES, (HashBytes(),)), torch.int8, r"chain 0: strings are uint8.*got torch.int8"),
        (Chain(0, 0, Source.BYTES, (Log(),)), torch.uint8, r"chain 0, step 0: Log: takes numbers, gets bytes; hash them first"),
        (Chain(0, steps=(HashBytes(),)), torch.uint8, r"chain 0, step 0: HashBytes: takes bytes, gets ids"),
        (Chain(0, 0, Source.BYTES, (HashBytes(), HashBytes())), torch.uint8, r"chain 0, step 1: HashBytes: takes bytes, gets ids"),
        (Chain(0, steps=(Log1p(), Mod(3))), F32, r"chain 0, step 1: Mod: takes ids, gets numbers; bucketize or cast them first"),
        (Chain(0, steps=(Finite(), Mod(3))), I64, r"chain 0, step 1: Mod: takes ids, gets numbers"),
        (Chain(0, steps=(Fill(0.5),)), I64, r"chain 0, step 0: Fill: value 0.5 does not fit integers"),
        (Chain(0, steps=(Fill(2**63),)), I64, r"chain 0, step 0: Fill: value 9223372036854775808 does not fit integers"),
        (Chain(0, steps=(Fill(1e39),)), F32, r"chain 0, step 0: Fill: value 1e\+39 is too large for torch.float32; cast to float64 first"),
        (Chain(0, steps=(Fill(10**400),)), F64, r"chain 0, step 0: Fill: value 10+ is too large for torch.float64"),
        (Chain(0, steps=(Clip(0, 0.5),)), I64, r"chain 0, step 0: Clip: high 0.5 does not fit integers"),
        (
            Chain(0, steps=(Finite("replace", 1e39),)),
            torch.float16,
            r"chain 0, step 0: Finite: value 1e\+39 is too large for torch.float32",
        ),
    ],
)
def test_a_chain_that_cannot_be_names_itself_and_the_step(chain: Chain, dtype: torch.dtype, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pack([chain], [dtype])
