"""The builder: what a feature is made from, checked as it is declared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

from sparrow.errors import ConfigError
from sparrow.features.transforms import UNKNOWN, Bucketize, Cast, FeatureType, Fill, Hash, Log1p, Mod, Transform


@dataclass(frozen=True, slots=True)
class Feature:
    """One input of a model: a column and the transforms applied to it, in order.

    Immutable: every method returns a new Feature.

        Feature("price").select("i1").fill(0.0).log1p()
        Feature("city").select("city_name").hash("farm").mod(100_000)

    name:   how models and tables call it.
    column: the column it reads; None until `select`.
    steps:  the transforms.
    output: what is known of its type.
    """

    name: str
    column: str | None = None
    steps: tuple[Transform, ...] = ()
    output: FeatureType = UNKNOWN

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ConfigError(f"feature {self.name!r}: the name must be a string of at least one character")

    def select(self, column: str) -> Feature:
        """Read `column`. Must come first, once."""
        if not isinstance(column, str) or not column:
            raise ConfigError(f"feature {self.name!r}: select({column!r}): the column must be a string of at least one character")
        if self.column is not None:
            raise ConfigError(f"feature {self.name!r}: select({column!r}) comes after select({self.column!r}); a feature reads one column")
        return replace(self, column=column)

    def fill(self, value: float) -> Feature:
        """Rows without a value, and NaN, become `value`; the feature becomes dense, one value a row."""
        return self._then_made(Fill, value)

    def log1p(self) -> Feature:
        """log(1 + max(x, 0)) of every number."""
        return self.then(Log1p())

    def hash(self, algorithm: str = "farm") -> Feature:
        """Strings or integers to ids of 64 bits."""
        return self._then_made(Hash, algorithm)

    def mod(self, divisor: int) -> Feature:
        """Ids, read as unsigned, modulo `divisor`."""
        return self._then_made(Mod, divisor)

    def bucketize(self, boundaries: Sequence[float]) -> Feature:
        """Numbers to the count of `boundaries` (strictly increasing) they reach."""
        return self._then_made(_bucketize, boundaries)

    def cast(self, dtype: str) -> Feature:
        """Numbers as `"float32"` or `"float64"`."""
        return self._then_made(Cast, dtype)

    def then(self, transform: Transform) -> Feature:
        """Append any transform, a custom one too. Raises `ConfigError` naming the feature where it cannot follow."""
        missing = [name for name in ("kind", "output_type", "apply") if not hasattr(transform, name)]
        if missing:
            raise ConfigError(
                f"feature {self.name!r}: {transform!r} is no transform: it has no {missing[0]}; see sparrow.features.Transform"
            )
        try:
            hash(transform)
        except TypeError as error:
            raise ConfigError(
                f"feature {self.name!r}: {transform.kind} must be hashable, so that equal steps are found ({error}); "
                f"make it a @dataclass(frozen=True) of hashable fields"
            ) from None
        if self.column is None:
            raise ConfigError(
                f"feature {self.name!r}: {transform.kind} comes before select; start with Feature({self.name!r}).select(column)"
            )
        try:
            output = transform.output_type(self.output)
        except ConfigError as error:
            raise ConfigError(f"feature {self.name!r}: {error}") from None
        return replace(self, steps=(*self.steps, transform), output=output)

    def _then_made(self, make: Callable[[Any], Transform], argument: Any) -> Feature:
        try:
            transform = make(argument)
        except ConfigError as error:
            raise ConfigError(f"feature {self.name!r}: {error}") from None
        return self.then(transform)


def _bucketize(boundaries: Sequence[float]) -> Bucketize:
    # Not left to float(): it reads text, and "123" would become three boundaries.
    numbers = list(boundaries) if isinstance(boundaries, Iterable) else []
    if not numbers or not all(isinstance(number, Real) and not isinstance(number, bool) for number in numbers):
        raise ConfigError(f"bucketize({boundaries!r}): boundaries must be a list of numbers")
    return Bucketize(tuple(_float64(number, position) for position, number in enumerate(numbers, start=1)))


def _float64(boundary: float, position: int) -> float:
    try:
        number = float(boundary)
    except OverflowError:
        raise ConfigError(f"bucketize: boundary {position} is beyond float64, whose largest number is 1.8e308") from None
    # An integer that moved would put ids into the wrong bucket, unseen.
    if isinstance(boundary, Integral) and int(boundary) != number:
        raise ConfigError(f"bucketize: boundary {boundary!r} is no float64; the nearest is {int(number)}")
    return number
