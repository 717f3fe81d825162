"""What a synthetic data set looks like: its columns, how strongly each moves the click, and how many rows to make."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from sparrow.errors import ConfigError, did_you_mean

# Counting how often training shows a pair takes an int32 for each possible pair: 2**26 of them are 256 MiB.
MAX_COUNTED_PAIRS = 2**26
MAX_CARDINALITY = 2**26


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericColumn:
    """A column of whole numbers of at least 0, `floor(exp(centre + spread * z))`, z nearly normal; an empty list where missing.

    missing: share of empty rows. slope, bend: standard deviations, in logits, of the part of its effect that is linear in
    the standardised log1p of the value, and of the part that goes with its absolute value, which no linear model sees.
    """

    name: str
    centre: float
    spread: float
    missing: float = 0.0
    slope: float = 0.0
    bend: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class IdColumn:
    """A column of 64-bit ids, `cardinality` different ones, the r-th most frequent drawn with a probability near `r ** -zipf`.

    missing:    share of empty rows (a column of one id a row).
    effect:     standard deviation over rows, in logits, of what one id adds.
    max_length: above 1 a row holds 0 to `max_length` ids, every number equally likely, and their effects add up.
    text:       write each id as a string, `"v-"` and 16 hexadecimal digits; never missing.
    """

    name: str
    cardinality: int
    zipf: float
    missing: float = 0.0
    effect: float = 0.0
    max_length: int = 1
    text: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """What a pair of ids of two single-id columns adds: the inner product of two hidden vectors of `rank` numbers, one an id.

    effect: standard deviation over rows, in logits. The means over either id alone are zero, so no main effect carries it.
    """

    left: str
    right: str
    effect: float
    rank: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The columns of a data set and the strength of their effects. The drawn effects themselves follow from the seed."""

    numerics: tuple[NumericColumn, ...]
    ids: tuple[IdColumn, ...]
    interactions: tuple[Interaction, ...] = ()

    def __post_init__(self) -> None:
        names = ["label", *(column.name for column in self.numerics), *(column.name for column in self.ids)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"synth shape: column {twice[0]!r} is named twice; every column, 'label' included, needs a name of its own")
        for numeric in self.numerics:
            _check_numeric(numeric)
        for column in self.ids:
            _check_ids(column)
        pairs = [(interaction.left, interaction.right) for interaction in self.interactions]
        for interaction, pair in zip(self.interactions, pairs, strict=True):
            self._check_interaction(interaction)
            if pairs.count(pair) > 1:
                raise ConfigError(f"synth shape: interaction {pair[0]} x {pair[1]} is named twice; give it once, with one effect")

    def id_column(self, name: str) -> IdColumn:
        """Return the id column called `name`. Raises `ConfigError` with the nearest name."""
        for column in self.ids:
            if column.name == name:
                return column
        raise ConfigError(f"synth shape: no id column {name!r}{did_you_mean(name, (column.name for column in self.ids))}")

    def _check_interaction(self, interaction: Interaction) -> None:
        where = f"synth shape: interaction {interaction.left} x {interaction.right}"
        left, right = self.id_column(interaction.left), self.id_column(interaction.right)
        if left is right:
            raise ConfigError(f"{where} joins a column with itself; name two columns")
        for column in (left, right):
            if column.max_length > 1:
                raise ConfigError(
                    f"{where}: column {column.name} holds up to {column.max_length} ids a row; interactions need columns of one id"
                )
        if not 1 <= interaction.rank <= 4:
            raise ConfigError(f"{where}: rank is {interaction.rank}, expected 1 to 4")
        _check_effect(f"{where}: effect", interaction.effect)
        if left.cardinality * right.cardinality > MAX_COUNTED_PAIRS:
            raise ConfigError(
                f"{where} has {left.cardinality * right.cardinality} possible pairs, at most {MAX_COUNTED_PAIRS} can be counted; "
                "choose columns of smaller cardinality"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthSpec:
    """A data set to generate. Two specs that are equal give the same rows, bit for bit, on every machine.

    rows, eval_rows: rows to train on, and to evaluate on. A longer data set of the same seed begins with the shorter one.
    seed:            0 to 2**63 - 1. Fixes ids, effects and rows.
    click_rate:      expected share of clicks, strictly between 0 and 1.
    rows_per_file:   rows of a file; the rows themselves do not depend on it.
    known_after:     how often training must show an id, or a pair, for the learnable AUC to count its effect as known.
    shape:           the columns; None takes `CRITEO_SHAPE`: 13 numeric, 26 of ids, 3 of several ids a row, 1 of strings.
    """

    rows: int
    eval_rows: int = 100_000
    seed: int = 0
    click_rate: float = 0.25
    rows_per_file: int = 131_072
    known_after: int = 20
    shape: Shape | None = None

    def __post_init__(self) -> None:
        for key, least, most in (
            ("rows", 1, 2**31 - 1),
            ("eval_rows", 2, 2**31 - 1),
            ("seed", 0, 2**63 - 1),
            ("rows_per_file", 1, 2**31 - 1),
            ("known_after", 1, 2**31 - 1),
        ):
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise ConfigError(f"synth spec: {key} is {value!r}, expected a whole number from {least} to {most}")
        if not 0 < self.click_rate < 1:
            raise ConfigError(f"synth spec: click_rate is {self.click_rate!r}, expected a number strictly between 0 and 1")

    @property
    def columns(self) -> Shape:
        return CRITEO_SHAPE if self.shape is None else self.shape

    def describe(self) -> dict[str, Any]:
        """Return the whole spec as JSON values, its shape written out."""
        return asdict(self) | {"shape": asdict(self.columns)}


def _check_effect(where: str, effect: float) -> None:
    if not (math.isfinite(effect) and effect >= 0):
        raise ConfigError(f"{where} is {effect!r}, expected a standard deviation in logits, 0 or more")


def _check_numeric(column: NumericColumn) -> None:
    where = f"synth shape: column {column.name}"
    if not 0 <= column.missing < 1:
        raise ConfigError(f"{where}: missing is {column.missing!r}, expected a share from 0 to below 1")
    if not (math.isfinite(column.centre) and 0 < column.spread < math.inf):
        raise ConfigError(f"{where}: centre {column.centre!r} and spread {column.spread!r} must be finite, the spread above 0")
    # z stays below 3.5; beyond 2**53 whole numbers have no exact double.
    if column.centre + 3.5 * column.spread > math.log(2**53):
        raise ConfigError(f"{where}: values above 2**53 are possible; lower centre {column.centre!r} or spread {column.spread!r}")
    _check_effect(f"{where}: slope", column.slope)
    _check_effect(f"{where}: bend", column.bend)


def _check_ids(column: IdColumn) -> None:
    where = f"synth shape: column {column.name}"
    if not 0 <= column.missing < 1:
        raise ConfigError(f"{where}: missing is {column.missing!r}, expected a share from 0 to below 1")
    if not 2 <= column.cardinality <= MAX_CARDINALITY:
        raise ConfigError(f"{where}: cardinality is {column.cardinality}, expected 2 to {MAX_CARDINALITY}")
    if not 0 <= column.zipf <= 10:
        raise ConfigError(f"{where}: zipf is {column.zipf!r}, expected an exponent from 0 to 10")
    if not 1 <= column.max_length <= 64:
        raise ConfigError(f"{where}: max_length is {column.max_length}, expected 1 to 64")
    if column.missing and (column.max_length > 1 or column.text):
        raise ConfigError(f"{where}: missing is for columns of one id a row; lists of several may be empty anyway, strings never are")
    if column.text and column.max_length > 1:
        raise ConfigError(f"{where}: a column of strings holds one a row; set max_length to 1")
    _check_effect(f"{where}: effect", column.effect)


CRITEO_SHAPE = Shape(
    numerics=(
        NumericColumn(name="i1", centre=0.9, spread=1.1, missing=0.45, slope=0.24),
        NumericColumn(name="i2", centre=2.3, spread=1.8, slope=0.2, bend=0.2),
        NumericColumn(name="i3", centre=2.0, spread=1.3, missing=0.22, slope=0.12),
        NumericColumn(name="i4", centre=1.8, spread=0.9, missing=0.22, slope=0.16),
        NumericColumn(name="i5", centre=7.5, spread=1.9, missing=0.03, slope=0.24, bend=0.24),
        NumericColumn(name="i6", centre=3.8, spread=1.4, missing=0.22, slope=0.16),
        NumericColumn(name="i7", centre=1.6, spread=1.3, missing=0.04, slope=0.24, bend=0.2),
        NumericColumn(name="i8", centre=2.2, spread=0.9, slope=0.1),
        NumericColumn(name="i9", centre=4.0, spread=1.3, missing=0.04, slope=0.12),
        NumericColumn(name="i10", centre=0.2, spread=0.5, missing=0.45, slope=0.16),
        NumericColumn(name="i11", centre=0.7, spread=0.8, missing=0.04, slope=0.2),
        NumericColumn(name="i12", centre=0.1, spread=0.8, missing=0.76, slope=0.12),
        NumericColumn(name="i13", centre=1.7, spread=0.9, missing=0.22, slope=0.2, bend=0.18),
    ),
    ids=(
        IdColumn(name="c1", cardinality=1_400, zipf=2.0, effect=0.28),
        IdColumn(name="c2", cardinality=550, zipf=0.3, effect=0.28),
        IdColumn(name="c3", cardinality=5_000_000, zipf=1.5, missing=0.03, effect=0.1),
        IdColumn(name="c4", cardinality=1_000_000, zipf=2.0, missing=0.03, effect=0.08),
        IdColumn(name="c5", cardinality=300, zipf=1.8, effect=0.24),
        IdColumn(name="c6", cardinality=20, zipf=0.6, missing=0.05, effect=0.32),
        IdColumn(name="c7", cardinality=12_000, zipf=2.0, effect=0.2),
        IdColumn(name="c8", cardinality=600, zipf=0.3, effect=0.2),
        IdColumn(name="c9", cardinality=12, zipf=0.6, effect=0.28),
        IdColumn(name="c10", cardinality=90_000, zipf=1.8, effect=0.08),
        IdColumn(name="c11", cardinality=5_500, zipf=2.0, effect=0.2),
        IdColumn(name="c12", cardinality=3_000_000, zipf=1.4, missing=0.03, effect=0.1),
        IdColumn(name="c13", cardinality=3_000, zipf=2.0, effect=0.2),
        IdColumn(name="c14", cardinality=16, zipf=0.6, effect=0.32),
        IdColumn(name="c15", cardinality=14_000, zipf=2.0, effect=0.2),
        IdColumn(name="c16", cardinality=2_000_000, zipf=1.6, missing=0.03, effect=0.08),
        IdColumn(name="c17", cardinality=18, zipf=0.6, effect=0.36),
        IdColumn(name="c18", cardinality=5_000, zipf=2.0, effect=0.2),
        IdColumn(name="c19", cardinality=2_000, zipf=2.0, missing=0.44, effect=0.24),
        IdColumn(name="c20", cardinality=10, zipf=0.6, missing=0.05, effect=0.32),
        IdColumn(name="c21", cardinality=1_500_000, zipf=1.6, missing=0.03, effect=0.08),
        IdColumn(name="c22", cardinality=18, zipf=1.2, missing=0.76, effect=0.24),
        IdColumn(name="c23", cardinality=15, zipf=0.6, effect=0.32),
        IdColumn(name="c24", cardinality=250_000, zipf=1.8, missing=0.03, effect=0.08),
        IdColumn(name="c25", cardinality=100, zipf=1.6, missing=0.44, effect=0.28),
        IdColumn(name="c26", cardinality=140_000, zipf=1.8, missing=0.44, effect=0.08),
        IdColumn(name="m1", cardinality=200, zipf=1.6, max_length=4, effect=0.2),
        IdColumn(name="m2", cardinality=2_000, zipf=1.8, max_length=3, effect=0.16),
        IdColumn(name="m3", cardinality=50_000, zipf=1.8, max_length=6, effect=0.05),
        IdColumn(name="s1", cardinality=1_000, zipf=1.8, text=True, effect=0.28),
    ),
    interactions=(
        Interaction(left="c9", right="c23", effect=1.0),
        Interaction(left="c17", right="c20", effect=1.0),
        Interaction(left="c6", right="c14", effect=1.0),
        Interaction(left="c2", right="c8", effect=0.3),
    ),
)
