"""The update rules: what each keeps beside a row, and what it can be told.

Adding one is a row here, a reference in `reference.py`, a header in `csrc/core/rules/` and a line in `csrc/core/rules/all.h`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from sparrow.errors import ConfigError, did_you_mean

HYPER_WORDS = 16
# Bias corrections of rules that have beta1 and beta2; the step of the group and of the table, from 1.
CORRECTION_1, CORRECTION_2, GLOBAL_STEP, TABLE_STEP = 12, 13, 14, 15
# Hyper-parameters that must be above 0, those below 1, and switches.
_POSITIVE = ("decay_step", "decay_rate", "initial_accumulator_value")
_BELOW_1 = ("beta1", "beta2", "alpha", "momentum", "decay_rate")
_SWITCHES = ("nesterov", "exact", "decay_by_lr")


@dataclass(frozen=True, slots=True)
class Rule:
    """One update rule.

    name:          as in `TableOptions.rule`.
    code:          the `rule` argument of `update_rows_`.
    hyper:         hyper-parameters and their defaults, in the order of the words of a hyper row; `lr` first, at most 12.
    element_slots: optimizer state of the shape of a row. row_slots: one value a row.
    first_from:    slot -> the hyper-parameter that is its first value; the others start at 0.
    """

    name: str
    code: int
    hyper: Mapping[str, float]
    element_slots: tuple[str, ...] = ()
    row_slots: tuple[str, ...] = ()
    first_from: Mapping[str, str] = field(default_factory=dict)

    def first_value(self, slot: str, hyper: Mapping[str, float] | None = None) -> float:
        """Return the value a slot starts with, given the hyper-parameters of a table that differ from the defaults."""
        name = self.first_from.get(slot)
        return 0.0 if name is None else {**self.hyper, **(hyper or {})}[name]

    def hyper_row(self, *, step: int, global_step: float = 1.0, **values: float) -> list[float]:
        """Return the 16 words `update_rows_` reads: hyper-parameters (defaults where not in `values`), bias corrections, steps.

        step: updates the table took part in, this one included, from 1. global_step: those of its group. Raises `ConfigError` for a
        name the rule does not know and for a value out of its range.
        """
        for name, value in values.items():
            if name not in self.hyper:
                raise ConfigError(f"rule {self.name!r} has no hyper-parameter {name!r}{did_you_mean(name, self.hyper)}")
            self._check(name, value)
        merged = {**self.hyper, **values}
        row = [float(merged[name]) for name in self.hyper]
        row += [0.0] * (HYPER_WORDS - len(row))
        row[GLOBAL_STEP], row[TABLE_STEP] = float(global_step), float(step)
        if "beta1" in merged:
            row[CORRECTION_1] = 1.0 - merged["beta1"] ** step
            row[CORRECTION_2] = 1.0 - merged["beta2"] ** step
        return row

    def _check(self, name: str, value: float) -> None:
        end = 1.0 if name in _BELOW_1 else math.inf
        fits = value in (0, 1) if name in _SWITCHES else 0 < value < end if name in _POSITIVE else 0 <= value < end
        if not fits:
            low = "above 0" if name in _POSITIVE else "of at least 0"
            expected = (
                "0 or 1" if name in _SWITCHES else f"a finite number {low}" if end == math.inf else f"{low.removeprefix('of ')} and below 1"
            )
            raise ConfigError(f"rule {self.name!r}: {name} is {value}, expected {expected}")


_ADAM = {"lr": 1e-3, "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
_MOMENTS = ("exp_avg", "exp_avg_sq")

RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule("sgd", 0, {"lr": 1e-3, "weight_decay": 0.0}),
        Rule("adagrad", 1, {"lr": 1e-2, "weight_decay": 0.0, "eps": 1e-10, "lr_decay": 0.0}, element_slots=("sum",)),
        Rule("adam", 2, _ADAM, element_slots=_MOMENTS),
        Rule("rowwise_adagrad", 3, {"lr": 1e-2, "weight_decay": 0.0, "eps": 1e-10}, row_slots=("sum",)),
        Rule("momentum", 4, {"lr": 1e-3, "weight_decay": 0.0, "momentum": 0.9, "nesterov": 0.0}, element_slots=("momentum_buffer",)),
        Rule("adamw", 5, {**_ADAM, "weight_decay": 1e-2}, element_slots=_MOMENTS),
        Rule("rmsprop", 6, {"lr": 1e-2, "weight_decay": 0.0, "alpha": 0.99, "eps": 1e-8}, element_slots=("square_avg",)),
        Rule(
            "ftrl",
            7,
            {"lr": 1e-3, "l1": 0.0, "l2": 0.0, "initial_accumulator_value": 0.1},
            element_slots=("accumulator", "linear"),
            first_from={"accumulator": "initial_accumulator_value"},
        ),
        Rule(
            "adagrad_decay",
            8,
            {"lr": 1e-2, "initial_accumulator_value": 0.1, "decay_step": 100_000.0, "decay_rate": 0.9, "exact": 1.0},
            element_slots=("accumulator",),
            row_slots=("period",),
            first_from={"accumulator": "initial_accumulator_value"},
        ),
        Rule("tf_adam", 9, {**_ADAM, "decay_by_lr": 1.0}, element_slots=_MOMENTS),
        Rule("tf_adamw", 9, {**_ADAM, "weight_decay": 1e-2, "decay_by_lr": 1.0}, element_slots=_MOMENTS),
        # AdamAsync gives every variable powers of its own; here every table counts its own steps, so it is tf_adam without decay.
        Rule("adam_async", 9, {**_ADAM, "decay_by_lr": 1.0}, element_slots=_MOMENTS),
        Rule("adam_async_rmsprop", 10, {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}, element_slots=_MOMENTS),
    )
}
