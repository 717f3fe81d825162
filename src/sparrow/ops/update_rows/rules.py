"""The update rules: what each keeps beside a row, and what it can be told.

Adding one is a row here, a reference in `reference.py`, a header in `csrc/core/rules/` and a line in `csrc/ops/update_rows.cpp`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sparrow.errors import ConfigError, did_you_mean

HYPER_WORDS = 8
# Words 5 and 6 are the bias corrections of rules that have beta1 and beta2; word 7 is the step count.
_CORRECTION_1, _CORRECTION_2, _STEP = 5, 6, 7


@dataclass(frozen=True, slots=True)
class Rule:
    """One update rule.

    name:          as in `TableOptions.rule`.
    code:          the `rule` argument of `update_rows_`.
    hyper:         hyper-parameters and their defaults, in the order of the words of a hyper row; `lr` first, at most 5.
    element_slots: optimizer state of the shape of a row. row_slots: one value a row.
    slot_values:   slot -> first value.
    """

    name: str
    code: int
    hyper: Mapping[str, float]
    element_slots: tuple[str, ...] = ()
    row_slots: tuple[str, ...] = ()
    slot_values: Mapping[str, float] | None = None

    def first_value(self, slot: str) -> float:
        return (self.slot_values or {}).get(slot, 0.0)

    def hyper_row(self, *, step: int, **values: float) -> list[float]:
        """Return the 8 words `update_rows_` reads: hyper-parameters (defaults where not in `values`), bias corrections, step.

        step: updates the table took part in, this one included, from 1. Raises `ConfigError` for a name the rule does not know and for
        a value outside torch's range: finite, at least 0, and below 1 for beta1 and beta2.
        """
        for name in values:
            if name not in self.hyper:
                raise ConfigError(f"rule {self.name!r} has no hyper-parameter {name!r}{did_you_mean(name, self.hyper)}")
        for name, value in values.items():
            end, expected = (1.0, "at least 0 and below 1") if name.startswith("beta") else (math.inf, "a finite number of at least 0")
            if not 0 <= value < end:
                raise ConfigError(f"rule {self.name!r}: {name} is {value}, expected {expected}")
        merged = {**self.hyper, **values}
        row = [float(merged[name]) for name in self.hyper]
        row += [0.0] * (HYPER_WORDS - len(row))
        row[_STEP] = float(step)
        if "beta1" in merged:
            row[_CORRECTION_1] = 1.0 - merged["beta1"] ** step
            row[_CORRECTION_2] = 1.0 - merged["beta2"] ** step
        return row


RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule("sgd", 0, {"lr": 1e-3, "weight_decay": 0.0}),
        Rule("adagrad", 1, {"lr": 1e-2, "weight_decay": 0.0, "eps": 1e-10}, element_slots=("sum",)),
        Rule(
            "adam",
            2,
            {"lr": 1e-3, "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
            element_slots=("exp_avg", "exp_avg_sq"),
        ),
    )
}
