"""A model over a data set it does not learn from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sparrow.errors import ConfigError
from sparrow.metrics import GAUC
from sparrow.ops.devices import send
from sparrow.pipelines.classification import BinaryMetrics
from sparrow.pipelines.dataset import Dataset
from sparrow.pipelines.labels import groups_of, labels_of
from sparrow.pipelines.stopping import StopRequest
from sparrow.tables import TableGroup, table_groups
from sparrow.types import Batch


def owners_of_batches(model: nn.Module) -> Sequence[TableGroup | nn.Parameter]:
    """Return what `model` takes batches to: its tables, or its weights if it has none."""
    return table_groups(model) or list(model.parameters())


def place_of_batches(owners: Sequence[TableGroup | nn.Parameter]) -> torch.device | None:
    """Return where all of `owners` live. None: batches stay as they are read, as there is no place, or several of them, among which the
    model divides what it is given."""
    places = {owner.device for owner in owners}
    return places.pop() if len(places) == 1 else None


def placed(batch: Batch, place: torch.device | None) -> Batch:
    """Return `batch` on `place`, if there is one; what is on the CPU goes to a GPU by one copy that nobody waits for."""
    if place is None or _device_of(batch) in (place, None):
        return batch
    if place.type != "cuda":
        return batch.to(place)
    is_ready = batch.buffer is not None and (batch.buffer.is_cuda or batch.buffer.is_pinned())
    return (batch if is_ready else batch.packed(pin_memory=True)).to(place, non_blocking=True)


def logits_of(model: nn.Module, batch: Batch, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the model's logits and `labels`, both [samples] without padding and where the model puts its logits."""
    logits: Tensor = model(batch)
    if logits.shape != labels.shape:
        raise ConfigError(
            f"{type(model).__name__} returned logits of shape {list(logits.shape)} for {labels.numel()} samples; "
            f"expected [{labels.numel()}]: one logit a sample, no further dimension"
        )
    num_samples = labels.numel() - batch.num_padding
    labels = labels[:num_samples]
    if labels.device != logits.device:
        labels = send(labels, logits.device) if labels.device.type == "cpu" else labels.to(logits.device)
    return logits[:num_samples], labels


def logits_and_labels(model: nn.Module, batch: Batch, label: str) -> tuple[Tensor, Tensor]:
    """As `logits_of`, for a batch anywhere. Labels are checked first: a bad row leaves the tables as they were. Waits for the device."""
    labels = labels_of(batch, label)
    return logits_of(model, placed(batch, place_of_batches(owners_of_batches(model))), labels)


def _device_of(batch: Batch) -> torch.device | None:
    for group in batch.groups.values():
        for column in group.columns.values():
            return column.device if isinstance(column, Tensor) else column.values.device
    return None


def evaluate_model(
    model: nn.Module, dataset: Dataset, label: str, stop: StopRequest | None = None, group: str | None = None
) -> dict[str, Any] | None:
    """Return AUC, log loss and click rates over the rest of an epoch of `dataset`, or None where a stop was requested meanwhile.

    group: column of the users whose own AUCs are averaged to GAUC; None leaves it out.
    The model is in eval mode meanwhile, so tables are only read; then in the mode it was in. After a stop the dataset is where it was.
    """
    metrics, grouped = BinaryMetrics(), None if group is None else GAUC()
    began_at = dataset.state_dict()
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for batch in dataset:
                if stop is not None and stop.requested:
                    dataset.load_state_dict(began_at)
                    return None
                logits, labels = logits_and_labels(model, batch, label)
                metrics.update(logits, labels)
                if grouped is not None and group is not None:
                    grouped.update(torch.sigmoid(logits.double()), labels, groups_of(batch, group)[: labels.numel()])
    finally:
        model.train(was_training)
    return {**metrics.compute(), **({} if grouped is None else _gauc_of(grouped))}


def _gauc_of(grouped: GAUC) -> dict[str, Any]:
    mean = grouped.compute()
    exists = not math.isnan(mean)
    return {
        "gauc": mean if exists else None,
        "gauc_error_bound": grouped.error_bound() if exists else None,
        "num_groups": grouped.num_groups,
        "num_groups_left_out": grouped.num_groups_left_out,
    }
