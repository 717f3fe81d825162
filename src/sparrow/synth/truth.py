"""The model that draws the labels: logistic, with an effect for each numeric, each id and chosen pairs of ids.

    logit = intercept + sum over numerics of  slope * t + bend * (|t| - its mean) / its deviation,   t = standardised log1p(value)
                      + sum over ids of       effect * (e(id) - mean) / deviation,                   e(id) = bell(hash of seed, column, id)
                      + sum over pairs of     effect * <u(left id) - mean, v(right id) - mean> / deviation,   u, v uniform hashes

Means and deviations are those under the popularity of the ids, so an `effect` is a standard deviation over rows, and the
population mean of every effect is 0. A missing value adds 0. Training sees none of this.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sparrow.synth.draws import Floats, Ints, bell, flat, mix, salt, zipf_shares
from sparrow.synth.rows import ROWS_PER_BLOCK, Rows, blocks_of_rows
from sparrow.synth.spec import IdColumn, Interaction, NumericColumn, SynthSpec

# Ranks beyond this many enter means and deviations at what their hashes are expected to give: mean 0, variance 1.
# An int32 one: with a Python one numpy takes a path 40 times slower.
_ONE = np.int32(1)
_HEAD_RANKS = 65_536
_CALIBRATION_ROWS = 8 * ROWS_PER_BLOCK


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """How often training rows show each id and each pair, exactly: int32 [cardinality], int32 [left * right cardinality]."""

    ids: dict[str, np.ndarray]
    pairs: dict[tuple[str, str], np.ndarray]

    @staticmethod
    def none(spec: SynthSpec) -> Counts:
        """Return counts of no rows yet. Memory: 4 bytes for each possible id, and for each possible pair of an interaction."""
        shape = spec.columns
        return Counts(
            {column.name: np.zeros(column.cardinality, np.int32) for column in shape.ids},
            {
                (pair.left, pair.right): np.zeros(
                    shape.id_column(pair.left).cardinality * shape.id_column(pair.right).cardinality, np.int32
                )
                for pair in shape.interactions
            },
        )

    def add(self, rows: Rows, spec: SynthSpec) -> None:
        """Count the ids and pairs of `rows`. Mutates the arrays."""
        for name, counts in self.ids.items():
            ranks = rows.ranks[name]
            np.add.at(counts, ranks[ranks >= 0], _ONE)
        for (left, right), counts in self.pairs.items():
            keys, present = pair_keys(rows, left, right, spec)
            np.add.at(counts, keys[present], _ONE)

    def known_shares(self, rows: Rows, spec: SynthSpec) -> Floats:
        """Return [known ids, ids, known pairs, pairs] of `rows`, counted with repeats."""
        shares = np.zeros(4)
        for name, counts in self.ids.items():
            ranks = rows.ranks[name]
            present = ranks[ranks >= 0]
            shares[:2] += (counts[present] >= spec.known_after).sum(), present.size
        for (left, right), counts in self.pairs.items():
            keys, both = pair_keys(rows, left, right, spec)
            shares[2:] += (counts[keys[both]] >= spec.known_after).sum(), both.sum()
        return shares


def pair_keys(rows: Rows, left: str, right: str, spec: SynthSpec) -> tuple[Ints, np.ndarray]:
    """Return the number of each row's pair, int64 [rows], and whether both ids are there, bool [rows]; 0 where not."""
    left_ranks, right_ranks = rows.ranks[left][:, 0], rows.ranks[right][:, 0]
    present = (left_ranks >= 0) & (right_ranks >= 0)
    return np.where(present, left_ranks * spec.columns.id_column(right).cardinality + right_ranks, 0), present


@dataclass(frozen=True, slots=True)
class _Scaled:
    """What standardises an effect."""

    mean: float
    deviation: float


@dataclass(frozen=True, slots=True, eq=False)
class _PairScale:
    left: Floats
    right: Floats
    deviation: float


@dataclass(slots=True, eq=False)
class Truth:
    """The true logits of rows. Make it with `Truth.of(spec)`: it measures the scales and sets the intercept on rows of their own."""

    spec: SynthSpec
    intercept: float = 0.0
    _numerics: dict[str, tuple[_Scaled, _Scaled]] = field(default_factory=dict)
    _ids: dict[str, _Scaled] = field(default_factory=dict)
    _pairs: dict[tuple[str, str], _PairScale] = field(default_factory=dict)

    @staticmethod
    def of(spec: SynthSpec) -> Truth:
        """Return the truth of a spec, a pure function of its seed, shape and click rate. Cost: about a second."""
        truth, shape = Truth(spec), spec.columns
        rows = list(blocks_of_rows(shape, spec.seed, "calibration", _CALIBRATION_ROWS))
        for numeric in shape.numerics:
            logs = np.log1p(np.concatenate([block.numerics[numeric.name] for block in rows]))
            linear = _scaled(logs[~np.isnan(logs)])
            bent = _scaled(np.abs((logs[~np.isnan(logs)] - linear.mean) / linear.deviation))
            truth._numerics[numeric.name] = (linear, bent)
        for column in shape.ids:
            truth._ids[column.name] = _id_scale(spec.seed, column)
        for pair in shape.interactions:
            truth._pairs[pair.left, pair.right] = _pair_scale(spec, pair)
        truth.intercept = _intercept(np.concatenate([truth.logits(block) for block in rows]), spec.click_rate)
        return truth

    def logits(self, rows: Rows, known: Counts | None = None) -> Floats:
        """Return the true logits, float64 [rows]; with `known`, those of an oracle that takes the population mean effect, 0, for
        every id and pair counted fewer than `known_after` times."""
        shape, least = self.spec.columns, self.spec.known_after
        total = np.full(rows.num_rows, self.intercept)
        for numeric in shape.numerics:
            total += self.numeric_effects(numeric, rows.numerics[numeric.name])
        for column in shape.ids:
            ranks = rows.ranks[column.name]
            effects = self.id_effects(column, ranks)
            if known is not None:
                effects[known.ids[column.name][ranks] < least] = 0.0
            total += effects.sum(axis=1)
        for pair in shape.interactions:
            keys, present = pair_keys(rows, pair.left, pair.right, self.spec)
            if known is not None:
                present &= known.pairs[pair.left, pair.right][keys] >= least
            total += np.where(present, self.pair_effects(pair, rows), 0.0)
        return total

    def numeric_effects(self, column: NumericColumn, values: Floats) -> Floats:
        linear, bent = self._numerics[column.name]
        standard = (np.log1p(values) - linear.mean) / linear.deviation
        effects = column.slope * standard + column.bend * (np.abs(standard) - bent.mean) / bent.deviation
        return np.where(np.isnan(values), 0.0, effects)

    def id_effects(self, column: IdColumn, ranks: Ints) -> Floats:
        scale = self._ids[column.name]
        drawn = bell(mix(ranks.astype(np.uint64).reshape(-1), salt(self.spec.seed, "effect", column.name))).reshape(ranks.shape)
        return np.where(ranks >= 0, column.effect * (drawn - scale.mean) / scale.deviation, 0.0)

    def pair_effects(self, pair: Interaction, rows: Rows) -> Floats:
        scale = self._pairs[pair.left, pair.right]
        left = hidden_vectors(self.spec.seed, pair, pair.left, rows.ranks[pair.left][:, 0]) - scale.left
        right = hidden_vectors(self.spec.seed, pair, pair.right, rows.ranks[pair.right][:, 0]) - scale.right
        return np.asarray((left * right).sum(axis=1)) * (pair.effect / scale.deviation)


def hidden_vectors(seed: int, pair: Interaction, column: str, ranks: Ints) -> Floats:
    """Return the hidden vectors of ids for one interaction, float64 [n, rank], before centring."""
    return flat(mix(ranks.astype(np.uint64), salt(seed, "pair", pair.left, pair.right, column)), pair.rank)


def sigmoid(logits: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-logits))


def _settled(value: float) -> float:
    # Sums differ in the last places between machines; nine digits are the same everywhere.
    return float(np.round(value, 9))


def _scaled(values: Floats) -> _Scaled:
    if len(values) == 0:
        return _Scaled(0.0, 1.0)
    return _Scaled(_settled(values.mean()), _settled(values.std()) or 1.0)


def _id_scale(seed: int, column: IdColumn) -> _Scaled:
    num_head = min(column.cardinality, _HEAD_RANKS)
    shares = zipf_shares(column.cardinality, column.zipf, num_head)
    drawn = bell(mix(np.arange(num_head, dtype=np.uint64), salt(seed, "effect", column.name)))
    mean = float(shares @ drawn)
    square = float(shares @ drawn**2) + max(0.0, 1.0 - float(shares.sum()))
    return _Scaled(_settled(mean), _settled(max(square - mean**2, 0.0) ** 0.5) or 1.0)


def _pair_scale(spec: SynthSpec, pair: Interaction) -> _PairScale:
    means, covariances = [], []
    for name in (pair.left, pair.right):
        column = spec.columns.id_column(name)
        num_head = min(column.cardinality, _HEAD_RANKS)
        shares = zipf_shares(column.cardinality, column.zipf, num_head)
        vectors = hidden_vectors(spec.seed, pair, name, np.arange(num_head))
        mean = shares @ vectors
        second = (vectors * shares[:, None]).T @ vectors + max(0.0, 1.0 - float(shares.sum())) * np.eye(pair.rank)
        means.append(np.round(mean, 9))
        covariances.append(second - np.outer(mean, mean))
    # Independent columns: E <u, v>**2 = trace(Cov u @ Cov v).
    variance = float(np.trace(covariances[0] @ covariances[1]))
    return _PairScale(means[0], means[1], _settled(max(variance, 0.0) ** 0.5) or 1.0)


def _intercept(logits: Floats, click_rate: float) -> float:
    low, high = -100.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if sigmoid(logits + middle).mean() < click_rate else (low, middle)
    return _settled(low)
