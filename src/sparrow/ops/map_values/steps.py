"""The steps of `map_values`, and `pack`, which checks chains of them and packs what the operator reads.

Adding a step is a dataclass in `number_steps.py` or `id_steps.py` and a line in `STEPS`, a function in `reference.py`, and a case in
`csrc/core/map_values.h`. A column enters as bytes, ids (any integers and booleans) or numbers (float16 and bfloat16 become float32).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sparrow.errors import ConfigError
from sparrow.ops.map_values.id_steps import HashBytes as HashBytes
from sparrow.ops.map_values.id_steps import HashInts as HashInts
from sparrow.ops.map_values.id_steps import Mod as Mod
from sparrow.ops.map_values.id_steps import MultiHash as MultiHash
from sparrow.ops.map_values.id_steps import NonNegative as NonNegative
from sparrow.ops.map_values.id_steps import Quotient as Quotient
from sparrow.ops.map_values.id_steps import VocabularyOfBytes as VocabularyOfBytes
from sparrow.ops.map_values.id_steps import VocabularyOfInts as VocabularyOfInts
from sparrow.ops.map_values.number_steps import Bucketize as Bucketize
from sparrow.ops.map_values.number_steps import Cast as Cast
from sparrow.ops.map_values.number_steps import Clip as Clip
from sparrow.ops.map_values.number_steps import Fill as Fill
from sparrow.ops.map_values.number_steps import Finite as Finite
from sparrow.ops.map_values.number_steps import Log as Log
from sparrow.ops.map_values.number_steps import Log1p as Log1p
from sparrow.ops.map_values.number_steps import MinMax as MinMax
from sparrow.ops.map_values.number_steps import ZScore as ZScore
from sparrow.ops.map_values.packed import OUTPUT_DTYPES, VALUE_DTYPES, Packed
from sparrow.ops.map_values.packed import Source as Source
from sparrow.ops.map_values.step import BYTES, DOUBLE, IDS, SINGLE
from sparrow.ops.map_values.step import Step as Step

STEPS: dict[str, type[Step]] = {
    step.name: step
    for step in (
        Fill, Cast, Log1p, Log, ZScore, MinMax, Clip, Finite, Bucketize, HashBytes, VocabularyOfBytes, HashInts, NonNegative, Mod, Quotient,
        MultiHash, VocabularyOfInts,
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Chain:
    """Steps over one column: numbers of its values and offsets in the call's lists, what an output is made of, and the steps in order."""

    value: int
    offsets: int | None = None
    source: Source = Source.VALUES
    steps: tuple[Step, ...] = ()


@dataclass(slots=True)
class _Tables:
    """Tables in the order of their numbers. Steps that are equal, on columns in the same state, share one."""

    tables: list[Tensor] = field(default_factory=list)
    known: dict[tuple[Step, torch.dtype], tuple[int, ...]] = field(default_factory=dict)

    def add(self, table: Tensor) -> int:
        self.tables.append(table)
        return len(self.tables) - 1

    def parameters(self, step: Step, given: torch.dtype) -> tuple[int, ...]:
        if (step, given) in self.known:
            return self.known[step, given]
        before = len(self.tables)
        parameters = step.parameters(given, self)
        # Others are packed each for itself: 0.0 and -0.0 are equal, and their bits are not.
        if len(self.tables) > before:
            self.known[step, given] = parameters
        return parameters


def pack(chains: Sequence[Chain], dtypes: Sequence[torch.dtype]) -> Packed:
    """Check chains against the dtypes of the values they read, and pack them for any number of calls on columns of these dtypes.

    Raises `ConfigError` naming chain and step. Cost: as the chains and what their steps look up; a vocabulary's keys are hashed here.
    """
    tables = _Tables()
    rows: list[list[int]] = []
    steps: list[list[int]] = []
    outputs: list[torch.dtype] = []
    for number, chain in enumerate(chains):
        if not 0 <= chain.value < len(dtypes):
            raise ConfigError(f"chain {number}: values {chain.value} are not among {len(dtypes)}")
        state = _entered(number, chain, dtypes[chain.value])
        first = len(steps)
        for place, step in enumerate(chain.steps):
            try:
                after = step.output_dtype(state)
                parameters = tables.parameters(step, state)
            except ConfigError as error:
                raise ConfigError(f"chain {number}, step {place}: {step.name}: {str(error).removeprefix(f'{step.name}: ')}") from None
            steps.append([step.code, *parameters, *[0] * (3 - len(parameters))])
            state = after
        offsets = -1 if chain.offsets is None else chain.offsets
        rows.append([chain.value, offsets, int(chain.source), first, len(steps) - first, OUTPUT_DTYPES.index(state)])
        outputs.append(state)
    return Packed(
        torch.tensor(rows, dtype=torch.int64).reshape(-1, 6),
        torch.tensor(steps, dtype=torch.int64).reshape(-1, 4),
        tuple(tables.tables),
        tuple(outputs),
    )


def _entered(number: int, chain: Chain, dtype: torch.dtype) -> torch.dtype:
    """Return the state a column is in before the first step."""
    if dtype not in VALUE_DTYPES:
        raise ConfigError(f"chain {number}: values of {dtype}, expected one of {', '.join(map(str, VALUE_DTYPES))}")
    if (chain.offsets is None) != (chain.source == Source.VALUES) or (chain.offsets or 0) < 0:
        raise ConfigError(
            f"chain {number}: offsets {chain.offsets} do not go with {chain.source.name}; strings and rows have offsets, values none"
        )
    first = chain.steps[0] if chain.steps else None
    if chain.source == Source.BYTES:
        if dtype != BYTES or first is None:
            raise ConfigError(f"chain {number}: strings are uint8, and start with a step that takes bytes; got {dtype}")
        return BYTES
    if chain.source == Source.ROWS and not isinstance(first, Fill):
        raise ConfigError(f"chain {number}: a chain of rows must begin with Fill, which says what an empty row becomes")
    if not dtype.is_floating_point:
        return IDS
    return DOUBLE if dtype == DOUBLE else SINGLE
