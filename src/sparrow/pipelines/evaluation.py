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
from sparrow.pipelines.labels import check_here, groups_of, labels_of, of_columns_alone
from sparrow.pipelines.outcomes import Outcomes, comes_late
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


def forward_of(model: nn.Module, batch: Batch, num_labels: int) -> Tensor:
    """Return the model's logits, [samples] without padding. Raises `ConfigError` for logits that are not one for each of the labels."""
    logits: Tensor = model(batch)
    if logits.shape != (num_labels,):
        raise ConfigError(
            f"{type(model).__name__} returned logits of shape {list(logits.shape)} for {num_labels} samples; "
            f"expected [{num_labels}]: one logit a sample, no further dimension"
        )
    return logits[: num_labels - batch.num_padding]


def logits_of(model: nn.Module, batch: Batch, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the model's logits and `labels`, both [samples] without padding and where the model puts its logits."""
    logits = forward_of(model, batch, labels.numel())
    labels = labels[: logits.numel()]
    if labels.device != logits.device:
        labels = send(labels, logits.device) if labels.device.type == "cpu" else labels.to(logits.device)
    return logits, labels


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
    On a device no batch is waited for: what a wrong row of a batch that was read there raises comes up to two batches later.
    """
    evaluation = _Evaluation(model, label, group)
    began_at = dataset.state_dict()
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), evaluation.outcomes.in_order():
            for batch in dataset:
                if stop is not None and stop.requested:
                    dataset.load_state_dict(began_at)
                    return None
                evaluation.take(batch)
            evaluation.outcomes.look()
    finally:
        model.train(was_training)
    return evaluation.compute()


class _Evaluation:
    """Metrics of a model, batch by batch."""

    def __init__(self, model: nn.Module, label: str, group: str | None) -> None:
        self._model, self._label, self._group = model, label, group
        self._columns = list(dict.fromkeys([label] if group is None else [label, group]))
        self._place = place_of_batches(owners_of_batches(model))
        self._metrics, self._grouped = BinaryMetrics(), GAUC()
        self.outcomes = Outcomes(self._look)

    def take(self, batch: Batch) -> None:
        """Add a batch. Raises as `labels_of` and `groups_of`: for what is on a device in a later call, or in `outcomes.look`."""
        alone = of_columns_alone(batch, *self._columns)
        check_here(alone, self._label)
        logits = forward_of(self._model, placed(batch, self._place), alone.group_of(self._label).num_rows)
        if comes_late(logits.device):
            self.outcomes.add(alone, [logits, *_tensors_there(alone)])
        else:
            self._update(alone, logits)

    def _look(self, batch: Batch, left: list[Tensor]) -> None:
        logits, *there = left
        found = iter(there)
        self._update(batch.mapped(lambda tensor: tensor if tensor.device.type == "cpu" else next(found)), logits)

    def _update(self, batch: Batch, logits: Tensor) -> None:
        labels = labels_of(batch, self._label)[: logits.numel()].to(logits.device)
        self._metrics.update(logits, labels)
        if self._group is not None:
            self._grouped.update(torch.sigmoid(logits.double()), labels, groups_of(batch, self._group)[: logits.numel()])

    def compute(self) -> dict[str, Any]:
        """Return the metrics of what was looked at."""
        return {**self._metrics.compute(), **({} if self._group is None else _gauc_of(self._grouped))}


def _tensors_there(batch: Batch) -> list[Tensor]:
    """Return the tensors of a batch that are not on the CPU, in the order of `Batch.mapped`."""
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        if tensor.device.type != "cpu":
            found.append(tensor)
        return tensor

    batch.mapped(note)
    return found


def _gauc_of(grouped: GAUC) -> dict[str, Any]:
    mean = grouped.compute()
    exists = not math.isnan(mean)
    return {
        "gauc": mean if exists else None,
        "gauc_error_bound": grouped.error_bound() if exists else None,
        "num_groups": grouped.num_groups,
        "num_groups_left_out": grouped.num_groups_left_out,
    }
