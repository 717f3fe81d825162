"""Labels of a batch, checked."""

from __future__ import annotations

import torch
from torch import Tensor

from sparrow.errors import DataError
from sparrow.types import Batch, Ragged


def labels_of(batch: Batch, column: str) -> Tensor:
    """Return the labels, float32 [samples], each 0 or 1. Raises `DataError` naming file, row, column and value of the first that is not.

    The column is dense [samples] or [samples, 1], or ragged with exactly one number a row, of any dtype.
    """
    stored = batch[column]
    if isinstance(stored, Ragged):
        if stored.is_bytes or len(stored.offsets) != 1:
            what = "strings" if stored.is_bytes else "lists of lists"
            raise DataError(f"{batch.locate(0)}: label column {column!r} holds {what}; expected one number a row: write 0 or 1")
        wrong = stored.lengths() != 1
        if bool(wrong.any()):
            row = _first(wrong)
            found = f"{batch.locate(row)}: label column {column!r} holds {int(stored.lengths()[row])} values"
            raise DataError(f"{found}; expected exactly one; clean the file or drop the row")
        stored = stored.values
    if stored.dim() > 1 and stored.shape[1:].numel() != 1:
        raise DataError(f"{batch.locate(0)}: label column {column!r} holds {stored.shape[1:].numel()} values a row; expected exactly one")
    labels = stored.reshape(-1)
    # Before the conversion, which rounds: what is almost 1 is not 1. NaN equals nothing.
    wrong = (labels != 0) & (labels != 1)
    if bool(wrong.any()):
        row = _first(wrong)
        found = f"{batch.locate(row)}: label column {column!r} is {labels[row].item()}"
        raise DataError(f"{found}; expected 0 or 1 for a binary loss; clean the file or drop the row")
    return labels.to(torch.float32)


def _first(wrong: Tensor) -> int:
    return int(wrong.to(torch.uint8).argmax())
