"""Area under the ROC curve of a stream of samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sparrow.errors import CheckpointError, ConfigError
from sparrow.metrics.samples import check_samples

_Ints = npt.NDArray[np.int64]


class AUC:
    """Probability that a positive sample is given a higher prediction than a negative one, equal predictions counting half.

    Args:
        max_distinct: distinct predictions held, at least 1. Default 2**20.

    Predictions are read as float32. A histogram keeps, for every distinct prediction, how many positives and negatives it was
    given, so the result is exact up to `max_distinct` distinct predictions, whatever the number of samples. Beyond, the fewest
    trailing bits of the float32 pattern are dropped (bits of non-negative floats order as the floats do) that bring the histogram
    back to `max_distinct`; predictions of one bucket then count as equal. With 2**20 at most 10 of the 23 mantissa bits go:
    predictions closer than 1 part in 8192 may tie.

    Bound: pairs of different buckets are counted exactly; a pair of one bucket adds 1/2 where it should add 0, 1/2 or 1. So
    `|compute() - exact| <= error_bound() = 1/2 * sum over buckets of positives * negatives / (P * N)`, and 0 while nothing was dropped.

    The result is a function of the multiset of samples: it does not depend on how they were split into updates, nor on their order.

    Cost: amortised one sort of the samples; at most 24 bytes a distinct prediction (twice while merging) and 4 bytes for each of up to
    `max_distinct` samples waiting to be merged. `state_dict` holds 20 bytes a distinct prediction: at most 20 MiB by default.
    """

    def __init__(self, max_distinct: int = 1 << 20) -> None:
        if max_distinct < 1:
            raise ConfigError(f"AUC: max_distinct is {max_distinct}; expected at least 1")
        self.max_distinct = max_distinct
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._dropped_bits = 0
        self._keys: _Ints = np.zeros(0, np.int64)
        self._positives: _Ints = np.zeros(0, np.int64)
        self._negatives: _Ints = np.zeros(0, np.int64)
        self._waiting: list[npt.NDArray[np.int32]] = []
        self._num_waiting = 0

    def update(self, predictions: Tensor, labels: Tensor) -> None:
        """Add samples: probabilities float [n] and labels [n] of 0 and 1, on any device. Raises `DataError` and then adds none."""
        probabilities, is_positive = check_samples(predictions, labels)
        # Adding 0 turns -0.0, whose bits order below everything, into 0.0. The largest pattern is 1.0's: key and label fit 31 bits.
        bits = (probabilities.astype(np.float32) + np.float32(0)).view(np.int32)
        self._waiting.append((bits << 1) | is_positive)
        self._num_waiting += bits.size
        if self._num_waiting >= self.max_distinct:
            self._merge()

    def compute(self) -> float:
        """Return the area in [0, 1]; nan unless both labels were seen."""
        self._merge()
        num_pairs = self._num_pairs()
        if not num_pairs:
            return math.nan
        positives, negatives = self._wide(num_pairs)
        below = np.cumsum(negatives) - negatives
        return int((positives * (2 * below + negatives)).sum()) / (2 * num_pairs)

    def error_bound(self) -> float:
        """Return how far `compute()` may be from the exact area: 0 while all bits are held, nan unless both labels were seen."""
        self._merge()
        num_pairs = self._num_pairs()
        if not num_pairs:
            return math.nan
        if not self._dropped_bits:
            return 0.0
        positives, negatives = self._wide(num_pairs)
        return int((positives * negatives).sum()) / (2 * num_pairs)

    def _num_pairs(self) -> int:
        return int(self._positives.sum()) * int(self._negatives.sum())

    def _wide(self, num_pairs: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the counts in a type that holds twice the number of pairs: int64, or Python integers past some four billion samples."""
        dtype: type = np.int64 if 2 * num_pairs < 1 << 63 else object
        return self._positives.astype(dtype), self._negatives.astype(dtype)

    def _merge(self) -> None:
        if not self._num_waiting:
            return
        codes, counts = np.unique(np.concatenate(self._waiting), return_counts=True)
        is_positive = (codes & 1).astype(np.int64)
        keys = np.concatenate([self._keys, (codes >> (1 + self._dropped_bits)).astype(np.int64)])
        positives = np.concatenate([self._positives, counts * is_positive])
        negatives = np.concatenate([self._negatives, counts * (1 - is_positive)])
        order = np.argsort(keys, kind="stable")
        keys, positives, negatives = keys[order], positives[order], negatives[order]
        # All samples never need fewer bits dropped than some of them, so dropping step by step ends where dropping at once would.
        more_bits = 0
        while (first := _first_of_each(keys >> more_bits)).size > self.max_distinct:
            more_bits += 1
        self._dropped_bits += more_bits
        self._keys = (keys >> more_bits)[first]
        self._positives, self._negatives = np.add.reduceat(positives, first), np.add.reduceat(negatives, first)
        self._waiting, self._num_waiting = [], 0

    def state_dict(self) -> dict[str, Any]:
        self._merge()
        return {
            "max_distinct": self.max_distinct,
            "dropped_bits": self._dropped_bits,
            "keys": torch.from_numpy(self._keys).to(torch.int32),
            "positives": torch.from_numpy(self._positives).clone(),
            "negatives": torch.from_numpy(self._negatives).clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["max_distinct"] != self.max_distinct:
            raise CheckpointError(
                f"AUC: the state was made with max_distinct {state['max_distinct']}, this one has {self.max_distinct}; make them equal"
            )
        self.reset()
        self._dropped_bits = state["dropped_bits"]
        self._keys = state["keys"].to(torch.int64).numpy()
        self._positives, self._negatives = state["positives"].clone().numpy(), state["negatives"].clone().numpy()


def _first_of_each(keys: _Ints) -> _Ints:
    """Return where each distinct value of sorted, non-empty `keys` begins."""
    starts = np.ones(keys.size, bool)
    starts[1:] = keys[1:] != keys[:-1]
    return np.flatnonzero(starts)
