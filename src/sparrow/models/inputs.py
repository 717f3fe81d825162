"""What every model of the zoo does with its inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sparrow.embedding import Embedded
from sparrow.errors import ConfigError, DataError, did_you_mean
from sparrow.features import Feature
from sparrow.ops.devices import device_of
from sparrow.types import Batch, Ragged


def check_inputs(features: Sequence[Feature], dense: Sequence[str], sparse: Sequence[str], past: Sequence[str] = ()) -> None:
    """Raise `ConfigError` where an input names no feature or is named twice, or there is no sparse input. past: those of sequences."""
    names = {feature.name for feature in features}
    inputs = [*dense, *sparse, *past]
    for name in inputs:
        if name not in names:
            raise ConfigError(f"the model's input {name!r} is not a declared feature{did_you_mean(name, names)}")
        if inputs.count(name) > 1:
            raise ConfigError(f"the model's input {name!r} is named twice; name it once among all inputs")
    if not sparse:
        raise ConfigError("the model needs at least one sparse feature")


def places(device: torch.device | str, table_device: torch.device | str | None) -> tuple[torch.device, torch.device]:
    """Return (where the dense part lives, where the tables do). Raises `ConfigError` naming the argument whose device is not here."""
    place = device_of(device, "the model")
    return place, place if table_device is None else device_of(table_device, "the model's tables")


def dense_matrix(batch: Batch, names: Sequence[str], like: Tensor) -> Tensor:
    """Return the dense features side by side, [samples, N] in the dtype of `like` and where it is, by way of float32.

    Raises `DataError` for one that is not one number a row.
    """
    if not names:
        return like.new_zeros(batch.num_samples, 0)
    columns = []
    for name in names:
        column = batch[name]
        if isinstance(column, Ragged):
            raise DataError(
                f"feature {name!r}: a dense input needs one number a row, got rows of different lengths; add .fill(value) to the Feature"
            )
        column = column.unsqueeze(1) if column.dim() == 1 else column.flatten(1)
        if column.shape[1] != 1:
            raise DataError(f"feature {name!r}: a dense input needs one number a row, got {column.shape[1]}")
        sample_to_row = batch.group_of(name).sample_to_row
        columns.append(column if sample_to_row is None else column[sample_to_row])
    return torch.cat(columns, dim=1).float().to(like)


def stack_samples(embedded: Embedded, batch: Batch, names: Sequence[str]) -> Tensor:
    """Return the vectors of features, [samples, len(names), dim]: those of a group that samples share are given to each of them."""
    joins: dict[int, tuple[Tensor | None, list[str]]] = {}
    for name in names:
        sample_to_row = batch.group_of(name).sample_to_row
        joins.setdefault(id(sample_to_row), (sample_to_row, []))[1].append(name)
    parts = [
        embedded.stack(members) if sample_to_row is None else embedded.stack(members).index_select(0, sample_to_row)
        for sample_to_row, members in joins.values()
    ]
    if len(parts) == 1:
        return parts[0]
    joined = [name for _, members in joins.values() for name in members]
    # Not by a list of indices, which a device would have to be sent.
    vectors = dict(zip(joined, torch.cat(parts, 1).unbind(1), strict=True))
    return torch.stack([vectors[name] for name in names], 1)
