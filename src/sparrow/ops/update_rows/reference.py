"""`update_rows_`, plainly: one function a rule, each in the order of operations its header follows."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy
import torch
from torch import Tensor

from sparrow.ops.update_rows.rules import CORRECTION_1, CORRECTION_2, GLOBAL_STEP, TABLE_STEP

# (weight [D], element-wise slots [E, D], row-wise slots [R], gradient [D], hyper row); all but the last are updated in place.
Update = Callable[[Tensor, Tensor, Tensor, Tensor, list[float]], None]


def _rounded(like: Tensor, *values: float) -> list[Tensor]:
    return [torch.tensor(value, dtype=torch.float64).to(like.dtype) for value in values]


def _sqrt(x: Tensor) -> Tensor:
    """The IEEE root: torch's own is an approximation for vectors of float32 (one in 150 is off by a bit with AVX-512)."""
    return torch.from_numpy(numpy.sqrt(numpy.atleast_1d(x.numpy()))).reshape(x.shape)


def sgd(weight: Tensor, slots: Tensor, row_slots: Tensor, grad: Tensor, hyper: list[float]) -> None:
    lr, weight_decay = _rounded(weight, *hyper[:2])
    weight.copy_(weight - lr * (grad + weight_decay * weight))


def adagrad(weight: Tensor, slots: Tensor, row_slots: Tensor, grad: Tensor, hyper: list[float]) -> None:
    lr, weight_decay, eps = _rounded(weight, hyper[0] / (1.0 + (hyper[TABLE_STEP] - 1.0) * hyper[3]), *hyper[1:3])
    g = grad + weight_decay * weight
    slots[0] += g * g
    weight.copy_(weight - lr * (g / (_sqrt(slots[0]) + eps)))


def adam(weight: Tensor, slots: Tensor, row_slots: Tensor, grad: Tensor, hyper: list[float], decoupled: bool = False) -> None:
    decay, keep = (0.0, 1.0 - hyper[0] * hyper[1]) if decoupled else (hyper[1], 1.0)
    decay, keep, beta1, beta2, eps = _rounded(weight, decay, keep, *hyper[2:5])  # type: ignore[assignment]
    rest1, rest2 = _rounded(weight, 1.0 - hyper[2], 1.0 - hyper[3])
    step_size, root_scale = _rounded(weight, hyper[0] / hyper[CORRECTION_1], 1.0 / math.sqrt(hyper[CORRECTION_2]))
    g = grad + decay * weight
    slots[0] = beta1 * slots[0] + rest1 * g
    slots[1] = beta2 * slots[1] + rest2 * (g * g)
    weight.copy_(keep * weight - step_size * (slots[0] / (_sqrt(slots[1]) * root_scale + eps)))


def adamw(weight: Tensor, slots: Tensor, row_slots: Tensor, grad: Tensor, hyper: list[float]) -> None:
    adam(weight, slots, row_slots, grad, hyper, decoupled=True)


def rowwise_adagrad(weight: Tensor, slots: Tensor, row_slots: Tensor, grad: Tensor, hyper: list[float]) -> None:
    lr, weight_decay, eps = _rounded(weight, *hyper[:3])
    g = grad + weight_decay * weight
    lanes = torch.zeros(16, dtype=g.dtype)
    for first in range(0, g.numel(), 16):
        part = g[first : first + 16]
        lanes[: part.numel()] += part * part
    while lanes.numel() > 1:
        lanes = lanes[: lanes.numel() // 2] + lanes[lanes.numel() // 2 :]
    row_slots += lanes / g.numel()
    weight.copy_(weight - lr / (_sqrt(row_slots[0]) + eps) * g)


def momentum(weight: Tensor, slots: Tensor, row_slots: Tensor, grad: Tensor, hyper: list[float]) -> None:
    lr, weight_decay, kept = _rounded(weight, *hyper[:3])
    g = grad + weight_decay * weight
    slots[0] = kept * slots[0] + g
    weight.copy_(weight - lr * (g + kept * slots[0] if hyper[3] else slots[0]))


def rmsprop(weight: Tensor, slots: Tensor, row_slots: Tensor, grad: Tensor, hyper: list[float]) -> None:
    lr, weight_decay, alpha, eps, rest = _rounded(weight, *hyper[:4], 1.0 - hyper[2])
    g = grad + weight_decay * weight
    slots[0] = alpha * slots[0] + rest * (g * g)
    weight.copy_(weight - lr * (g / (_sqrt(slots[0]) + eps)))


def ftrl(weight: Tensor, slots: Tensor, row_slots: Tensor, grad: Tensor, hyper: list[float]) -> None:
    lr, l1, twice_l2 = _rounded(weight, hyper[0], hyper[1], 2.0 * hyper[2])
    before = _sqrt(slots[0])
    slots[0] += grad * grad
    root = _sqrt(slots[0])
    slots[1] += grad - (root - before) / lr * weight
    beyond = slots[1].abs() - l1
    shrunk = torch.where(slots[1] < 0, beyond, -beyond) / (root / lr + twice_l2)
    weight.copy_(torch.where(beyond > 0, shrunk, torch.zeros_like(weight)))


def adagrad_decay(weight: Tensor, slots: Tensor, row_slots: Tensor, grad: Tensor, hyper: list[float]) -> None:
    lr, floor, rate, period = _rounded(weight, hyper[0], hyper[1], hyper[3], math.floor(hyper[GLOBAL_STEP] / hyper[2]))
    if period > row_slots[0]:
        discount = _power(rate, int(period - row_slots[0])) if hyper[4] else rate
        slots[0] = torch.maximum(discount * slots[0], floor)
        row_slots[0] = period if hyper[4] else row_slots[0] + 1
    slots[0] += grad * grad
    weight.copy_(weight - lr * grad / _sqrt(slots[0]))


def _power(base: Tensor, exponent: int) -> Tensor:
    result = torch.ones_like(base)
    while exponent:
        if exponent % 2:
            result = result * base
        exponent, base = exponent // 2, base * base
    return result


def tf_adam(weight: Tensor, slots: Tensor, row_slots: Tensor, grad: Tensor, hyper: list[float]) -> None:
    keep, beta1, beta2, eps = _rounded(weight, 1.0 - (hyper[0] * hyper[1] if hyper[5] else hyper[1]), *hyper[2:5])
    rate, rest1, rest2 = _rounded(weight, hyper[0] * math.sqrt(hyper[CORRECTION_2]) / hyper[CORRECTION_1], 1.0 - hyper[2], 1.0 - hyper[3])
    slots[0] = beta1 * slots[0] + rest1 * grad
    slots[1] = beta2 * slots[1] + rest2 * (grad * grad)
    weight.copy_(keep * weight - rate * (slots[0] / (_sqrt(slots[1]) + eps)))


def async_rmsprop(weight: Tensor, slots: Tensor, row_slots: Tensor, grad: Tensor, hyper: list[float]) -> None:
    lr, beta1, beta2, eps, rest2 = _rounded(weight, *hyper[:4], 1.0 - hyper[2])
    slots[1] = beta2 * slots[1] + rest2 * (grad * grad)
    slots[0] = beta1 * slots[0] + lr * grad / _sqrt(slots[1] + eps)
    weight.copy_(weight - slots[0])


# By `Rule.code`.
RULE_FUNCTIONS: list[Update] = [
    sgd, adagrad, adam, rowwise_adagrad, momentum, adamw, rmsprop, ftrl, adagrad_decay, tf_adam, async_rmsprop,
]  # fmt: skip


def update_rows_(
    weights: list[Tensor], element_slots: list[Tensor], row_slots: list[Tensor], meta: Tensor, rows: Tensor, grads: Tensor,
    hyper: Tensor, rule: int, step: int, clock: Tensor | None = None,
) -> None:  # fmt: skip
    step = step if clock is None else int(clock)
    for index, row in enumerate(rows.tolist()):
        if row < 0:
            continue
        block, inside = divmod(row, weights[0].shape[0])
        stored, dim = weights[block][inside], weights[0].shape[1]
        weight = stored.to(grads.dtype, copy=True)
        slots = element_slots[block][inside].view(-1, dim) if element_slots else grads.new_empty(0, dim)
        of_row = row_slots[block][inside] if row_slots else grads.new_empty(0)
        RULE_FUNCTIONS[rule](weight, slots, of_row, grads[index], hyper[int(meta[row, 3])].tolist())
        stored.copy_(weight)
        meta[row, 1] = step
