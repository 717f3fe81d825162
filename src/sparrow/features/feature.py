"""The builder: what a feature is made from, checked as it is declared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from sparrow.errors import ConfigError
from sparrow.features.expression import Expression
from sparrow.features.fitting import learned
from sparrow.features.transforms import ids, numbers, pairs, sequences
from sparrow.features.transforms.vocabulary import Vocabulary
from sparrow.features.types import UNKNOWN, FeatureType, Step, Transform


@dataclass(frozen=True, slots=True)
class Feature:
    """One input of a model: a column and the transforms applied to it, in order, or a combination of several.

    Immutable: every method returns a new Feature. Where a method takes another column, it is a column's name or a Feature.

        Feature("price").select("i1").fill(0.0).log1p()
        Feature("city").select("city_name").hash("farm").mod(100_000)
        Feature("city_x_hour").select("city_name").hash().cross(Feature("hour").select("hour"))

    name:       how models and tables call it.
    expression: what it computes; None until `select`.
    """

    name: str
    expression: Expression | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ConfigError(f"feature {self.name!r}: the name must be a string of at least one character")

    @property
    def output(self) -> FeatureType:
        """What is known of its type."""
        return UNKNOWN if self.expression is None else self.expression.output

    @property
    def columns(self) -> list[str]:
        """The columns it reads, each once."""
        return [] if self.expression is None else self.expression.columns()

    def select(self, column: str) -> Feature:
        """Read `column`. Must come first, once."""
        if not isinstance(column, str) or not column:
            raise ConfigError(f"feature {self.name!r}: select({column!r}): the column must be a string of at least one character")
        if self.expression is not None:
            raise ConfigError(
                f"feature {self.name!r}: select({column!r}) comes after the column is chosen; combine columns by cross, concat, ..."
            )
        return Feature(self.name, Expression(column))

    # Numbers.

    def fill(self, value: float) -> Feature:
        """Rows without a value, and NaN, become `value`; the feature becomes dense, one value a row."""
        return self._then(numbers.Fill, value)

    def cast(self, dtype: str) -> Feature:
        """Numbers as `"float32"`, `"float64"` or `"int64"`."""
        return self._then(numbers.Cast, dtype)

    def log1p(self) -> Feature:
        """log(1 + max(x, 0)) of every number."""
        return self._then(numbers.Log1p)

    def log(self) -> Feature:
        """The natural logarithm of every number."""
        return self._then(numbers.Log)

    def zscore(self, mean: float | None = None, std: float | None = None) -> Feature:
        """(x - mean) / std; without them, those of the data (`fit`)."""
        return self._then(_zscore, mean, std)

    def min_max(self, low: float | None = None, high: float | None = None) -> Feature:
        """(x - low) / (high - low); without them, the least and greatest of the data (`fit`)."""
        return self._then(_min_max, low, high)

    def clip(self, low: float, high: float) -> Feature:
        """Numbers limited to [low, high]."""
        return self._then(numbers.Clip, low, high)

    def finite(self, policy: str = "error", value: float = 0.0) -> Feature:
        """Count NaN and infinities, and keep (`"count"`), refuse (`"error"`) or `"replace"` them by `value`."""
        return self._then(numbers.Finite, policy, value)

    def bucketize(self, boundaries: Sequence[float] | None = None, *, quantiles: int | None = None) -> Feature:
        """Numbers to the count of `boundaries` (strictly increasing) they reach; or into `quantiles` buckets of equally many (`fit`)."""
        return self._then(_bucketize, boundaries, quantiles)

    # Ids.

    def hash(self, algorithm: str = "farm", *, buckets: int = 0, non_negative: bool = False) -> Feature:
        """Strings or integers to ids of 64 bits by `"farm"`, `"murmur"` or `"xxh64"`; below 2^63, or into `buckets`, where asked for."""
        return self._then(ids.Hash, algorithm, buckets, non_negative)

    def mod(self, divisor: int) -> Feature:
        """Ids, read as unsigned, modulo `divisor`."""
        return self._then(ids.Mod, divisor)

    def quotient(self, divisor: int) -> Feature:
        """Ids, read as unsigned, divided by `divisor`, without the remainder."""
        return self._then(ids.Quotient, divisor)

    def quotient_remainder(self, divisor: int) -> list[Feature]:
        """Return two features, `NAME_quotient` and `NAME_remainder`, which together tell ids apart by two small tables."""
        return [self._renamed("quotient").quotient(divisor), self._renamed("remainder").mod(divisor)]

    def multi_hash(self, num_buckets: Sequence[int]) -> list[Feature]:
        """Return up to four features, `NAME_0`, `NAME_1`, ...: independent hashes of ids into so many buckets each."""
        if not isinstance(num_buckets, Sequence) or isinstance(num_buckets, str) or not 1 <= len(num_buckets) <= 4:
            raise ConfigError(f"feature {self.name!r}: multi_hash({num_buckets!r}): give one to four numbers of buckets")
        return [self._renamed(str(k))._then(ids.MultiHash, k, buckets) for k, buckets in enumerate(num_buckets)]

    def vocabulary(
        self,
        keys: Any = None,
        *,
        missing: int | str | None = None,
        oov_buckets: int = 0,
        min_count: int | None = None,
        max_size: int | None = None,
        ids: bool = False,
    ) -> Feature:
        """Strings or integers to their places in `keys`: a list, or the path of a text file with one a line, integers where `ids`.

        missing: what another value becomes: a number, or `"error"`, the default. oov_buckets: instead, hash it into so many ids after the
        last place. Without `keys`, the data's (`fit`) that occur `min_count` times, the `max_size` most frequent; others then become the
        place after the last, where nothing else is said.
        """
        return self._then(_vocabulary, keys, missing, oov_buckets, min_count, max_size, ids)

    # Lists.

    def truncate(self, length: int, *, keep: str = "head", level: int = 0) -> Feature:
        """Lists to their first (`"head"`) or last (`"tail"`) `length` elements; `level` 0 is the outermost."""
        return self._then(sequences.Truncate, length, keep, level)

    def pad(self, length: int | Sequence[int], *, value: float = 0, side: str = "right", keep: str = "head") -> Feature:
        """Lists to tensors [rows, length] (a length a level), filled up with `value`; longer ones keep their `"head"` or `"tail"`."""
        return self._then(sequences.Pad.of, length, value, side, keep)

    def mask(self, length: int | Sequence[int], *, side: str = "right", keep: str = "head") -> Feature:
        """1.0 where `pad` of the same arguments puts an element, 0.0 where it fills up."""
        return self._then(sequences.Mask.of, length, side, keep)

    def top(self, count: int) -> Feature:
        """The `count` values of greatest weight of each list, in their order."""
        return self._then(sequences.Top, count)

    def unique(self, *, weights: str = "first") -> Feature:
        """Each value of a list once, at its first place, with the `"first"` weight or their `"sum"`."""
        return self._then(sequences.Unique, weights)

    def length(self) -> Feature:
        """How many elements each row has."""
        return self._then(sequences.Length)

    def weights(self) -> Feature:
        """The weights of a column as its values."""
        return self._then(sequences.Weights)

    # Several columns.

    def cross(self, *others: str | Feature) -> Feature:
        """An id for every combination of one id of each column, a row at a time; weights are multiplied."""
        return self._with(pairs.Cross(), *others)

    def concat(self, *others: str | Feature) -> Feature:
        """The lists of several columns one after the other; of dense columns, their values side by side."""
        return self._with(pairs.Concat(), *others)

    def lookup(self, keys: str | Feature, items: str | Feature | None = None, *, default: float = 0) -> Feature:
        """For each id the item beside the first equal key of its row. items: None takes the weights of `keys`."""
        values = Feature(self.name).select(keys) if isinstance(keys, str) else keys
        return self._with(self._made(pairs.Lookup, default), values, values.weights() if items is None else items)

    def match(self, other: str | Feature) -> Feature:
        """For each id 1 where its row of `other` holds it, else 0."""
        return self._with(pairs.Match(), other)

    def overlap(self, other: str | Feature, kind: str = "count") -> Feature:
        """A number a row: how much two lists of ids share; `"count"`, `"ratio"`, `"jaccard"`, `"contains"`, `"equal"` or `"any"`."""
        return self._with(self._made(pairs.Overlap, kind), other)

    def time_difference(self, other: str | Feature) -> Feature:
        """This minus `other`, value by value, or one value a row against a whole list of the other."""
        return self._with(pairs.Subtract(), other)

    def then(self, transform: Transform) -> Feature:
        """Append any transform of one column, your own too. Raises `ConfigError` naming the feature where it cannot follow."""
        missing = [name for name in ("kind", "output_type", "apply") if not hasattr(transform, name)]
        if missing:
            raise ConfigError(
                f"feature {self.name!r}: {transform!r} is no transform: it has no {missing[0]}; see sparrow.features.Transform"
            )
        return self._with(transform)

    def _then(self, make: Callable[..., Step], *arguments: Any) -> Feature:
        return self._with(self._made(make, *arguments))

    def _made(self, make: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return make(*arguments)
        except ConfigError as error:
            raise ConfigError(f"feature {self.name!r}: {error}") from None

    def _with(self, step: Step, *others: str | Feature) -> Feature:
        try:
            hash(step)
        except TypeError as error:
            raise ConfigError(
                f"feature {self.name!r}: {step.kind} must be hashable, so that equal steps are found ({error}); "
                f"make it a @dataclass(frozen=True) of hashable fields"
            ) from None
        if self.expression is None:
            raise ConfigError(f"feature {self.name!r}: {step.kind} comes before select; start with Feature({self.name!r}).select(column)")
        inputs = (self.expression, *(self._expression_of(step.kind, other) for other in others))
        try:
            output = step.output_type(*(part.output for part in inputs))
        except ConfigError as error:
            raise ConfigError(f"feature {self.name!r}: {error}") from None
        if not isinstance(output, FeatureType):
            raise ConfigError(f"feature {self.name!r}: {step.kind}.output_type returned {output!r}, expected a FeatureType")
        return Feature(self.name, Expression(transform=step, inputs=inputs, output=output))

    def _expression_of(self, kind: str, other: str | Feature) -> Expression:
        if isinstance(other, str) and other:
            return Expression(other)
        if not isinstance(other, Feature):
            raise ConfigError(f"feature {self.name!r}: {kind} takes names of columns or Features, found {other!r}")
        if other.expression is None:
            raise ConfigError(f"feature {self.name!r}: {kind} of feature {other.name!r}, which selects no column")
        return other.expression

    def _renamed(self, suffix: str) -> Feature:
        return Feature(f"{self.name}_{suffix}", self.expression)


def _bucketize(boundaries: Sequence[float] | None, quantiles: int | None) -> Step:
    if quantiles is not None:
        if boundaries is not None:
            raise ConfigError("bucketize: give boundaries or quantiles, not both")
        return learned.LearnedBuckets(quantiles)
    # Not left to float(): it reads text, and "123" would become three boundaries.
    known = list(boundaries) if isinstance(boundaries, Iterable) else []
    if not known or not all(isinstance(number, Real) and not isinstance(number, bool) for number in known):
        raise ConfigError(f"bucketize({boundaries!r}): boundaries must be a list of numbers")
    return numbers.Bucketize(tuple(numbers.exact_boundary(number, position) for position, number in enumerate(known, start=1)))


def _zscore(mean: float | None, std: float | None) -> Step:
    if (mean is None) != (std is None):
        raise ConfigError("zscore: give mean and std, or neither to learn them from data")
    return learned.LearnedZScore() if mean is None or std is None else numbers.ZScore(mean, std)


def _min_max(low: float | None, high: float | None) -> Step:
    if (low is None) != (high is None):
        raise ConfigError("min_max: give low and high, or neither to learn them from data")
    return learned.LearnedMinMax() if low is None or high is None else numbers.MinMax(low, high)


def _vocabulary(keys: Any, missing: int | str | None, oov_buckets: int, min_count: int | None, max_size: int | None, ids: bool) -> Step:
    if keys is None:
        if ids:
            raise ConfigError("vocabulary: ids=True says what the lines of a file are; learned keys are what the column holds")
        if missing == "error":
            raise ConfigError("vocabulary: missing='error' with learned keys would refuse every rare value; give a number or oov_buckets")
        return learned.LearnedVocabulary(1 if min_count is None else min_count, max_size, missing, oov_buckets)  # type: ignore[arg-type]
    if min_count is not None or max_size is not None:
        raise ConfigError("vocabulary: min_count and max_size choose among learned keys; these are given")
    return Vocabulary.of(keys, missing, oov_buckets, ids)
