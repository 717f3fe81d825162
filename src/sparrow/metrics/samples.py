"""What every metric of probabilities demands of its input."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sparrow.errors import DataError


def check_samples(predictions: Tensor, labels: Tensor) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return predictions as float64 [n] and labels as bool [n], copied to host memory.

    Raises:
        DataError: names the first sample (its place in this update, from 0) whose prediction is not in [0, 1] or whose label is
            neither 0 nor 1. NaN is neither.
    """
    if predictions.dim() != 1 or predictions.shape != labels.shape:
        raise DataError(
            f"a metric got predictions {list(predictions.shape)} and labels {list(labels.shape)}; expected [n], one prediction a sample"
        )
    if not predictions.is_floating_point():
        raise DataError(f"a metric got predictions of {predictions.dtype}; expected probabilities of a float dtype")
    values = predictions.detach().to("cpu", torch.float64).numpy()
    truths = labels.detach().to("cpu", torch.float64).numpy()
    _refuse_first(~((values >= 0) & (values <= 1)), values, "prediction", "a probability in [0, 1]; pass sigmoid(logits), not logits")
    _refuse_first(~((truths == 0) | (truths == 1)), truths, "label", "0 or 1; clean or drop the row")
    return values, truths == 1


def _refuse_first(wrong: npt.NDArray[np.bool_], values: npt.NDArray[np.float64], what: str, expected: str) -> None:
    if wrong.any():
        sample = int(wrong.argmax())
        raise DataError(f"sample {sample} of the batch has {what} {values[sample]:g}; expected {expected}")
