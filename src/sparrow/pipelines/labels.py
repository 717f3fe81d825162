"""Labels of a batch, checked."""

from __future__ import annotations

import torch
from torch import Tensor

from sparrow.errors import DataError
from sparrow.types import Batch, Ragged


def labels_of(batch: Batch, column: str) -> Tensor:
    """Return the labels, float32 [samples], each 0 or 1. Raises `DataError` naming file, row, column and value of the first that is not.

    The column is dense [samples], or ragged with exactly one value a row.
    """
    stored = batch[column]
    if isinstance(stored, Ragged):
        wrong = stored.lengths() != 1
        if len(stored.offsets) != 1 or bool(wrong.any()):
            row = int(wrong.nonzero()[0]) if bool(wrong.any()) else 0
            raise DataError(f"{batch.locate(row)}: label column {column!r} must hold exactly one number a row; clean the file")
        stored = stored.values
    labels = stored.reshape(-1).to(torch.float32)
    valid = (labels == 0) | (labels == 1)
    if not bool(valid.all()):
        row = int((~valid).nonzero()[0])
        found = f"{batch.locate(row)}: label column {column!r} is {float(labels[row])}"
        raise DataError(f"{found}; a binary loss needs 0 or 1; clean the file or drop the row")
    return labels
