"""First values of rows: pure functions of (table seed, id, column), the same bits on every device and any number of workers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from sparrow.errors import ConfigError, did_you_mean


@dataclass(frozen=True, slots=True)
class Constant:
    """Every value is `value`."""

    value: float = 0.0
    kind: ClassVar[str] = "constant"
    code: ClassVar[int] = 0

    @property
    def parameters(self) -> tuple[float, float]:
        return self.value, 0.0


@dataclass(frozen=True, slots=True)
class Uniform:
    """Values uniform in (low, high)."""

    low: float = -0.01
    high: float = 0.01
    kind: ClassVar[str] = "uniform"
    code: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not (self.low < self.high and math.isfinite(self.low) and math.isfinite(self.high)):
            raise ConfigError(f"Uniform(low={self.low}, high={self.high}): both must be finite, and low below high")

    @property
    def parameters(self) -> tuple[float, float]:
        return self.low, self.high


@dataclass(frozen=True, slots=True)
class Normal:
    """Values normal with `mean` and standard deviation `std`."""

    mean: float = 0.0
    std: float = 0.01
    kind: ClassVar[str] = "normal"
    code: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if not (self.std >= 0 and math.isfinite(self.std) and math.isfinite(self.mean)):
            raise ConfigError(f"Normal(mean={self.mean}, std={self.std}): both must be finite, and std at least 0")

    @property
    def parameters(self) -> tuple[float, float]:
        return self.mean, self.std


Initializer = Constant | Uniform | Normal
_KINDS: dict[str, type[Initializer]] = {"constant": Constant, "normal": Normal, "uniform": Uniform}


def initializer_from_config(config: str | dict[str, Any]) -> Initializer:
    """Return the initializer that `"normal"` or `{"normal": {"std": 0.01}}` names. Raises `ConfigError` with the nearest name."""
    if not isinstance(config, str) and len(config) != 1:
        raise ConfigError(f"initializer {config!r}: expected a name or {{name: {{argument: value}}}}")
    kind, arguments = (config, {}) if isinstance(config, str) else next(iter(config.items()))
    if kind not in _KINDS:
        raise ConfigError(f"unknown initializer {kind!r}{did_you_mean(kind, _KINDS)}")
    try:
        return _KINDS[kind](**arguments)
    except TypeError as error:
        raise ConfigError(f"initializer {kind!r}: {error}") from None
