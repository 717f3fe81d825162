"""`update_rows_`, plainly: one function a rule, each in the order of operations its header follows."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def _rounded(value: float, like: Tensor) -> Tensor:
    return torch.tensor(value, dtype=torch.float64).to(like.dtype)


def sgd(weight: Tensor, slots: Tensor, grad: Tensor, hyper: list[float]) -> None:
    lr, weight_decay = (_rounded(word, weight) for word in hyper[:2])
    weight.copy_(weight - lr * (grad + weight_decay * weight))


def adagrad(weight: Tensor, slots: Tensor, grad: Tensor, hyper: list[float]) -> None:
    lr, weight_decay, eps = (_rounded(word, weight) for word in hyper[:3])
    g = grad + weight_decay * weight
    slots.copy_(slots + g * g)
    weight.copy_(weight - lr * (g / (slots.sqrt() + eps)))


def adam(weight: Tensor, slots: Tensor, grad: Tensor, hyper: list[float]) -> None:
    weight_decay, beta1, beta2, eps = (_rounded(word, weight) for word in hyper[1:5])
    rest1, rest2 = _rounded(1.0 - hyper[2], weight), _rounded(1.0 - hyper[3], weight)
    step_size, sqrt_correction2 = _rounded(hyper[0] / hyper[5], weight), _rounded(math.sqrt(hyper[6]), weight)
    exp_avg, exp_avg_sq = slots[: weight.numel()], slots[weight.numel() :]
    g = grad + weight_decay * weight
    exp_avg.copy_(beta1 * exp_avg + rest1 * g)
    exp_avg_sq.copy_(beta2 * exp_avg_sq + rest2 * (g * g))
    weight.copy_(weight - step_size * (exp_avg / (exp_avg_sq.sqrt() / sqrt_correction2 + eps)))


# By `Rule.code`.
RULE_FUNCTIONS: list[Callable[[Tensor, Tensor, Tensor, list[float]], None]] = [sgd, adagrad, adam]


def update_rows_(
    weights: list[Tensor], element_slots: list[Tensor], row_slots: list[Tensor], meta: Tensor, rows: Tensor, grads: Tensor,
    hyper: Tensor, rule: int, step: int,
) -> None:  # fmt: skip
    for index, row in enumerate(rows.tolist()):
        if row < 0:
            continue
        block, inside = divmod(row, weights[0].shape[0])
        slots = element_slots[block][inside] if element_slots else weights[block].new_empty(0)
        RULE_FUNCTIONS[rule](weights[block][inside], slots, grads[index], hyper[int(meta[row, 3])].tolist())
        meta[row, 1] = step
