"""What a table is: declared once, part of every checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from sparrow.errors import ConfigError, did_you_mean
from sparrow.ops.devices import device_of
from sparrow.ops.update_rows.rules import RULES, Rule
from sparrow.tables.initializers import Initializer, Normal
from sparrow.tables.placement import HOST

WEIGHT_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


@dataclass(frozen=True, kw_only=True, slots=True)
class TableOptions:
    """One embedding table.

    name:        unique within its group; names it in checkpoints and errors.
    dim:         values a row, at least 1.
    dtype:       of the weights: float32, bfloat16, float16, or float64 (for tests). Optimizer slots of 16-bit weights are float32.
    initializer: first values of a row.
    rule:        update rule of the rows: a name of `sparrow.optim.RULES` ("sgd", "adagrad", "adam"). It decides the optimizer slots.
    hyper:       hyper-parameters of this table that differ from the optimizer's, e.g. `{"lr": 0.01}`.
    seed:        of the first values. Stored at creation; renaming or resharding the table keeps it.
    device:      where the table lives: "cpu", "cuda" (the current device) or "cuda:1". Not part of a checkpoint. docs/gpu.md.
    """

    name: str
    dim: int
    dtype: torch.dtype = torch.float32
    initializer: Initializer = field(default_factory=Normal)
    rule: str = "adam"
    hyper: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    device: torch.device | str = HOST

    def __post_init__(self) -> None:
        object.__setattr__(self, "device", device_of(self.device, f"table {self.name!r}"))
        if self.dim < 1:
            raise ConfigError(f"table {self.name!r}: dim is {self.dim}, expected at least 1")
        if self.dtype not in WEIGHT_DTYPES:
            raise ConfigError(f"table {self.name!r}: dtype is {self.dtype}, expected one of {list(WEIGHT_DTYPES)}")
        if self.rule not in RULES:
            raise ConfigError(f"table {self.name!r}: unknown update rule {self.rule!r}{did_you_mean(self.rule, RULES)}")
        try:
            self.update_rule.hyper_row(step=1, **self.hyper)
        except ConfigError as error:
            raise ConfigError(f"table {self.name!r}: {error}") from None

    @property
    def update_rule(self) -> Rule:
        return RULES[self.rule]

    @property
    def salt(self) -> int:
        """Salt of the id map, int64: another than the seed, so that map order tells nothing about first values."""
        return stable_seed("salt", self.seed)


def stable_seed(*parts: object) -> int:
    """Return an int64 that is a pure function of `parts` (their text), the same in every process and release."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
