"""What the engine returns: a vector a row for every feature, without a copy where the model wants many side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sparrow.errors import ConfigError, did_you_mean
from sparrow.types import Ragged


class Embedded(Mapping[str, Any]):
    """Maps each feature to its vectors [rows, dim]; those of features that are not pooled have the shape their combiner gives.

    `stack(names)` gives several of equal dim as [rows, F, dim]; where they lie side by side already (the features of one table
    group, in the engine's order) it is a view.
    """

    def __init__(self, places: dict[str, tuple[Tensor, int]], apart: Mapping[str, Tensor | Ragged] | None = None) -> None:
        self._places, self._apart = places, dict(apart or {})

    def __getitem__(self, name: str) -> Any:
        if name in self._apart:
            return self._apart[name]
        if name not in self._places:
            raise ConfigError(f"feature {name!r} was not embedded{did_you_mean(name, self)}")
        pooled, index = self._places[name]
        return pooled[:, index]

    def __iter__(self) -> Iterator[str]:
        return iter([*self._places, *self._apart])

    def __len__(self) -> int:
        return len(self._places) + len(self._apart)

    def stack(self, names: Sequence[str]) -> Tensor:
        """Return [rows, len(names), dim]. Raises `ConfigError` for an unknown name; features of unequal rows or dim cannot stack."""
        for name in names:
            if name in self._apart:
                raise ConfigError(f"feature {name!r} is not pooled to one vector a row and cannot be stacked; use embedded[{name!r}]")
        if all(name in self._places for name in names):
            places = [self._places[name] for name in names]
            pooled, first = places[0]
            if all(other is pooled and index == first + offset for offset, (other, index) in enumerate(places)):
                return pooled[:, first : first + len(names)]
        return torch.stack([self[name] for name in names], dim=1)
