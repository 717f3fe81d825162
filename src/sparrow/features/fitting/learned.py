"""Transforms whose parameters are still to be learned from data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from sparrow.errors import ConfigError
from sparrow.features.fitting.sketches import Counts, Moments, Quantiles, Range, Sketch
from sparrow.features.layout import values_of
from sparrow.features.transforms.ids import require_count
from sparrow.features.transforms.numbers import Bucketize, MinMax, ZScore
from sparrow.features.transforms.vocabulary import Vocabulary, require_policy
from sparrow.features.types import Context, FeatureType, Step
from sparrow.types import Column, Ragged


class Learned:
    """A transform that data must fit first: `sparrow.features.fit`, `sparrow data fit`."""

    __slots__ = ()
    kind: ClassVar[str]

    @property
    def name(self) -> str:
        """The method of `Feature` that makes it."""
        return {"learned_buckets": "bucketize"}.get(self.kind, self.kind.removeprefix("learned_"))

    def output_type(self, given: FeatureType) -> FeatureType:
        """As the transform it becomes."""
        if given.values == "id":
            raise ConfigError(f"{self.name} cannot follow a transform that makes ids")
        return FeatureType("number", given.dense)

    def apply(self, column: Column, context: Context) -> Column:
        raise context.error(f"{self.name} is not fitted: pass the features through sparrow.features.fit, or `sparrow data fit`, first")

    def sketch(self) -> Sketch:
        """Return a summary of no values."""
        raise NotImplementedError

    def update(self, sketch: Any, column: Column, context: Context) -> None:
        """Add the values of a column to a summary. Raises `DataError` for a column of another kind."""
        if isinstance(column, Ragged) and column.is_bytes:
            raise context.error(f"{self.name} takes numbers, the column holds strings")
        sketch.update(values_of(column))

    def fitted(self, sketch: Any) -> Step:
        """Return the transform that the summary gives. Raises `ConfigError` where it gives none."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class LearnedZScore(Learned):
    """`ZScore` with mean and standard deviation of the data."""

    kind: ClassVar[str] = "learned_zscore"

    def sketch(self) -> Moments:
        return Moments()

    def fitted(self, sketch: Moments) -> ZScore:
        if not sketch.count or sketch.std == 0:
            raise ConfigError(f"zscore: {sketch.count} numbers without spread; there is nothing to scale by")
        return ZScore(sketch.mean, sketch.std)


@dataclass(frozen=True, slots=True)
class LearnedMinMax(Learned):
    """`MinMax` with the least and greatest number of the data."""

    kind: ClassVar[str] = "learned_min_max"

    def sketch(self) -> Range:
        return Range()

    def fitted(self, sketch: Range) -> MinMax:
        if not sketch.low < sketch.high:
            raise ConfigError("min_max: no two different numbers were seen; there is nothing to scale by")
        return MinMax(sketch.low, sketch.high)


@dataclass(frozen=True, slots=True)
class LearnedBuckets(Learned):
    """`Bucketize` into `num_buckets` of equally many numbers of the data; fewer where numbers repeat."""

    num_buckets: int
    kind: ClassVar[str] = "learned_buckets"

    def __post_init__(self) -> None:
        require_count("bucketize: quantiles", self.num_buckets, below=2**20)
        if self.num_buckets < 2:
            raise ConfigError("bucketize: quantiles is 1; two buckets are the least")

    def output_type(self, given: FeatureType) -> FeatureType:
        return FeatureType("id", Learned.output_type(self, given).dense)

    def sketch(self) -> Quantiles:
        return Quantiles()

    def fitted(self, sketch: Quantiles) -> Bucketize:
        if not sketch.count:
            raise ConfigError("bucketize: no finite number was seen")
        fractions = torch.arange(1, self.num_buckets, dtype=torch.float64) / self.num_buckets
        # The least number is reached by all: as a boundary it would leave the first bucket empty.
        least = float(sketch.at(torch.zeros(1))[0])
        boundaries = [number for number in dict.fromkeys(sketch.at(fractions).tolist()) if number > least]
        if not boundaries:
            raise ConfigError(f"bucketize: nearly all of {sketch.count} numbers are {least}; there is nothing to divide")
        return Bucketize(tuple(boundaries))


@dataclass(frozen=True, slots=True)
class LearnedVocabulary(Learned):
    """`Vocabulary` of the values that occur at least `min_count` times, the most frequent first, at most `max_size`."""

    min_count: int = 1
    max_size: int | None = None
    missing: int | None = None
    oov_buckets: int = 0
    kind: ClassVar[str] = "learned_vocabulary"

    def __post_init__(self) -> None:
        require_count("vocabulary: min_count", self.min_count)
        if self.max_size is not None:
            require_count("vocabulary: max_size", self.max_size)
        require_policy(self.missing, self.oov_buckets)

    def output_type(self, given: FeatureType) -> FeatureType:
        if given.values == "number":
            raise ConfigError("vocabulary takes strings or ids; bucketize numbers instead")
        return FeatureType("id", given.dense)

    def sketch(self) -> Counts:
        return Counts()

    def update(self, sketch: Counts, column: Column, context: Context) -> None:
        if isinstance(column, Ragged) and column.is_bytes:
            sketch.update_strings(column.values, column.offsets[-1])
            return
        values = values_of(column)
        if values.is_floating_point():
            raise context.error("vocabulary takes strings or integers, the column holds numbers; bucketize it instead")
        sketch.update(values.long())

    def fitted(self, sketch: Counts) -> Vocabulary:
        kept = sketch.most_frequent(self.min_count, self.max_size)
        if not kept:
            raise ConfigError(f"vocabulary: none of {len(sketch.counts)} distinct values occurs {self.min_count} times")
        try:
            keys = tuple(key.decode() if isinstance(key, bytes) else key for key in kept)
        except UnicodeDecodeError as error:
            raise ConfigError(f"vocabulary: a string is no UTF-8: {error.object!r}") from None
        missing = len(keys) if self.missing is None and not self.oov_buckets else self.missing
        return Vocabulary(keys, missing, self.oov_buckets)  # type: ignore[arg-type]
