"""update_rows_: every rule on the rows of a batch, beside torch: sgd scattered by index_add_, else its optimizer on as many dense rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from benchmarks.harness import Goal, Options, Result, compared
from benchmarks.ops.tables import Rows, distinct_rows, filled_rows, sizes_of
from sparrow.ops.update_rows.op import update_rows_
from sparrow.ops.update_rows.rules import RULES

LR = 1e-3
PEERS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, float]]] = {
    "momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "adagrad": (torch.optim.Adagrad, {}),
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
    "rmsprop": (torch.optim.RMSprop, {}),
}
_META_BYTES = 16


def run(options: Options) -> Iterable[Result]:
    sizes = sizes_of(options)
    rows = distinct_rows(options, sizes.batch_ids)
    cases = [(name, sizes.dim, torch.float32) for name in RULES]
    if options.device == "cpu":
        cases += [(name, 64, torch.float32) for name in ("rowwise_adagrad", "adam")]
    cases.append(("adam", sizes.dim, torch.bfloat16))
    for name, dim, dtype in cases:
        yield _measured(options, name, dim, dtype, rows)


def _measured(options: Options, name: str, dim: int, dtype: torch.dtype, rows: Tensor) -> Result:
    rule, held, num_rows = RULES[name], filled_rows(options, name, dim, dtype), rows.numel()
    grads = torch.randn(num_rows, dim, device=options.device)
    hyper = torch.tensor([rule.hyper_row(step=1, lr=LR)], dtype=torch.float64, device=options.device)

    def update() -> None:
        update_rows_(*held, rows, grads, hyper, rule.code, 1)

    functions: dict[str, Callable[[], object]] = {"sparrow": update}
    peer = _peer_of(name, held, rows.long(), grads) if dtype == torch.float32 else None
    if peer is not None:
        kind, step, weights = peer
        update()
        step()
        assert torch.allclose(held.gathered(rows.long()), weights(), atol=1e-6)
        functions[kind] = step
    moved = num_rows * (2 * held.row_bytes() + 2 * _META_BYTES + dim * 4 + 4)
    case = f"{name}, {num_rows:,} rows, dim {dim}, {str(dtype).removeprefix('torch.')}"
    goal = Goal(mbu=0.85, ratio=3) if name == "sgd" else None
    return compared(options, case, num_rows, functions, must_move_bytes=moved, goal=goal)


def _peer_of(name: str, held: Rows, index: Tensor, grads: Tensor) -> tuple[str, Callable[[], object], Callable[[], Tensor]] | None:
    """Return torch's name for the rule, what takes a step of it, and what tells the weights of the rows afterwards."""
    if name == "sgd":
        flat = torch.cat(held.weights)
        return "index_add_", lambda: flat.index_add_(0, index, grads, alpha=-LR), lambda: flat[index]
    if name not in PEERS:
        return None
    kind, settings = PEERS[name]
    parameter = torch.nn.Parameter(held.gathered(index))
    parameter.grad = grads.clone()
    return f"torch {kind.__name__}, dense", kind([parameter], lr=LR, **settings).step, parameter.detach
