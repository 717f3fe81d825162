"""update_rows_: every rule on the rows of a batch, beside torch's optimizer, where it has one, on as many dense rows (never scattered)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from benchmarks.harness import Options, Result, interleaved, rate
from benchmarks.ops.tables import BATCH_IDS, DIM, NUM_ROWS, ROWS_PER_BLOCK, distinct_rows
from sparrow.ops.update_rows.op import update_rows_
from sparrow.ops.update_rows.rules import RULES
from sparrow.tables.blocks import META_TABLE, RowBlocks

PEERS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, float]]] = {
    "sgd": (torch.optim.SGD, {}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "adagrad": (torch.optim.Adagrad, {}),
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
    "rmsprop": (torch.optim.RMSprop, {}),
}


def filled_blocks(rule: str, dim: int, dtype: torch.dtype) -> RowBlocks:
    """Return the rows of a table as a group holds them, slots at their first values."""
    held = RowBlocks(dim, dtype, RULES[rule], ROWS_PER_BLOCK)
    held.reserve(NUM_ROWS)
    for block in held.weights:
        block.copy_(torch.randn(block.shape))
    for names, blocks in ((RULES[rule].element_slots, held.element_slots), (RULES[rule].row_slots, held.row_slots)):
        for block in blocks:
            for name, slot in zip(names, block.chunk(len(names), 1), strict=True):
                slot.fill_(RULES[rule].first_value(name))
    held.meta[:, META_TABLE] = 0
    return held


def moved_bytes(held: RowBlocks) -> int:
    """Return the bytes one row's update must move: weights, slots and metadata both ways, gradient and row number."""
    values = [blocks[0].shape[1] * blocks[0].element_size() for blocks in (held.weights, held.element_slots, held.row_slots) if blocks]
    return 2 * sum(values) + 2 * 16 + held.dim * 4 + 4


def run(options: Options) -> Iterable[Result]:
    rows = distinct_rows(BATCH_IDS)
    cases = [(name, DIM, torch.float32) for name in RULES]
    cases += [(name, 64, torch.float32) for name in ("rowwise_adagrad", "adam")] + [("adam", DIM, torch.bfloat16)]
    for name, dim, dtype in cases:
        rule, grads, held = RULES[name], torch.randn(BATCH_IDS, dim), filled_blocks(name, dim, dtype)
        hyper = torch.tensor([rule.hyper_row(step=1, lr=1e-3)], dtype=torch.float64)

        def update(held: RowBlocks = held, grads: Tensor = grads, hyper: Tensor = hyper, code: int = rule.code) -> None:
            update_rows_(held.weights, held.element_slots, held.row_slots, held.meta, rows, grads, hyper, code, 1)

        functions = {"sparrow": update}
        if name in PEERS and dtype == torch.float32:
            kind, settings = PEERS[name]
            parameter = torch.nn.Parameter(held.gather(rows.long())[0])
            parameter.grad = grads.clone()
            peer = kind([parameter], lr=1e-3, **settings)
            update()
            peer.step()
            assert torch.allclose(held.gather(rows.long())[0], parameter.detach(), atol=1e-6)
            functions[f"torch {kind.__name__}"] = peer.step
        case = f"{name}, 262,144 rows, dim {dim}, {str(dtype).removeprefix('torch.')}"
        yield rate(case, BATCH_IDS, interleaved(functions, options.runs), must_move_bytes=BATCH_IDS * moved_bytes(held))
