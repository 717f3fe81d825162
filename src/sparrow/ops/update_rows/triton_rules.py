"""The update rules in Triton: for each, what csrc/core/rules/<rule>.h says, in the same order of operations.

A rule is two functions and a row in TRITON_RULES:
  constants(hyper, mask)     float64 values [tables], to be rounded once; `hyper` points to the hyper rows of tables
  update(weight, slot0, slot1, row_slot, grad, c, DIM)     the first four, updated: weight, slots and grad are [rows, columns], row_slot is
                             [rows]. `c` points to the constants of each row's table. Columns beyond DIM are zeros.
Slots that a rule does not have are passed through. Division and roots are `divide` and `root`.
"""

from dataclasses import dataclass
from typing import Any

import triton
import triton.language as tl

from sparrow.errors import BackendError
from sparrow.ops.triton_rows import divide, root
from sparrow.ops.update_rows import rules

CORRECTION_1, CORRECTION_2 = tl.constexpr(rules.CORRECTION_1), tl.constexpr(rules.CORRECTION_2)
GLOBAL_STEP, TABLE_STEP = tl.constexpr(rules.GLOBAL_STEP), tl.constexpr(rules.TABLE_STEP)
# Constants of a table lie this far apart; no rule has more.
CONSTANTS_A_TABLE = tl.constexpr(16)
LANES = tl.constexpr(16)


@triton.jit
def word(hyper, WORD: tl.constexpr, mask):
    return tl.load(hyper + WORD, mask=mask, other=1.0)


@triton.jit
def constant(c, INDEX: tl.constexpr):
    """A constant of each row, [rows, 1]."""
    return tl.load(c + INDEX)[:, None]


@triton.jit
def sum_in_lanes(b_values):
    """The sum of each row of [rows, columns]: column k is added in lane k mod 16, and the lanes are added in halves (as lanes.h)."""
    ROWS: tl.constexpr = b_values.shape[0]
    COLUMNS: tl.constexpr = b_values.shape[1]
    if COLUMNS > LANES:
        b_pieces = tl.trans(tl.reshape(b_values, [ROWS, COLUMNS // LANES, LANES]), 0, 2, 1)  # [ROWS, LANES, pieces]
        b_lanes = add_in_order(tl.zeros([ROWS, LANES], b_values.dtype), b_pieces)
    else:
        b_lanes = b_values
    return add_halves(b_lanes)


@triton.jit
def add_in_order(b_sum, b_pieces):
    """Add to [rows, lanes] the pieces of [rows, lanes, pieces] one after the other; a thread has all pieces of a lane."""
    ROWS: tl.constexpr = b_pieces.shape[0]
    WIDTH: tl.constexpr = b_pieces.shape[1]
    PIECES: tl.constexpr = b_pieces.shape[2]
    if PIECES == 1:
        b_sum += tl.reshape(b_pieces, [ROWS, WIDTH])
    else:
        b_first, b_second = tl.split(tl.trans(tl.reshape(b_pieces, [ROWS, WIDTH, 2, PIECES // 2]), 0, 1, 3, 2))
        b_sum = add_in_order(add_in_order(b_sum, b_first), b_second)
    return b_sum


@triton.jit
def add_halves(b_lanes):
    ROWS: tl.constexpr = b_lanes.shape[0]
    WIDTH: tl.constexpr = b_lanes.shape[1]
    return tl.reshape(b_lanes, [ROWS]) if WIDTH == 1 else add_halves(tl.sum(tl.reshape(b_lanes, [ROWS, 2, WIDTH // 2]), 1))


@triton.jit
def sgd_constants(hyper, mask):
    return word(hyper, 0, mask), word(hyper, 1, mask)


@triton.jit
def sgd(weight, slot0, slot1, row_slot, grad, c, DIM: tl.constexpr):
    lr, weight_decay = constant(c, 0), constant(c, 1)
    return weight - lr * (grad + weight_decay * weight), slot0, slot1, row_slot


@triton.jit
def adagrad_constants(hyper, mask):
    lr = word(hyper, 0, mask) / (1.0 + (word(hyper, TABLE_STEP, mask) - 1.0) * word(hyper, 3, mask))
    return lr, word(hyper, 1, mask), word(hyper, 2, mask)


@triton.jit
def adagrad(weight, slot0, slot1, row_slot, grad, c, DIM: tl.constexpr):
    lr, weight_decay, eps = constant(c, 0), constant(c, 1), constant(c, 2)
    g = grad + weight_decay * weight
    total = slot0 + g * g
    return weight - lr * divide(g, root(total) + eps), total, slot1, row_slot


@triton.jit
def adam_constants(hyper, mask):
    return step_constants(hyper, word(hyper, 1, mask), word(hyper, 1, mask) * 0.0 + 1.0, mask)


@triton.jit
def adamw_constants(hyper, mask):
    keep = 1.0 - word(hyper, 0, mask) * word(hyper, 1, mask)
    return step_constants(hyper, keep * 0.0, keep, mask)


@triton.jit
def step_constants(hyper, decay, keep, mask):
    lr, beta1, beta2 = word(hyper, 0, mask), word(hyper, 2, mask), word(hyper, 3, mask)
    step_size = lr / word(hyper, CORRECTION_1, mask)
    root_scale = 1.0 / tl.sqrt(word(hyper, CORRECTION_2, mask))
    return decay, keep, beta1, beta2, word(hyper, 4, mask), step_size, root_scale, 1.0 - beta1, 1.0 - beta2


@triton.jit
def adam(weight, slot0, slot1, row_slot, grad, c, DIM: tl.constexpr):
    """Adam's step, also AdamW's: they differ in whether `decay` or `keep` does something."""
    decay, keep, beta1, beta2, eps = constant(c, 0), constant(c, 1), constant(c, 2), constant(c, 3), constant(c, 4)
    step_size, root_scale, rest1, rest2 = constant(c, 5), constant(c, 6), constant(c, 7), constant(c, 8)
    g = grad + decay * weight
    exp_avg = beta1 * slot0 + rest1 * g
    exp_avg_sq = beta2 * slot1 + rest2 * (g * g)
    return keep * weight - step_size * divide(exp_avg, root(exp_avg_sq) * root_scale + eps), exp_avg, exp_avg_sq, row_slot


@triton.jit
def rowwise_adagrad_constants(hyper, mask):
    return word(hyper, 0, mask), word(hyper, 1, mask), word(hyper, 2, mask)


@triton.jit
def rowwise_adagrad(weight, slot0, slot1, row_slot, grad, c, DIM: tl.constexpr):
    g = grad + constant(c, 1) * weight
    squares = sum_in_lanes(g * g)
    total = row_slot + divide(squares, squares * 0.0 + DIM)
    rate = divide(tl.load(c), root(total) + tl.load(c + 2))
    return weight - rate[:, None] * g, slot0, slot1, total


@triton.jit
def momentum_constants(hyper, mask):
    momentum, nesterov = word(hyper, 2, mask), word(hyper, 3, mask) != 0
    return (
        word(hyper, 0, mask),
        word(hyper, 1, mask),
        momentum,
        tl.where(nesterov, momentum * 0.0 + 1.0, 0.0),
        tl.where(nesterov, momentum, 1.0),
    )


@triton.jit
def momentum(weight, slot0, slot1, row_slot, grad, c, DIM: tl.constexpr):
    lr, weight_decay, kept, own, held = constant(c, 0), constant(c, 1), constant(c, 2), constant(c, 3), constant(c, 4)
    g = grad + weight_decay * weight
    buffer = kept * slot0 + g
    return weight - lr * (own * g + held * buffer), buffer, slot1, row_slot


@triton.jit
def rmsprop_constants(hyper, mask):
    alpha = word(hyper, 2, mask)
    return word(hyper, 0, mask), word(hyper, 1, mask), alpha, word(hyper, 3, mask), 1.0 - alpha


@triton.jit
def rmsprop(weight, slot0, slot1, row_slot, grad, c, DIM: tl.constexpr):
    lr, weight_decay, alpha, eps, rest = constant(c, 0), constant(c, 1), constant(c, 2), constant(c, 3), constant(c, 4)
    g = grad + weight_decay * weight
    square_avg = alpha * slot0 + rest * (g * g)
    return weight - lr * divide(g, root(square_avg) + eps), square_avg, slot1, row_slot


@triton.jit
def ftrl_constants(hyper, mask):
    return word(hyper, 0, mask), word(hyper, 1, mask), 2.0 * word(hyper, 2, mask)


@triton.jit
def ftrl(weight, slot0, slot1, row_slot, grad, c, DIM: tl.constexpr):
    l1, twice_l2 = constant(c, 1), constant(c, 2)
    lr = tl.broadcast_to(constant(c, 0), weight.shape)
    before = root(slot0)
    accumulator = slot0 + grad * grad
    after = root(accumulator)
    linear = slot1 + (grad - divide(after - before, lr) * weight)
    beyond = tl.where(linear < 0, -linear, linear) - l1
    shrunk = divide(tl.where(linear < 0, beyond, -beyond), divide(after, lr) + twice_l2)
    return tl.where(beyond > 0, shrunk, 0.0), accumulator, linear, row_slot


@triton.jit
def adagrad_decay_constants(hyper, mask):
    period = tl.floor(word(hyper, GLOBAL_STEP, mask) / word(hyper, 2, mask))
    return word(hyper, 0, mask), word(hyper, 1, mask), word(hyper, 3, mask), period, word(hyper, 4, mask)


@triton.jit
def power(b_base, b_exponent):
    """By squaring, from the lowest bit, as adagrad_decay.h."""
    b_result = b_base * 0.0 + 1.0
    most = tl.max(b_exponent, 0)
    while most > 0:
        b_result = tl.where(b_exponent % 2 == 1, b_result * b_base, b_result)
        b_exponent = b_exponent // 2
        b_base = b_base * b_base
        most = most // 2
    return b_result


@triton.jit
def adagrad_decay(weight, slot0, slot1, row_slot, grad, c, DIM: tl.constexpr):
    lr, floor = constant(c, 0), constant(c, 1)
    rate, period, exact = tl.load(c + 2), tl.load(c + 3), tl.load(c + 4) != 0
    late = period > row_slot
    b_missed = tl.where(late & exact, period - row_slot, 0.0).to(tl.int64)
    discount = tl.where(exact, power(rate, b_missed), rate)[:, None]
    discounted = tl.where(discount * slot0 < floor, floor, discount * slot0)
    total = tl.where(late[:, None], discounted, slot0) + grad * grad
    accounted = tl.where(late, tl.where(exact, period, row_slot + 1.0), row_slot)
    return weight - divide(lr * grad, root(total)), total, slot1, accounted


@triton.jit
def tf_adam_constants(hyper, mask):
    lr, decay, beta1, beta2 = word(hyper, 0, mask), word(hyper, 1, mask), word(hyper, 2, mask), word(hyper, 3, mask)
    keep = 1.0 - tl.where(word(hyper, 5, mask) != 0, lr * decay, decay)
    rate = lr * tl.sqrt(word(hyper, CORRECTION_2, mask)) / word(hyper, CORRECTION_1, mask)
    return keep, beta1, beta2, word(hyper, 4, mask), rate, 1.0 - beta1, 1.0 - beta2


@triton.jit
def tf_adam(weight, slot0, slot1, row_slot, grad, c, DIM: tl.constexpr):
    keep, beta1, beta2, eps = constant(c, 0), constant(c, 1), constant(c, 2), constant(c, 3)
    rate, rest1, rest2 = constant(c, 4), constant(c, 5), constant(c, 6)
    exp_avg = beta1 * slot0 + rest1 * grad
    exp_avg_sq = beta2 * slot1 + rest2 * (grad * grad)
    return keep * weight - rate * divide(exp_avg, root(exp_avg_sq) + eps), exp_avg, exp_avg_sq, row_slot


@triton.jit
def async_rmsprop_constants(hyper, mask):
    beta2 = word(hyper, 2, mask)
    return word(hyper, 0, mask), word(hyper, 1, mask), beta2, word(hyper, 3, mask), 1.0 - beta2


@triton.jit
def async_rmsprop(weight, slot0, slot1, row_slot, grad, c, DIM: tl.constexpr):
    lr, beta1, beta2, eps, rest2 = constant(c, 0), constant(c, 1), constant(c, 2), constant(c, 3), constant(c, 4)
    exp_avg_sq = beta2 * slot1 + rest2 * (grad * grad)
    exp_avg = beta1 * slot0 + divide(lr * grad, root(exp_avg_sq + eps))
    return weight - exp_avg, exp_avg, exp_avg_sq, row_slot


@dataclass(frozen=True)
class TritonRule:
    """constants, update: as above. num_constants: how many values `constants` gives."""

    constants: Any
    num_constants: int
    update: Any


# By `Rule.code`.
TRITON_RULES: list[TritonRule] = [
    TritonRule(sgd_constants, 2, sgd),
    TritonRule(adagrad_constants, 3, adagrad),
    TritonRule(adam_constants, 9, adam),
    TritonRule(rowwise_adagrad_constants, 3, rowwise_adagrad),
    TritonRule(momentum_constants, 5, momentum),
    TritonRule(adamw_constants, 9, adam),
    TritonRule(rmsprop_constants, 5, rmsprop),
    TritonRule(ftrl_constants, 3, ftrl),
    TritonRule(adagrad_decay_constants, 5, adagrad_decay),
    TritonRule(tf_adam_constants, 7, tf_adam),
    TritonRule(async_rmsprop_constants, 5, async_rmsprop),
]


def rule_of(code: int) -> tuple[TritonRule, rules.Rule]:
    """Return a rule's functions, and what it keeps. Raises `RuntimeError` for an unknown code, `BackendError` for one without functions."""
    row = next((rule for rule in rules.RULES.values() if rule.code == code), None)
    if row is None:
        raise RuntimeError(f"unknown update rule {code}")
    if code >= len(TRITON_RULES):
        raise BackendError(f"rule {row.name!r} has no Triton functions; add them to src/sparrow/ops/update_rows/triton_rules.py")
    return TRITON_RULES[code], row
