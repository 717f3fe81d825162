"""AUC within groups, averaged over them: how well what one user is shown is ordered."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sparrow.errors import CheckpointError, ConfigError, DataError
from sparrow.metrics.samples import check_samples

_Ints = npt.NDArray[np.int64]
_ALL_BITS = 30  # of a float32 in [0, 1]


class GAUC:
    """Mean of the AUC of each group (a user, a request), weighted by the group's samples; equal predictions count half.

    A group of one class has no AUC: it is left out, and `num_groups_left_out` and `num_samples_left_out` count it.

    Args:
        max_cells: pairs of a group and a distinct prediction in it that are held, at least 1. Default 2**22.

    Predictions are read as float32. A cell keeps how many positives and negatives a group had at one prediction, so the result is exact up
    to `max_cells` cells, wherever the samples of a group come in the stream. Beyond, the fewest trailing bits of the float32 pattern are
    dropped, of all groups alike, that bring their number back to `max_cells`, and predictions of one cell count as equal. More groups than
    `max_cells` are an error, until `reset`.

    Bound: as that of `AUC`, group by group: `|compute() - exact| <= error_bound()`, and 0 while nothing was dropped.

    The result is a function of the multiset of samples: it depends neither on how they were split into updates, nor on their order, nor on
    which numbers the groups have. The mean is rounded once.

    Cost: amortised one sort of the samples; at most 32 bytes a cell and 16 for each of up to `max_cells` samples that wait to be merged,
    four times that while they are. `state_dict` holds 28 bytes a cell, at most 112 MiB by default: for evaluation rather than checkpoints.
    """

    def __init__(self, max_cells: int = 1 << 22) -> None:
        if max_cells < 1:
            raise ConfigError(f"GAUC: max_cells is {max_cells}; expected at least 1")
        self.max_cells = max_cells
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._dropped_bits = 0
        self._groups, self._keys, self._positives, self._negatives = (np.zeros(0, np.int64) for _ in range(4))
        self._waiting: list[tuple[_Ints, _Ints]] = []  # groups, and predictions with their labels
        self._num_waiting = 0

    def update(self, predictions: Tensor, labels: Tensor, groups: Tensor) -> None:
        """Add samples: probabilities float [n], labels [n] of 0 and 1, and groups [n], integers of any width, on any device.

        Raises `DataError` and then adds none.
        """
        probabilities, is_positive = check_samples(predictions, labels)
        if groups.shape != labels.shape or groups.is_floating_point() or groups.is_complex():
            found = f"groups of {groups.dtype}, {list(groups.shape)}, for {labels.numel()} samples"
            raise DataError(f"GAUC got {found}; expected an integer a sample: hash strings")
        # As in AUC: adding 0 turns -0.0, whose bits order below everything, into 0.0.
        bits = (probabilities.astype(np.float32) + np.float32(0)).view(np.int32)
        # A copy: the caller may write to its tensors again.
        self._waiting.append((np.array(groups.detach().to("cpu", torch.int64).numpy()), (bits.astype(np.int64) << 1) | is_positive))
        self._num_waiting += bits.size
        if self._num_waiting >= self.max_cells:
            self._merge()

    def compute(self) -> float:
        """Return the mean in [0, 1]; nan unless a group with both labels was seen."""
        first, positives, negatives = self._cells()
        before = np.cumsum(negatives) - negatives
        below = before - before[first].repeat(np.diff(first, append=before.size))
        return _mean_over_groups(positives * (2 * below + negatives), first, positives, negatives)

    def error_bound(self) -> float:
        """Return how far `compute()` may be from the exact mean: 0 while all bits are held, nan where `compute()` is."""
        first, positives, negatives = self._cells()
        bound = _mean_over_groups(positives * negatives, first, positives, negatives)
        return bound if self._dropped_bits or math.isnan(bound) else 0.0

    @property
    def num_groups(self) -> int:
        """Groups seen."""
        return int(self._cells()[0].size)

    @property
    def num_groups_left_out(self) -> int:
        """Groups of one class."""
        return int((~_by_group(*self._cells())[2]).sum())

    @property
    def num_samples_left_out(self) -> int:
        """Samples of groups of one class."""
        positives, negatives, has_both = _by_group(*self._cells())
        return int((positives + negatives)[~has_both].sum())

    def _cells(self) -> tuple[_Ints, npt.NDArray[Any], npt.NDArray[Any]]:
        """Return (first cell of each group, positives, negatives of each cell), in a type that holds twice the pairs of any group."""
        self._merge()
        num_samples = int(self._positives.sum() + self._negatives.sum())
        dtype: type = np.int64 if num_samples < 1 << 32 else object
        return _first_of_each(self._groups), self._positives.astype(dtype), self._negatives.astype(dtype)

    def _merge(self) -> None:
        if not self._num_waiting:
            return
        codes = np.concatenate([codes for _, codes in self._waiting])
        is_positive = codes & 1
        groups = np.concatenate([self._groups, *(groups for groups, _ in self._waiting)])
        keys = np.concatenate([self._keys, codes >> (1 + self._dropped_bits)])
        positives, negatives = np.concatenate([self._positives, is_positive]), np.concatenate([self._negatives, 1 - is_positive])
        order = np.lexsort((keys, groups))
        groups, keys = groups[order], keys[order]
        # All samples never need fewer bits dropped than some of them, so dropping step by step ends where dropping at once would.
        more_bits = 0
        while (first := _first_of_each(groups, keys >> more_bits)).size > self.max_cells:
            if self._dropped_bits + more_bits == _ALL_BITS:
                raise DataError(f"GAUC: more than {self.max_cells} groups; raise max_cells (32 bytes each), or evaluate fewer users")
            more_bits += 1
        self._dropped_bits += more_bits
        self._groups, self._keys = groups[first], (keys >> more_bits)[first]
        self._positives, self._negatives = np.add.reduceat(positives[order], first), np.add.reduceat(negatives[order], first)
        self._waiting, self._num_waiting = [], 0

    def state_dict(self) -> dict[str, Any]:
        self._merge()
        return {
            "max_cells": self.max_cells,
            "dropped_bits": self._dropped_bits,
            "groups": torch.from_numpy(self._groups).clone(),
            "keys": torch.from_numpy(self._keys).to(torch.int32),
            "positives": torch.from_numpy(self._positives).clone(),
            "negatives": torch.from_numpy(self._negatives).clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["max_cells"] != self.max_cells:
            raise CheckpointError(
                f"GAUC: the state was made with max_cells {state['max_cells']}, this one has {self.max_cells}; make them equal"
            )
        self.reset()
        self._dropped_bits = state["dropped_bits"]
        self._groups, self._keys = state["groups"].clone().numpy(), state["keys"].to(torch.int64).numpy()
        self._positives, self._negatives = state["positives"].clone().numpy(), state["negatives"].clone().numpy()


def _by_group(
    first: _Ints, positives: npt.NDArray[Any], negatives: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Return (positives, negatives, whether it has both) of each group."""
    if first.size:
        positives, negatives = np.add.reduceat(positives, first), np.add.reduceat(negatives, first)
    return positives, negatives, (positives > 0) & (negatives > 0)


def _mean_over_groups(twice_wins: npt.NDArray[Any], first: _Ints, positives: npt.NDArray[Any], negatives: npt.NDArray[Any]) -> float:
    """Return the mean over groups, weighted by samples, of the sum of `twice_wins` of its cells / (2 * positives * negatives)."""
    positives, negatives, has_both = _by_group(first, positives, negatives)
    if not has_both.any():
        return math.nan
    weights = (positives + negatives)[has_both]
    areas = np.add.reduceat(twice_wins, first)[has_both] / (2 * positives * negatives)[has_both]
    return math.fsum(weights * areas) / int(weights.sum())


def _first_of_each(*sorted_keys: _Ints) -> _Ints:
    """Return where each distinct combination of equally long, sorted keys begins."""
    starts = np.ones(sorted_keys[0].size, bool)
    starts[1:] = np.logical_or.reduce([keys[1:] != keys[:-1] for keys in sorted_keys])
    return np.flatnonzero(starts)
