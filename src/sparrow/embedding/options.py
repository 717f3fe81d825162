"""How a feature is embedded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from sparrow.errors import ConfigError, did_you_mean
from sparrow.tables import Initializer, Normal

COMBINERS = {"sum": 0, "mean": 1, "sqrtn": 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingOption:
    """One feature's embedding: which table, and how the rows of several ids become one vector.

    dim:         values a row.
    table:       name of the table; None takes the feature's name. Features of equal `table` share its rows, and must agree on
                 everything but the combiner.
    combiner:    of a sample's rows, weighted where the column has weights: `"sum"`; `"mean"` divides it by the sum of the weights,
                 `"sqrtn"` by the root of the sum of their squares. No id: zeros. `"tile"` sets the vectors of the first `tile_len`
                 ids side by side, zeros where there are fewer; `"none"` leaves every id its vector. Both ignore weights.
    tile_len:    of combiner `"tile"`.
    device:      where the table lives: "cpu", "cuda" (the current device when the engine is made) or "cuda:1". Batches must be there as
                 well, and vectors are. Not part of a checkpoint. docs/gpu.md.
    initializer: first values of a row.
    rule:        update rule: a name of `sparrow.optim.RULES` (docs/optimizers.md).
    hyper:       hyper-parameters of the table that differ from the optimizer's.
    dtype:       of the weights: float32, bfloat16, float16 (or float64, for tests). Vectors are float32 (float64).
    """

    dim: int
    table: str | None = None
    combiner: str = "sum"
    initializer: Initializer = field(default_factory=Normal)
    rule: str = "adam"
    hyper: Mapping[str, float] = field(default_factory=dict)
    dtype: torch.dtype = torch.float32
    tile_len: int = 0
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        known = [*COMBINERS, "tile", "none"]
        if self.combiner not in known:
            raise ConfigError(f"unknown combiner {self.combiner!r}{did_you_mean(self.combiner, known)}")
        if (self.combiner == "tile") != (self.tile_len > 0):
            raise ConfigError(f"combiner {self.combiner!r} with tile_len {self.tile_len}: a tile needs tile_len of at least 1, others none")

    @property
    def pools(self) -> bool:
        """Whether several ids become one vector."""
        return self.combiner in COMBINERS
