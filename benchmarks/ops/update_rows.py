"""update_rows_: every rule on the rows of a batch, beside torch's optimizer on as many dense rows (no random access there)."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks.harness import Options, Result, interleaved, rate
from benchmarks.ops.tables import BATCH_IDS, DIM, blocks, distinct_rows
from sparrow.ops.update_rows.op import update_rows_
from sparrow.ops.update_rows.rules import RULES

PEERS = {"sgd": torch.optim.SGD, "adagrad": torch.optim.Adagrad, "adam": torch.optim.Adam}


def run(options: Options) -> Iterable[Result]:
    rows, grads = distinct_rows(BATCH_IDS), torch.randn(BATCH_IDS, DIM)
    for name, rule in RULES.items():
        weights = blocks(DIM)
        num_slots = len(rule.element_slots)
        slots = [torch.zeros(block.shape[0], num_slots * DIM) for block in weights] if num_slots else []
        meta = torch.zeros(len(weights) * weights[0].shape[0], 4, dtype=torch.int32)
        parameter = torch.nn.Parameter(torch.cat(weights)[rows.long()])
        parameter.grad = grads.clone()
        peer = PEERS[name]([parameter], lr=1e-3)
        hyper = torch.tensor([rule.hyper_row(step=1, lr=1e-3)], dtype=torch.float64)
        update_rows_(weights, slots, [], meta, rows, grads, hyper, rule.code, 1)
        peer.step()
        assert torch.allclose(torch.cat(weights)[rows.long()], parameter.detach(), atol=1e-6)
        functions = {
            "sparrow": lambda w=weights, s=slots, m=meta, h=hyper, c=rule.code: update_rows_(w, s, [], m, rows, grads, h, c, 1),
            f"torch {PEERS[name].__name__}": peer.step,
        }
        moved = BATCH_IDS * (DIM * 4 * (3 + 2 * num_slots) + 20)
        yield rate(f"{name}, 262,144 rows, dim {DIM}", BATCH_IDS, interleaved(functions, options.runs), must_move_bytes=moved)
