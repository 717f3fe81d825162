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

    def parameters(self, dim: int) -> tuple[float, float]:
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

    def parameters(self, dim: int) -> tuple[float, float]:
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
            raise ConfigError(f"{type(self).__name__}(mean={self.mean}, std={self.std}): both must be finite, and std at least 0")

    def parameters(self, dim: int) -> tuple[float, float]:
        return self.mean, self.std


@dataclass(frozen=True, slots=True)
class TruncatedNormal(Normal):
    """Values normal with `mean` and `std` (before truncation), none further than two `std` from the mean, as TensorFlow draws them."""

    kind: ClassVar[str] = "truncated_normal"
    code: ClassVar[int] = 3


@dataclass(frozen=True, slots=True)
class _Scaled:
    gain: float = 1.0

    def __post_init__(self) -> None:
        if not (self.gain > 0 and math.isfinite(self.gain)):
            raise ConfigError(f"{type(self).__name__}(gain={self.gain}): the gain must be finite and above 0")


# A row is one of the columns of a linear layer that reads one-hot ids: fan_in is 1, fan_out the row's dim.


@dataclass(frozen=True, slots=True)
class XavierUniform(_Scaled):
    """Values uniform in +-gain * sqrt(6 / (1 + dim)) (Glorot, Bengio, AISTATS 2010; fan_in 1, fan_out dim)."""

    kind: ClassVar[str] = "xavier_uniform"
    code: ClassVar[int] = 1

    def parameters(self, dim: int) -> tuple[float, float]:
        bound = self.gain * math.sqrt(6.0 / (1 + dim))
        return -bound, bound


@dataclass(frozen=True, slots=True)
class XavierNormal(_Scaled):
    """Values normal with standard deviation gain * sqrt(2 / (1 + dim)) (Glorot, Bengio, AISTATS 2010; fan_in 1, fan_out dim)."""

    kind: ClassVar[str] = "xavier_normal"
    code: ClassVar[int] = 2

    def parameters(self, dim: int) -> tuple[float, float]:
        return 0.0, self.gain * math.sqrt(2.0 / (1 + dim))


@dataclass(frozen=True, slots=True)
class KaimingUniform(_Scaled):
    """Values uniform in +-gain * sqrt(3) (He et al., ICCV 2015; fan_in 1). The gain of a ReLU is sqrt(2)."""

    kind: ClassVar[str] = "kaiming_uniform"
    code: ClassVar[int] = 1

    def parameters(self, dim: int) -> tuple[float, float]:
        bound = self.gain * math.sqrt(3.0)
        return -bound, bound


@dataclass(frozen=True, slots=True)
class KaimingNormal(_Scaled):
    """Values normal with standard deviation `gain` (He et al., ICCV 2015; fan_in 1). The gain of a ReLU is sqrt(2)."""

    kind: ClassVar[str] = "kaiming_normal"
    code: ClassVar[int] = 2

    def parameters(self, dim: int) -> tuple[float, float]:
        return 0.0, self.gain


Initializer = Constant | Uniform | Normal | TruncatedNormal | XavierUniform | XavierNormal | KaimingUniform | KaimingNormal
_KINDS: dict[str, type[Initializer]] = {
    initializer.kind: initializer
    for initializer in (Constant, KaimingNormal, KaimingUniform, Normal, TruncatedNormal, Uniform, XavierNormal, XavierUniform)
}


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
