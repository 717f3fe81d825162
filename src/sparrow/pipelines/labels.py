"""Labels of a batch, and the groups its samples are of, checked."""

from __future__ import annotations

import torch
from torch import Tensor

from sparrow.errors import DataError
from sparrow.features import Feature, FeatureEngine
from sparrow.types import Batch, Column, Group, Ragged


def labels_of(batch: Batch, column: str) -> Tensor:
    """Return the labels, float32 [samples], each 0 or 1. Raises `DataError` naming file, row, column and value of the first that is not.

    The column is dense [samples] or [samples, 1], or ragged with exactly one number a row, of any dtype. Waits for the device it is on.
    """
    stored = batch[column]
    if isinstance(stored, Ragged):
        _check_kind(batch, column, stored)
        wrong = stored.lengths() != 1
        if bool(wrong.any()):
            row = _first(wrong)
            found = f"{batch.locate(row)}: label column {column!r} holds {int(stored.lengths()[row])} values"
            raise DataError(f"{found}; expected exactly one; clean the file or drop the row")
    labels = _values_of(batch, column, stored)
    # Before the conversion, which rounds: what is almost 1 is not 1. NaN equals nothing.
    wrong = (labels != 0) & (labels != 1)
    if bool(wrong.any()):
        row = _first(wrong)
        found = f"{batch.locate(row)}: label column {column!r} is {labels[row].item()}"
        raise DataError(f"{found}; expected 0 or 1 for a binary loss; clean the file or drop the row")
    return labels.to(torch.float32)


def is_here(batch: Batch, column: str) -> bool:
    """Return whether the labels are on the CPU."""
    stored = batch[column]
    return (stored.values if isinstance(stored, Ragged) else stored).device.type == "cpu"


def check_here(batch: Batch, column: str) -> None:
    """As `labels_of`, of what the host knows without waiting: everything of a batch on the CPU, else kinds and numbers."""
    stored = batch[column]
    if is_here(batch, column) or (isinstance(stored, Ragged) and stored.values.numel() != stored.num_rows):
        labels_of(batch, column)


def labels_on_device(batch: Batch, column: str) -> tuple[Tensor, Tensor]:
    """Return the labels, float32 [samples], and whether any is wrong, bool []: what `labels_of` would say of it is not known yet.

    Waits for nothing. The values of a ragged column may be more than its last offset says, as those of a captured step are.
    """
    stored = batch[column]
    if isinstance(stored, Ragged):
        _check_kind(batch, column, stored)
    labels = _values_of(batch, column, stored)[: batch.group_of(column).num_rows]
    is_wrong = ((labels != 0) & (labels != 1)).any()
    if isinstance(stored, Ragged):
        is_wrong = is_wrong | (stored.lengths() != 1).any()
    return labels.to(torch.float32), is_wrong


def of_columns_alone(batch: Batch, *names: str) -> Batch:
    """Return the batch without its other columns: enough to say what is wrong with which row of these. A name must not come twice."""
    groups = {}
    for name in names:
        group = batch.group_of(name)
        groups[name] = Group({name: group.columns[name]}, group.num_rows, group.sample_to_row)
    return Batch(groups, batch.origin, batch.num_padding)


def _check_kind(batch: Batch, column: str, stored: Ragged) -> None:
    if stored.is_bytes or len(stored.offsets) != 1:
        what = "strings" if stored.is_bytes else "lists of lists"
        raise DataError(f"{batch.locate(0)}: label column {column!r} holds {what}; expected one number a row: write 0 or 1")


def _values_of(batch: Batch, column: str, stored: Column) -> Tensor:
    values = stored.values if isinstance(stored, Ragged) else stored
    if values.dim() > 1 and values.shape[1:].numel() != 1:
        raise DataError(f"{batch.locate(0)}: label column {column!r} holds {values.shape[1:].numel()} values a row; expected exactly one")
    return values.reshape(-1)


def groups_of(batch: Batch, column: str) -> Tensor:
    """Return the group (a user) of every sample, int64 [samples]. Raises `DataError` naming file, row and column.

    The column holds one integer or string a sample or, in a batch group that samples share, a row; strings become their FarmHash.
    """
    stored, sample_to_row = batch[column], batch.group_of(column).sample_to_row
    if isinstance(stored, Ragged) and stored.is_bytes:
        stored = FeatureEngine([Feature(column).select(column).hash("farm")])(batch)[column]
    if isinstance(stored, Ragged):
        lengths = stored.lengths()
        wrong = lengths != 1
        if len(stored.offsets) != 1:
            raise DataError(f"{batch.locate(0)}: group column {column!r} holds lists of lists; expected one integer or string a row")
        if bool(wrong.any()):
            row = _first(wrong)
            readers = [row] if sample_to_row is None else (sample_to_row == row).nonzero()[:1, 0].tolist()
            where = batch.locate(readers[0]) if readers else f"row {row} of its batch group"
            raise DataError(f"{where}: group column {column!r} holds {int(lengths[row])} values; expected one integer or string a row")
        stored = stored.values
    if stored.is_floating_point() or (stored.dim() > 1 and stored.shape[1:].numel() != 1):
        found = f"{stored.dtype}, {list(stored.shape)}"
        raise DataError(f"{batch.locate(0)}: group column {column!r} holds {found}; expected one integer or string a row")
    groups = stored.reshape(-1).to(torch.int64)
    return groups if sample_to_row is None else groups[sample_to_row]


def _first(wrong: Tensor) -> int:
    return int(wrong.to(torch.uint8).argmax())
