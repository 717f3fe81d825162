"""Every rule against an obvious oracle over several steps: torch's dense optimizer, or the published formula in float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sparrow.ops.update_rows import reference
from sparrow.ops.update_rows.op import update_rows_
from sparrow.ops.update_rows.rules import RULES

BODIES = {"reference": reference.update_rows_, "cpu": update_rows_}
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}
DIM, STEPS = 19, 8

Hyper = dict[str, float]
# (weight, gradients, hyper-parameters) -> the weight after the last. State is made here: nothing is shared with the rules.
Oracle = Callable[[Tensor, list[Tensor], Hyper], Tensor]


def by_torch(kind: type[torch.optim.Optimizer], **renamed: str) -> Oracle:
    """The dense optimizer of torch; hyper-parameters whose names differ are given as `torch_name="ours"`."""

    def oracle(weight: Tensor, grads: list[Tensor], hyper: Hyper) -> Tensor:
        arguments: dict[str, object] = {name: value for name, value in hyper.items() if not name.startswith("beta")}
        if "beta1" in hyper:
            arguments["betas"] = (hyper["beta1"], hyper["beta2"])
        if "nesterov" in hyper:
            arguments["nesterov"] = bool(hyper["nesterov"])
        parameter = torch.nn.Parameter(weight.clone())
        optimizer = kind([parameter], **arguments)
        for grad in grads:
            parameter.grad = grad.clone()
            optimizer.step()
        return parameter.detach()

    return oracle


def rowwise_adagrad(weight: Tensor, grads: list[Tensor], hyper: Hyper) -> Tensor:
    total = 0.0
    for grad in grads:
        g = grad + hyper.get("weight_decay", 0.0) * weight
        total += float(g.square().mean())
        weight = weight - hyper["lr"] * g / (math.sqrt(total) + hyper["eps"])
    return weight


def tensorflow_adam(weight: Tensor, grads: list[Tensor], hyper: Hyper) -> Tensor:
    m = v = torch.zeros_like(weight)
    beta1, beta2 = hyper.get("beta1", 0.9), hyper.get("beta2", 0.999)
    for t, grad in enumerate(grads, start=1):
        alpha = hyper["lr"] * math.sqrt(1 - beta2**t) / (1 - beta1**t)
        decay = hyper.get("weight_decay", 0.0)
        weight = weight * (1 - (hyper["lr"] * decay if hyper.get("decay_by_lr", 1.0) else decay))
        m, v = beta1 * m + (1 - beta1) * grad, beta2 * v + (1 - beta2) * grad**2
        weight = weight - alpha * m / (v.sqrt() + hyper["eps"])
    return weight


def async_rmsprop(weight: Tensor, grads: list[Tensor], hyper: Hyper) -> Tensor:
    m = v = torch.zeros_like(weight)
    for grad in grads:
        v = 0.999 * v + 0.001 * grad**2
        m = 0.9 * m + hyper["lr"] * grad / (v + hyper["eps"]).sqrt()
        weight = weight - m
    return weight


def tensorflow_ftrl(weight: Tensor, grads: list[Tensor], hyper: Hyper) -> Tensor:
    power = -0.5
    accumulator, linear = torch.full_like(weight, hyper["initial_accumulator_value"]), torch.zeros_like(weight)
    for grad in grads:
        new = accumulator + grad**2
        linear = linear + grad - (new**-power - accumulator**-power) / hyper["lr"] * weight
        quadratic = new**-power / hyper["lr"] + 2 * hyper["l2"]
        weight = torch.where(linear.abs() > hyper["l1"], (linear.sign() * hyper["l1"] - linear) / quadratic, 0.0)
        accumulator = new
    return weight


def adagrad_decay(weight: Tensor, grads: list[Tensor], hyper: Hyper) -> Tensor:
    """DeepRec's rule, one decay a touch; every step is a touch here, so catching up exactly is the same."""
    first, period = hyper["initial_accumulator_value"], 0
    accumulator = torch.full_like(weight, first)
    for s, grad in enumerate(grads, start=1):
        if s // hyper["decay_step"] > period:
            accumulator, period = (hyper["decay_rate"] * accumulator).clamp_min(first), period + 1
        accumulator = accumulator + grad**2
        weight = weight - hyper["lr"] * grad / accumulator.sqrt()
    return weight


CASES: list[tuple[str, Hyper, Oracle]] = [
    ("sgd", {"lr": 0.01}, by_torch(torch.optim.SGD)),
    ("sgd", {"lr": 0.01, "weight_decay": 0.1}, by_torch(torch.optim.SGD)),
    ("momentum", {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1}, by_torch(torch.optim.SGD)),
    ("momentum", {"lr": 0.01, "momentum": 0.8, "nesterov": 1.0}, by_torch(torch.optim.SGD)),
    ("adagrad", {"lr": 0.05, "weight_decay": 0.1}, by_torch(torch.optim.Adagrad)),
    ("adagrad", {"lr": 0.05, "lr_decay": 0.2, "eps": 1e-3}, by_torch(torch.optim.Adagrad)),
    ("adam", {"lr": 0.01}, by_torch(torch.optim.Adam)),
    ("adam", {"lr": 0.01, "weight_decay": 0.1, "beta1": 0.7, "beta2": 0.9, "eps": 1e-3}, by_torch(torch.optim.Adam)),
    ("adamw", {"lr": 0.01, "weight_decay": 0.1}, by_torch(torch.optim.AdamW)),
    ("rmsprop", {"lr": 0.01, "weight_decay": 0.1, "alpha": 0.9}, by_torch(torch.optim.RMSprop)),
    ("rowwise_adagrad", {"lr": 0.05, "eps": 1e-6}, rowwise_adagrad),
    ("rowwise_adagrad", {"lr": 0.05, "eps": 1e-6, "weight_decay": 0.1}, rowwise_adagrad),
    ("tf_adam", {"lr": 0.01, "eps": 1e-3}, tensorflow_adam),
    ("tf_adamw", {"lr": 0.01, "eps": 1e-3, "weight_decay": 0.1}, tensorflow_adam),
    ("tf_adamw", {"lr": 0.01, "eps": 1e-3, "weight_decay": 0.1, "decay_by_lr": 0.0}, tensorflow_adam),
    ("adam_async", {"lr": 0.01, "eps": 1e-8}, tensorflow_adam),
    ("adam_async_rmsprop", {"lr": 0.01, "eps": 1e-8}, async_rmsprop),
    ("ftrl", {"lr": 0.05, "l1": 0.1, "l2": 0.01, "initial_accumulator_value": 0.1}, tensorflow_ftrl),
    ("ftrl", {"lr": 0.05, "l1": 0.0, "l2": 0.0, "initial_accumulator_value": 0.5}, tensorflow_ftrl),
    ("adagrad_decay", {"lr": 0.05, "initial_accumulator_value": 0.1, "decay_step": 3.0, "decay_rate": 0.7}, adagrad_decay),
]


def run_rule(body: str, name: str, weight: Tensor, grads: list[Tensor], hyper: Hyper, steps: list[int] | None = None) -> Tensor:
    """Return the weights after one update a gradient; `steps` are the global steps at which they come."""
    rule = RULES[name]
    weights = [weight.clone().reshape(1, -1)]
    dim = weight.numel()
    slots = (
        [[torch.cat([torch.full((1, dim), rule.first_value(s, hyper), dtype=weight.dtype) for s in rule.element_slots], 1)]]
        if rule.element_slots
        else [[]]
    )
    of_row = [torch.tensor([[rule.first_value(s, hyper) for s in rule.row_slots]], dtype=weight.dtype)] if rule.row_slots else []
    meta = torch.zeros(1, 4, dtype=torch.int32)
    for t, grad in enumerate(grads, start=1):
        words = torch.tensor([rule.hyper_row(step=t, global_step=t if steps is None else steps[t - 1], **hyper)], dtype=torch.float64)
        BODIES[body](weights, slots[0], of_row, meta, torch.tensor([0], dtype=torch.int32), grad.reshape(1, -1), words, rule.code, t)
    return weights[0][0]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("name", "hyper", "oracle"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_sequence_of_updates_is_the_published_formula(body: str, dtype: torch.dtype, name: str, hyper: Hyper, oracle: Oracle) -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(DIM, generator=generator, dtype=dtype)
    grads = [torch.randn(DIM, generator=generator, dtype=dtype) for _ in range(STEPS)]
    got = run_rule(body, name, weight, grads, hyper)
    # The oracle in float64 too: what is compared is the rule's rounding, not the oracle's.
    expected = oracle(weight.double(), [grad.double() for grad in grads], hyper)
    assert torch.allclose(got.double(), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_every_rule_has_an_oracle() -> None:
    assert {name for name, _, _ in CASES} == set(RULES)


def test_adagrad_decay_gives_the_losses_of_deeprecs_own_test() -> None:
    """Rows of ones of dim 3 for six ids, loss = sum of 2 w, lr 0.1, a period of 2 steps; DeepRec's test lists these five losses."""
    hyper = {"lr": 0.1, "initial_accumulator_value": 0.1, "decay_step": 2.0, "decay_rate": 0.9}
    for exact in (0.0, 1.0):
        losses = []
        for num_steps in range(5):
            weight = run_rule("cpu", "adagrad_decay", torch.ones(3), [torch.full((3,), 2.0)] * num_steps, {**hyper, "exact": exact})
            losses.append(float(6 * (2 * weight).sum()))
        assert losses == pytest.approx([36.0, 32.444176, 29.847788, 27.74195, 25.852505], abs=1e-5)


def test_adagrad_decay_catches_up_with_missed_periods_or_one_a_touch() -> None:
    hyper = {"lr": 0.0, "initial_accumulator_value": 0.01, "decay_step": 10.0, "decay_rate": 0.5}
    rule = RULES["adagrad_decay"]
    for exact, factor, accounted in ((1.0, 0.5**4, 4.0), (0.0, 0.5, 1.0)):
        slots, of_row, meta = [torch.full((1, 2), 8.0)], [torch.zeros(1, 1)], torch.zeros(1, 4, dtype=torch.int32)
        words = torch.tensor([rule.hyper_row(step=1, global_step=45, **hyper, exact=exact)], dtype=torch.float64)
        update_rows_([torch.ones(1, 2)], slots, of_row, meta, torch.zeros(1, dtype=torch.int32), torch.ones(1, 2), words, rule.code, 44)
        assert slots[0].tolist() == [[8.0 * factor + 1] * 2]
        assert of_row[0].tolist() == [[accounted]]


def test_ftrl_makes_small_weights_exactly_zero() -> None:
    got = run_rule("cpu", "ftrl", torch.zeros(4), [torch.tensor([0.01, -0.01, 5.0, -5.0])], {"lr": 0.1, "l1": 1.0})
    assert got[:2].tolist() == [0.0, 0.0]
    assert float(got[2]) == -float(got[3]) < 0
