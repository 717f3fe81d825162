"""Rows without labels, block by block: a pure function of (shape, seed, stream, number of the block)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparrow.synth.draws import Floats, Ints, Words, bell, mix, quarters, salt, words_of_block, zipf_ranks
from sparrow.synth.spec import IdColumn, NumericColumn, Shape

# Part of what a seed means: another number gives other rows.
ROWS_PER_BLOCK = 16_384


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Some consecutive rows.

    numerics: name -> float64 [rows], NaN where missing.
    ranks:    name -> int64 [rows, max_length], places in the order of popularity, -1 where there is none; those come last.
    chance:   float64 [rows], uniform in [0, 1): the row is a click where it lies below the probability.
    """

    numerics: dict[str, Floats]
    ranks: dict[str, Ints]
    chance: Floats

    @property
    def num_rows(self) -> int:
        return len(self.chance)

    def first(self, num_rows: int) -> Rows:
        if num_rows >= self.num_rows:
            return self
        return Rows(
            {name: values[:num_rows] for name, values in self.numerics.items()},
            {name: values[:num_rows] for name, values in self.ranks.items()},
            self.chance[:num_rows],
        )


def blocks_of_rows(shape: Shape, seed: int, stream: str, num_rows: int) -> Iterator[Rows]:
    """Yield the first `num_rows` rows of a stream, `ROWS_PER_BLOCK` at a time. Cost: about 2 microseconds a row."""
    for block in range(-(-num_rows // ROWS_PER_BLOCK)):
        yield block_of_rows(shape, seed, stream, block).first(num_rows - block * ROWS_PER_BLOCK)


def block_of_rows(shape: Shape, seed: int, stream: str, block: int) -> Rows:
    """Return all rows of one block."""
    num_flags = len(shape.numerics) + len(shape.ids)
    num_words = 1 + -(-num_flags // 4) + len(shape.numerics) + sum(column.max_length for column in shape.ids)
    words = iter(words_of_block(seed, stream, block, num_words, ROWS_PER_BLOCK))
    chance = (next(words) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    # A 16-bit number a column and row: whether the value is missing, or how many ids the row holds.
    flags = np.concatenate([quarters(next(words)).T for _ in range(-(-num_flags // 4))])
    numerics = {column.name: _numeric(column, next(words), flag) for column, flag in zip(shape.numerics, flags, strict=False)}
    ranks = {}
    for column, flag in zip(shape.ids, flags[len(shape.numerics) :], strict=False):
        drawn = [zipf_ranks(next(words), column.cardinality, column.zipf) for _ in range(column.max_length)]
        ranks[column.name] = _blank(column, np.stack(drawn, axis=1), flag)
    return Rows(numerics, ranks, chance)


def ids_of_ranks(seed: int, column: str, ranks: Ints) -> Ints:
    """Return the ids, int64 over its whole range, of the ranks of a column. No two ranks of a column share an id."""
    return mix(ranks.astype(np.uint64), salt(seed, "id", column)).view(np.int64)


def _numeric(column: NumericColumn, words: Words, flag: npt.NDArray[np.uint16]) -> Floats:
    values = np.floor(np.exp(column.centre + column.spread * bell(words)))
    values[flag < round(column.missing * 65536)] = np.nan
    return values


def _blank(column: IdColumn, ranks: Ints, flag: npt.NDArray[np.uint16]) -> Ints:
    if column.max_length == 1:
        ranks[flag < round(column.missing * 65536)] = -1
        return ranks
    lengths = (flag.astype(np.int64) * (column.max_length + 1)) >> 16
    ranks[np.arange(column.max_length) >= lengths[:, None]] = -1
    return ranks
