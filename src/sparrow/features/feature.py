"""The builder: what a feature is made from, checked as it is declared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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

    def select(self, column: str) -> Feature:
        """Read `column`. Must come first, once."""
        if self.column is not None:
            raise ConfigError(f"feature {self.name!r}: select({column!r}) comes after select({self.column!r}); a feature reads one column")
        return replace(self, column=column)

    def fill(self, value: float) -> Feature:
        """Rows without a value, and NaN, become `value`; the feature becomes dense, one value a row."""
        return self.then(Fill(value))

    def log1p(self) -> Feature:
        """log(1 + max(x, 0)) of every number."""
        return self.then(Log1p())

    def hash(self, algorithm: str = "farm") -> Feature:
        """Strings or integers to ids of 64 bits."""
        return self.then(Hash(algorithm))

    def mod(self, divisor: int) -> Feature:
        """Ids, read as unsigned, modulo `divisor`."""
        return self.then(Mod(divisor))

    def bucketize(self, boundaries: Sequence[float]) -> Feature:
        """Numbers to the count of `boundaries` (strictly increasing) they reach."""
        return self.then(Bucketize(tuple(map(float, boundaries))))

    def cast(self, dtype: str) -> Feature:
        """Numbers as `"float32"` or `"float64"`."""
        return self.then(Cast(dtype))

    def then(self, transform: Transform) -> Feature:
        """Append any transform, a custom one too. Raises `ConfigError` naming the feature where it cannot follow."""
        if self.column is None:
            raise ConfigError(
                f"feature {self.name!r}: {transform.kind} comes before select; start with Feature({self.name!r}).select(column)"
            )
        try:
            output = transform.output_type(self.output)
        except ConfigError as error:
            raise ConfigError(f"feature {self.name!r}: {error}") from None
        return replace(self, steps=(*self.steps, transform), output=output)
