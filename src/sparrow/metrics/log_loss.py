"""Log loss (binary cross-entropy) of a stream of samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from sparrow.errors import CheckpointError, ConfigError
from sparrow.metrics.samples import check_samples

# A loss is at most -log(2**-52) < 2**6, so its number of units fits 54 bits; two halves of 27 bits can be added 2**36 times in int64.
_UNITS_BITS = 48
_HALF_BITS = 27


class LogLoss:
    """Mean of `-log(probability given to the true label)` over all samples seen, in nats.

    Args:
        epsilon: predictions are clipped to [epsilon, 1 - epsilon], as scikit-learn does, so that one certain mistake costs
            `-log(epsilon)` (15.9 by default), not infinity. In [2**-52, 0.5). Default 2**-23, the resolution of float32 near 1.

    Bit-reproducible: each loss is rounded to a multiple of 2**-48 and the multiples are added as integers, so the result depends neither on
    how samples were split into updates nor on their order. The rounding moves the mean by at most 2**-49.
    """

    def __init__(self, epsilon: float = 2.0**-23) -> None:
        if not 2.0**-52 <= epsilon < 0.5:
            raise ConfigError(f"LogLoss: epsilon is {epsilon}; expected at least 2**-52 and less than 0.5")
        self.epsilon = epsilon
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._num_samples = 0
        self._units = 0

    def update(self, predictions: Tensor, labels: Tensor) -> None:
        """Add samples: probabilities float [n] and labels [n] of 0 and 1, on any device. Raises `DataError` and then adds none."""
        probabilities, is_positive = check_samples(predictions, labels)
        given = np.clip(np.where(is_positive, probabilities, 1.0 - probabilities), self.epsilon, 1.0 - self.epsilon)
        units = np.rint(-np.log(given) * 2.0**_UNITS_BITS).astype(np.int64)
        high, low = units >> _HALF_BITS, units & ((1 << _HALF_BITS) - 1)
        self._units += (int(high.sum()) << _HALF_BITS) + int(low.sum())
        self._num_samples += units.size

    def compute(self) -> float:
        """Return the mean loss; nan before the first sample."""
        if not self._num_samples:
            return math.nan
        return self._units / (self._num_samples << _UNITS_BITS)

    def state_dict(self) -> dict[str, Any]:
        return {"epsilon": self.epsilon, "num_samples": self._num_samples, "units": self._units}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["epsilon"] != self.epsilon:
            raise CheckpointError(
                f"LogLoss: the state was made with epsilon {state['epsilon']}, this one has {self.epsilon}; make them equal"
            )
        self._num_samples, self._units = state["num_samples"], state["units"]
