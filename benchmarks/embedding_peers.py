"""Sparrow and other libraries on the step of `embedding_workload`: each fills its tables, prepares a step (untimed) and takes it."""

from __future__ import annotations

import importlib
import importlib.util
import math
import warnings
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from benchmarks.embedding_workload import BETA1, BETA2, EPS, FIRST_VALUE, LR, Cell, Step, batch_of, id_of, sample_major, table_major
from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.ops.update_rows.rules import RULES
from sparrow.optim import SparseOptimizer
from sparrow.tables import Constant
from sparrow.types import Batch

_FILL_ROWS = 8192


class System:
    """One way to train embedding tables. eps_of_torch: see `embedding_workload.expected`."""

    name: ClassVar[str]
    rules: ClassVar[tuple[str, ...]] = ("rowwise_adagrad", "adam")
    eps_of_torch: ClassVar[bool] = False

    def __init__(self, cell: Cell) -> None:
        self.cell = cell

    @classmethod
    def missing(cls) -> str:
        """Return the package that is not installed here, or an empty string."""
        return ""

    def prepare(self, step: Step) -> Any:
        """Return what `take` wants."""
        return step

    def take(self, prepared: Any) -> Tensor:
        """Forward, backward and update; return the output, [batch, tables * dim]."""
        raise NotImplementedError


class Sparrow(System):
    """An engine and its optimizer, as users have them. Every id has a row before a step is taken."""

    name = "sparrow"
    rules = ("rowwise_adagrad", "adam", "sgd")
    eps_of_torch = True

    def __init__(self, cell: Cell, device: str = "cpu") -> None:
        super().__init__(cell)
        self.device = device
        option = EmbeddingOption(dim=cell.dim, rule=cell.rule, initializer=Constant(FIRST_VALUE), device=device)
        self.features = [f"f{table}" for table in range(cell.tables)]
        self.engine = EmbeddingEngine(dict.fromkeys(self.features, option))
        known = {name: value for name, value in (("eps", EPS), ("beta1", BETA1), ("beta2", BETA2)) if name in RULES[cell.rule].hyper}
        self.optimizer = SparseOptimizer(self.engine, lr=LR, **known)
        with torch.no_grad():
            for first in range(0, cell.rows, _FILL_ROWS):
                rows = torch.arange(first, min(first + _FILL_ROWS, cell.rows))
                self.engine(Batch.of({feature: id_of(rows, table) for table, feature in enumerate(self.features)}).to(device))

    def prepare(self, step: Step) -> tuple[Batch, Tensor]:
        grad = step.grad.view(self.cell.batch, self.cell.tables, self.cell.dim)
        return batch_of(self.cell, step).to(self.device), grad.to(self.device)

    def take(self, prepared: tuple[Batch, Tensor]) -> Tensor:
        batch, grad = prepared
        out = self.engine(batch).stack(self.features)
        out.backward(grad)
        self.optimizer.step()
        return out.detach().flatten(1)


class Fbgemm(System):
    name = "fbgemm SplitTBE"
    rules = ("rowwise_adagrad",)  # its CPU path refuses Adam

    @classmethod
    def missing(cls) -> str:
        return "" if importlib.util.find_spec("fbgemm_gpu") else "fbgemm-gpu-cpu"

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        package = "fbgemm_gpu.split_table_batched_embeddings_ops"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of operators it was built without
            training, common = importlib.import_module(f"{package}_training"), importlib.import_module(f"{package}_common")
        self.module = training.SplitTableBatchedEmbeddingBagsCodegen(
            [(cell.rows, cell.dim, common.EmbeddingLocation.HOST, training.ComputeDevice.CPU)] * cell.tables,
            optimizer=importlib.import_module("fbgemm_gpu.split_embedding_configs").EmbOptimType.EXACT_ROWWISE_ADAGRAD,
            learning_rate=LR,
            eps=EPS,
            pooling_mode=common.PoolingMode.SUM,
            device=torch.device("cpu"),
        )
        for weights in self.module.split_embedding_weights():
            weights.fill_(FIRST_VALUE)

    def take(self, prepared: Step) -> Tensor:
        out = self.module(prepared.indices, prepared.offsets)
        out.backward(prepared.grad)
        return out


def _bag(num_rows: int, dim: int) -> nn.EmbeddingBag:
    first_values = torch.full((num_rows, dim), FIRST_VALUE)
    return nn.EmbeddingBag(num_rows, dim, mode="sum", sparse=True, include_last_offset=True, _weight=first_values)


class Bags(System):
    name = "26 EmbeddingBag + SparseAdam"
    rules = ("adam",)

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        self.bags = [_bag(cell.rows, cell.dim) for _ in range(cell.tables)]
        self.optimizer = torch.optim.SparseAdam([bag.weight for bag in self.bags], lr=LR, betas=(BETA1, BETA2), eps=EPS)

    def prepare(self, step: Step) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        parts = []
        for table in range(self.cell.tables):
            offsets = step.offsets[table * self.cell.batch : (table + 1) * self.cell.batch + 1]
            parts.append((step.indices[int(offsets[0]) : int(offsets[-1])], offsets - offsets[0]))
        return parts, step.grad

    def take(self, prepared: tuple[list[tuple[Tensor, Tensor]], Tensor]) -> Tensor:
        parts, grad = prepared
        out = torch.cat([bag(*part) for bag, part in zip(self.bags, parts, strict=True)], dim=1)
        out.backward(grad)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return out


class MergedBag(System):
    name = "one EmbeddingBag + SparseAdam"
    rules = ("adam",)

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        self.bag = _bag(cell.rows * cell.tables, cell.dim)
        self.optimizer = torch.optim.SparseAdam([self.bag.weight], lr=LR, betas=(BETA1, BETA2), eps=EPS)

    def prepare(self, step: Step) -> tuple[Tensor, Tensor, Tensor]:
        return step.merged_indices(self.cell), step.offsets, step.grad

    def take(self, prepared: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        indices, offsets, grad = prepared
        out = sample_major(self.cell, self.bag(indices, offsets))
        out.backward(grad)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return out


class Handwritten(System):
    """What a careful user of torch writes: one merged table, gradients summed by `unique` and `index_add_`, no autograd."""

    name = "torch by hand"

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        num_rows = cell.rows * cell.tables
        self.weights, self.step = torch.full((num_rows, cell.dim), FIRST_VALUE), 0
        width = 1 if cell.rule == "rowwise_adagrad" else cell.dim
        # Filled by hand: pages of `zeros` would first be touched while the clock runs.
        self.slots = [torch.empty(num_rows, width).fill_(0.0) for _ in range(1 if cell.rule == "rowwise_adagrad" else 2)]

    def prepare(self, step: Step) -> tuple[Tensor, Tensor, Tensor]:
        return step.merged_indices(self.cell), step.offsets, step.grad

    @torch.no_grad()
    def take(self, prepared: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        indices, offsets, grad = prepared
        cell, weights = self.cell, self.weights
        out = sample_major(cell, nn.functional.embedding_bag(indices, weights, offsets, mode="sum", include_last_offset=True))
        touched, inverse = indices.unique(return_inverse=True)
        segments = torch.arange(cell.tables * cell.batch).repeat_interleave(offsets.diff())
        g = torch.zeros(touched.numel(), cell.dim).index_add_(0, inverse, table_major(cell, grad)[segments])
        self.step += 1
        if cell.rule == "rowwise_adagrad":
            sums = self.slots[0][touched] + g.square().mean(1, keepdim=True)
            self.slots[0][touched] = sums
            weights[touched] -= g * (LR / (sums.sqrt() + EPS))
        else:
            first, second = self.slots
            first[touched] = m = first[touched].mul_(BETA1).add_(g, alpha=1 - BETA1)
            second[touched] = v = second[touched].mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
            step_size = LR * math.sqrt(1 - BETA2**self.step) / (1 - BETA1**self.step)
            weights[touched] -= m.div_(v.sqrt_().add_(EPS)).mul_(step_size)
        return out


PEERS: tuple[type[System], ...] = (Fbgemm, Bags, MergedBag, Handwritten)
